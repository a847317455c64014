"""`fastadam bench`: check the contenders, time them in turns, print, save and draw the result."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..bench.contenders import Case
    from ..bench.report import Measured, Row
    from ..bench.timing import Step, Timing
    from ..bench.variants import Variant

HELP = "time a step against NumPy, unfused Numba, PyTorch and the limit of the memory"

DESCRIPTION = """\
Times one float32 step of an optimizer, AdamW unless another is named, done in several ways on
arrays of the same sizes:

  numpy           one NumPy operation per line, with temporaries (AdamW)
  numba unfused   one compiled pass per operation (AdamW)
  torch ...       torch.optim's, if PyTorch has it: for-loop, foreach, fused
  fused           fastadam's
  limit           the same reads and writes as fused, and no arithmetic

Every contender is compared with a float64 reference first; a wrong one is not timed. All take
turns, so that a busy moment of the machine meets all of them. Close what else is running all the
same: where another program has a core, steps with threads wait for it, some for milliseconds. With
glibc, freed memory is kept, so that temporaries of numpy and torch cost no page faults: that is
their best case. The table shows quantiles of the time of a step, the memory traffic (what fused
moves, counted for all), the share of the limit's speed, and the time relative to fused.

If several optimizers are named, each is timed against its own limit and against torch, and the
table has a row for each. A step reads and writes the more, the more is kept for each element: 12
bytes with SGD, 20 with Lion, or with SGD and momentum, 28 with AdamW.

With --tail, AdamW is timed with what surrounds a step in training: gradients are unscaled, clipped
by their norm, checked for infinity and cleared, parameters are averaged and copied in bfloat16.
fused does all of it in two passes over memory; torch has a call for each. The table has a row for
each of these options, one for four micro-batches to a step, and one for all but these.

With --low-precision, AdamW is timed with parameters, gradients and state in bfloat16 and int8. The
table has a row for each configuration, and for the 8-bit optimizers of bitsandbytes and torchao
where they are installed, up to 1e7 elements.
"""

EXAMPLES = """\
examples:
  fastadam bench                                    1e3 to 1e8 elements, some minutes
  fastadam bench --sizes 1e5 1e6 --seconds 2        a quick look
  fastadam bench --threads 1 --no-torch             serial, without PyTorch
  fastadam bench --csv laptop.csv --plot laptop.png keep the numbers, draw them
  fastadam bench --optimizer lion                   another optimizer
  fastadam bench --optimizer all --sizes 1e7        a row for each
  fastadam bench --tail                             with clipping, averages and the like
  fastadam bench --low-precision                    in bfloat16 and int8
  fastadam bench --optimizer sgd sgd:momentum=0.9,nesterov=True adam:amsgrad=True
"""

DEFAULT_SIZES = ("1e3", "1e4", "1e5", "1e6", "1e7", "1e8")
FORMATS = (".png", ".svg")

Show = Callable[[str, float], None]
NamesFor = Callable[["Case"], list[str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--optimizer",
        nargs="+",
        default=("AdamW",),
        metavar="NAME",
        help="one or more, in any case, or all; options follow as in sgd:momentum=0.9,nesterov=True"
        " (default: AdamW)",
    )
    what.add_argument("--tail", action="store_true", help="AdamW with what surrounds a step")
    what.add_argument("--low-precision", action="store_true", help="AdamW in bfloat16 and int8")
    add(
        "--sizes",
        nargs="+",
        metavar="N",
        help="elements per array, as 1e6 or 1000000 (default: 1e3 to 1e8 by decades, with --tail "
        "1e6 and 2e7, with --low-precision 1e7 and 1e8)",
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
    add(
        "--no-small",
        action="store_true",
        help="leave out the case of 1000 arrays of 1000, which is timed for one optimizer only, "
        "or with --tail that of 40 arrays of 100000",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark; the exit status.

    Raises:
        ValueError: for arguments that make no sense, before anything is timed.
    """
    check_arguments(arguments)

    from ..bench import contenders, kinds, machine
    from . import low_precision, tail

    torch = not arguments.no_torch and contenders.load_torch()
    threads = arguments.threads or contenders.most_threads()
    if not (torch or arguments.no_torch):
        say("PyTorch is not installed; the other contenders go on without it.")
    say("Checking all contenders against float64; the first time, they are compiled as well.")
    if busy := machine.busy():
        say(busy)
    machine.keep_freed_memory()
    measured: Callable[..., list[Any]] = rows
    kind = kinds.STEPS
    if arguments.tail:
        measured, kind = tail.rows, kinds.TAILS
    if arguments.low_precision:
        measured, kind = low_precision.rows, kinds.LOW_PRECISION
    with contenders.using_threads(threads, torch), progress() as show:
        timed = measured(arguments, torch, show)
    publish(kind.report(machine.describe(threads, *kind.packages), timed), arguments)
    return 0


