"""The learning curve of the demo: loss, accuracy and learning rate by epoch."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

if TYPE_CHECKING:
    from ...bench.digits import Epoch

TITLES = {"loss": "cross-entropy", "accuracy": "share of digits recognised"}
CURVES = (("train", "training", "#d9822b"), ("valid", "validation", "#1f6fb2"))


def draw(history: "list[Epoch]", headline: str, path: Path) -> None:
    """Save the learning curve: loss and accuracy, and the learning rate if it changes."""
    epochs, rates = [epoch.number for epoch in history], [epoch.lr for epoch in history]
    scheduled = len({*rates}) > 1
    figure = Figure(figsize=(14 if scheduled else 10, 4.2), dpi=150, layout="constrained")
    figure.suptitle(headline, fontsize=13)
    loss, accuracy, *rate = figure.subplots(1, 3 if scheduled else 2)
    for axes, measure in ((loss, "loss"), (accuracy, "accuracy")):
        for part, label, color in CURVES:
            values = [getattr(getattr(epoch, part), measure) for epoch in history]
            axes.plot(epochs, values, label=label, color=color, marker="o", markersize=3)
        axes.set_title(TITLES[measure], loc="left", fontsize=11)
    for axes in rate:
        axes.plot(epochs, rates, color="#555555", marker="o", markersize=3)
        axes.set_title("learning rate", loc="left", fontsize=11)
    for axes in figure.axes:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    loss.set_yscale("log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    loss.yaxis.set_major_formatter("{x:g}")
    loss.yaxis.set_minor_formatter(NullFormatter())
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    accuracy.legend(frameon=False, loc="lower right")
    figure.savefig(path)
