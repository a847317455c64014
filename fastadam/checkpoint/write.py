"""Writing of checkpoint files, from the memory of the arrays, piece by piece."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..memory.arrays import DeviceMemory
from .atomic import begin_to_flush, replaced, write_all
from .checksums import Checksums, combined
from .layout import Layout, as_bytes, check_byte_order

PIECE = 1 << 21  # bytes that are written at a time
AHEAD = 1 << 25  # bytes after which the disk begins to write
Progress = Callable[[int, int], Any]


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
        file.seek(layout.begin)
        write_tensors(file, layout, arrays, checksums, progress)
        crcs = {
            name: combined(checksums.parts(name), tensor.stop - tensor.start)
            for name, tensor in layout.tensors.items()
        }
        file.seek(0)
        write_all(file, layout.header(crcs))


def write_tensors(
    file: Any,
    layout: Layout,
    arrays: Mapping[str, Any],
    checksums: Checksums,
    progress: Progress | None,
) -> None:
    """Write arrays to their places in a file, and add their checksums."""
    total, asked = layout.nbytes, layout.begin
    for name, tensor in layout.tensors.items():
        start = 0
        for piece in pieces(arrays[name], PIECE):
            checksums.add(name, start, piece)
            file.seek(layout.begin + tensor.start + start)
            write_all(file, piece)
            start += len(piece)
            if (done := layout.begin + tensor.start + start) - asked >= AHEAD:
                begin_to_flush(file, asked, done)
                asked = done
            if progress:
                progress(tensor.start + start, total)
        if start != tensor.stop - tensor.start:
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
