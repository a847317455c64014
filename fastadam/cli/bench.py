"""`fastadam bench`: check the contenders, time them in turns, print, save and draw the result."""

import argparse
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..bench.script import check_writable
from .arguments import SPELLING

if TYPE_CHECKING:
    from ..bench.measurement import Report
    from ..bench.variants import Variant
    from ..bench.workload import Suite

HELP = "time a step against NumPy, unfused Numba, PyTorch and the memory's limit"

DESCRIPTION = """\
Times one float32 step of an optimizer (default: AdamW) in several implementations, on arrays of the
same sizes:

  numpy           one NumPy operation per line, with temporaries (AdamW)
  numba unfused   one compiled pass per operation (AdamW)
  torch ...       the optimizer of torch.optim, if it has it: for-loop, foreach, fused
  fastadam        this library
  limit           the same reads and writes as fastadam, and no arithmetic

Every contender is compared with a float64 reference first; a wrong one is not timed. All are timed
in turns, so that a disturbance of the machine affects all of them. Close other programs anyway: if
one of them keeps a core busy, steps with several threads wait for it. With glibc, freed memory is
reused, so that temporaries of numpy and torch cause no page faults: their best case. The table
shows quantiles of the time of a step, the memory traffic (that of fastadam, counted for all), the
share of the limit's speed, and the time relative to fastadam.

If several optimizers are named, each is timed against its own limit and against torch, and the
table has a row for each. The more state an optimizer keeps per element, the more bytes a step reads
and writes: 12 with SGD, 20 with Lion, or with SGD and momentum, 28 with AdamW. An optimizer with
sums over a parameter reads arrays once more, before the update: 44 with LAMB, 24 with Adafactor
over matrices, which reads gradients three times. So does its limit. Arrays that stay in the cache
of a core between two passes are read from there, so that a step of many small arrays may take less
time than the limit, which has one large array.

Optimizers with state or sums of rows or columns (AdamMini, RowwiseAdagrad, Adafactor) update a
matrix of N elements instead of an array of one dimension, as nearly a square as N allows: 3125 x
3200 for 1e7. So are the weights of large models, and numbers of rows and columns are then few
beside those of elements, which the bytes count. "all" leaves out Muon, whose time is that of matrix
products.

With --tail, AdamW is timed with options of a training step: gradients are unscaled, clipped by
their norm, checked for infinity and cleared; parameters are averaged and copied in bfloat16.
fastadam does all of this in two passes over memory; torch needs one call for each. The table has a
row for each option, one for four micro-batches per step, and one for all options but the latter.

With --peers, the AdamW of other libraries is timed as well where it is installed and right:
DeepSpeedCPUAdam, bitsandbytes in 32 bits, torchao in float32, optax under jax.jit with donated
buffers, and that of torch by default and under torch.compile. DeepSpeed compiles C++ code when it
is used first, and torch.compile for every size, torchao and bitsandbytes with it.

With --low-precision, AdamW is timed with parameters, gradients and state in bfloat16 and int8. The
table has a row for each configuration, and for the 8-bit optimizers of bitsandbytes and torchao
if they are installed, up to 1e7 elements.

With --offload, AdamW is timed as for a model whose optimizer is on the host: it reads bfloat16
gradients and writes a bfloat16 copy of float32 weights, which torch does with two casts. If PyTorch
has a GPU, a GPT-2 with random weights is then trained on it, without an optimizer, with PyTorch's
on the GPU, with torchao's offload, and with fastadam.torch.offload.CPUOffload in several
configurations: a minute more. FILE.csv has a second file, FILE-training.csv, for it.

With --from, nothing is measured: CSV files of earlier runs are shown and drawn, those of several
machines side by side.
"""

EXAMPLES = """\
examples:
  fastadam bench                                    1e3 to 1e8 elements, a few minutes
  fastadam bench --sizes 1e5 1e6 --seconds 2        a quick look
  fastadam bench --threads 1 --no-torch             serial, without PyTorch
  fastadam bench --threads 1 2 4 --csv sweep.csv    with each number of threads, side by side
  fastadam bench --peers                            other libraries as well, if they are installed
  fastadam bench --json > laptop.json               the numbers for another program
  fastadam bench --csv laptop.csv --plot laptop.png keep the numbers, draw them
  fastadam bench --optimizer lion                   another optimizer
  fastadam bench --optimizer all --sizes 1e7        a row for each
  fastadam bench --optimizer sgd sgd:momentum=0.9,nesterov=True adam:amsgrad=True
  fastadam bench --tail                             with gradient clipping, EMA and other options
  fastadam bench --low-precision                    in bfloat16 and int8
  fastadam bench --offload                          bfloat16 gradients in, a bfloat16 copy out
  fastadam bench --from laptop.csv --plot again.svg show and draw earlier numbers
  fastadam bench --from laptop.csv server.csv --plot both.png
"""

