"""Where tensors lie: on the host, or on a GPU, where a step goes into PyTorch's current stream."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from ..cuda.array import number_of_device
from ..cuda.backend import CUDA

Turns = Callable[[], AbstractContextManager[Any]]


def on_gpu(tensor: Any) -> bool:
    """Whether a tensor lies where kernels for CUDA run."""
    return bool(tensor.is_cuda)


def turns_on(tensor: Any) -> Turns:
    """What gives turns in which there is work on tensors that lie where this one does.

    On a GPU all of a turn goes into the stream that is PyTorch's current one when it begins.

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
                    "a step of fastadam.torch cannot be captured in a CUDA graph; take it outside "
                    "of the graph, or capture one of fastadam's own optimizers"
                )
            yield

    return take


def _check_number(device: Any) -> None:
    if device.index != (number := number_of_device()):
        raise RuntimeError(
            f"the parameters lie on {device}, but this thread began to work on cuda:{number}; call "
            f"torch.cuda.set_device({device.index}) before anything else that uses the GPU"
        )
