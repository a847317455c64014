"""The chart of a report, and the canvas for any chart that is derived from data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .report import Report, Row
from .tables import REFERENCES, conditions, nearest, ratio

# Okabe and Ito's palette, which colour-blind readers can tell apart
COLOURS = {
    "fused": "#D55E00",
    "torch fused": "#0072B2",
    "torch foreach": "#56B4E9",
    "torch adapter": "#E69F00",
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


@contextmanager
def canvas(path: Path, digest: str, size: tuple[float, float], note: str) -> Iterator[Any]:
    """A figure to draw on, saved as PNG or SVG, by the ending of the path, with a note below.

    The digest of the data is kept in the file, to tell later what it was drawn from.

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
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        figure.supxlabel(note, fontsize=8, color=FAINT, x=0.01, ha="left")
        metadata = {"Description": f"drawn from {digest}"}
        if path.suffix == ".svg":
            metadata["Date"] = None  # type: ignore[assignment]  # the same file every time
        figure.savefig(path, dpi=200, metadata=metadata)


def is_drawn_from(digest: str, path: Path) -> bool:
    """Whether there is a chart of the data with this digest."""
    return path.exists() and digest.encode() in path.read_bytes()


def write_chart(report: Report, path: Path) -> None:
    """Draw the report: how fast each contender is, or how near to the limit each optimizer."""
    height = 1.5 + 0.3 * len(report.optimizers) if report.several else 4.6
    with canvas(path, report.digest, (10, height), conditions(report.machine)) as figure:
        if report.several:
            draw_shares(figure.subplots(), report)
        else:
            left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
            draw_speed(left, report)
            rival = nearest(report)
            rows = [rows[rival] for rows in report.cases.values() if rival in rows]
            draw_ratios(right, rows, f"Time of {rival} / fused", COLOURS[rival])


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
    row = report.rows[0]
    title = f"{row.optimizer}: GB/s of a step, at {row.bytes} bytes per element"
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.8)
    axes.set_axisbelow(True)
    label_ends(axes, ends, COLOURS)


def label_ends(axes: Any, ends: Mapping[str, float], colours: Mapping[str, str]) -> None:
    """Write names beside the last points, moved apart where they would touch, and inside."""
    left, _ = axes.get_xlim()
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = {name: min(max(0, to_axes.transform((left, y))[1]), 1) for name, y in ends.items()}
    names = sorted(ends, key=lambda name: ends[name])
    placed = spread([heights[name] for name in names], 0.055)
    inwards = min(0, 1 - placed[-1]) + max(0, -placed[0])
    for name, y in zip(names, placed, strict=True):
        axes.annotate(
            name,
            (1.02, y + inwards),
            xycoords="axes fraction",
            va="center",
            color=colours.get(name, INK),
            fontweight="bold" if name == "fused" else "normal",
        )


def spread(values: Sequence[float], apart: float) -> list[float]:
    """Ascending values, moved as little as needed for neighbours to be so far apart."""
    placed = list(values)
    for _ in range(100):
        for k in range(1, len(placed)):
            lower, upper = placed[k - 1], placed[k]
            if upper < lower + 0.999 * apart:
                middle = (lower + upper) / 2
                placed[k - 1], placed[k] = middle - apart / 2, middle + apart / 2
    return placed


def draw_ratios(axes: Any, rows: Sequence[Any], title: str, colour: str) -> None:
    """A bar per case: the time of a rival relative to fused."""
    places = range(len(rows))[::-1]
    lengths = [row.to_fused for row in rows]
    axes.barh(places, lengths, color=colour, height=0.62)
    axes.axvline(1, color=COLOURS["fused"], linewidth=2)
    axes.set_xticks([1], ["fused"], color=COLOURS["fused"], fontweight="bold")
    for place, row in zip(places, rows, strict=True):
        axes.text(row.to_fused, place, f" {ratio(row.to_fused)}", va="center")
    axes.set_yticks(places, [row.case for row in rows])
    axes.tick_params(length=0)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["left", "bottom"]].set_visible(False)


def draw_shares(axes: Any, report: Report) -> None:
    """A bar per optimizer: the share of the limit's speed that fused reaches on the largest array;
    a dot for each rival."""
    largest = max((row for row in report.rows if row.arrays == 1), key=lambda row: row.elements)
    found = [each.cases.get(largest.case) for each in report.optimizers.values()]
    groups = [rows for rows in found if rows][::-1]
    fused = [rows["fused"] for rows in groups]
    axes.barh(range(len(fused)), [row.of_limit for row in fused], color=COLOURS["fused"])
    for y, row in enumerate(fused):
        axes.text(0.01, y, f"{row.of_limit:.0%}", va="center", color="white", fontweight="bold")
    for name in (name for name in reversed(report.contenders) if name not in REFERENCES):
        places = [y for y, rows in enumerate(groups) if name in rows]
        shares = [groups[y][name].of_limit for y in places]
        axes.scatter(shares, places, s=50, color=COLOURS[name], edgecolors="white", label=name)
    axes.axvline(1, color=FAINT, linestyle=(0, (4, 2)), linewidth=1.6)
    axes.set_yticks(range(len(fused)), [f"{row.optimizer}, {row.bytes} bytes" for row in fused])
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    title = f"Share of the limit's speed that fused reaches, {largest.case} elements"
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), labelcolor="linecolor")
