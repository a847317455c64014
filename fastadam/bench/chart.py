"""The chart of a report: how fast each contender is, and how the closest rival compares."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .report import Report, Row, closest_rival, conditions, ratio

# Okabe and Ito's palette, which colour-blind readers can tell apart
COLOURS = {
    "fused": "#D55E00",
    "torch fused": "#0072B2",
    "torch foreach": "#56B4E9",
    "torch for-loop": "#009E73",
    "numba unfused": "#CC79A7",
    "numpy": "#555555",
    "limit": "#B0B0B0",
}
INK, FAINT = "#222222", "#888888"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.hashsalt": "fastadam",
}


def write_chart(report: Report, path: Path) -> None:
    """Draw the report as PNG or SVG, by the ending of the path.

    The digest of the report is kept in the file, to tell later what it was drawn from.

    Raises:
        ModuleNotFoundError: if matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        message = 'a chart needs matplotlib: pip install "fastadam[bench]"'
        raise ModuleNotFoundError(message) from None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.6), layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        draw_speed(left, report)
        draw_ratios(right, report)
        figure.supxlabel(conditions(report), fontsize=8, color=FAINT, x=0.01, ha="left")
        metadata = {"Description": f"fastadam bench {report.digest}"}
        if path.suffix == ".svg":
            metadata["Date"] = None  # type: ignore[assignment]  # the same file every time
        figure.savefig(path, dpi=200, metadata=metadata)


def curves(report: Report) -> dict[str, list[Row]]:
    """The rows of one array by contender, in order of size."""
    rows = sorted((row for row in report.rows if row.arrays == 1), key=lambda row: row.elements)
    return {name: [r for r in rows if r.contender == name] for name in report.contenders}


def draw_speed(axes: Any, report: Report) -> None:
    """A line per contender: GB/s over elements, both logarithmic."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = {}
    for name, rows in curves(report).items():
        if not rows:
            continue
        colour = COLOURS.get(name, INK)
        x, y = [row.elements for row in rows], [row.gb_per_s for row in rows]
        main = name == "fused"
        axes.plot(
            x,
            y,
            color=colour,
            linewidth=2.8 if main else 1.6,
            linestyle=(0, (4, 2)) if name == "limit" else "-",
            marker="o",
            markersize=5 if main else 3.5,
            zorder=3 if main else 2,
        )
        ends[name] = y[-1]
    sizes = sorted({row.elements: row.case for row in report.rows if row.arrays == 1}.items())
    axes.set_xticks([size for size, _ in sizes], [label for _, label in sizes])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xlabel("elements")
    axes.set_title("GB/s of an AdamW step, at 28 bytes per element", loc="left", fontsize=11)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    label_ends(axes, ends)


def label_ends(axes: Any, ends: Mapping[str, float]) -> None:
    """Write names beside the last points, moved apart where they would touch."""
    low, high = axes.get_ylim()
    apart = (high / low) ** 0.055
    names = sorted(ends, key=lambda name: ends[name])
    for name, y in zip(names, spread([ends[name] for name in names], apart), strict=True):
        axes.annotate(
            name,
            (1.02, y),
            xycoords=("axes fraction", "data"),
            va="center",
            color=COLOURS.get(name, INK),
            fontweight="bold" if name == "fused" else "normal",
        )


def spread(values: Sequence[float], factor: float) -> list[float]:
    """Ascending values, moved as little as needed for neighbours to differ by the factor."""
    placed = list(values)
    for _ in range(100):
        for k in range(1, len(placed)):
            lower, upper = placed[k - 1], placed[k]
            if upper < lower * factor * 0.999:
                middle = (lower * upper) ** 0.5
                placed[k - 1], placed[k] = middle / factor**0.5, middle * factor**0.5
    return placed


def draw_ratios(axes: Any, report: Report) -> None:
    """A bar per case: the time of the closest rival relative to fused."""
    rival = closest_rival(report)
    rows = [rows[rival] for rows in report.cases.values() if rival in rows]
    places = range(len(rows))[::-1]
    lengths = [row.to_fused for row in rows]
    axes.barh(places, lengths, color=COLOURS[rival], height=0.62)
    axes.axvline(1, color=COLOURS["fused"], linewidth=2)
    axes.set_xticks([1], ["fused"], color=COLOURS["fused"], fontweight="bold")
    for place, row in zip(places, rows, strict=True):
        axes.text(row.to_fused, place, f" {ratio(row.to_fused)}", va="center")
    axes.set_yticks(places, [row.case for row in rows])
    axes.tick_params(length=0)
    axes.set_title(f"Time of {rival} / fused", loc="left", fontsize=11)
    axes.spines[["left", "bottom"]].set_visible(False)
