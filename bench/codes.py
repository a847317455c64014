"""Compare codes for optimizer state of one byte per value.

fastadam's optimizers compute in float32; after every step the state that they leave is encoded and
decoded. The codes are in codes_books.py and codes_shift.py, the trials in codes_trials.py.

The results are in bench/results/codes.csv, from which the chart docs/assets/codes.png is drawn and
the table in docs/low-precision.md is made. The same seeds give the same numbers.
"""

import argparse
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import ml_dtypes
import numpy as np
from codes_blocks import Code, Plain
from codes_books import SCALED, Books
from codes_shift import Between, Offset, Shift
from codes_trials import DECADES, QUICK, Effort, Score, tried
from rich.console import Console
from rich.progress import track

from fastadam.bench import machine
from fastadam.bench.axes import label_ends
from fastadam.bench.charts import canvas, is_drawn_from
from fastadam.bench.csv_io import digest, from_csv, to_csv
from fastadam.bench.script import Parser, at_least, run_script
from fastadam.bench.tables import conditions

ROOT = Path(__file__).resolve().parent.parent
TABLE = re.compile(r"(<!-- codes -->\n).*?(<!-- /codes -->)", re.DOTALL)
OPTIMIZERS = ("Adam", "Lion", "SGD", "RMSprop", "Adagrad")
NEAREST = (False, False)
CODES: dict[str, Code] = {
    "float32": Plain(np.float32),
    "bfloat16": Plain(ml_dtypes.bfloat16),
    **{name: Books(*books) for name, books in SCALED.items()},
    **{f"{name}, raised": Books(*books, raised=True) for name, books in SCALED.items()},
    "between, nearest": Between(NEAREST, "zero"),
    "between": Between(tail="unbiased"),
    "shift, nearest": Shift(NEAREST, "zero"),
    "shift, m nearest": Shift((False, True), "zero"),
    "shift, v nearest": Shift((True, False)),
    "shift 19 bits": Shift(shift=19),
    "shift 21 bits": Shift(shift=21),
    "shift, zero below": Shift(tail="zero"),
    "shift, clamped below": Shift(tail="clamped"),
    "shift, unbiased below": Shift(tail="unbiased"),
    "shift": Shift(),
    "offset": Offset(tail="unbiased"),
}
CHOSEN = "shift"
REFERENCE, BAR, WORST = "float32", 2, 1e4
DRAWN = {"linear": "C7", "companded": "C2", "tree": "C1", "float8": "C4", "shift": "C3"}
HEAD = """\
| code | bytes | error of m | error of v | drift of v | {} | digits | hazard |
|---|---|---|---|---|{}---|---|
"""

EPILOG = """\
examples:
  python bench/codes.py            try, save and draw: some minutes
  python bench/codes.py --quick    a look, which replaces what was saved
  python bench/codes.py --draw     draw what was saved, and fill the table
  python bench/codes.py --check    are chart and table those of what was saved?
"""

Found = dict[str, dict[str, float]]  # trial, case


def measured(effort: Effort, jobs: int | None) -> str:
    """The CSV of all trials."""
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        found = pool.map(partial(tried, effort=effort), CODES, CODES.values())
        console = Console(stderr=True)
        shown = track(found, "trying codes", len(CODES), console=console, transient=True)
        scores = [score for each in shown for score in each]
    return to_csv(machine.describe(threads=1), scores, Score)


def by_code(scores: Iterable[Score]) -> dict[str, Found]:
    """The scores of each code, by trial and case."""
    found: dict[str, Found] = {}
    for score in scores:
        found.setdefault(score.code, {}).setdefault(score.trial, {})[score.case] = score.value
    return found


def excess(found: Found, exact: Found, optimizer: str) -> float:
    """Distance of an optimizer from the minimum, or its loss, relative to that with float32 state,
    in the worst of its runs."""
    ratios = [
        value / exact[f"{optimizer} {order}"][case]
        for order in ("random", "sorted")
        for case, value in found[f"{optimizer} {order}"].items()
    ]
    return max(ratio if math.isfinite(ratio) else math.inf for ratio in ratios)


def mean_error(found: Found, kind: str, decades: int = 4) -> float:
    """The mean relative error in the first decades below the largest value."""
    return fmean(found[f"error of {kind}"][f"mean {k}"] for k in range(decades))


def mean_of(cases: Mapping[str, float], ending: str) -> float:
    """Over seeds."""
    return fmean(value for case, value in cases.items() if case.endswith(ending))


def row(name: str, found: Found, exact: Found) -> str:
    """One line on a code."""
    digits = {case: v for case, v in found["digits Adam"].items() if case.startswith("0.001 ")}
    cells = [
        f"**{name}**" if name == CHOSEN else name,
        f"{found['bytes']['state']:.3f}",
        f"{mean_error(found, 'm'):.1%}",
        f"{mean_error(found, 'v'):.1%}",
        times(found["drift"]["constant worst"]),
        *(times(excess(found, exact, optimizer)) for optimizer in OPTIMIZERS),
        times(mean_of(digits, "loss"), 3),
        times(max(found["hazard"].values())),
    ]
    return "| " + " | ".join(cells) + " |\n"


