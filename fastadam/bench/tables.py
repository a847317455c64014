"""What was measured, told: tables for a terminal and for a document, and sentences.

A report of one optimizer is told in detail, contender by contender. Of several there is an
overview, a row for each of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .report import Report, Row

REFERENCES = ("fused", "limit")
NEAREST = ("torch fused", "torch foreach", "numba unfused", "limit")  # who needs few passes
PACKAGES = (
    "python",
    "numpy",
    "numba",
    "numba-cuda",
    "torch",
    "bitsandbytes",
    "torchao",
    "fastadam",
)

Rows = Mapping[str, Row]


class Table(NamedTuple):
    """Text in columns, `left` of them aligned to the left; the rows of a group stay together."""

    header: Sequence[str]
    groups: Sequence[Sequence[Sequence[str]]]
    left: int
    caption: str = ""


def table(report: Report) -> Table:
    """The table for a terminal: in detail, or an overview."""
    if report.several:
        return _overview(report)
    header = ("elements", "contender", "p20", "p50", "p80", "GB/s", "of limit", "to fused")
    groups = [[_timed(row) for row in rows.values()] for rows in report.cases.values()]
    caption = (
        "Quantiles of the time of a step; at the median (p50) its memory traffic, of "
        f"{report.rows[0].bytes} bytes per element for all, its share of the limit's speed, "
        "and its time relative to fused."
    )
    return Table(header, groups, 2, caption)


def _timed(row: Row) -> list[str]:
    return [
        row.case,
        row.contender,
        *map(duration, (row.p20, row.p50, row.p80)),
        digits(row.gb_per_s),
        f"{row.of_limit:.0%}",
        ratio(row.to_fused),
    ]


def _overview(report: Report) -> Table:
    """A row for each optimizer, those of a size together."""
    rivals = [name for name in reversed(report.contenders) if name not in REFERENCES]
    groups: dict[str, list[list[str]]] = {}
    for single in report.optimizers.values():
        for case, rows in single.cases.items():
            groups.setdefault(case, []).append(_compared(rows, rivals))
    header = ("optimizer", "elements", "bytes", "fused", "GB/s", "of limit", *rivals)
    caption = (
        "Bytes that a step moves per element; median time of a fused step, its memory traffic, "
        "its share of the limit's speed; the time of others relative to fused."
    )
    return Table(header, [*groups.values()], 2, caption)


def _compared(rows: Rows, rivals: Sequence[str]) -> list[str]:
    fused = rows["fused"]
    return [
        fused.optimizer,
        fused.case,
        str(fused.bytes),
        duration(fused.p50),
        digits(fused.gb_per_s),
        f"{fused.of_limit:.0%}",
        *(ratio(rows[name].to_fused) if name in rows else "" for name in rivals),
    ]


def _by_case(report: Report) -> Table:
    """A row for each case: p50 and its ratio to `fused` for each contender."""
    names = [*REFERENCES, *(n for n in reversed(report.contenders) if n not in REFERENCES)]
    group = [[case, *_medians(rows, names)] for case, rows in report.cases.items()]
    caption = "Median time of a step, and its ratio to fused."
    return Table(("elements", *names), [group], 1, caption)


def _medians(rows: Rows, names: Sequence[str]) -> list[str]:
    texts = {name: duration(row.p50) for name, row in rows.items()}
    ratios = {name: f", {ratio(row.to_fused)}" for name, row in rows.items() if name != "fused"}
    return [texts.get(name, "") + ratios.get(name, "") for name in names]


def to_text(table: Table) -> str:
    """The table in plain characters."""
    columns = zip(table.header, *(row for group in table.groups for row in group), strict=True)
    widths = [max(map(len, column)) for column in columns]

    def line(row: Sequence[str]) -> str:
        pairs = enumerate(zip(row, widths, strict=True))
        cells = [t.ljust(w) if k < table.left else t.rjust(w) for k, (t, w) in pairs]
        return "  ".join(cells).rstrip()

    return "\n\n".join("\n".join(map(line, group)) for group in ([table.header], *table.groups))


def show(table: Table) -> None:
    """Print the table, with rich on a terminal that is wide enough, and its caption."""
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
            style = "bold" if row[1] == "fused" else ""
            shown.add_row(*row, style=style, end_section=row is group[-1])
    return shown


def to_markdown(report: Report) -> str:
    """The table for a document."""
    shown = _overview(report) if report.several else _by_case(report)
    return in_document(shown, report.machine)


def in_document(table: Table, machine: Mapping[str, str]) -> str:
    """A table, and below it what its numbers are and where they come from."""
    header, groups, left, caption = table
    rule = "|" + "---|" * left + "---:|" * (len(header) - left)
    head, *rows = [f"| {' | '.join(row)} |" for group in ([header], *groups) for row in group]
    return "\n".join((head, rule, *rows, "", f"{caption} {conditions(machine)}"))


def conditions(machine: Mapping[str, str]) -> str:
    """The machine and the versions in one sentence."""
    get = machine.get
    packages = [f"{name} {get(name)}" for name in PACKAGES if get(name, "none") != "none"]
    computer = (
        f"{get('gpu')}, {get('gpu memory')}, driver {get('driver')}"
        if "gpu" in machine
        else f"{get('cpu')}, {get('threads')} threads of {get('cores')} cores, {get('memory')}"
    )
    return f"{computer}, {get('os')}; {', '.join(packages)}; {get('date')}."


def summary(report: Report) -> str:
    """How `fused` compares: with its nearest rival and with one operation at a time, a line each;
    of several optimizers, with the limit."""
    if report.several:
        return _shares(report)
    slow = "numba unfused" if "gpu" in report.machine else "numpy"
    names = [n for n in dict.fromkeys((nearest(report), slow)) if n in report.contenders]
    return "\n".join(f"{name} takes, relative to fused: {_ratios(report, name)}" for name in names)


def _shares(report: Report) -> str:
    """The least and the largest share of the limit's speed."""
    rows = sorted((r for r in report.rows if r.contender == "fused"), key=lambda r: r.of_limit)
    low, high = (f"{r.of_limit:.0%} ({r.optimizer} at {r.case})" for r in (rows[0], rows[-1]))
    return f"fused reaches {low} to {high} of the limit's speed."


