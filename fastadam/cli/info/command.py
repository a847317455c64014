"""`fastadam info`: versions, processor, threads and kernel cache, for a bug report."""

import argparse
import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

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
cache yet. With it, nothing is run or allocated: the table shows the bytes of parameters, gradients,
state and copies, and in the row `moved` the bytes that an update reads and writes, next to the
same optimizer in plain float32."""


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


def _cores() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return f"{os.cpu_count()}" + (f", {usable} for this process" if usable else "")


def _threads() -> str:
    import fastadam

    from ...kernels.cpu.threads import SERIAL_BELOW

    return f"{fastadam.get_threads()} for a large step, 1 below {SERIAL_BELOW:,} elements"


def _environment(name: str) -> Callable[[], str]:
    """A fact of `fastadam.bench.environment`, which is imported when it is asked for."""

    def fact() -> str:
        from ...bench import environment

        return str(getattr(environment, name)())

    return fact


def _setting(name: str) -> Callable[[], str]:
    return lambda: os.environ.get(name, "not set")


QUESTIONS: dict[str, Callable[[], str]] = {
    "fastadam": lambda: __version__,
    "Python": lambda: f"{platform.python_version()} ({platform.python_implementation()})",
    "platform": platform.platform,
    "NumPy": _package("numpy"),
    "Numba": _package("numba"),
    "llvmlite": _package("llvmlite"),
    "torch": _package("torch"),
    "CPU": _environment("cpu"),
    "CPU cores": _cores,
    "CPU features": _environment("features"),
    "threads": _threads,
    "NUMBA_NUM_THREADS": _setting("NUMBA_NUM_THREADS"),
    "OMP_NUM_THREADS": _setting("OMP_NUM_THREADS"),
    "threading layer": _environment("layer"),
    "layers available": _environment("layers"),
    "warning": _environment("layer_warning"),
    "kernel cache": _environment("kernel_cache"),
    "kernels in it": _environment("cache_size"),
    "CUDA": _environment("cuda_device"),
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
