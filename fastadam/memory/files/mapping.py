"""Memory-mapped files: created or opened, locked, and found by the addresses of their arrays."""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import struct
from typing import Any
from uuid import uuid4
from weakref import finalize
from zlib import crc32

import numpy as np

from ...kernels.commit import Operation, commit
from ..dtypes import named
from . import advice
from .journal import IN_PROGRESS, Journal
from .layout import SECTION, Entry, Layout

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

MAGIC, VERSION = b"fastadam", 1
_FIRST = struct.Struct("<8sIIQQQ")  # magic, version, checksum, bytes of header, slot and file
_TEXT = 4096  # the offset of the header


class FileMapping(mmap.mmap):
    """A memory-mapped file. Its arrays keep the mapping alive, and with it the lock on the file.

    Attributes:
        path: the path of the file.
        identity: the unique name of the file.
        layout: the arrays.
        created: True if the file is new.
        closed_by_user: True after it was closed; writing is then refused.
    """

    path: str
    identity: str
    layout: Layout
    created: bool
    closed_by_user: bool
    _fd: int
    _process: int
    _data: int

    def set_up(self, path: str, fd: int, header: dict[str, Any], data: int, created: bool) -> None:
        """Initialize the attributes from the header of the file."""
        self.path, self._fd, self._data, self.created = path, fd, data, created
        self._process = os.getpid()
        self.identity, self.closed_by_user = header["identity"], False
        entries = [Entry.of(saved) for saved in header["arrays"]]
        self.layout = Layout(header["kind"], header["owner"], entries)
        self._slot = header["slot"]
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self))

    @property
    def fd(self) -> int:
        """The descriptor of the file."""
        return self._fd

    @property
    def journal(self) -> Journal:
        """The journal, whose record tells whether the arrays are complete, and their step."""
        room = np.frombuffer(self, np.uint8, 2 * self._slot, self._data - 2 * self._slot)
        return Journal(room)

    @property
    def nbytes(self) -> int:
        """The bytes of the arrays."""
        return self.layout.nbytes

    def array(self, entry: Entry) -> Any:
        """An array of the file."""
        start = self._data + entry.offset
        raw = np.frombuffer(self, np.uint8, entry.nbytes, start) if entry.nbytes else np.empty(0)
        return raw.view(named(entry.dtype)).reshape(entry.shape)

    def flat(self, entries: list[Entry]) -> Any:
        """Contiguous arrays of one dtype as one one-dimensional array."""
        size = sum(int(np.prod(entry.shape)) for entry in entries)
        return self.array(entries[0]._replace(shape=(size,)))

    def synced(self) -> list[Operation]:
        """The operations that wait until everything written to the arrays is on the disk."""
        return advice.synced(self._fd, self)

    def record(self, content: dict[str, Any]) -> None:
        """Write a record to the journal, after everything written to the arrays."""
        commit([*self.synced(), *self.journal.written(content), *self.synced()])

    def check_open(self) -> None:
        """Refuse a file that was closed, or opened by another process.

        Raises:
            ValueError: naming it.
        """
        if self.closed_by_user:
            raise ValueError(f"{self.path} was closed; open it again")
        if self._process != os.getpid():
            raise ValueError(
                f"{self.path} was opened before this process was forked, which would write to the "
                "memory of its parent; open it in one of them"
            )

    def discard(self) -> None:
        """Remove a file that was not completed."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def release(self) -> None:
        """Write everything to the disk, and release the file."""
        if not self.closed_by_user:
            commit(self.synced())
            self.closed_by_user = True
            if fcntl:
                fcntl.flock(self._fd, fcntl.LOCK_UN)


def mapping_of(array: Any) -> FileMapping | None:
    """The mapped file in which an array lies, or None."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return array if isinstance(array, FileMapping) else None


def opened(path: str, layout: Layout, slot: int) -> FileMapping:
    """The mapping of a file of this layout, which is created if there is none.

    A new file is marked as in progress until its first record is written.

    Args:
        path: the path of the file.
        layout: the arrays that it must have.
        slot: the bytes of a record of its journal.

    Raises:
        ValueError: for a file of another kind or layout, a damaged one, one that is in use, and
            one with a step in progress. The file is not changed.
        OSError: if it cannot be opened or created; no partial file remains.
    """
    flags = os.O_RDWR | getattr(os, "O_BINARY", 0)
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        return _kept(fd, path, lambda: _created(fd, path, layout, slot), new=True)
    return _kept(fd, path, lambda: _found(fd, path, layout), new=False)


