"""Tensors of the host in the place of a GPU's, for programs that call `torch.cuda` themselves."""

from contextlib import nullcontext
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