def times(value: float, digits: int = 2) -> str:
    """A ratio with few digits; a power of ten if it is very large."""
    if not math.isfinite(value):
        return "diverges"
    if value >= WORST:
        return f"{value:.0e}"
    return f"{value:.{digits}f}" if value < 10 else f"{value:.0f}"


def filled(page: str, scores: Sequence[Score]) -> str:
    """The text of a page with its table as it should be."""
    found = by_code(scores)
    rows = "".join(row(name, each, found[REFERENCE]) for name, each in found.items())
    head = HEAD.format(" | ".join(OPTIMIZERS), "---|" * len(OPTIMIZERS))
    return TABLE.sub(lambda block: f"{block[1]}{head}{rows}{block[2]}", page)


def draw(text: str, path: Path) -> None:
    """The chart of a CSV: errors by decade, and how far from the minimum optimizers end."""
    measured_on, scores = from_csv(text, Score)
    found = by_code(scores)
    note = (
        "Left, middle: each point is a decade, down from that magnitude. Right: noisy quadratic "
        "with scales over four decades, loss or distance from the minimum relative to float32 "
        f"state, the worst run of each optimizer.\n{conditions(measured_on)}"
    )
    with canvas(path, digest(text), (13, 5.6), note) as figure:
        m, v, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
        draw_errors(m, found, "m", "First moment m (signed)")
        draw_errors(v, found, "v", "Second moment v (unsigned)")
        draw_excess(right, found)


def draw_errors(axes: Any, found: Mapping[str, Found], kind: str, title: str) -> None:
    """A line for each family of codes: the mean error in each decade."""
    ends, decades = {}, range(DECADES)
    axes.set_yscale("log")
    axes.set_ylim(2e-3, 1.5)
    for name, colour in DRAWN.items():
        if name in found:
            errors = [found[name][f"error of {kind}"][f"mean {k}"] for k in decades]
            width = 2.8 if name == CHOSEN else 1.6
            axes.plot(decades, errors, color=colour, linewidth=width, marker="o", markersize=4)
            ends[name] = errors[-1]
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xticks(decades, ["1", *(f"1e-{k}" for k in decades[1:])], fontsize=8.5)
    axes.set_xlabel("magnitude relative to the block's largest")
    axes.set_ylabel("mean relative error")
    axes.set_title(title, loc="left", fontsize=11)
    label_ends(axes, ends, DRAWN, CHOSEN)


def draw_excess(axes: Any, found: Mapping[str, Found]) -> None:
    """A row for each code with a dot for each optimizer."""
    names = [name for name in found if name != REFERENCE][::-1]
    axes.set_xscale("log")
    for optimizer in OPTIMIZERS:
        worst = [min(excess(found[n], found[REFERENCE], optimizer), WORST) for n in names]
        axes.scatter(worst, range(len(names)), s=28, label=optimizer, alpha=0.85, edgecolors="none")
    axes.axvline(BAR, color="#888888", linestyle=(0, (4, 2)))
    axes.set_xlabel("times as far as with float32 state")
    axes.set_yticks(range(len(names)), names)
    axes.get_yticklabels()[names.index(CHOSEN)].set_fontweight("bold")
    axes.set_xticks([1, BAR, 10, 100, 1e3, WORST], ["1", "2", "10", "100", "1000", "more"])
    axes.minorticks_off()
    axes.set_title("Distance from the minimum", loc="left", fontsize=11)
    axes.legend(frameon=False, loc="lower right", labelcolor="linecolor", fontsize=9)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--jobs", type=at_least(1), metavar="N", help="processes (default: all CPUs)"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--quick", action="store_true", help="few steps of few elements")
    instead.add_argument("--draw", action="store_true", help="try nothing, only draw")
    instead.add_argument("--check", action="store_true", help="only fail if anything is stale")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the trials and draw, or follow the options; return the exit status."""
    options = parsed(arguments)
    table, chart = root / "bench/results/codes.csv", root / "docs/assets/codes.png"
    page = root / "docs/low-precision.md"
    if not (options.draw or options.check):
        effort = QUICK if options.quick else Effort()
        table.write_text(measured(effort, options.jobs), encoding="utf-8")
    text, said = table.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    new = filled(said, from_csv(text, Score)[1])
    stale = {chart: not is_drawn_from(digest(text), chart), page: new != said}
    if options.check:
        for path, old in stale.items():
            print("stale:" if old else "fresh:", path.relative_to(root).as_posix())
        return int(any(stale.values()))
    draw(text, chart)
    page.write_text(new, encoding="utf-8")
    for path in stale:
        print("wrote", path.relative_to(root).as_posix())
    return 0


if __name__ == "__main__":
    run_script(main)