def _kept(fd: int, path: str, make: Any, new: bool) -> FileMapping:
    """Return the result of `make`; if it raises, close the descriptor and remove a new file."""
    try:
        _lock(fd, path)
        made: FileMapping = make()
        finalize(made, os.close, fd)
        return made
    except BaseException:
        if new:
            with contextlib.suppress(OSError):
                os.unlink(path)
        with contextlib.suppress(OSError):
            os.close(fd)
        raise


def _lock(fd: int, path: str) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"{path} is in use: another process has it open, or this one has; close it there with "
            "flat.close() or opt.close()"
        ) from None


def _created(fd: int, path: str, layout: Layout, slot: int) -> FileMapping:
    header: dict[str, Any] = layout._asdict() | {"arrays": layout.entries, "slot": slot}
    del header["entries"]
    header["identity"] = uuid4().hex
    text = json.dumps(header).encode()
    data = -(-(_TEXT + len(text)) // 4096) * 4096 + 2 * slot
    data = -(-data // SECTION) * SECTION
    size = data + max(1, layout.nbytes)
    _allocate(fd, path, size)
    mapping = FileMapping(fd, size)
    mapping.set_up(path, fd, header, data, True)
    mapping.record({IN_PROGRESS: "its creation"})
    first = _FIRST.pack(MAGIC, VERSION, _checksum(text, data, size), len(text), data, size)
    mapping[_TEXT : _TEXT + len(text)] = text
    mapping[: len(first)] = first
    commit(mapping.synced())
    _sync_folder(path)
    return mapping


def _allocate(fd: int, path: str, size: int) -> None:
    """Allocate the space on the disk, so that later writes cannot fail for lack of it."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:
            os.ftruncate(fd, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            text = f"{os.strerror(error.errno)}: {size:,} bytes are needed; nothing was changed"
            raise OSError(error.errno, text, path) from None
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from None


def _sync_folder(path: str) -> None:
    """Sync the folder of a new file, on systems that support it."""
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _checksum(text: bytes, data: int, size: int) -> int:
    return crc32(text + struct.pack("<QQ", data, size))


def _found(fd: int, path: str, layout: Layout) -> FileMapping:
    header, data, size = _header(fd, path)
    entries = [Entry.of(saved) for saved in header["arrays"]]
    held = Layout(header["kind"], header["owner"], entries)
    if difference := layout.difference(held):
        raise ValueError(f"{path} does not match: {difference}; give another path")
    mapping = FileMapping(fd, size)
    mapping.set_up(path, fd, header, data, False)
    try:
        doing = mapping.journal.read().get(IN_PROGRESS)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; {_RESTORE}") from None
    if doing:
        raise ValueError(
            f"{path}: {doing} was in progress when its process ended, so its arrays are "
            f"inconsistent; {_RESTORE}"
        )
    return mapping


_RESTORE = (
    "remove it and the files used with it, make them anew, and load the last checkpoint with "
    "fastadam.load"
)


def _header(fd: int, path: str) -> tuple[dict[str, Any], int, int]:
    """The header of a file of this format, the offset of its data, and its size.

    Raises:
        ValueError: if it is another kind of file, or damaged.
    """
    first = os.read(fd, _FIRST.size)
    if not first.strip(b"\0"):
        what = "is empty, or its creation was in progress when its process ended"
        raise ValueError(f"{path} {what}; remove it, or give another path")
    if first[: len(MAGIC)] != MAGIC:
        what = "is not one of fastadam's files of arrays, and is left as it is"
        raise ValueError(f"{path} {what}; give another path")
    if len(first) < _FIRST.size:
        raise ValueError(f"{path} is damaged: it has only {len(first)} bytes; {_RESTORE}")
    _, version, checksum, length, data, size = _FIRST.unpack(first)
    if version != VERSION:
        raise ValueError(
            f"{path} has version {version} of its format, and this fastadam reads {VERSION}; "
            "use the fastadam that wrote it"
        )
    if (there := os.fstat(fd).st_size) != size:
        raise ValueError(
            f"{path} is damaged: it has {there:,} bytes instead of {size:,}; {_RESTORE}"
        )
    os.lseek(fd, _TEXT, os.SEEK_SET)
    text = os.read(fd, length) if _TEXT + length < data < size else b""
    if not text or _checksum(text, data, size) != checksum:
        raise ValueError(f"{path} is damaged: its header is not what was written; {_RESTORE}")
    header: dict[str, Any] = json.loads(text)
    return header, data, size
