"""Memory on the host for a model on a device: few large pieces, page-locked where a GPU copies."""

import mmap
import os
from collections.abc import Sequence
from typing import Any
from weakref import finalize

import torch

from ...memory.placement import PAGE, layout

LOCKED = max(PAGE, mmap.PAGESIZE)  # bytes: memory is locked by the page


class HostMemory:
    """Allocates tensors on the host, many in one piece.

    Page-locking is slow, and in hooks it may wait for work that waits for the hook. All pieces are
    therefore taken when an optimizer is made.

    Args:
        pinned: True if copies to and from a GPU are to run by themselves.
    """

    def __init__(self, pinned: bool) -> None:
        self._pinned, self._pieces = pinned, list[Any]()

    def tensors(
        self, shapes: Sequence[Any], dtype: Any, beside: Sequence[Any], distance: int, pinned: bool
    ) -> list[Any]:
        """New tensors of a dtype in one piece, each at a distance from another tensor.

        Args:
            shapes: those of the tensors.
            beside: for each of them a tensor, or None; see `memory.placement`.
            distance: the offset from it within a page.
            pinned: False for memory that no device copies.
        """
        addresses = [0 if other is None else other.data_ptr() for other in beside]
        itemsize = torch.empty(0, dtype=dtype).element_size()
        sizes = [itemsize * torch.Size(shape).numel() for shape in shapes]
        first, starts, nbytes = layout(addresses, sizes, distance)
        piece = self._piece(nbytes, first, pinned and self._pinned)
        return [
            piece[start : start + size].view(dtype).view(shape)
            for start, size, shape in zip(starts, sizes, shapes, strict=True)
        ]

    def _piece(self, nbytes: int, offset: int, pinned: bool) -> Any:
        span = -(-(offset + nbytes) // LOCKED) * LOCKED  # whole pages, which no other piece shares
        raw = torch.empty(span + LOCKED, dtype=torch.uint8, device="cpu")
        first = -raw.data_ptr() % LOCKED
        if pinned:
            self._pieces.append(raw)
            _register(raw.data_ptr() + first, span)
            finalize(self, _unregister, raw.data_ptr() + first, os.getpid()).atexit = False
        return raw[first + offset : first + offset + nbytes]


def _register(address: int, nbytes: int) -> None:
    """Page-lock memory; PyTorch's own allocator would round its size up to a power of two.

    Raises:
        RuntimeError: if there is not enough.
    """
    driver = torch.cuda.cudart()
    if driver.cudaHostRegister(address, nbytes, 0) != driver.cudaError.success:
        raise RuntimeError(
            f"the host could not page-lock {nbytes} bytes; raise the limit (ulimit -l), or give "
            "pin_memory=False"
        )


def _unregister(address: int, process: int) -> None:
    """Unlock memory once no copy uses it; a forked process has no GPU, and nothing to unlock."""
    if os.getpid() == process:
        torch.cuda.synchronize()
        torch.cuda.cudart().cudaHostUnregister(address)
