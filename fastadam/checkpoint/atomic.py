"""Atomic replacement of files: readers find the old file or the new one.

The new file is written beside the old one, and locked until it is complete. If a process is killed,
its lock is released, and the next save into the folder deletes its file.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be deleted anyway
    fcntl = None  # type: ignore[assignment]

TEMPORARY = re.compile(r"\.fastadam-[0-9a-f]{16}\.tmp")


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A new binary file, without a buffer, that takes the place of `path` if the block succeeds.

    It is on the disk then. After an exception, or if the process is killed, the old file is there.

    Raises:
        OSError: naming `path`, if the file cannot be written.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    try:
        mode = _mode_of(target)
        _delete_leftovers(target.parent)
        file = _created(target.parent)
    except OSError as error:
        raise _about(path, error) from None
    temporary = Path(file.name)
    try:
        with file:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            os.fsync(file.fileno())
            if fcntl:  # still locked
                os.replace(temporary, target)
        if not fcntl:
            os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, file.name, str(temporary)):
            raise _about(path, error) from None
        raise
    _sync_folder(target.parent)


@contextmanager
def shared(temporary: str, path: str | os.PathLike[str]) -> Iterator[Any]:
    """The new file that another process made with `replaced`, to write a part of it.

    The part is on the disk after the block; the other process renames the file, or deletes it.

    Raises:
        OSError: naming `path`, if the part cannot be written.
    """
    try:
        with open(temporary, "r+b", buffering=0) as file:
            yield file
            os.fsync(file.fileno())
    except FileNotFoundError:
        raise FileNotFoundError(
            2,
            "cannot write the file: the new file that process 0 made in its folder is not there; "
            "give a folder that all processes share",
            os.fspath(path),
        ) from None
    except OSError as error:
        raise _about(path, error) from None


def write_all(file: Any, piece: Any) -> None:
    """Write all bytes of a piece to a file without a buffer, which may take fewer at a time."""
    rest = memoryview(piece)
    while len(rest):
        rest = rest[file.write(rest) :]


def begin_to_flush(file: Any, start: int, stop: int) -> None:
    """Start to write bytes of a file to the disk without waiting, so that little is left for the
    end."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), start, stop - start, os.POSIX_FADV_DONTNEED)


def _mode_of(target: Path) -> int | None:
    """The permissions of the file that will be replaced, None if there is none.

    Raises:
        OSError: if it is not a file, or may not be written.
    """
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise FileNotFoundError(
                2, f"the folder {str(target.parent)!r} does not exist; create it"
            ) from None
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "it is a folder; give the name of a file in it")
    if not stat.S_ISREG(mode):
        raise OSError(22, "it is not a regular file")
    if not os.access(target, os.W_OK):
        raise PermissionError(13, "the file is read-only")
    return stat.S_IMODE(mode)


def _created(folder: Path) -> Any:
    """A new file in a folder, locked by this process."""
    while True:
        file = open(folder / f".fastadam-{token_hex(8)}.tmp", "xb", buffering=0)  # noqa: SIM115
        if _locked(file):
            with suppress(OSError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
                    return file
        file.close()  # another process took it for a leftover before it was locked


def _locked(file: Any) -> bool:
    """True if this process holds the lock of a file now, where there are locks."""
    if not fcntl:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _delete_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that are gone; those of others stay."""
    for name in os.listdir(folder):
        if TEMPORARY.fullmatch(name):
            with suppress(OSError):
                _delete_unlocked(folder / name)


def _delete_unlocked(leftover: Path) -> None:
    if not fcntl:
        return os.unlink(leftover)
    with open(os.open(leftover, os.O_RDWR | os.O_NOFOLLOW), "rb", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(leftover)


def _sync_folder(folder: Path) -> None:
    """Sync the folder, on systems that support this, so that the new name is on the disk."""
    if os.name != "nt":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _about(path: Any, error: OSError) -> OSError:
    """An error of writing that names the file of the caller."""
    reason = error.strerror or str(error)
    return type(error)(error.errno, f"cannot write the file: {reason}", os.fspath(path))
