"""Charts of measurements, and the canvas for any chart that is derived from data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any

from .axes import (
    ALARM,
    COLOURS,
    DASHED,
    FAINT,
    INK,
    MACHINES,
    bare,
    colour_of,
    elements_axis,
    label_ends,
    ratio_axis,
    short,
    time_axis,
    titled,
)
from .measurement import LIMIT, OURS, Measurement, Report
from .tables import duration, percent, times

NOTE = 150  # characters in a line of the note
PAIR, SINGLE = 0.38, 0.7  # thickness of bars that are 1 apart, two and one at a place
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
def canvas(
    path: Path, digest: str, size: tuple[float, float], note: str, warning: str = ""
) -> Iterator[Any]:
    """A figure to draw on, saved as PNG or SVG, by the ending of the path, with a note below it and
    a warning above it.

    The digest of the data is stored in the file, to identify the data later.

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
        lines = (fill(line, int(NOTE * size[0] / 10)) for line in note.splitlines())
        figure.supxlabel("\n".join(lines), fontsize=8, color=FAINT, x=0.01, ha="left")
        if warning:
            figure.suptitle(warning, color=ALARM, fontweight="bold", fontsize=11)
        metadata = {"Description": f"drawn from {digest}"}
        if path.suffix == ".svg":
            metadata["Date"] = None  # type: ignore[assignment]  # the same file every time
        figure.savefig(path, dpi=200, metadata=metadata)


def is_drawn_from(digest: str, path: Path) -> bool:
    """Test if there is a chart of the data with this digest."""
    return path.exists() and digest.encode() in path.read_bytes()


# Steps


def size_of_steps(report: Report) -> tuple[float, float]:
    """Width and height in inches."""
    several = len(report.configs)
    return (10, 1.5 + 0.3 * several) if several > 1 else (11, 4.8)


def draw_steps(figure: Any, report: Report) -> None:
    """Draw the time of each contender; of several optimizers, their shares of the limit's speed."""
    if len(report.configs) > 1:
        draw_shares(figure.subplots(), report)
        return
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    draw_times(left, report)
    draw_ratios(right, report)


def draw_times(axes: Any, report: Report) -> None:
    """A line for each contender: time per step over elements, both logarithmic."""
    single = sorted((row for row in report.rows if row.arrays == 1), key=lambda row: row.elements)
    ends = {}
    for name in report.contenders:
        points = {row.elements: row.p50_s for row in single if row.contender == name}
        if points:
            draw_line(axes, points, name == OURS, colour_of(name), name == LIMIT)
            ends[name] = [*points.values()][-1]
    elements_axis(axes, single)
    time_axis(axes)
    titled(axes, f"{report.configs[0]}: time per step")
    label_ends(axes, ends, COLOURS)


def draw_line(
    axes: Any, points: Mapping[int, float], main: bool, colour: str, dashed: bool = False
) -> None:
    """A line with markers, thicker if it is the main one."""
    axes.plot(
        [*points],
        [*points.values()],
        color=colour,
        linewidth=2.8 if main else 1.6,
        linestyle=DASHED if dashed else "-",
        marker="o",
        markersize=5 if main else 3.5,
        zorder=3 if main else 2,
    )


def draw_ratios(axes: Any, report: Report) -> None:
    """A row for each case, a dot for each rival: its time relative to fastadam, logarithmic."""
    places = {case: -k for k, case in enumerate(report.cases)}
    axes.set_xscale("log")
    for name in report.rivals:
        ratios = {row.case: report.ratio(row, OURS) for row in report.of(name)}
        found = {case: ratio for case, ratio in ratios.items() if ratio}
        axes.scatter(
            [*found.values()],
            [places[case] for case in found],
            s=42,
            color=colour_of(name),
            edgecolors="white",
            label=name,
            zorder=3,
        )
    ratio_axis(axes)
    axes.set_yticks([*places.values()], [*places])
    axes.set_ylabel("elements")
    titled(axes, "Time of others, relative to fastadam")
    if report.rivals:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), labelcolor="linecolor")


def draw_shares(axes: Any, report: Report) -> None:
    """A bar for each optimizer: the share of the limit's speed on the largest array, or on a matrix
    of as many elements; a dot for each rival."""
    largest = report.largest()
    ours = [row for row in report.of() if row.elements == largest.elements][::-1]
    shares = [report.share_of_limit(row) or 0.0 for row in ours]
    axes.barh(range(len(ours)), shares, color=COLOURS[OURS])
    for y, share in enumerate(shares):
        axes.text(0.01, y, percent(share), va="center", color="white", fontweight="bold")
    for name in report.rivals:
        others = {y: report.beside(row, name) for y, row in enumerate(ours)}
        dots = {y: report.share_of_limit(row) or 0.0 for y, row in others.items() if row}
        if dots:
            axes.scatter(
                [*dots.values()],
                [*dots],
                s=50,
                color=colour_of(name),
                edgecolors="white",
                label=name,
            )
    axes.axvline(1, color=FAINT, linestyle=DASHED, linewidth=1.6)
    axes.set_yticks(
        range(len(ours)), [f"{row.config}{row.shape}, {row.bytes:g} bytes" for row in ours]
    )
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("share of the limit's speed")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    titled(axes, f"Speed of {OURS} as a share of the memory's limit, {largest.size} elements")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), labelcolor="linecolor")


