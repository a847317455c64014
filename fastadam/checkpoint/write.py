"""Writing of checkpoint files, from the memory of the arrays, piece by piece."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..memory.arrays import DeviceMemory
from .atomic import begin_to_flush, replaced, write_all
from .checksums import Checksums, combined
from .layout import Layout, as_bytes, check_byte_order

PIECE = 1 << 21  # bytes that are written at a time
AHEAD = 1 << 25  # bytes after which the disk begins to write
Progress = Callable[[int, int], Any]


class Share(NamedTuple):
    """The bytes of a tensor from `start` to `stop`, and the array that has them."""

    name: str
    start: int
    stop: int
    array: Any


def write_file(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    metadata: Mapping[str, str],
    progress: Progress | None,
) -> None:
    """Write arrays to a file that takes the place of `path` when all of it is on the disk.

    Args:
        path: of the file.
        arrays: NumPy arrays with any strides, or arrays of a device, by name.
        metadata: texts by name.
        progress: called with the bytes of arrays that were written, and those of all.

    Raises:
        OSError: naming the file, which is unchanged then.
        TypeError, ValueError: for a dtype that the format does not have, or too long a header.
    """
    check_byte_order()
    layout = Layout.of(arrays, metadata)
    with replaced(path) as file, Checksums() as checksums:
        shares = [
            Share(name, 0, tensor.stop - tensor.start, arrays[name])
            for name, tensor in layout.tensors.items()
        ]
        write_shares(file, layout, shares, checksums, progress)
        crcs = {
            name: combined(checksums.parts(name), tensor.stop - tensor.start)
            for name, tensor in layout.tensors.items()
        }
        file.seek(0)
        write_all(file, layout.header(crcs))


def write_shares(
    file: Any,
    layout: Layout,
    shares: Sequence[Share],
    checksums: Checksums,
    progress: Progress | None,
) -> None:
    """Write parts of tensors, in the order of the file, to their places, and add checksums."""
    total, written, asked = sum(share.stop - share.start for share in shares), 0, layout.begin
    for name, start, stop, array in shares:
        first = layout.begin + layout.tensors[name].start
        for piece in pieces(array, PIECE):
            checksums.add(name, start, piece)
            file.seek(first + start)
            write_all(file, piece)
            start += len(piece)
            written += len(piece)
            if (done := first + start) - asked >= AHEAD:
                begin_to_flush(file, asked, done)
                asked = done
            if progress:
                progress(written, total)
        if start != stop:
            raise RuntimeError(f"{name} changed while it was saved; save it again")


def pieces(array: Any, nbytes: int) -> Iterator[Any]:
    """The bytes of an array in C order, in pieces of at most so many.

    They are views of a contiguous NumPy array, and copies of any other.
    """
    if isinstance(array, DeviceMemory) or array.flags.c_contiguous:
        elements: Any = array.reshape(-1)
        step = max(1, nbytes // array.itemsize)
        for start in range(0, elements.size, step):
            yield as_bytes(np.asarray(elements[start : start + step]))
    elif array.nbytes <= nbytes:
        yield as_bytes(np.ascontiguousarray(array))
    elif (rows := nbytes // (array.nbytes // len(array))) > 0:
        for start in range(0, len(array), rows):
            yield as_bytes(np.ascontiguousarray(array[start : start + rows]))
    else:
        for part in array:
            yield from pieces(part, nbytes)
