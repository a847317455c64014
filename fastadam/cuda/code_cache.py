"""Disk cache of machine code of kernels for CUDA.

A file is used if its key and checksum match; otherwise the kernel is compiled. The key consists of
the name of the kernel, which has a digest of its functions, the device and the compilers.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from numba import config

MAGIC = b"fastadam, machine code for CUDA, 1"
COMPILERS = (
    "numba",
    "llvmlite",
    "numba-cuda",
    "cuda-bindings",
    "cuda-core",
    "nvidia-nvvm",
    "nvidia-nvjitlink",
    "nvidia-nvjitlink-cu12",
    "nvidia-cuda-nvcc",
    "nvidia-cuda-nvcc-cu12",
)


class Code(NamedTuple):
    """Machine code that a device loads.

    Attributes:
        entry: the name of the kernel in it.
    """

    entry: str
    binary: bytes


def code_for(name: str, device: str, make: Callable[[], Code], fresh: bool = False) -> Code:
    """The code of a kernel, loaded from the disk, or compiled and stored there.

    Args:
        name: the name of the kernel, with a digest of its functions.
        device: further properties on which the code depends: compute capability, driver.
        make: compiles the kernel.
        fresh: True to ignore and replace the file on the disk.
    """
    key = "\n".join([name, device, *_compilers()])
    file = f"{name[:80]}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.cubin"
    for folder in _folders() if not fresh else ():
        if (found := _read(folder / file, key)) is not None:
            return found
    code = make()
    any(_write(folder, file, key, code) for folder in _folders())
    return code


def _compilers() -> Iterator[str]:
    for package in COMPILERS:
        with suppress(PackageNotFoundError):
            yield f"{package} {version(package)}"
    for variable in ("CUDA_HOME", "CUDA_PATH"):  # a toolkit that is installed elsewhere
        if path := os.environ.get(variable):
            yield os.path.realpath(path)


def _folders() -> Iterator[Path]:
    """The folders for files: NUMBA_CACHE_DIR if set, the folder of this module, or the user's."""
    if config.CACHE_DIR:
        yield Path(config.CACHE_DIR, "fastadam-cuda")
        return
    yield Path(__file__).parent / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "fastadam")


def _head(key: str, code: Code) -> bytes:
    parts = key.encode(), code.entry.encode(), code.binary
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return b"\n".join([MAGIC, digest.encode(), code.entry.encode(), b""])


def _read(path: Path, key: str) -> Code | None:
    """The content of a file, if it is complete and has this key."""
    try:
        head, digest, entry, binary = path.read_bytes().split(b"\n", 3)
        code = Code(entry.decode(), binary)
    except (OSError, ValueError):
        return None
    whole = _head(key, code) == b"\n".join([head, digest, entry, b""])
    return code if whole else None


def _write(folder: Path, file: str, key: str, code: Code) -> bool:
    """Store code atomically; returns True on success."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=f"{file}.", dir=folder)
    except OSError:
        return False
    try:
        with os.fdopen(number, "wb") as target:
            target.write(_head(key, code) + code.binary)
        os.replace(name, folder / file)
    except OSError:
        with suppress(OSError):
            os.unlink(name)
        return False
    return True
