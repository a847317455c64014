"""Hints about the pages of mapped files, as C functions that can be part of a commitment.

They exist on Linux only. Results never depend on hints.
"""

import ctypes
import mmap
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from ...kernels.commit import Operation

PAGE = mmap.PAGESIZE
LINUX = sys.platform == "linux"
WILLNEED, DONTNEED, POPULATE_READ, POPULATE_WRITE = 3, 4, 22, 23  # of madvise
FORGET = 4  # POSIX_FADV_DONTNEED
START, FINISH = 2, 7  # of sync_file_range: begin to write; wait, write, and wait again


@cache
def _function(name: str, *types: Any, result: Any = None) -> Callable[..., Any]:
    """A function of the C library, which by default returns None, as operations must."""
    function = getattr(ctypes.CDLL(None), name)
    function.restype, function.argtypes = result, types
    found: Callable[..., Any] = function
    return found


def _madvise(result: Any = None) -> Callable[..., Any]:
    types = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return _function("madvise", *types, result=result)


@cache
def _populates() -> bool:
    """True if the kernel, of 5.14 or later, can bring in pages of a range and map them."""
    page = mmap.mmap(-1, PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return bool(_madvise(ctypes.c_int)(address, PAGE, POPULATE_READ) == 0)


def bring_in(start: int, stop: int, written: bool) -> None:
    """Read the pages of a range of addresses, and map them if the kernel can.

    Args:
        written: True if they are about to be written to.
    """
    first, size = _pages(start, stop)
    populate = POPULATE_WRITE if written else POPULATE_READ
    _madvise()(first, size, populate if _populates() else WILLNEED)


def write_back(fd: int, offset: int, nbytes: int) -> list[Operation]:
    """The operations that begin to write a range of a file to the disk."""
    return [partial(_sync_file_range(), fd, offset, nbytes, START)]


def drop(fd: int | None, offset: int, start: int, stop: int, behind: int = 0) -> list[Operation]:
    """The operations that drop pages of a file from memory, once they are on the disk.

    Args:
        fd: the file; None leaves the pages in the page cache.
        offset: the offset of the first byte in the file.
        start, stop: the addresses.
        behind: the number of bytes before these that are dropped from the page cache as well,
            since a page that belongs to two ranges is not dropped with either.
    """
    first, size = _pages(start, stop)
    unmapped: list[Operation] = [partial(_madvise(), first, size, DONTNEED)]
    if fd is None:
        return unmapped
    types = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_int)
    forget = _function("posix_fadvise", *types)
    before = min(behind, offset)
    return [
        partial(_sync_file_range(), fd, offset, stop - start, FINISH),
        *unmapped,
        partial(forget, fd, offset - before, before + stop - start, FORGET),
    ]


def synced(fd: int, mapping: mmap.mmap) -> list[Operation]:
    """The operations that wait until a mapped file is on the disk.

    They raise OSError if it cannot be written.
    """
    if LINUX:  # where it writes what was changed through a mapping, too
        return [partial(os.fdatasync, fd)]
    return [mapping.flush, partial(os.fsync, fd)]


def _sync_file_range() -> Callable[..., Any]:
    types = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return _function("sync_file_range", *types)


def _pages(start: int, stop: int) -> tuple[int, int]:
    """The whole pages around a range: first address, number of bytes."""
    first = start // PAGE * PAGE
    return first, stop - first
