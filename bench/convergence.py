"""Train the digits network of `fastadam demo` with every optimizer, and draw their progress.

All optimizers, with their other defaults, try the same learning rates on the same seeds; a seed
decides the first weights, the order of the images and dropout. The chart shows the learning rate
with the least validation loss after the last epoch, in the mean over the seeds.

bench/results/convergence.csv has every epoch of those runs, and the last epoch of every other run;
the chart docs/assets/convergence.png is drawn from it. The same seeds give the same numbers.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from threadpoolctl import threadpool_limits

from fastadam import flatten, optimizers
from fastadam.bench import digits, machine
from fastadam.bench.axes import COLOURS, INK
from fastadam.bench.charts import canvas, is_drawn_from
from fastadam.bench.csv_io import digest, from_csv, to_csv
from fastadam.bench.measurement import OURS
from fastadam.bench.script import Parser, at_least, run_script
from fastadam.bench.tables import conditions

ROOT = Path(__file__).resolve().parent.parent
NAMES = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
]
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
SEEDS, EPOCHS, BATCH = 5, 20, 32

EPILOG = """\
examples:
  python bench/convergence.py             train, save and draw: about a minute
  python bench/convergence.py --epochs 2  a quick look, which replaces what was saved
  python bench/convergence.py --draw      draw what was saved
  python bench/convergence.py --check     is the chart drawn from what was saved?
"""


class Run(NamedTuple):
    """Optimizer, learning rate and seed of a training run."""

    optimizer: str
    lr: float
    seed: int


@dataclass(frozen=True)
class Epoch:
    """Scores of a run after an epoch, without dropout."""

    optimizer: str
    lr: float
    seed: int
    epoch: int
    train_loss: float
    valid_loss: float
    valid_accuracy: float


def trained(run: Run, epochs: int, data: tuple[digits.Images, digits.Images]) -> list[Epoch]:
    """Every epoch of a run."""
    rng = np.random.default_rng(run.seed)
    opt = getattr(optimizers, run.optimizer)(flatten(digits.layers(rng)), lr=run.lr)
    return [
        Epoch(*run, e.number, e.train.loss, e.valid.loss, e.valid.accuracy)
        for e in digits.train(opt, data, rng, epochs=epochs, batch=BATCH)
    ]


def all_trained(epochs: int, seeds: int) -> dict[Run, list[Epoch]]:
    """Every optimizer with every learning rate and seed. BLAS uses one thread: with several, the
    last bits would depend on how many there are."""
    data = digits.load()
    runs = [Run(name, lr, seed) for name in NAMES for lr in RATES for seed in range(seeds)]
    shown = track(runs, "training", console=Console(stderr=True), transient=True)
    with threadpool_limits(1), np.errstate(all="ignore"):  # a rate too large diverges
        return {run: trained(run, epochs, data) for run in shown}


def chosen(epochs: Sequence[Epoch]) -> dict[str, float]:
    """The learning rate of each optimizer, from the last epochs of all runs."""
    last = max(e.epoch for e in epochs)
    losses: dict[str, dict[float, list[float]]] = {}
    for e in epochs:
        if e.epoch == last:
            loss = e.valid_loss if math.isfinite(e.valid_loss) else math.inf
            losses.setdefault(e.optimizer, {}).setdefault(e.lr, []).append(loss)
    return {name: min(rates, key=lambda lr: fmean(rates[lr])) for name, rates in losses.items()}


def measured(epochs: int, seeds: int) -> str:
    """The CSV of all runs: every epoch of those that are chosen, the last one of the others."""
    runs = all_trained(epochs, seeds)
    rates = chosen([each[-1] for each in runs.values()])
    kept = [
        e
        for run, each in runs.items()
        for e in (each if run.lr == rates[run.optimizer] else each[-1:])
    ]
    return to_csv(machine.describe(threads=1), kept, Epoch)


def draw(text: str, path: Path) -> None:
    """Draw the chart of a CSV: a panel for each optimizer, with the others in grey behind it."""
    measured_on, epochs = from_csv(text, Epoch)
    rates = chosen(epochs)
    curves = {
        f"{name}, lr {lr:g}": [e for e in epochs if (e.optimizer, e.lr) == (name, lr)]
        for name, lr in rates.items()
    }
    seeds = len({e.seed for e in epochs})
    tried = sorted({e.lr for e in epochs})
    note = (
        f"Mean and range over {seeds} seeds; grey: the means of the other optimizers. Learning "
        f"rates are chosen by validation loss among {len(tried)} from {tried[0]:g} to "
        f"{tried[-1]:g}.\n{conditions(measured_on)}"
    )
    with canvas(path, digest(text), (12, 9.6), note) as figure:
        upper, lower = figure.subfigures(2, 1)
        upper.suptitle("Training loss (cross-entropy)", x=0.01, ha="left", fontsize=12)
        lower.suptitle("Validation accuracy", x=0.01, ha="left", fontsize=12)
        for axes in draw_panels(upper, curves, lambda e: e.train_loss):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        for axes in draw_panels(lower, curves, lambda e: e.valid_accuracy):
            axes.set_ylim(0.9, 1)
            axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")


def draw_panels(
    figure: Any, curves: dict[str, list[Epoch]], measure: Callable[[Epoch], float]
) -> list[Any]:
    """A panel for each optimizer: the mean over the seeds, and a band from least to most."""
    numbers = sorted({e.epoch for epochs in curves.values() for e in epochs})
    values = {
        label: [[measure(e) for e in epochs if e.epoch == number] for number in numbers]
        for label, epochs in curves.items()
    }
    columns = -(-len(curves) // 2)
    panels = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels[1]:
        axes.set_xlabel("epoch")
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


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--epochs",
        type=at_least(1),
        default=EPOCHS,
        metavar="N",
        help=f"of a run (default: {EPOCHS})",
    )
    add(
        "--seeds", type=at_least(1), default=SEEDS, metavar="N", help=f"how many (default: {SEEDS})"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--draw", action="store_true", help="train nothing, only draw")
    instead.add_argument("--check", action="store_true", help="only fail if the chart is stale")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Train and draw, or follow the options; return the exit status."""
    options = parsed(arguments)
    table, chart = root / "bench/results/convergence.csv", root / "docs/assets/convergence.png"
    if not (options.draw or options.check):
        table.write_text(measured(options.epochs, options.seeds), encoding="utf-8")
    text = table.read_text(encoding="utf-8")
    shown = chart.relative_to(root).as_posix()
    if options.check:
        fresh = is_drawn_from(digest(text), chart)
        print("fresh:" if fresh else "stale:", shown)
        return int(not fresh)
    draw(text, chart)
    print("wrote", shown)
    return 0


if __name__ == "__main__":
    run_script(main)
