"""Tensors of the host in the place of a GPU's, for programs that call `torch.cuda` themselves."""

from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace

import torch


class OnDevice(torch.nn.Parameter):
    """A parameter that says it is on a GPU; its copies say that they are on the host."""

    is_cuda = property(lambda self: True)


class Stream:
    """A stream whose work is complete once it is submitted."""

    def wait_stream(self, other):
        pass

    def synchronize(self):
        pass

    def record_event(self):
        return SimpleNamespace(synchronize=lambda: None, wait=lambda stream: None)


def stand_in(monkeypatch):
    """Let streams do nothing, and page-locked memory be ordinary memory."""
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)
    for name in ("empty", "empty_like"):
        made = getattr(torch, name)

        def ordinary(*args, made=made, pin_memory=False, **kwargs):
            return made(*args, **kwargs)

        monkeypatch.setattr(torch, name, ordinary)


class Late:
    """Streams whose copies are made as late as is allowed: when something waits for them.

    What reads memory, or writes to it, without waiting for a copy that it should wait for then
    computes other numbers than a GPU which happens to be quick.

    Attributes:
        locked: the addresses and sizes of memory that is page-locked.
    """

    def __init__(self, monkeypatch):
        self.locked = {}
        self._now = main = LateStream(self)
        main.submit = lambda copy: copy()  # the caller's own work
        copy = torch.Tensor.copy_

        def copy_(tensor, source, non_blocking=False):
            if non_blocking and not torch.is_grad_enabled():
                self._now.submit(partial(copy, tensor, source))
                return tensor
            return copy(tensor, source)

        driver = SimpleNamespace(
            cudaError=SimpleNamespace(success="success"),
            cudaHostRegister=self._lock,
            cudaHostUnregister=self.locked.pop,
        )
        for name, value in {
            "Stream": lambda device: LateStream(self),
            "current_stream": lambda device: self._now,
            "stream": self._entered,
            "cudart": lambda: driver,
            "synchronize": lambda: None,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch.Tensor, "copy_", copy_)
        monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: None)

    def _lock(self, address, nbytes, flags):
        pages = [range(a // 4096, -(-(a + n) // 4096)) for a, n in self.locked.items()]
        mine = range(address // 4096, -(-(address + nbytes) // 4096))
        assert not any(mine[0] in each or mine[-1] in each for each in pages), "page locked twice"
        self.locked[address] = nbytes
        return "success"

    @contextmanager
    def _entered(self, stream):
        before, self._now = self._now, stream
        try:
            yield
        finally:
            self._now = before


class LateStream:
    """A stream of `Late`: its copies, of which the first are done."""

    def __init__(self, late):
        self._copies, self._done = [], 0

    def submit(self, copy):
        self._copies.append(copy)

    def _finish(self, until):
        while self._done < until:
            self._done += 1
            self._copies[self._done - 1]()

    def wait_stream(self, other):
        until = len(other._copies)
        self.submit(lambda: other._finish(until))

    def record_event(self):
        until = len(self._copies)
        return SimpleNamespace(synchronize=lambda: self._finish(until))