# Options


def draw_options(figure: Any, report: Report) -> None:
    """Draw the time of each option, and how PyTorch compares with all of them."""
    rivals = list(report.of("torch", "all"))
    axes = figure.subplots(1, 2, width_ratios=(1.7, 1)) if rivals else [figure.subplots()]
    draw_costs(axes[0], report)
    if rivals:
        draw_bars_of_ratios(axes[1], report, rivals)


def draw_costs(axes: Any, report: Report) -> None:
    """A bar for each option and contender at the largest array."""
    case, plain = report.largest().case, report.configs[0]
    for number, name in enumerate(report.contenders):
        lower = PAIR * (number - (len(report.contenders) - 1) / 2)
        found = {k + lower: report.find(case, c, name) for k, c in enumerate(report.configs)}
        rows = {place: row for place, row in found.items() if row}
        draw_bars(axes, rows, report.find(case, plain, name), [colour_of(name)] * len(rows), PAIR)
        axes.barh([0], [0], color=colour_of(name), label=name)
    labels = ["plain step" if label == plain else f"+ {label}" for label in report.configs]
    axes.set_yticks(range(len(labels)), labels)
    bare(axes)
    titled(axes, f"Time per AdamW step over {case} elements")
    axes.plot([], [], "|", color=INK, markersize=9, label="its traffic at the plain step's speed")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 0), ncols=3, fontsize=9)


def draw_bars(
    axes: Any,
    rows: Mapping[float, Measurement],
    base: Measurement | None,
    colours: Sequence[str],
    thickness: float,
    text: Callable[[Measurement], str] = lambda row: duration(row.p50_s),
) -> None:
    """A bar for each row, at its place, and a mark at the time that its traffic alone would take
    at the speed of another row."""
    places, lengths = [*rows], [row.p50_s for row in rows.values()]
    marks = [base.p50_s * row.bytes / base.bytes if base else 0.0 for row in rows.values()]
    axes.barh(places, lengths, height=thickness, color=colours)
    half = thickness / 2
    axes.vlines(marks, [y - half for y in places], [y + half for y in places], color=INK)
    for (place, row), mark in zip(rows.items(), marks, strict=True):
        axes.text(max(row.p50_s, mark), place, f" {text(row)}", va="center", fontsize=8)


def draw_bars_of_ratios(axes: Any, report: Report, rows: Sequence[Measurement]) -> None:
    """A bar for each case: the time of a rival relative to fastadam."""
    places, ratios = range(len(rows))[::-1], [report.ratio(row, OURS) or 0.0 for row in rows]
    axes.barh(places, ratios, color=colour_of(rows[0].contender), height=0.5)
    axes.axvline(1, color=COLOURS[OURS], linewidth=2)
    axes.set_xticks([1], [OURS], color=COLOURS[OURS], fontweight="bold")
    for place, ratio in zip(places, ratios, strict=True):
        axes.text(ratio, place, f" {times(ratio)}", va="center")
    axes.set_yticks(places, [row.case for row in rows])
    axes.tick_params(length=0)
    titled(axes, f"Time of {rows[0].contender} with all options")
    axes.spines[["left", "bottom"]].set_visible(False)


def draw_rows(figure: Any, report: Report) -> None:
    """A panel for each way of PyTorch to update some rows."""
    names = ("torch SparseAdam", "torch dense, fused")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), names, strict=True):
        draw_bars_of_ratios(axes, report, [*report.of(name)])
        titled(axes, f"Time of {name}")


# Precision


def size_of_precision(report: Report) -> tuple[float, float]:
    """Width and height in inches."""
    rows = [sum(row.case == case for row in report.rows) for case in report.cases]
    return 10, 1.6 + 0.9 * len(rows) + 0.27 * sum(rows)


