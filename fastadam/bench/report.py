"""What was measured: rows, their CSV file, and tables for a terminal and for a document."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from .contenders import Case
from .timing import Timing

BYTES = 28  # per element and step, counted for every contender: four reads and three writes
REFERENCES = ("fused", "limit")
PACKAGES = ("python", "numpy", "numba", "torch", "fastadam")


@dataclass(frozen=True)
class Row:
    """One contender of one case.

    Attributes:
        case: label of the case.
        arrays: how many arrays a step updates.
        elements: how many elements they have together.
        contender: its name.
        rounds: how many samples were taken.
        p20, p50, p80: seconds per step, quantiles over the rounds.
        gb_per_s: 28 bytes per element over p50, whatever the contender really moves.
        of_limit: p50 of the limit over this p50.
        to_fused: this p50 over that of fused.
    """

    case: str
    arrays: int
    elements: int
    contender: str
    rounds: int
    p20: float
    p50: float
    p80: float
    gb_per_s: float
    of_limit: float
    to_fused: float


def rows_of(case: Case, timings: Mapping[str, Timing]) -> list[Row]:
    """The rows of a case; `fused` and `limit` must be among the contenders."""
    fused, limit = timings["fused"].p50, timings["limit"].p50
    return [
        Row(
            case=case.label,
            arrays=len(case.sizes),
            elements=case.elements,
            contender=name,
            rounds=t.rounds,
            p20=t.p20,
            p50=t.p50,
            p80=t.p80,
            gb_per_s=BYTES * case.elements / t.p50 / 1e9,
            of_limit=limit / t.p50,
            to_fused=t.p50 / fused,
        )
        for name, t in timings.items()
    ]


@dataclass(frozen=True)
class Report:
    """A machine and the rows measured on it."""

    machine: dict[str, str]
    rows: list[Row]

    @cached_property
    def cases(self) -> dict[str, dict[str, Row]]:
        """The rows by case and contender, in order."""
        cases: dict[str, dict[str, Row]] = {}
        for row in self.rows:
            cases.setdefault(row.case, {})[row.contender] = row
        return cases

    @cached_property
    def contenders(self) -> list[str]:
        """The names of all contenders, in order."""
        return list(dict.fromkeys(row.contender for row in self.rows))

    @cached_property
    def digest(self) -> str:
        """Sixteen digits that change with any number or word of the report."""
        return hashlib.sha256(to_csv(self).encode()).hexdigest()[:16]


# CSV: the machine in comment lines, then a row per line


def to_csv(report: Report) -> str:
    """The report as text: `# name: value` lines on the machine, then the rows."""
    out = io.StringIO()
    for name, value in report.machine.items():
        out.write(f"# {name}: {value}\n")
    writer = csv.DictWriter(out, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in report.rows:
        writer.writerow({name: _exact(value) for name, value in asdict(row).items()})
    return out.getvalue()


def _exact(value: Any) -> Any:
    """Six digits are more than a measurement tells."""
    return f"{value:.6g}" if isinstance(value, float) else value


def from_csv(text: str) -> Report:
    """The report that `to_csv` wrote.

    Raises:
        ValueError: if a column is missing.
    """
    lines = text.splitlines()
    comments = [line[1:].split(":", 1) for line in lines if line.startswith("#")]
    machine = {name.strip(): value.strip() for name, value in comments}
    table = csv.DictReader(line for line in lines if not line.startswith("#"))
    return Report(machine, [_row(values) for values in table])


def _row(values: dict[str, str]) -> Row:
    kinds = get_type_hints(Row)
    if missing := [name for name in kinds if not values.get(name)]:
        raise ValueError(f"the CSV lacks {missing}; measure again with `fastadam bench --csv`")
    return Row(**{name: kind(values[name]) for name, kind in kinds.items()})


def read_csv(path: Path) -> Report:
    return from_csv(path.read_text(encoding="utf-8"))


def write_csv(report: Report, path: Path) -> None:
    path.write_text(to_csv(report), encoding="utf-8")


# Tables

HEADER: tuple[str, ...] = (
    "elements",
    "contender",
    "p20",
    "p50",
    "p80",
    "GB/s",
    "of limit",
    "to fused",
)


def cells(report: Report) -> list[list[tuple[str, ...]]]:
    """The table as text, a list of rows for each case."""
    return [[_cells(row) for row in rows.values()] for rows in report.cases.values()]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.case,
        row.contender,
        duration(row.p20),
        duration(row.p50),
        duration(row.p80),
        _digits(row.gb_per_s),
        f"{row.of_limit:.0%}",
        ratio(row.to_fused),
    )


def to_text(report: Report) -> str:
    """The table in plain characters."""
    groups = [[HEADER], *cells(report)]
    columns = zip(*(row for group in groups for row in group), strict=True)
    widths = [max(map(len, column)) for column in columns]
    return "\n\n".join("\n".join(_line(row, widths) for row in group) for group in groups)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Two columns to the left, numbers to the right."""
    aligned = [
        text.ljust(width) if k < 2 else text.rjust(width)
        for k, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


def show(report: Report) -> None:
    """Print the table, with rich where it is installed."""
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(to_text(report))
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for k, name in enumerate(HEADER):
        table.add_column(name, justify="left" if k < 2 else "right", no_wrap=True)
    for group in cells(report):
        for row in group:
            table.add_row(
                *row, style="bold" if row[1] == "fused" else "", end_section=row is group[-1]
            )
    Console().print(table)


def to_markdown(report: Report) -> str:
    """A table for a document: a line per case, p50 and its ratio to `fused` for each contender."""
    names = ["fused", "limit", *(n for n in reversed(report.contenders) if n not in REFERENCES)]
    lines = [
        "| elements | " + " | ".join(names) + " |",
        "|---|" + "---:|" * len(names),
        *(_markdown_line(case, rows, names) for case, rows in report.cases.items()),
        "",
        f"Median time of a step, and its ratio to fused. {conditions(report)}",
    ]
    return "\n".join(lines)


def _markdown_line(case: str, rows: Mapping[str, Row], names: Sequence[str]) -> str:
    texts = []
    for name in names:
        row = rows.get(name)
        text = "" if row is None else duration(row.p50)
        texts.append(text if row is None or name == "fused" else f"{text}, {ratio(row.to_fused)}")
    return f"| {case} | " + " | ".join(texts) + " |"


def conditions(report: Report) -> str:
    """The machine and the versions in one sentence."""
    m = report.machine
    packages = [f"{name} {m[name]}" for name in PACKAGES if m.get(name, "none") != "none"]
    return (
        f"{m.get('cpu')}, {m.get('threads')} threads of {m.get('cores')} cores, "
        f"{m.get('memory')}, {m.get('os')}; {', '.join(packages)}; {m.get('date')}."
    )


def summary(report: Report) -> str:
    """Two lines: how `fused` compares with its closest rival, and with NumPy."""
    names = (closest_rival(report), "numpy")
    return "\n".join(f"{name} takes, relative to fused: {_ratios(report, name)}" for name in names)


def headline(report: Report) -> str:
    """One sentence on the case that is closest to a million elements in one array."""
    single = [rows for rows in report.cases.values() if rows["fused"].arrays == 1]
    rows = min(single, key=lambda rows: abs(rows["fused"].elements - 1_000_000))
    rivals = (closest_rival(report), "numpy")
    ratios = [f"{ratio(rows[name].to_fused)} as fast as {name}" for name in rivals]
    return (
        f"An AdamW step over {rows['fused'].case} float32 elements is {' and '.join(ratios)} "
        f"({report.machine.get('cpu')}, {report.machine.get('threads')} threads)."
    )


def closest_rival(report: Report) -> str:
    """Who else makes a step in few passes; without PyTorch, the compiled passes."""
    return "torch fused" if "torch fused" in report.contenders else "numba unfused"


def _ratios(report: Report, name: str) -> str:
    shares = [
        f"{ratio(rows[name].to_fused)} at {case}"
        for case, rows in report.cases.items()
        if name in rows
    ]
    return ", ".join(shares) or "not timed"


def ratio(number: float) -> str:
    return (
        f"{number:.0f}x" if number >= 9.95 else f"{number:.2f}x" if number < 2 else f"{number:.1f}x"
    )


def duration(seconds: float) -> str:
    """A time with three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.9995 * size:
            return f"{_digits(seconds / size)} {unit}"
    return f"{_digits(seconds / 1e-9)} ns"


def _digits(number: float) -> str:
    """Three digits, without an exponent."""
    decimals = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{decimals}f}"
