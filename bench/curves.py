"""Common parts of the comparisons of convergence: learning rates, charts and options."""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, Protocol, TypeVar

from fastadam.bench.axes import COLOURS, INK
from fastadam.bench.charts import is_drawn_from
from fastadam.bench.csv_io import digest
from fastadam.bench.measurement import OURS
from fastadam.bench.script import Parser, at_least

ROOT = Path(__file__).resolve().parent.parent


class Run(NamedTuple):
    """Optimizer, learning rate and seed of a training run."""

    optimizer: str
    lr: float
    seed: int


class Point(Protocol):
    """Scores of a run at some time."""

    @property
    def optimizer(self) -> str: ...
    @property
    def lr(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def valid_loss(self) -> float: ...
    @property
    def number(self) -> int:
        """Epochs or steps since the start."""


P = TypeVar("P", bound=Point)
Curves = dict[str, list[P]]


def last(points: Sequence[P]) -> list[P]:
    """The points at the end of training."""
    end = max(p.number for p in points)
    return [p for p in points if p.number == end]


def chosen(points: Sequence[Point]) -> dict[str, float]:
    """The learning rate of each optimizer with the least validation loss at the end, in the mean
    over the seeds."""
    losses: dict[str, dict[float, list[float]]] = {}
    for p in last(points):
        loss = p.valid_loss if math.isfinite(p.valid_loss) else math.inf
        losses.setdefault(p.optimizer, {}).setdefault(p.lr, []).append(loss)
    return {name: min(rates, key=lambda lr: fmean(rates[lr])) for name, rates in losses.items()}


def kept(runs: Mapping[Run, Sequence[P]]) -> list[P]:
    """All points of the runs with a chosen learning rate, and the last points of the others."""
    rates = chosen([points[-1] for points in runs.values()])
    return [
        point
        for run, points in runs.items()
        for point in (points if run.lr == rates[run.optimizer] else points[-1:])
    ]


def best(points: Sequence[P]) -> Curves[P]:
    """The points of each optimizer with its chosen learning rate, by a label that states both."""
    return {
        f"{name}, lr {lr:g}": [p for p in points if (p.optimizer, p.lr) == (name, lr)]
        for name, lr in chosen(points).items()
    }


def draw_panels(
    figure: Any, curves: Curves[P], measure: Callable[[P], float], unit: str, columns: int
) -> list[Any]:
    """A panel for each optimizer: the mean over the seeds, and a band from least to most."""
    numbers = sorted({p.number for points in curves.values() for p in points})
    values = {
        label: [[measure(p) for p in points if p.number == number] for number in numbers]
        for label, points in curves.items()
    }
    rows = -(-len(curves) // columns)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels[-1]:
        axes.set_xlabel(unit)
        axes.locator_params(axis="x", integer=True)
    for axes, (label, each) in zip(panels.flat, values.items(), strict=False):
        for other in values.values():
            axes.plot(numbers, list(map(fmean, other)), color="#D8D8D8", linewidth=1)
        low, high, colour = list(map(min, each)), list(map(max, each)), COLOURS[OURS]
        axes.fill_between(numbers, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(numbers, list(map(fmean, each)), color=colour, linewidth=2)
        axes.set_title(label, loc="left", fontsize=10, color=INK)
    for axes in panels.flat[len(curves) :]:
        axes.set_visible(False)
    return list(panels.flat)


def parser(description: str | None, epilog: str, unit: str, length: int, seeds: int) -> Parser:
    """The command line of a comparison: the length of its runs in a unit, their seeds, and what
    to do instead of training."""
    made = Parser(
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, default, text in ((unit, length, "of a run"), ("seeds", seeds, "how many")):
        made.add_argument(
            f"--{option}",
            type=at_least(1),
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )
    instead = made.add_mutually_exclusive_group()
    instead.add_argument("--draw", action="store_true", help="train nothing, only draw")
    instead.add_argument("--check", action="store_true", help="only fail if the chart is stale")
    return made


def follow(
    options: argparse.Namespace,
    paths: tuple[Path, Path],
    measured: Callable[[], str],
    draw: Callable[[str, Path], None],
) -> int:
    """Train, save and draw a comparison, or do what the options say; return the exit status.

    Args:
        paths: the CSV file, and the chart in docs/assets/.
        measured: a function that trains and returns the text of the CSV file.
        draw: a function that draws such a text.
    """
    table, chart = paths
    if not (options.draw or options.check):
        table.write_text(measured(), encoding="utf-8")
    text = table.read_text(encoding="utf-8")
    shown = chart.relative_to(chart.parents[2]).as_posix()
    if options.check:
        fresh = is_drawn_from(digest(text), chart)
        print("fresh:" if fresh else "stale:", shown)
        return int(not fresh)
    draw(text, chart)
    print("wrote", shown)
    return 0
