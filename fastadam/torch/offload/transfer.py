"""Copies between the memory of a device and that of the host."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

Pairs = Sequence[tuple[Any, Any]]


class Transfer(Protocol):
    """Copies gradients to the host and parameters to the device."""

    def fetch(self, grad: Any, slot: Any) -> Any:
        """Copy a gradient to the host; returns what `wait` waits for."""

    def wait(self, event: Any) -> None:
        """Wait until a copy is complete."""

    def begin(self) -> None:
        """Make later copies wait for all work of the caller so far."""

    def send(self, pairs: Pairs) -> Any:
        """Copy to tensors of the device from tensors of the host; returns what `wait` waits for."""

    def finish(self) -> None:
        """Make later work of the caller wait for the copies."""


class BlockingTransfer:
    """Copies that are complete when a call returns, for any device, the host among them."""

    def fetch(self, grad: Any, slot: Any) -> None:
        slot.copy_(grad)

    def wait(self, event: Any) -> None:
        pass

    def begin(self) -> None:
        pass

    def send(self, pairs: Pairs) -> None:
        for tensor, copy in pairs:
            tensor.copy_(copy)

    def finish(self) -> None:
        pass


class StreamTransfer:
    """Copies in streams of their own, beside the work of an NVIDIA GPU.

    Args:
        device: the GPU.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._down, self._up = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def fetch(self, grad: Any, slot: Any) -> Any:
        self._down.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._down):
            slot.copy_(grad, non_blocking=True)
            grad.record_stream(self._down)
            return self._down.record_event()

    def wait(self, event: Any) -> None:
        if event is not None:
            event.synchronize()

    def begin(self) -> None:
        self._up.wait_stream(torch.cuda.current_stream(self._device))

    def send(self, pairs: Pairs) -> Any:
        with torch.cuda.stream(self._up):
            for tensor, copy in pairs:
                tensor.copy_(copy, non_blocking=True)
            return self._up.record_event()

    def finish(self) -> None:
        torch.cuda.current_stream(self._device).wait_stream(self._up)


def transfer_for(device: Any, pinned: bool) -> Transfer:
    """The copies for parameters on a device."""
    return StreamTransfer(device) if device.type == "cuda" and pinned else BlockingTransfer()
