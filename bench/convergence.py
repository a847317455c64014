"""Train the digits network of `fastadam demo` with ten optimizers, and draw their progress.

All optimizers, with their other defaults, try the same learning rates on the same seeds; a seed
decides the first weights, the order of the images and dropout. The chart shows the learning rate
with the least validation loss after the last epoch, in the mean over the seeds.

bench/results/convergence.csv has every epoch of those runs, and the last epoch of every other run;
the chart docs/assets/convergence.png is drawn from it. The same seeds give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from curves import ROOT, Run, best, draw_panels, follow, kept, parser
from rich.console import Console
from rich.progress import track
from threadpoolctl import threadpool_limits

from fastadam import flatten, optimizers
from fastadam.bench import digits, machine
from fastadam.bench.charts import canvas
from fastadam.bench.csv_io import digest, from_csv, to_csv
from fastadam.bench.script import run_script
from fastadam.bench.tables import conditions

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

    @property
    def number(self) -> int:
        return self.epoch


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


def measured(epochs: int, seeds: int) -> str:
    """The CSV of all runs: every epoch of those that are chosen, the last one of the others."""
    return to_csv(machine.describe(threads=1), kept(all_trained(epochs, seeds)), Epoch)


def draw(text: str, path: Path) -> None:
    """Draw the chart of a CSV: a panel for each optimizer, with the others in grey behind it."""
    measured_on, epochs = from_csv(text, Epoch)
    curves = best(epochs)
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
        for axes in draw_panels(upper, curves, lambda e: e.train_loss, "epoch", 5):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
        for axes in draw_panels(lower, curves, lambda e: e.valid_accuracy, "epoch", 5):
            axes.set_ylim(0.9, 1)
            axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Train and draw, or follow the options; return the exit status."""
    options = parser(__doc__, EPILOG, "epochs", EPOCHS, SEEDS).parse_args(arguments)
    paths = root / "bench/results/convergence.csv", root / "docs/assets/convergence.png"
    return follow(options, paths, lambda: measured(options.epochs, options.seeds), draw)


if __name__ == "__main__":
    run_script(main)