def draw_precision(figure: Any, report: Report, label: Callable[[Measurement], str]) -> None:
    """Draw a panel for each case, with a bar for each contender and configuration."""
    groups = [[row for row in report.rows if row.case == case] for case in report.cases]
    panels = figure.subplots(len(groups), squeeze=False, height_ratios=[2 + len(g) for g in groups])
    for axes, rows in zip(panels.flat, groups, strict=True):
        base = report.find(rows[0].case, "float32")

        def text(row: Measurement, base: Measurement | None = base) -> str:
            ratio = times(row.p50_s / base.p50_s) if base else ""
            return f"{duration(row.p50_s)}, {ratio}"

        colours = [COLOURS[OURS if row.contender == OURS else "torch"] for row in rows]
        draw_bars(axes, dict(enumerate(rows)), base, colours, SINGLE, text)
        labels = [f"{label(row)}: {short(row.resident)} bytes" for row in rows]
        axes.set_yticks(range(len(rows)), labels, fontsize=8)
        bare(axes)
        size, _, others = rows[0].case.partition(", ")
        more = ", beside other 8-bit optimizers" if others else ""
        titled(axes, f"Time per AdamW step over {size} parameters{more}")
    legend_of_precision(panels.flat[-1])


def legend_of_precision(axes: Any) -> None:
    """Explain colours and marks."""
    axes.barh([0], [0], color=COLOURS[OURS], label=OURS)
    axes.barh([0], [0], color=COLOURS["torch"], label="for PyTorch")
    mark = "its memory traffic at the speed of the float32 step"
    axes.plot([], [], "|", color=INK, markersize=9, label=mark)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 0), ncols=3, fontsize=9)


# Several machines


def size_of_comparison(reports: Mapping[str, Report]) -> tuple[float, float]:
    """Width and height in inches."""
    if in_lines(reports):
        return 10, 5.2
    _, measured = _compared(reports)
    return 10, max(5.2, 2 + 0.2 * len(reports) * len({c for rows in measured for c in rows}))


def in_lines(reports: Mapping[str, Report]) -> bool:
    """True if times are drawn as lines, over sizes: those of steps of one optimizer."""
    return all(each.suite == "steps" and len(each.configs) == 1 for each in reports.values())


def draw_comparison(figure: Any, reports: Mapping[str, Report]) -> None:
    """Draw times of fastadam, and of its nearest rival for steps, a colour for each machine."""
    axes, colours = figure.subplots(), dict(zip(reports, MACHINES * len(reports), strict=False))
    if in_lines(reports):
        draw_machine_lines(axes, reports, colours)
    else:
        draw_machine_bars(axes, reports, colours)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), labelcolor="linecolor")


def draw_machine_lines(
    axes: Any, reports: Mapping[str, Report], colours: Mapping[str, str]
) -> None:
    """Two lines for each machine: fastadam, and PyTorch's fused step or its substitute, dashed."""
    every = [row for report in reports.values() for row in report.rows if row.arrays == 1]
    for name, report in reports.items():
        rival = next(iter(report.rivals), "")
        for contender in filter(None, (OURS, rival)):
            rows = sorted(report.of(contender), key=lambda row: row.elements)
            points = {row.elements: row.p50_s for row in rows if row.arrays == 1}
            main = contender == OURS
            draw_line(axes, points, main, colours[name], dashed=not main)
            axes.lines[-1].set_label(f"{name}: {contender}")
    elements_axis(axes, every)
    time_axis(axes)
    titled(axes, f"{every[0].config}: time per step")


def draw_machine_bars(axes: Any, reports: Mapping[str, Report], colours: Mapping[str, str]) -> None:
    """A bar for each configuration of fastadam and machine, at the largest size of all."""
    size, measured = _compared(reports)
    configs = list(dict.fromkeys(config for rows in measured for config in rows))
    thickness = 0.8 / len(reports)
    for number, (name, found) in enumerate(zip(reports, measured, strict=True)):
        shift = thickness * (number - (len(reports) - 1) / 2)
        rows = {k + shift: found[config] for k, config in enumerate(configs) if config in found}
        axes.barh(
            [*rows],
            [row.p50_s for row in rows.values()],
            height=thickness,
            color=colours[name],
            label=name,
        )
        for place, row in rows.items():
            axes.text(row.p50_s, place, f" {duration(row.p50_s)}", va="center", fontsize=8)
    axes.set_yticks(range(len(configs)), configs, fontsize=9)
    bare(axes)
    titled(axes, f"Time per step of {OURS} over {size} elements")


def _compared(reports: Mapping[str, Report]) -> tuple[str, list[dict[str, Measurement]]]:
    """The largest size that all reports have, and what each measured of it by configuration.

    Raises:
        ValueError: if there is none.
    """
    sizes = [{row.size: row.elements for row in report.of()} for report in reports.values()]
    common = {size: sizes[0][size] for size in sizes[0] if all(size in each for each in sizes)}
    if not common:
        raise ValueError("these reports have no case in common that one chart could compare")
    largest = max(common, key=lambda size: common[size])
    rows = [[row for row in report.of() if row.size == largest] for report in reports.values()]
    return largest, [{row.config: row for row in each} for each in rows]
