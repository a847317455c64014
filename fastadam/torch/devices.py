"""Devices of tensors; on a GPU a step is launched in PyTorch's current stream."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from ..cuda.array import number_of_device
from ..cuda.backend import CUDA

Scope = Callable[[], AbstractContextManager[Any]]


def on_gpu(tensor: Any) -> bool:
    """True if a tensor is on a GPU that CUDA kernels support."""
    return bool(tensor.is_cuda)


def scope_of(tensor: Any) -> Scope:
    """A factory of contexts for work on tensors on the device of this one.

    On a GPU, all work inside a context is launched in the stream that is PyTorch's current one when
    the context is entered.

    Raises:
        RuntimeError: if another GPU is in use, or a stream is being captured.
    """
    if not on_gpu(tensor):
        return nullcontext
    from ..cuda.streams import stream_of_torch

    device = tensor.device
    with torch.cuda.device(device):
        _check_number(device)
        turn = CUDA.lock()

    @contextmanager
    def take() -> Iterator[None]:
        with torch.cuda.device(device), turn.on(stream_of_torch(device.index)):
            if turn.captures:
                raise RuntimeError(
                    "a step of fastadam.torch cannot be captured in a CUDA graph; call step() "
                    "outside of the graph, or capture one of fastadam's own optimizers"
                )
            yield

    return take


def _check_number(device: Any) -> None:
    if device.index != (number := number_of_device()):
        raise RuntimeError(
            f"the parameters are on {device}, but this thread has already used cuda:{number}; call "
            f"torch.cuda.set_device({device.index}) before anything else that uses the GPU"
        )
