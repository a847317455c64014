"""`fastadam info`: versions, processor, threads and kernel cache, for a bug report."""

import argparse
import os
import platform
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ... import __version__
from ..tables import terminal
from . import plan

HELP = "show versions, threads and the kernel cache, or plan the memory of training"

EPILOG = """\
examples:
  fastadam info
  NUMBA_THREADING_LAYER=workqueue fastadam info
  NUMBA_CACHE_DIR=kernels fastadam info

  fastadam info --plan 7e9
  fastadam info --plan 7e9 --params bfloat16 --state int8 --compensation split8
  fastadam info --plan 1e8 --optimizer sgd:momentum=0.9,ema_decay=0.999

Without --plan, one small parallel step is run, which compiles its kernel if that is not in the
cache yet. With it, nothing is run or allocated: the table shows bytes of parameters, gradients,
state and copies, and in `moved` the bytes that an update reads and writes, beside the same
optimizer in plain float32."""

FEATURES = ("avx", "avx2", "fma", "avx512f", "avx512bf16", "neon", "sve", "sve2", "bf16")
LAYERS = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastadam info`."""
    parser.epilog = EPILOG
    plan.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show a plan, or all facts about the machine."""
    plan.check(arguments)
    if arguments.plan is not None:
        plan.show(arguments)
        return 0
    _show([(label, answer) for label, answer in _answers() if answer])
    return 0


def _answers() -> Iterator[tuple[str, str]]:
    """Facts with their labels; a question that fails does not hide the answers to the others."""
    for label, question in QUESTIONS.items():
        try:
            yield label, question()
        except Exception as error:
            yield label, f"unknown: {type(error).__name__}: {' '.join(str(error).split())}"


def _package(name: str) -> Callable[[], str]:
    """The version of a package, which is not imported for it."""

    def installed() -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    return installed


def _cpu() -> str:
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} ({platform.machine()})"


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return f"{os.cpu_count()}" + (f", {usable} for this process" if usable else "")


def _features() -> str:
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return ", ".join(name for name in FEATURES if features.get(name)) or f"none of {FEATURES}"


def _threads() -> str:
    import fastadam

    from ...kernels.threads import SERIAL_BELOW

    return f"{fastadam.get_threads()} for a large step, 1 below {SERIAL_BELOW:,} elements"


def _setting(name: str) -> Callable[[], str]:
    return lambda: os.environ.get(name, "not set")


@cache
def _launched() -> str | None:
    """The threading layer, which Numba chooses at a step that is just large enough."""
    import numpy as np

    from ... import AdamW
    from ...kernels.threads import SERIAL_BELOW, threading_layer

    param, grad = np.zeros((2, SERIAL_BELOW), np.float32)
    AdamW(param, threads=2).step(grad)
    return threading_layer()


def _layer() -> str:
    from numba import config

    layer, asked = _launched(), config.THREADING_LAYER
    if layer is None:
        return "none: NUMBA_DISABLE_JIT is set"
    if asked != "default":
        return f"{layer}, as NUMBA_THREADING_LAYER={asked} asks for"
    return f"{layer}, the first that works of {', '.join(config.THREADING_LAYER_PRIORITY)}"


def _layers() -> str:
    def works(module: str) -> bool:
        try:
            import_module(f"numba.np.ufunc.{module}")
        except ImportError:
            return False
        return True

    return ", ".join(name for name, module in LAYERS.items() if works(module))


def _layer_warning() -> str:
    """The consequence of a layer that only one Python thread may enter."""
    from ...kernels.threads import threading_layer

    if threading_layer() != "workqueue":
        return ""
    return (
        "large steps from several Python threads do not run in parallel with one another: while "
        "one uses all threads, the others use one each; pip install tbb"
    )


@cache
def _cache_folder() -> Path | None:
    """The folder of the kernels: the first of Numba's candidates that it can write to."""
    from numba.core.caching import FunctionCache

    from ...kernels import template

    try:
        return Path(FunctionCache(template.kernel).cache_path)
    except RuntimeError:
        return None


def _cache() -> str:
    from numba import config

    from ...kernels import template

    folder = _cache_folder()
    if folder is None:
        return "none is writable, every process compiles; set NUMBA_CACHE_DIR to one that is"
    if folder == Path(template.__file__).parent / "__pycache__":
        reason = "beside the package"
    elif config.CACHE_DIR and folder.is_relative_to(config.CACHE_DIR):
        reason = "in NUMBA_CACHE_DIR"
    else:
        reason = "for this user, since the folder of the package is read-only"
    return f"{folder} ({reason}; writable)"


def _cache_size() -> str:
    folder = _cache_folder()
    if folder is None:
        return ""
    sizes = [path.stat().st_size for path in folder.iterdir() if path.suffix in (".nbi", ".nbc")]
    return f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"


def _cuda() -> str:
    try:
        from numba import cuda

        if not cuda.is_available():
            return "no"
        name = getattr(cuda.current_context().device, "name", "simulator")
        return f"yes, {name.decode() if isinstance(name, bytes) else name}"
    except Exception:  # no driver, no toolkit, no CUDA in this Numba: there are many ways
        return "no"


QUESTIONS: dict[str, Callable[[], str]] = {
    "fastadam": lambda: __version__,
    "Python": lambda: f"{platform.python_version()} ({platform.python_implementation()})",
    "platform": platform.platform,
    "NumPy": _package("numpy"),
    "Numba": _package("numba"),
    "llvmlite": _package("llvmlite"),
    "torch": _package("torch"),
    "CPU": _cpu,
    "CPU cores": _cores,
    "CPU features": _features,
    "threads": _threads,
    "NUMBA_NUM_THREADS": _setting("NUMBA_NUM_THREADS"),
    "OMP_NUM_THREADS": _setting("OMP_NUM_THREADS"),
    "threading layer": _layer,
    "layers available": _layers,
    "warning": _layer_warning,
    "kernel cache": _cache,
    "kernels in it": _cache_size,
    "CUDA": _cuda,
}


def _show(rows: list[tuple[str, str]]) -> None:
    """Print a table on a terminal that rich can draw on, lines of text elsewhere."""
    console = terminal()
    if console is None:
        return _show_text(rows)
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row, style="yellow" if row[0] == "warning" else None)
    console.print(table)


def _show_text(rows: list[tuple[str, str]]) -> None:
    width = max(len(label) for label, _ in rows)
    for label, answer in rows:
        print(f"{label:{width}}  {answer}")
