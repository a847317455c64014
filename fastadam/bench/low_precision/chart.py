"""The chart of a report: how long a step takes in each configuration, and with others."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from ..chart import COLOURS, INK, canvas
from ..tables import conditions, duration, ratio
from .configurations import FLOAT32
from .contenders import PEERS
from .report import Report, Row

BAR = 0.7  # how thick one is, where contenders are 1 apart
NOTE = 140  # characters in a line of the note


def write_chart(report: Report, path: Path) -> None:
    """Draw the report as PNG or SVG, by the ending of the path."""
    rows = [*map(len, report.cases.values())]
    size = (10, 1 + 0.9 * len(rows) + 0.27 * sum(rows))
    note = fill(conditions(report.machine), NOTE)
    with canvas(path, report.digest, size, note) as figure:
        charts = figure.subplots(len(rows), squeeze=False, height_ratios=[2 + n for n in rows])
        for axes, case in zip(charts.flat, report.cases.values(), strict=True):
            draw_case(axes, case)


def draw_case(axes: Any, rows: Mapping[str, Row]) -> None:
    """A bar for each contender, and where it would end if only bytes counted."""
    places, float32 = range(len(rows)), rows[FLOAT32.label]
    times = [row.p50 for row in rows.values()]
    colours = [COLOURS["torch fused" if name in PEERS else "fused"] for name in rows]
    by_bytes = [float32.p50 * row.bytes / float32.bytes for row in rows.values()]
    axes.barh(places, times, height=BAR, color=colours)
    lower, upper = [y - BAR / 2 for y in places], [y + BAR / 2 for y in places]
    axes.vlines(by_bytes, lower, upper, color=INK)
    for place, row, mark in zip(places, rows.values(), by_bytes, strict=True):
        text = f" {duration(row.p50)}, {ratio(row.to_float32)}"
        axes.text(max(row.p50, mark), place, text, va="center", fontsize=8)
    labels = [f"{name}, {row.resident:.2f} bytes" for name, row in rows.items()]
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    title = f"Time of a step; elements: {float32.case}; marks: its bytes at the speed of float32"
    axes.set_title(title, loc="left", fontsize=11)
