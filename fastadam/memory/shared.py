"""Memory shared by several processes of a host."""

import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

MEMORY = "/dev/shm"  # files in memory, on Linux


class SharedMapping(mmap.mmap):
    """Memory of an unlinked file, which is freed when the last process releases it.

    Attributes:
        processes: the numbers of the processes that share it.
    """

    processes: Sequence[int]


def shared_mapping_of(array: Any) -> SharedMapping | None:
    """The shared memory in which an array lies, or None."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return array if isinstance(array, SharedMapping) else None


def reserved(nbytes: int) -> tuple[int, str]:
    """A new file of `nbytes` bytes: its descriptor and its path.

    Raises:
        OSError: if there is not enough memory.
    """
    folder = folder_of_files()
    fd, path = tempfile.mkstemp(prefix="fastadam-", dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, nbytes)  # otherwise a full disk ends processes later on
        else:
            os.ftruncate(fd, nbytes)
    except OSError as error:
        os.close(fd)
        os.unlink(path)
        raise OSError(error.errno, f"{error.strerror}: {nbytes} bytes in {folder}") from None
    return fd, path


def folder_of_files() -> str:
    """The folder of files for shared memory."""
    return MEMORY if os.path.isdir(MEMORY) else tempfile.gettempdir()