def rows(arguments: argparse.Namespace, torch: bool, show: Show) -> list["Row"]:
    """Check and time the steps of some optimizers."""
    from ..bench import contenders
    from ..bench.variants import variants

    sizes = sizes_of(arguments, DEFAULT_SIZES)
    chosen = variants(arguments.optimizer)
    names_for = partial(contenders.names_for, torch=torch, overview=len(chosen) > 1)
    cases = [contenders.one_array(size, variant) for variant in chosen for size in sizes]
    if len(chosen) == 1 and not arguments.no_small:
        cases.append(contenders.many_arrays(variant=chosen[0]))
    for variant in chosen:
        validated(variant, names_for, torch, show)
    return [row for case in cases for row in timed(case, names_for(case), arguments, show)]


def sizes_of(arguments: argparse.Namespace, default: Sequence[str]) -> list[int]:
    """The counts of elements that are asked for."""
    return [parsed_size(text) for text in arguments.sizes or default]


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


def validated(variant: "Variant", names_for: NamesFor, torch: bool, show: Show) -> None:
    """Check every contender, which compiles everything that is timed later."""
    from ..bench import validation

    checks = [(case, name) for case in validation.cases(variant) for name in names_for(case)]
    accepted(f"checking {variant.label}", checks, partial(validation.validate, torch=torch), show)


def accepted(
    label: str, checks: Sequence[tuple[Any, ...]], validate: Callable[..., None], show: Show
) -> None:
    """Go through all checks, each the arguments of `validate`, which raises."""
    for number, check in enumerate(checks):
        show(label, number / len(checks))
        validate(*check)


def timed(case: "Case", names: list[str], arguments: argparse.Namespace, show: Show) -> list["Row"]:
    """The rows of a case; none, if the memory would not do."""
    from ..bench import contenders, report

    if not fits(case, case.bytes(names)):
        return []
    steps = [contender.step for contender in contenders.contenders(case, names)]
    timings = clocked(f"{case.variant.label}, {case.label}", steps, arguments, show)
    return report.rows_of(case, dict(zip(names, timings, strict=True)))


def fits(case: "Case", needed: int) -> bool:
    """Whether there is memory for a case; if not, says so."""
    from ..bench import machine

    machine.release_freed_memory()
    available = machine.available_memory()
    if available is None or needed <= available:
        return True
    say(
        f"Skipping {case.label}: it takes {needed / 1e9:.1f} GB of memory, and "
        f"{available / 1e9:.1f} GB are available."
    )
    return False


def clocked(
    label: str,
    steps: Sequence["Step"],
    arguments: argparse.Namespace,
    show: Show,
    before: Sequence["Step"] | None = None,
) -> list["Timing"]:
    """Time steps in turns for as long as was asked."""
    from ..bench import timing

    show(label, 0.0)
    return timing.measure(
        steps,
        before=before,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        progress=lambda fraction: show(label, fraction),
    )


def publish(report: "Measured[Any]", arguments: argparse.Namespace) -> None:
    """Print the table and the summary; write the files that were asked for."""
    from ..bench.kinds import kind_of
    from ..bench.report import write_csv
    from ..bench.tables import conditions, show

    if not report.rows:
        raise ValueError("no size fits into memory; give smaller --sizes")
    kind = kind_of(report)
    show(kind.tables.table(report))
    print(conditions(report.machine))
    print(kind.tables.summary(report))
    if arguments.csv is not None:
        write_csv(report, arguments.csv)
        say(f"Wrote {arguments.csv}")
    if arguments.plot is not None and kind.chart:
        kind.chart.write_chart(report, arguments.plot)
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
