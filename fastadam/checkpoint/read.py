"""Reading of checkpoint files: checked, mapped into memory, and copied in pieces."""

import mmap
import os
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from ..kernels.commit import Operation, call, called, write
from ..memory.arrays import DeviceMemory
from .checksums import IN_FLIGHT, Checksums, combined
from .contents import metadata_of
from .layout import LENGTH, LONGEST, Layout, Tensor, as_bytes, check_byte_order, parsed
from .write import PIECE, Progress


class CheckpointFile:
    """An open checkpoint file whose header is correct; the tensors are checked by `verify`.

    Attributes:
        path: the path of the file, for messages.
        layout: its tensors and texts.
        metadata: the values of the texts.

    Raises:
        OSError: if it cannot be read.
        ValueError: naming the file, if it is truncated, damaged, of another format or of a newer
            version.
    """

    layout: Layout

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_byte_order()
        self.path = os.fspath(path)
        self._file: Any = open(path, "rb", buffering=0)  # noqa: SIM115
        try:
            self._known = self._changes()
            self._size = os.fstat(self._file.fileno()).st_size
            self.layout, self._crcs = self._header()
            self.metadata = metadata_of(self.layout.metadata)
            self._map = mmap.mmap(self._file.fileno(), self._size, access=mmap.ACCESS_READ)
        except ValueError as error:
            self._file.close()
            raise ValueError(f"{self.path}: {error}") from None
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "CheckpointFile":
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def _header(self) -> tuple[Layout, dict[str, int]]:
        if self._size < LENGTH:
            raise ValueError(f"it has {self._size} bytes, too few for a checkpoint")
        length = int.from_bytes(self._file.read(LENGTH), "little")
        if length > min(LONGEST, self._size - LENGTH):
            raise ValueError(
                f"it is not a checkpoint, or truncated: its header would have {length} bytes, but "
                f"the file has {self._size}"
            )
        text = self._file.read(length)
        self._begin = LENGTH + length
        return parsed(text, self._size - self._begin)

    @property
    def checksum(self) -> str:
        """The checksum of the header, which has those of all tensors."""
        return self.layout.metadata["header_crc32"]

    def arrays(self) -> dict[str, Any]:
        """Read-only arrays over the mapped file, by name.

        Raises:
            ImportError: if one is bfloat16, and ml_dtypes is missing.
        """
        return {name: self._mapped(tensor) for name, tensor in self.layout.tensors.items()}

    def _mapped(self, tensor: Tensor) -> Any:
        dtype = tensor.dtype
        if tensor.start == tensor.stop:
            return _read_only(np.empty(tensor.shape, dtype))
        size = (tensor.stop - tensor.start) // dtype.itemsize
        flat = np.frombuffer(self._map, dtype, size, self._begin + tensor.start)
        return flat.reshape(tensor.shape)

    def verify(self, progress: Progress | None = None) -> None:
        """Compare the checksums of all tensors.

        Args:
            progress: called with the bytes that were read, and those of all tensors.

        Raises:
            ValueError: naming the file and the tensor that is damaged.
        """
        room = [np.empty(min(PIECE, max(1, self._size)), np.uint8) for _ in range(IN_FLIGHT + 1)]
        number, tensors = 0, self.layout.tensors
        with Checksums() as checksums:
            for name, tensor in tensors.items():
                for start, stop in _cuts(tensor.stop - tensor.start):
                    piece = room[number % len(room)][: stop - start]
                    self._read(piece, tensor.start + start)
                    checksums.add(name, start, piece)
                    number += 1
                    if progress:
                        progress(tensor.start + stop, self.layout.nbytes)
            for name, tensor in tensors.items():
                crc = combined(checksums.parts(name), tensor.stop - tensor.start)
                if crc != self._crcs[name]:
                    raise ValueError(f"{self.path}: {name!r} is damaged: the checksum differs")
        self.check_unchanged()

    def _read(self, piece: Any, start: int) -> None:
        rest = memoryview(piece)
        self._file.seek(self._begin + start)
        while len(rest):
            taken = self._file.readinto(rest)
            if not taken:
                raise ValueError(f"{self.path}: it was truncated while it was read")
            rest = rest[taken:]

    def check_unchanged(self) -> None:
        """Refuse a file in which bytes were replaced since it was opened.

        Raises:
            ValueError: naming the file.
        """
        if self._changes() != self._known:
            raise ValueError(f"{self.path}: it was changed while it was read; load it again")

    def _changes(self) -> tuple[int, int]:
        now = os.fstat(self._file.fileno())
        return now.st_size, now.st_mtime_ns

    def write(self, array: Any, values: Any) -> Operation:
        """The operation that writes to all elements of an array, as that of the same name in
        `kernels/commit.py`; mapped values are read in pieces, so that they take no memory.

        It can be run once.
        """
        place = self._place(values)
        alike = place is not None and (array.dtype, array.shape) == (values.dtype, values.shape)
        if not alike or not array.flags.c_contiguous:
            return write(array, values)
        assert place is not None
        make = self._uploads if isinstance(array, DeviceMemory) else self._reads
        return partial(any, map(call, make(array, values, place)))

    def _place(self, values: Any) -> int | None:
        """The place in the file at which a mapped array begins; None for any other value."""
        if not isinstance(values, np.ndarray) or not values.nbytes:
            return None
        first = np.frombuffer(self._map, np.uint8).ctypes.data
        place = values.ctypes.data - first
        inside = 0 <= place < self._size and values.flags.c_contiguous
        return place if inside else None

    def _reads(self, array: Any, values: Any, place: int) -> list[Operation]:
        memory = as_bytes(array)
        pairs = (
            (
                called(self._file.seek, place + start),
                called(self._file.readinto, memory[start:stop]),
            )
            for start, stop in _cuts(array.nbytes)
        )
        return [*chain.from_iterable(pairs)]

    def _uploads(self, array: Any, values: Any, place: int) -> list[Operation]:
        elements, source, operations = array.reshape(-1), values.reshape(-1), list[Operation]()
        for start, stop in _cuts(array.nbytes):
            part = slice(start // array.itemsize, stop // array.itemsize)
            operations.append(write(elements[part], source[part]))
            operations += self._forgotten(place + start, place + stop)
        return operations

    def _forgotten(self, start: int, stop: int) -> list[Operation]:
        """The operations that release the memory of mapped pages, which remain in the file."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return []
        first = start // mmap.PAGESIZE * mmap.PAGESIZE
        return [partial(self._map.madvise, mmap.MADV_DONTNEED, first, stop - first)]


def _cuts(nbytes: int) -> Iterator[tuple[int, int]]:
    """The start and the stop of each piece of `nbytes` bytes."""
    for start in range(0, nbytes, PIECE):
        yield start, min(start + PIECE, nbytes)


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array
