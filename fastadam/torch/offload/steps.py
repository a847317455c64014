"""Steps of an offloaded optimizer: when gradients arrive, and when `step` is called."""

from collections.abc import Callable
from functools import partial
from threading import Lock, RLock
from typing import Any

import torch

from ...engine.scales import unscale_of
from ...engine.step_info import StepInfo
from ...kernels.commit import Operation, commit, put
from ..optimizer import Optimizer
from .buckets import Worker
from .host import HostSide
from .parameters import HostParameter


class OffloadedSteps:
    """Steps of an optimizer on the host.

    Args:
        owner: returns the optimizer of PyTorch, whose `info` is the result of the last step.
        front: the optimizer of PyTorch whose arguments were checked.
        host: the host's side.
        overlap: True updates a bucket during backward, as soon as its gradients have arrived.
        frees: True frees a gradient on the device once it is copied.

    Attributes:
        lock: one thread at a time.
        worker: updates buckets during backward; its tasks take the lock.
        stepping: held during a step, inside of which `lock` lets the same thread in again.
    """

    def __init__(
        self,
        owner: Callable[[], Any],
        front: Optimizer,
        host: HostSide,
        overlap: bool,
        frees: bool,
    ) -> None:
        self._owner, self._front, self._host = owner, front, host
        self._overlap, self._frees = overlap, frees
        self.lock, self.stepping, self.worker = RLock(), Lock(), Worker()
        self._expected = set[int]()  # the parameters that the last step updated
        self._early = list[StepInfo]()  # of buckets that were updated during backward
        self._counted: int | None = 0  # the steps that were counted; None after loading some

    # Gradients

    @torch.no_grad()
    def _take(self, host: HostParameter, grad: Any) -> None:
        """Copy a gradient to the host."""
        host.take(self._host.transfer, grad, self._host.memory, add=self._frees)
        if self._frees:
            host.param.grad = None

    def note_arrival(self, host: HostParameter, grad: Any) -> None:
        """Copy a gradient that backward has computed, and update its bucket if it is complete."""
        if self._host.unfinished:
            self.complete()
        if not self._overlap:
            self._take(host, grad)
            return
        if host.arrived or host.used:
            raise RuntimeError(
                f"overlap=True: a second gradient of {host.name} arrived before step(); use "
                "overlap=False to add up gradients, and call zero_grad() if backward raised an "
                "exception before"
            )
        self._take(host, grad)
        if self._expected and not (self._front._options.measures or self._host.together):
            self._update_early(host)

    def _update_early(self, host: HostParameter) -> None:
        bucket = host.bucket
        wanted = [h for h in bucket.members if id(h) in self._expected]
        if not bucket.stepped and all(h.arrived for h in wanted):
            bucket.stepped = True
            self.worker.submit(partial(self._step_early, bucket))

    def _step_early(self, bucket: Any) -> None:
        host = self._host
        with self.lock:
            if not self._early:
                host.follow()
            info = bucket.step(host.transfer, step=self.count + 1)
            if info is not None:
                self._early.append(info)

    def check_not_early(self, what: str) -> None:
        """Refuse what needs the state of one moment, if backward has taken a part of a step.

        Raises:
            RuntimeError: then.
        """
        if not self._host.unfinished and any(h.used for h in self._host.hosts):
            raise RuntimeError(
                "overlap=True: backward has updated some parameters of this step already; call "
                f"step(), or zero_grad(), before {what}"
            )

    # Steps

    def step(self, grad_scale: Any, found_inf: Any) -> None:
        """Take a step with the gradients that there are.

        Args:
            grad_scale, found_inf: those of a GradScaler, or None.

        Raises:
            RuntimeError, TypeError, ValueError: before any element changes.
        """
        self._check_scaled(grad_scale, found_inf)
        self.worker.join()
        with self.lock:  # a scaler that has unscaled gradients may have done so unnoticed
            self._step(grad_scale, bool(found_inf), found_inf is not None and grad_scale is None)

    def _check_scaled(self, grad_scale: Any, found_inf: Any) -> None:
        if grad_scale is None and found_inf is None:
            return
        for name, chosen in (("overlap", self._overlap), ("offload_gradients", self._frees)):
            if chosen:
                raise RuntimeError(
                    f"{name}=True does not go with a GradScaler, which looks at the gradients "
                    f"between backward and step(); use {name}=False, or bfloat16 without a scaler"
                )
        unscale_of(grad_scale)

    def _step(self, grad_scale: Any, found_inf: bool, anew: bool) -> None:
        """Take a step; `anew` says that a scaler may have changed the gradients."""
        host = self._host
        if host.unfinished:
            others = any(h.param.grad is not None and not h.same(h.param.grad) for h in host.hosts)
            self._resume(host)
            if not others:  # it was the step of these gradients
                return
        self.check_alone()
        with self.stepping:
            if host.any(found_inf):
                commit(self._published(StepInfo(self.count, host.lr, None, True, False)))
                return
            with torch.no_grad():
                self._collect(host, anew)
            host.send(host.transfer)
            host.follow()
            host.begin(grad_scale, self.count + 1)
            self._finish(host)

    @property
    def count(self) -> int:
        """The number of steps that were counted."""
        if self._counted is None:
            self._counted = self._host.core.steps
        return self._counted

    def complete(self) -> None:
        """Complete a step that an exception interrupted, if there is one.

        Raises:
            RuntimeError: if that would overwrite parameters, and inside a step.
        """
        if self._host.unfinished:
            self.worker.join()  # its tasks take the lock
            with self.lock:
                self._resume(self._host)

    def _resume(self, host: HostSide) -> None:
        self.check_alone()
        with self.stepping:
            if host.unfinished:
                host.check_unchanged()
                self._finish(host)

    def check_alone(self) -> None:
        """Refuse to begin a step inside another one.

        Raises:
            RuntimeError: then.
        """
        if self.stepping.locked():  # by this thread, which has the other lock
            raise RuntimeError(
                "this optimizer is in the middle of a step; call it between steps, not in a "
                "handler of a signal that arrives during one"
            )

    def _finish(self, host: HostSide) -> None:
        """Take what is left of the step that has begun, and count it."""
        last = host.complete()
        info = last or (self._early[-1] if self._early else None)
        if info is None:
            updated = any(h.used for h in host.hosts)
            info = StepInfo(self.count + updated, host.lr, updated=updated)
        used = {id(h) for h in host.hosts if h.used}
        commit(
            [
                *self._published(info),
                *put(self, _counted=info.step, _expected=used or self._expected),
                *host.finished(drop=self._frees or self._overlap),
                self._early.clear,
            ]
        )

    def _collect(self, host: HostSide, anew: bool) -> None:
        """Copy the gradients whose present values are not on the host."""
        host.check_same_params()
        for each in host.hosts:
            grad = each.param.grad
            if each.used and grad is not None and not each.same(grad):
                raise RuntimeError(
                    f"overlap=True: the gradient of {each.name} was changed after backward, which "
                    "has used it already; use overlap=False"
                )
            if each.used:
                continue
            if grad is not None and (anew or not (each.arrived and each.same(grad))):
                self._take(each, grad)
            elif grad is not None and self._frees:  # an exception kept it from being freed
                each.param.grad = None
            elif grad is None and not self._frees:
                commit(each.dropped())
        self._check_frozen(host)

    def _check_frozen(self, host: HostSide) -> None:
        if len(host.hosts) == len(host.numbers) == sum(self._front._sizes()):
            return
        known = {id(each.param) for each in host.hosts}
        for param, name in zip(self._front._params(), self._front._names(), strict=True):
            if param.grad is not None and id(param) not in known:
                raise RuntimeError(
                    f"{name} has a gradient, but needed none when the optimizer was made; make it "
                    "anew after requires_grad_(True)"
                )

    def _published(self, info: StepInfo | None) -> list[Operation]:
        """The operations that publish the result of a step."""
        return put(self._owner(), info=info)

    # Between steps

    def forget(self) -> None:
        """Drop all gradients."""
        try:
            self.worker.join()
        finally:
            commit([*self._host.finished(drop=True), self._early.clear])

    def cancelled(self) -> list[Operation]:
        """The operations that end a step by loading a state; its gradients have not been used."""
        begun = [*self._published(None), *put(self, _counted=None), self._early.clear]
        return [*self._host.finished(drop=False), *begun]
