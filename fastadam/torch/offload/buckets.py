"""Buckets: parameters whose gradients arrive together, and which one launch updates."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cached_property
from itertools import compress
from typing import Any

import torch

from ...engine.step_info import StepInfo
from ...kernels.commit import Operation, put
from .parameters import HostParameter
from .transfer import Transfer

SubsetOf = Callable[[Sequence[HostParameter]], Any]


class Bucket:
    """Some parameters, in the order of the optimizer.

    Args:
        members: the parameters.
        subset_of: makes the subset of the host's optimizer that updates them.

    Attributes:
        members: the parameters.
        stepped: True once it was stepped during a backward pass.
        unsent: the members whose weights on the device are out of date.
    """

    stepped = False
    unsent: Sequence[HostParameter] = ()
    _sent: Any = None

    def __init__(self, members: Sequence[HostParameter], subset_of: SubsetOf) -> None:
        self.members, self._subset_of = members, subset_of

    @cached_property
    def _subset(self) -> Any:
        return self._subset_of(self.members)

    def wait(self, transfer: Transfer) -> None:
        """Wait for the last copies to the device, whose memory is written next."""
        transfer.wait(self._sent)
        self._sent = None

    def step(self, transfer: Transfer, **settings: Any) -> StepInfo | None:
        """Update the parameters whose gradients have arrived, and copy them to the device.

        Returns None if there are none.
        """
        self.send(transfer)
        there = [host.arrived for host in self.members]
        if not any(there):
            return None
        for host in compress(self.members, there):
            host.wait(transfer)
        self.wait(transfer)
        pairs = zip(self.members, there, strict=True)
        grads = [host.gradient if arrived else None for host, arrived in pairs]
        info: StepInfo = self._subset.step_with(self.updated(), grads, **settings)
        self.send(transfer)
        return info

    def updated(self) -> list[Operation]:
        """The operations that record the update of the parameters whose gradients have arrived."""
        taken = [host for host in self.members if host.arrived]
        used = (operation for host in taken for operation in host.recorded(arrived=False))
        return [*used, *put(self, unsent=taken)] if taken else []

    @torch.no_grad()
    def send(self, transfer: Transfer) -> None:
        """Copy the weights that the device lacks."""
        if self.unsent:
            self._sent = transfer.send([(host.part, host.copy) for host in self.unsent])
            for host in self.unsent:
                host.note()
            self.unsent = ()


def divided(hosts: Sequence[HostParameter], nbytes: int, subset_of: SubsetOf) -> list[Bucket]:
    """Buckets of at least so many bytes, in the order in which gradients arrive: the last first."""
    buckets, members, size = list[Bucket](), list[HostParameter](), 0
    for host in reversed(hosts):
        members.append(host)
        size += host.nbytes
        if size >= nbytes:
            buckets.append(Bucket(members[::-1], subset_of))
            members, size = [], 0
    return [*buckets, Bucket(members[::-1], subset_of)] if members else buckets


class Worker:
    """A thread that runs tasks in order; after an error, none before `join` has raised it."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._tasks = list[Future[None]]()

    def submit(self, task: Callable[[], Any]) -> None:
        """Run a task after those before it."""
        if self._process != os.getpid():  # a forked process has no threads but its own
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="fastadam-offload")
            self._process, self._tasks = os.getpid(), []
        assert self._pool
        self._tasks.append(self._pool.submit(_run, task, self._tasks[-1:]))

    def join(self) -> None:
        """Wait for all tasks.

        Raises:
            Exception: the first that a task raised.
        """
        mine = self._process == os.getpid()
        if mine:
            wait(self._tasks)  # before they are dropped, in case of an interrupt
        tasks, self._tasks = self._tasks, []
        errors = [task.exception() for task in tasks if mine]
        for error in errors:
            if error is not None:
                raise error


def _run(task: Callable[[], Any], before: Sequence[Future[None]]) -> None:
    for other in before:
        other.result()
    task()
