"""Axes, colours and labels that the charts have in common."""

from collections.abc import Mapping, Sequence
from typing import Any

from .measurement import LIMIT, OURS, Measurement
from .tables import duration

# Okabe and Ito's palette, which colour-blind readers can tell apart
COLOURS = {
    OURS: "#D55E00",
    "torch": "#0072B2",
    "torch fused": "#0072B2",
    "torch foreach": "#56B4E9",
    "torch SparseAdam": "#0072B2",
    "torch dense, fused": "#56B4E9",
    "torch adapter": "#E69F00",
    "torch for-loop": "#009E73",
    "numba unfused": "#CC79A7",
    "numpy": "#555555",
    "torch default": "#66C2A5",
    "torch compiled": "#A6761D",
    "DeepSpeed": "#6A3D9A",
    "bitsandbytes": "#33A02C",
    "torchao": "#E6C200",
    "optax": "#B15928",
    LIMIT: "#B0B0B0",
}
MACHINES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
INK, FAINT, GRID, ALARM = "#222222", "#888888", "#E6E6E6", "#B00020"
DASHED = (0, (4, 2))


def titled(axes: Any, title: str) -> None:
    """Write the title of a panel, on the left."""
    axes.set_title(title, loc="left", fontsize=11)


def colour_of(name: str) -> str:
    """The colour of a contender."""
    return COLOURS.get(name, INK)


def elements_axis(axes: Any, rows: Sequence[Measurement]) -> None:
    """A logarithmic axis of elements, with the labels of the cases."""
    sizes = sorted({row.elements: row.case for row in rows}.items())
    axes.set_xscale("log")
    axes.set_xticks([size for size, _ in sizes], [label for _, label in sizes])
    axes.set_xlabel("elements")


def time_axis(axes: Any) -> None:
    """A logarithmic axis of times, with units."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda seconds, _: short_duration(seconds))
    axes.minorticks_off()
    axes.set_ylabel("time per step")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def short_duration(seconds: float) -> str:
    """A round time, without decimals."""
    number, unit = duration(seconds).split()
    return f"{float(number):g} {unit}"


def label_ends(
    axes: Any, ends: Mapping[str, float], colours: Mapping[str, str], main: str = OURS
) -> None:
    """Write names beside the last points, apart where they would touch, and a thin line to each.

    Labels stay inside the height of the axes.
    """
    left, _ = axes.get_xlim()
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = {name: min(max(0, to_axes.transform((left, y))[1]), 1) for name, y in ends.items()}
    last = max(
        (float(to_axes.transform((x, 1))[0]) for line in axes.lines for x in line.get_xdata()[-1:]),
        default=1.0,
    )
    names = sorted(ends, key=lambda name: ends[name])
    placed = spread([heights[name] for name in names], 0.062)
    inwards = min(0, 1 - placed[-1]) + max(0, -placed[0])
    for name, y in zip(names, placed, strict=True):
        colour = colours.get(name, INK)
        axes.annotate(
            name,
            (last + 0.005, heights[name]),
            (1.05, y + inwards),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            color=colour,
            fontweight="bold" if name == main else "normal",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


def spread(values: Sequence[float], apart: float) -> list[float]:
    """Ascending values, changed as little as needed for neighbours to be so far apart."""
    placed = list(values)
    for _ in range(100):
        for k in range(1, len(placed)):
            lower, upper = placed[k - 1], placed[k]
            if upper < lower + 0.999 * apart:
                middle = (lower + upper) / 2
                placed[k - 1], placed[k] = middle - apart / 2, middle + apart / 2
    return placed


def ratio_axis(axes: Any) -> None:
    """A logarithmic axis of ratios, with a line at one."""
    axes.axvline(1, color=COLOURS[OURS], linewidth=2.4, zorder=2)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.9), max(high, 1.3))
    marks = [k for k in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000) if k <= axes.get_xlim()[1]]
    axes.set_xticks(marks, [f"{mark}x" for mark in marks])
    axes.minorticks_off()
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("times as long as fastadam")
    axes.tick_params(axis="y", length=0)


def bare(axes: Any) -> None:
    """Remove everything around horizontal bars but their labels; the first is on top."""
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def short(number: float) -> str:
    """Two decimals, without trailing zeros."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
