"""Devices of tensors; on a GPU a step is launched in PyTorch's current stream."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from ..cuda.array import DeviceArray, number_of_device
from ..cuda.backend import CUDA

Scope = Callable[[], AbstractContextManager[Any]]
NOT_CAPTURED = (
    "a step of fastadam.torch is captured in a CUDA graph only with capturable=True; give it to "
    "the constructor, or call step() outside of the graph"
)


def on_gpu(tensor: Any) -> bool:
    """True if a tensor is on a GPU that CUDA kernels support."""
    return bool(tensor.is_cuda)


def number(value: Any) -> Any:
    """A tensor of one number on a GPU as an array of the core; anything else unchanged."""
    if not isinstance(value, torch.Tensor) or not on_gpu(value):
        return value
    dtype = np.dtype(str(value.dtype).removeprefix("torch."))
    shape = tuple(value.shape)
    return DeviceArray(value.data_ptr(), shape, dtype, value)


def scope_of(tensor: Any) -> Scope:
    """A factory of contexts for work on tensors on the device of this one.

    On a GPU, all work inside a context is launched in the stream that is PyTorch's current one when
    the context is entered.

    Raises:
        RuntimeError: if another GPU is in use, or a stream is being captured.
    """
    return DeviceScope(tensor.device) if on_gpu(tensor) else nullcontext


class DeviceScope:
    """A factory of contexts for work on tensors on a GPU.

    Attributes:
        turn: the lock of the work, and its stream.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        with torch.cuda.device(device):
            _check_number(device)
            self.turn: Any = CUDA.lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        from ..cuda.streams import stream_of_torch

        device = self._device
        with torch.cuda.device(device), self.turn.on(stream_of_torch(device.index)):
            if self.turn.captures and self.turn.captured is None:
                raise RuntimeError(NOT_CAPTURED)
            yield


def _check_number(device: Any) -> None:
    if device.index != (number := number_of_device()):
        raise RuntimeError(
            f"the parameters are on {device}, but this thread has already used cuda:{number}; call "
            f"torch.cuda.set_device({device.index}) before anything else that uses the GPU"
        )
