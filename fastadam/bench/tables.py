"""Tables of measurements: columns, the builder that fills them, and how they are printed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from .machine import busy, counted
from .measurement import OURS, Measurement, Report

PACKAGES = (
    "python",
    "numpy",
    "numba",
    "numba-cuda",
    "torch",
    "bitsandbytes",
    "torchao",
    "deepspeed",
    "fbgemm-gpu-cpu",
    "jax",
    "optax",
    "fastadam",
)


class Table(NamedTuple):
    """Text in columns, the first `left` of them aligned to the left; the rows of a group stay
    together."""

    header: Sequence[str]
    groups: Sequence[Sequence[Sequence[str]]]
    left: int
    caption: str = ""


class Column(NamedTuple):
    """A column: its header, and the text for a row."""

    header: str
    text: Callable[[Measurement], str]


def build(
    rows: Iterable[Measurement],
    columns: Sequence[Column],
    left: int,
    caption: str = "",
    grouped: bool = True,
) -> Table:
    """A table with a line for each row; consecutive rows of a case are a group, if `grouped`."""
    groups = [
        [[column.text(row) for column in columns] for row in group]
        for _, group in groupby(rows, lambda row: row.case if grouped else "")
    ]
    return Table([column.header for column in columns], groups, left, caption)


# Columns


CASE = Column("elements", lambda row: row.case)
SHORT_CASE = Column("elements", lambda row: row.case.replace(" arrays of ", " x "))
CONTENDER = Column("contender", lambda row: row.contender)
CONFIG = Column("optimizer", lambda row: row.config)
GB_PER_S = Column("GB/s", lambda row: digits(row.gb_per_s))
QUANTILES = (
    Column("p20", lambda row: duration(row.p20_s)),
    Column("p50", lambda row: duration(row.p50_s)),
    Column("p80", lambda row: duration(row.p80_s)),
)


def of_limit(report: Report) -> Column:
    """The share of the limit's speed."""
    return Column("% of limit", lambda row: percent(report.share_of_limit(row)))


def relative(report: Report) -> Column:
    """The time relative to that of fastadam in the same case and configuration."""
    return Column("ratio", lambda row: times(report.ratio(row, OURS)))


def rival(report: Report, contender: str) -> Column:
    """The time of a contender relative to that of the row."""

    def text(row: Measurement) -> str:
        other = report.beside(row, contender)
        return times(other.p50_s / row.p50_s) if other else ""

    return Column(contender, text)


def median(report: Report, contender: str) -> Column:
    """The time of a contender in the case of the row, and its ratio to that of fastadam."""

    def text(row: Measurement) -> str:
        other = report.beside(row, contender)
        if other is None:
            return ""
        compared = "" if contender == OURS else f", {times(report.ratio(other, OURS))}"
        return f"{duration(other.p50_s)}{compared}"

    return Column(contender, text)


# Sentences


def compared(report: Report, name: str) -> str:
    """The times of a contender relative to fastadam, for each case."""
    ratios = {row.case: report.ratio(row, OURS) for row in report.of(name)}
    return f"{name} takes, relative to {OURS}: {at_cases(ratios)}"


# Printing


def to_text(table: Table) -> str:
    """A table in plain characters."""
    columns = zip(table.header, *(row for group in table.groups for row in group), strict=True)
    widths = [max(map(len, column)) for column in columns]

    def line(row: Sequence[str]) -> str:
        pairs = enumerate(zip(row, widths, strict=True))
        cells = [t.ljust(w) if k < table.left else t.rjust(w) for k, (t, w) in pairs]
        return "  ".join(cells).rstrip()

    return "\n\n".join("\n".join(map(line, group)) for group in ([table.header], *table.groups))


def show(table: Table) -> None:
    """Print a table, with rich on a terminal that is wide enough, and its caption."""
    text = to_text(table)
    width = max(map(len, text.splitlines()))
    console = _console()
    if console and console.is_terminal and width <= console.width:
        console.print(_rich(table))
    else:
        print(text)
    if table.caption:
        print(f"\n{table.caption}")


def _console() -> Any:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console()


def _rich(table: Table) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    shown = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for k, name in enumerate(table.header):
        shown.add_column(name, justify="left" if k < table.left else "right", no_wrap=True)
    for group in table.groups:
        for row in group:
            style = "bold" if OURS in row[:2] else ""
            shown.add_row(*row, style=style, end_section=row is group[-1])
    return shown


def in_document(table: Table, machine: Mapping[str, str] | None = None) -> str:
    """A table in Markdown, with its caption and the machine, if it is of one, below it."""
    header, groups, left, caption = table
    rule = "|" + "---|" * left + "---:|" * (len(header) - left)
    head, *rows = [f"| {' | '.join(row)} |" for group in ([header], *groups) for row in group]
    return "\n".join(
        (head, rule, *rows, "", f"{caption} {conditions(machine)}" if machine else caption)
    )


def conditions(machine: Mapping[str, str]) -> str:
    """The machine and the versions in one sentence; a warning first if the machine was busy."""
    get = machine.get
    packages = [f"{name} {get(name)}" for name in PACKAGES if get(name, "none") != "none"]
    computer = (
        f"{get('gpu')}, {get('gpu memory')}, driver {get('driver')}"
        if "gpu" in machine
        else f"{get('cpu')}, {threads(machine)} of {counted(get('cores', '?'), 'core')}, "
        f"{get('memory')}"
    )
    load = busy(machine)
    warning = f"Warning, {load}: times may mean nothing. " if load else ""
    return f"{warning}{computer}, {get('os')}; {', '.join(packages)}; {get('date')}."


def threads(machine: Mapping[str, str]) -> str:
    """The number of threads, in words."""
    return counted(machine.get("threads", "?"), "thread")


def hardware(machine: Mapping[str, str]) -> str:
    """The processor and how much of it was used, in parentheses."""
    return f"({machine.get('cpu')}, {threads(machine)})"


def at_cases(ratios: Mapping[str, float | None]) -> str:
    """Ratios, each with its case; those that are None are left out."""
    texts = [f"{times(each)} at {case}" for case, each in ratios.items() if each is not None]
    return ", ".join(texts) or "not timed"


def times(number: float | None) -> str:
    """A ratio; empty if it is None."""
    if number is None:
        return ""
    return (
        f"{number:.0f}x" if number >= 9.95 else f"{number:.2f}x" if number < 2 else f"{number:.1f}x"
    )


def percent(number: float | None) -> str:
    """A share; empty if it is None."""
    return "" if number is None else f"{number:.0%}"


def duration(seconds: float) -> str:
    """A time with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{digits(seconds / size)} {unit}"
    return f"{digits(seconds / 1e-9)} ns"


def digits(number: float) -> str:
    """Three digits, without an exponent."""
    decimals = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{decimals}f}"
