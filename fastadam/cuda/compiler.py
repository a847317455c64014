"""The compiler for CUDA: from a function to PTX, with a device or without one.

Every operation must be rounded separately, as on the CPU. The output is checked before anything is
loaded: PTX without contracted operations (FMA), and no link-time optimizer, which would contract
them after all.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numba import cuda, types

from .code_cache import Code
from .context import SIMULATED

TRIED = "0.30.4"  # the version of numba-cuda with which this module was tested
_INEXACT = re.compile(r"\bfma\.|\bmad\.f|\b(?:add|sub|mul|div|sqrt)\.f(?:32|64)\b|\.approx|\.ftz")

if SIMULATED:  # nothing is compiled
    OPTIONS: dict[str, Any] = {}
else:
    from . import numba_compat
    from .numba_compat import OPTIONS


def declared(function: Any, **options: Any) -> Any:
    """A function to be compiled."""
    with _together():
        return cuda.jit(function, **OPTIONS, **options)


def assembled(function: Any) -> Any:
    """A kernel of one integer, compiled as it is written.

    Raises:
        RuntimeError: if the compiler contracted operations.
    """
    with _together():
        numba_compat.verify()
        made, used = numba_compat.made(function, (types.int64,))
    if wrong := [*_contractions(made, used)]:
        found = _version("numba-cuda")
        way_out = "report it" if found == TRIED else f"install numba-cuda=={TRIED}"
        raise RuntimeError(
            f"numba-cuda {found} compiled a kernel with {', '.join(wrong)}: its results would not "
            f"have the bits of the CPU's; {way_out}"
        )
    return made


def _contractions(made: Any, used: list[dict[str, Any]]) -> Iterator[str]:
    """The instructions and options that contract operations, or approximate results."""
    library = made._codelibrary
    if getattr(library, "_lto", False):
        yield "lto=True"
    if not used:
        yield "options that nobody saw"
    for options in used:
        if options.get("fma") is not False:
            yield f"fma={options.get('fma')}"
        if options.get("fastmath"):
            yield "fastmath=True"
        if "gen_lto" in options or "gen-lto" in options:
            yield "LTO-IR in place of PTX"
    yield from sorted({f"{found} in its PTX" for found in _INEXACT.findall(library.get_asm_str())})


def ptx(function: Any, capability: tuple[int, int]) -> str:
    """The PTX of a kernel for a compute capability; no device is needed."""
    return str(_library(function, capability).get_asm_str(capability))


def binary(function: Any, capability: tuple[int, int]) -> bytes:
    """The machine code of a kernel for a compute capability; no device is needed, but NVIDIA's
    linker (`nvidia-nvjitlink`)."""
    return _linked(_library(function, capability), capability).binary


def code_of(function: Any) -> Code:
    """The machine code of a kernel for the current device."""
    return _linked(assembled(function)._codelibrary, None)


def _linked(library: Any, capability: tuple[int, int] | None) -> Code:
    linked = library.get_cubin(capability)
    return Code(library._entry_name, bytes(getattr(linked, "code", linked)))


@lru_cache(maxsize=1)
def _library(function: Any, capability: tuple[int, int]) -> Any:
    """A kernel as PTX and as machine code, each generated on demand."""
    with numba_compat.for_capability(capability):
        return assembled(function)._codelibrary


def missing() -> str:
    """The reason why nothing can be compiled here, or an empty string."""
    try:
        with _together():
            cuda.compile_ptx(lambda: None, (), cc=(9, 0))
    except Exception as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


@contextmanager
def _together() -> Iterator[None]:
    """Check that the versions of numba-cuda and NumPy are compatible.

    Raises:
        ImportError: naming both.
    """
    try:
        yield
    except AttributeError as error:
        if error.obj is not np:
            raise
        raise ImportError(
            f"numba-cuda {_version('numba-cuda')} uses numpy.{error.name}, which NumPy "
            f'{np.__version__} does not have; run: pip install "numpy<2.5"'
        ) from error


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # numba.cuda as a part of Numba
        return "of Numba"
