"""`fastadam bench`: check the contenders, time them in turns, print, save and draw the result."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..bench.contenders import Case
    from ..bench.report import Report, Row

HELP = "time a step against NumPy, unfused Numba, PyTorch and the limit of the memory"

DESCRIPTION = """\
Times one float32 AdamW step, done in several ways on arrays of the same sizes:

  numpy           one NumPy operation per line, with temporaries
  numba unfused   one compiled pass per operation
  torch ...       torch.optim.AdamW, if PyTorch is installed: for-loop, foreach, fused
  fused           fastadam.AdamW
  limit           the same reads and writes as fused, and no arithmetic

Every contender is compared with a float64 reference first; a wrong one is not timed. All take
turns, so that a busy moment of the machine meets all of them. With glibc, freed memory is kept,
so that temporaries of numpy and torch cost no page faults: that is their best case. The table
shows quantiles of the time of a step, the memory traffic (28 bytes per element for all), the
share of the limit's speed, and the time relative to fused.
"""

EXAMPLES = """\
examples:
  fastadam bench                                    1e3 to 1e8 elements, some minutes
  fastadam bench --sizes 1e5 1e6 --seconds 2        a quick look
  fastadam bench --threads 1 --no-torch             serial, without PyTorch
  fastadam bench --csv laptop.csv --plot laptop.png keep the numbers, draw them
"""

DEFAULT_SIZES = ("1e3", "1e4", "1e5", "1e6", "1e7", "1e8")
FORMATS = (".png", ".svg")

Show = Callable[[str, float], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add = parser.add_argument
    add(
        "--sizes",
        nargs="+",
        default=DEFAULT_SIZES,
        metavar="N",
        help="elements per array, as 1e6 or 1000000 (default: 1e3 to 1e8 by decades)",
    )
    add("--threads", type=int, metavar="N", help="threads for all (default: as many as Numba has)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="time to spend on each size (default: 10); at least 7 rounds, at most 301",
    )
    length.add_argument("--rounds", type=int, metavar="N", help="make so many rounds instead")
    add("--csv", type=Path, metavar="FILE", help="write the numbers, with machine and versions")
    add("--plot", type=Path, metavar="FILE", help="draw the numbers, as .png or .svg")
    add("--no-torch", action="store_true", help="leave out PyTorch")
    add("--no-small", action="store_true", help="leave out the case of 1000 arrays of 1000")


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark; the exit status.

    Raises:
        ValueError: for arguments that make no sense, before anything is timed.
    """
    sizes = [parsed_size(text) for text in arguments.sizes]
    check_arguments(arguments)

    from ..bench import contenders, machine
    from ..bench.report import Report

    torch = not arguments.no_torch and contenders.load_torch()
    threads = arguments.threads or contenders.most_threads()
    cases = [contenders.one_array(size) for size in sizes]
    if not arguments.no_small:
        cases.append(contenders.many_arrays())
    if not (torch or arguments.no_torch):
        say("PyTorch is not installed; the other contenders go on without it.")
    machine.keep_freed_memory()
    with contenders.using_threads(threads, torch), progress() as show:
        validated(torch, show)
        rows = [row for case in cases for row in timed(case, torch, arguments, show)]
    publish(Report(machine.describe(threads), rows), arguments)
    return 0


def parsed_size(text: str) -> int:
    """A count of elements, in digits or as 1e6.

    Raises:
        ValueError: if it is something else.
    """
    try:
        number = float(text)
        size = int(number)
    except (ValueError, OverflowError):
        number, size = 0.5, 0
    if size != number or size < 1:
        raise ValueError(f"--sizes: {text!r} is not a count of elements; write 1000000 or 1e6")
    return size


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse what could not be done, before time is spent.

    Raises:
        ValueError: with the way out.
    """
    for name in ("threads", "rounds"):
        number = getattr(arguments, name)
        if number is not None and number < 1:
            raise ValueError(f"--{name}: {number} is less than 1; give at least 1")
    if not 0 < arguments.seconds < float("inf"):
        raise ValueError(f"--seconds: {arguments.seconds} is no time to spend; give e.g. 10")
    for name in ("csv", "plot"):
        path = getattr(arguments, name)
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"--{name}: the folder of {str(path)!r} does not exist; create it")
    if arguments.plot is not None:
        if arguments.plot.suffix.lower() not in FORMATS:
            raise ValueError(f"--plot: {str(arguments.plot)!r} does not end in .png or .svg")
        if find_spec("matplotlib") is None:
            raise ValueError('--plot needs matplotlib: pip install "fastadam[bench]"')


def validated(torch: bool, show: Show) -> None:
    """Check every contender, which compiles everything that is timed later."""
    from ..bench import contenders

    checks = [
        (case, name) for case in contenders.VALIDATED for name in contenders.names_for(case, torch)
    ]
    say(
        "Checking all contenders against float64. A first run also compiles them: the fused "
        "kernel, and two versions each of eight Numba passes and of the limit."
    )
    for number, (case, name) in enumerate(checks):
        show(f"checking {name}", number / len(checks))
        contenders.validate(case, name)


def timed(case: "Case", torch: bool, arguments: argparse.Namespace, show: Show) -> list["Row"]:
    """The rows of a case; none, and a message, if the memory would not do."""
    from ..bench import contenders, machine, report, timing

    machine.release_freed_memory()
    names = contenders.names_for(case, torch)
    needed, available = case.bytes(names), machine.available_memory()
    if available is not None and needed > available:
        say(
            f"Skipping {case.label}: it takes {needed / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB are available."
        )
        return []
    show(case.label, 0.0)
    steps = [contender.step for contender in contenders.contenders(case, names)]
    timings = timing.measure(
        steps,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        progress=lambda fraction: show(case.label, fraction),
    )
    return report.rows_of(case, dict(zip(names, timings, strict=True)))


def publish(report: "Report", arguments: argparse.Namespace) -> None:
    """Print the table and the summary; write the files that were asked for."""
    from ..bench.report import conditions, show, summary, write_csv

    if not report.rows:
        raise ValueError("no size fits into memory; give smaller --sizes")
    show(report)
    print(conditions(report))
    print(summary(report))
    if arguments.csv is not None:
        write_csv(report, arguments.csv)
        say(f"Wrote {arguments.csv}")
    if arguments.plot is not None:
        from ..bench.chart import write_chart

        write_chart(report, arguments.plot)
        say(f"Wrote {arguments.plot}")


def say(text: str) -> None:
    """A message that is no result."""
    print(text, file=sys.stderr)


@contextmanager
def progress() -> Iterator[Show]:
    """A bar on the terminal; without rich, a line for each new task.

    It is drawn between rounds, not from a thread of its own, which would disturb the timing.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield plain_progress()
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
    task = bar.add_task("", total=1.0)

    def show(label: str, fraction: float) -> None:
        if bar.tasks[task].description != label:
            bar.reset(task, description=label)
        bar.update(task, completed=fraction, refresh=True)

    with bar:
        yield show


def plain_progress() -> Show:
    """Says each new label once."""
    seen: set[str] = set()

    def show(label: str, fraction: float) -> None:
        if label not in seen:
            say(label)
        seen.add(label)

    return show