FORMATS = (".png", ".svg")
SECONDS = 10.0
ONLY_MEASURING = ("sizes", "threads", "peers", "seconds", "rounds", "csv", "no_torch", "no_small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastadam bench`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--optimizer",
        nargs="+",
        metavar="NAME",
        help=f"one or more, in any case, or all; {SPELLING} (default: AdamW)",
    )
    what.add_argument("--tail", action="store_true", help="AdamW with options of a step")
    what.add_argument("--low-precision", action="store_true", help="AdamW in bfloat16 and int8")
    what.add_argument("--offload", action="store_true", help="AdamW for a model on a device")
    what.add_argument(
        "--from",
        dest="files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="show and draw CSV files of earlier runs, without measuring",
    )
    add(
        "--sizes",
        nargs="+",
        metavar="N",
        help="elements per array, as 1e6 or 1000000 (default: 1e3 to 1e8 by decades, with --tail "
        "1e6 and 2e7, with --low-precision 1e7 and 1e8, with --offload 3e7)",
    )
    add(
        "--threads",
        nargs="+",
        type=int,
        metavar="N",
        help="threads for all (default: as many as Numba has); with several numbers, all is timed "
        "with each, and FILE.csv becomes FILE-threads-N.csv",
    )
    add(
        "--peers",
        action="store_true",
        help="compare with the AdamW of other libraries as well, as far as they are installed: "
        "DeepSpeed, bitsandbytes, torchao, optax, and that of PyTorch by default and compiled",
    )
    add("--json", action="store_true", help="print the numbers as JSON instead of tables")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"time to spend on each size (default: {SECONDS:g}); at least 7 rounds, at most 301",
    )
    length.add_argument("--rounds", type=int, metavar="N", help="number of rounds, instead")
    add("--csv", type=Path, metavar="FILE", help="write the numbers, with machine and versions")
    add("--plot", type=Path, metavar="FILE", help="draw the numbers, as .png or .svg")
    add("--no-torch", action="store_true", help="leave out PyTorch")
    add(
        "--no-small",
        action="store_true",
        help="leave out the case of 1000 arrays of 1000, which is timed for one optimizer only, "
        "or with --tail that of 40 arrays of 100000, with --offload each size in 1000 arrays",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark, or show earlier ones; return the exit status.

    Raises:
        ValueError: for arguments that are not valid, before anything is timed.
    """
    check_plot(arguments)
    if arguments.files:
        return show_files(arguments)
    check_arguments(arguments)
    from ..bench import machine
    from ..bench.console import say
    from ..bench.csv_io import write_report
    from ..bench.tables import threads

    reports = {}
    for number in dict.fromkeys(arguments.threads or [machine.most_threads()]):
        report = measured(arguments, number)
        reports[threads(report.machine)] = report
        if arguments.csv is not None:
            path = csv_for(arguments, number)
            write_report(report, path)
            say(f"Wrote {path}")
    trained = {"training": train(arguments)} if trains(arguments) else {}
    if arguments.json:
        show_all({**reports, **trained}, arguments)
        return 0
    show_all(reports, arguments)
    for report in trained.values():
        show(report)
    return 0


def trains(arguments: argparse.Namespace) -> bool:
    """True if a model is to be trained on a GPU as well."""
    from ..bench.training import has_gpu

    return bool(arguments.offload and not arguments.no_torch and has_gpu())


def train(arguments: argparse.Namespace) -> "Report":
    """Train a model on the GPU with each optimizer; what is measured is written at once."""
    from ..bench import training
    from ..bench.console import progress
    from ..bench.csv_io import write_report

    def keep(report: "Report") -> None:
        if arguments.csv is not None:
            path: Path = arguments.csv
            write_report(report, path.with_stem(f"{path.stem}-training"))

    with progress() as bar:
        return training.measured(bar, keep, training.Settings())


def csv_for(arguments: argparse.Namespace, threads: int) -> Path:
    """The file for the numbers with so many threads; FILE itself if there is no other number."""
    path: Path = arguments.csv
    several = len({*(arguments.threads or [])}) > 1
    return path.with_stem(f"{path.stem}-threads-{threads}") if several else path


def measured(arguments: argparse.Namespace, threads: int) -> "Report":
    """Validate the contenders and time them.

    Raises:
        ValueError: for optimizers, sizes or threads that are not valid, before anything is timed.
    """
    from ..bench import machine, peers, suites
    from ..bench.console import parsed_size, progress, say
    from ..bench.measurement import Report
    from ..bench.torch_contenders import load_torch
    from ..bench.workload import Request

    suite = suite_for(arguments)
    chosen = optimizers_of(arguments)
    sizes = [parsed_size(text) for text in arguments.sizes or suite.sizes]
    torch = not arguments.no_torch and load_torch()
    machine.check_threads(threads)
    load = machine.load_average()
    packages = (*suite.packages, *(peers.PACKAGES if arguments.peers else ()))
    described = partial(machine.describe, threads, *dict.fromkeys(packages), load=load)
    if not (torch or arguments.no_torch):
        say("PyTorch is not installed; the other contenders are timed without it.")
    say("Checking all contenders against float64; the first time, they are compiled as well.")
    if busy := machine.busy(described()):
        say(
            f"This will be {busy}: a step with threads waits for all of them, and its time may "
            "mean nothing. Close other programs."
        )
    machine.keep_freed_memory()
    small = not arguments.no_small
    request = Request(sizes, chosen, torch, small, threads, arguments.peers)
    seconds = arguments.seconds or SECONDS
    with machine.using_threads(threads, torch), progress() as bar:
        rows = suites.measured(suite, request, bar, seconds, arguments.rounds)
    if not rows:
        raise ValueError("no size fits into memory; give smaller --sizes")
    return Report(described(), rows)  # only now is the threading layer known


def suite_for(arguments: argparse.Namespace) -> "Suite":
    """The suite selected by the arguments."""
    from ..bench import offload, options, precision, steps

    if arguments.tail or arguments.low_precision or arguments.offload:
        if find_spec("ml_dtypes") is None:
            raise ValueError('bfloat16 needs ml_dtypes: pip install "fastadam[bench]"')
        if arguments.tail:
            return options.SUITE
        return offload.SUITE if arguments.offload else precision.SUITE
    return steps.SUITE


def optimizers_of(arguments: argparse.Namespace) -> "list[Variant]":
    """The optimizers that the arguments name."""
    from ..bench.variants import variants

    return variants(arguments.optimizer or ["AdamW"])


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse arguments that are not valid, before time is spent.

    Raises:
        ValueError: with a fix.
    """
    for name, numbers in (("threads", arguments.threads or []), ("rounds", [arguments.rounds])):
        for number in numbers:
            if number is not None and number < 1:
                raise ValueError(f"--{name}: {number} is less than 1; give at least 1")
    if arguments.peers and (arguments.tail or arguments.low_precision or arguments.optimizer):
        raise ValueError("--peers are AdamW in float32; leave out the option, or --peers")
    if arguments.seconds is not None and not 0 < arguments.seconds < float("inf"):
        raise ValueError(f"--seconds: {arguments.seconds} must be positive and finite; give 10")
    if arguments.csv is not None:
        check_writable("--csv", arguments.csv)


def check_plot(arguments: argparse.Namespace) -> None:
    """Refuse a chart that cannot be drawn or written.

    Raises:
        ValueError: with a fix.
    """
    if arguments.plot is None:
        return
    if arguments.plot.suffix.lower() not in FORMATS:
        raise ValueError(f"--plot: {str(arguments.plot)!r} does not end in .png or .svg")
    if find_spec("matplotlib") is None:
        raise ValueError('--plot needs matplotlib: pip install "fastadam[bench]"')
    check_writable("--plot", arguments.plot)


def show(report: "Report") -> None:
    """Print the table of a report, its machine and its summary."""
    from ..bench import tables
    from ..bench.suites import suite_of

    suite = suite_of(report)
    tables.show(suite.table(report))
    print(tables.conditions(report.machine))
    print(suite.summary(report))


def show_files(arguments: argparse.Namespace) -> int:
    """Show reports from files; several side by side.

    Raises:
        ValueError: for options of a measurement, or files that are not comparable reports.
    """
    for name in ONLY_MEASURING:
        if getattr(arguments, name) not in (None, False):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is for a measurement; leave it out, or --from")
    from ..bench import suites
    from ..bench.csv_io import read_report

    reports = {name: read_report(path) for name, path in named(arguments.files).items()}
    suites.check_alike(reports)
    if arguments.plot is not None:
        check_drawable(reports)
    show_all(reports, arguments)
    return 0


def show_all(reports: "Mapping[str, Report]", arguments: argparse.Namespace) -> None:
    """Print one report, or several side by side, as tables or as JSON; draw them if asked."""
    from ..bench import suites, tables
    from ..bench.console import say
    from ..bench.csv_io import to_json

    if arguments.json:
        print(to_json(reports))
    elif len(reports) == 1:
        (report,) = reports.values()
        show(report)
    else:
        tables.show(suites.side_by_side(reports))
        for name, report in reports.items():
            print(f"{name}: {tables.conditions(report.machine)}")
    if arguments.plot is not None:
        draw_files(reports, arguments.plot)
        say(f"Wrote {arguments.plot}")


def named(paths: list[Path]) -> dict[str, Path]:
    """Files by short names: the stem if no other has it, else the whole path."""
    stems = [path.stem for path in paths]
    return {p.stem if stems.count(p.stem) == 1 else str(p): p for p in paths}


def check_drawable(reports: "Mapping[str, Report]") -> None:
    """Refuse reports of a suite without a chart.

    Raises:
        ValueError: naming the suite.
    """
    from ..bench.suites import suite_of

    for report in reports.values():
        if suite_of(report).draw is None:
            raise ValueError(f"--plot: the suite {report.suite!r} has no chart")


def draw_files(reports: "Mapping[str, Report]", path: Path) -> None:
    """Draw one report, or several in one chart."""
    from ..bench import suites

    if len(reports) > 1:
        suites.write_comparison(reports, path)
        return
    (report,) = reports.values()
    suites.write_chart(report, path)
