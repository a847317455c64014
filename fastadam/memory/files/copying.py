"""Copies into files larger than memory, piece by piece; copied pages are written and dropped."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...kernels.commit import commit
from ..arrays import address
from . import advice
from .windows import LARGEST, Region, region_of

PIECE = 1 << 24  # bytes


def copied(target: Any, source: Any) -> None:
    """Write an array, or a number, to an array that may lie in a file; `source` may have any
    strides, and the dtype of `target` is kept."""
    target = target if target.ndim else target.reshape(1)
    before: Any = None
    with np.errstate(all="ignore"):  # overflow becomes infinite
        for piece, values in _pieces(target, np.broadcast_to(source, target.shape)):
            piece[...] = values
            _write_back(before, begin=False)
            _write_back(piece, begin=True)
            before = piece
    _write_back(before, begin=False)


def _pieces(target: Any, source: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of parts of a few megabytes, in the order of memory."""
    if target.nbytes <= PIECE:
        yield target, source
        return
    length = max(1, PIECE // (target.nbytes // len(target)))
    if length == 1 and target.ndim > 1:
        for part, values in zip(target, source, strict=True):
            yield from _pieces(part, values)
        return
    for start in range(0, len(target), length):
        yield target[start : start + length], source[start : start + length]


def _write_back(piece: Any, begin: bool) -> None:
    """Begin to write a piece to the disk, or wait for it and drop its pages."""
    region: Region | None = None if piece is None else region_of(piece)
    if not advice.LINUX or region is None or region.fd is None or region.nbytes <= LARGEST:
        return
    start = address(piece)
    offset = start - region.start
    if begin:
        commit(advice.write_back(region.fd, offset, piece.nbytes))
    else:
        commit(advice.drop(region.fd, offset, start, start + piece.nbytes, piece.nbytes))
