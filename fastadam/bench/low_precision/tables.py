"""What was measured, told: a table, and sentences."""

from collections.abc import Mapping

from ..tables import Table, at_cases, digits, duration, hardware, in_document, ratio
from .configurations import FLOAT32, INT8, SMALLEST
from .contenders import PEERS, TORCH
from .report import Report, Row

CAPTION = (
    "Bytes per parameter that are there between steps (parameters, gradients and state) and that a "
    "step reads and writes; median time of a step; its traffic; its time relative to the float32 "
    "step and to that of torch. The bytes of others' steps are those of one pass."
)


def table(report: Report) -> Table:
    """A row for each contender; those of a case were timed in turns."""
    header = (
        "elements",
        "contender",
        "resident",
        "moved",
        "time",
        "GB/s",
        "to float32",
        "to torch",
    )
    groups = [[_line(row, rows) for row in rows.values()] for rows in report.cases.values()]
    return Table(header, groups, 2, CAPTION)


def _line(row: Row, rows: Mapping[str, Row]) -> list[str]:
    return [
        row.case,
        row.contender,
        f"{row.resident:.2f}",
        f"{row.bytes:.2f}",
        duration(row.p50),
        digits(row.gb_per_s),
        ratio(row.to_float32),
        ratio(row.p50 / rows[TORCH].p50) if TORCH in rows else "",
    ]


def to_markdown(report: Report) -> str:
    """The table for a document."""
    return in_document(table(report), report.machine)


def summary(report: Report) -> str:
    """How the smaller states compare with float32, and others with ours, a line each."""
    lines = [_compared(report, each.label, FLOAT32.label) for each in (INT8, SMALLEST)]
    peers = [name for name in PEERS if any(name in rows for rows in report.cases.values())]
    lines += [_compared(report, n, FLOAT32.label if n == TORCH else INT8.label) for n in peers]
    return "\n".join(lines)


def _compared(report: Report, name: str, other: str) -> str:
    ratios = {
        case: rows[name].p50 / rows[other].p50
        for case, rows in report.cases.items()
        if name in rows
    }
    return f"{name} takes, relative to {other}: {at_cases(ratios)}"


def headline(report: Report) -> str:
    """One sentence on the largest case."""
    rows = report.cases[max(report.rows, key=lambda row: row.elements).case]
    int8, smallest, float32 = (rows[each.label] for each in (INT8, SMALLEST, FLOAT32))
    return (
        f"An AdamW step over {int8.case} float32 parameters takes {int8.to_float32:.0%} of its "
        f"time with int8 state, which leaves {int8.resident:.2f} bytes per parameter of "
        f"{float32.resident:.0f}; with bfloat16 parameters and gradients, and eight more bits of "
        f"each parameter, {smallest.to_float32:.0%} and {smallest.resident:.2f} bytes "
        f"{hardware(report.machine)}."
    )