def headline(report: Report) -> str:
    """One sentence on the case that is closest to a million elements in one array."""
    single = [rows for rows in report.cases.values() if rows["fused"].arrays == 1]
    rows = min(single, key=lambda rows: abs(rows["fused"].elements - 1_000_000))
    ratios = [
        f"{ratio(rows[name].to_fused)} as fast as {name}" for name in (nearest(report), "numpy")
    ]
    return (
        f"An AdamW step over {rows['fused'].case} float32 elements is {' and '.join(ratios)} "
        f"{hardware(report.machine)}."
    )


def hardware(machine: Mapping[str, str]) -> str:
    """The processor and how much of it was used, in parentheses."""
    return f"({machine.get('cpu')}, {machine.get('threads')} threads)"


def nearest(report: Report) -> str:
    """Who else makes a step in few passes; where nobody does, the limit."""
    return next(name for name in NEAREST if name in report.contenders)


def _ratios(report: Report, name: str) -> str:
    return at_cases(
        {case: rows[name].to_fused for case, rows in report.cases.items() if name in rows}
    )


def at_cases(ratios: Mapping[str, float]) -> str:
    """Ratios, each with its case."""
    return ", ".join(f"{ratio(each)} at {case}" for case, each in ratios.items()) or "not timed"


def ratio(number: float) -> str:
    return (
        f"{number:.0f}x" if number >= 9.95 else f"{number:.2f}x" if number < 2 else f"{number:.1f}x"
    )


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
