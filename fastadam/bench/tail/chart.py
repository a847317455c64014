"""The chart of a report: what each option costs, and how the whole tail compares."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..chart import COLOURS, INK, canvas, draw_ratios
from ..tables import conditions, duration
from .report import Report, Row
from .tables import largest
from .tails import ALL, PLAIN

BAR = 0.38  # how thick one is, where tails are 1 apart
COLOUR = {"fused": COLOURS["fused"], "torch": COLOURS["torch fused"]}


def write_chart(report: Report, path: Path) -> None:
    """Draw the report as PNG or SVG, by the ending of the path."""
    with canvas(path, report.digest, (10, 4.6), conditions(report.machine)) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        draw_costs(left, report)
        whole = [tails[ALL.label] for tails in report.cases.values()]
        rivals = [rows["torch"] for rows in whole if "torch" in rows]
        draw_ratios(right, rivals, "Time of torch / fused, all options", COLOUR["torch"])


def draw_costs(axes: Any, report: Report) -> None:
    """A bar for each tail and contender at the largest array."""
    tails = largest(report)
    plain = tails[PLAIN.label]
    for number, name in enumerate(plain):
        lower = BAR * (number - (len(plain) - 1) / 2)
        rows = {place + lower: tail[name] for place, tail in enumerate(tails.values())}
        draw_contender(axes, rows, plain[name])
    labels = ["plain step" if label == PLAIN.label else f"+ {label}" for label in tails]
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    title = f"Time of a step over {plain['fused'].case} elements"
    axes.set_title(title, loc="left", fontsize=11)
    by_bytes = "its bytes at the speed of the plain step"
    axes.plot([], [], "|", color=INK, markersize=9, label=by_bytes)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 0), ncols=3, fontsize=9)


def draw_contender(axes: Any, rows: Mapping[float, Row], plain: Row) -> None:
    """A bar for each row, at its place, and where it would end if only bytes counted."""
    name, places = plain.contender, [*rows]
    times = [row.p50 for row in rows.values()]
    by_bytes = [plain.p50 * row.bytes / plain.bytes for row in rows.values()]
    axes.barh(places, times, height=BAR, color=COLOUR[name], label=name)
    axes.vlines(by_bytes, [y - BAR / 2 for y in places], [y + BAR / 2 for y in places], color=INK)
    for place, time, mark in zip(places, times, by_bytes, strict=True):
        axes.text(max(time, mark), place, f" {duration(time)}", va="center", fontsize=8)
