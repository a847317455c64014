"""What was measured of `fastadam.torch`, and how it is told: a table, and sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .report import Measured
from .tables import Table, at_cases, duration, hardware, in_document, ratio
from .timing import Timing

OURS = "fastadam"
CAPTION = "Median time of a step, and its ratio to that of fastadam."


@dataclass(frozen=True)
class Row:
    """One contender on the parameters of a case.

    Attributes:
        case: label of the case.
        tensors: how many parameters a step updates.
        elements: how many elements they have together.
        contender: `fastadam`, or what PyTorch's optimizer is told.
        rounds: how many samples were taken.
        p20, p50, p80: seconds per step, quantiles over the rounds.
        to_fastadam: this p50 over that of fastadam.
    """

    case: str
    tensors: int
    elements: int
    contender: str
    rounds: int
    p20: float
    p50: float
    p80: float
    to_fastadam: float


def rows_of(case: str, tensors: int, elements: int, timings: Mapping[str, Timing]) -> list[Row]:
    """The rows of a case; `fastadam` must be among the contenders."""
    ours = timings[OURS].p50
    return [
        Row(case, tensors, elements, name, t.rounds, t.p20, t.p50, t.p80, t.p50 / ours)
        for name, t in timings.items()
    ]


class Report(Measured[Row]):
    """Steps over tensors of PyTorch."""

    kind = Row

    @cached_property
    def rivals(self) -> list[str]:
        """The contenders of PyTorch, in order."""
        return [name for name in dict.fromkeys(row.contender for row in self.rows) if name != OURS]


def table(report: Report) -> Table:
    """A row for each case."""
    header = ["parameters", OURS, *(f"torch {name}" for name in report.rivals)]
    group = [[case, *_times(rows, report.rivals)] for case, rows in report.cases.items()]
    return Table(header, [group], 1, CAPTION)


def _times(rows: Mapping[str, Row], rivals: list[str]) -> list[str]:
    others = [rows[name] for name in rivals]
    compared = [f"{duration(row.p50)}, {ratio(row.to_fastadam)}" for row in others]
    return [duration(rows[OURS].p50), *compared]


def to_markdown(report: Report) -> str:
    """The table for a document."""
    return in_document(table(report), report.machine)


def summary(report: Report) -> str:
    """How PyTorch's compare, a line each."""
    return "\n".join(_compared(report, name) for name in report.rivals)


def _compared(report: Report, name: str) -> str:
    ratios = at_cases({case: rows[name].to_fastadam for case, rows in report.cases.items()})
    return f"torch {name} takes, relative to fastadam: {ratios}"


def headline(report: Report) -> str:
    """One sentence on how PyTorch's fused optimizer compares."""
    ratios = at_cases({case: rows["fused"].to_fastadam for case, rows in report.cases.items()})
    return (
        "A step of PyTorch's fused AdamW takes, relative to that of `fastadam.torch`: "
        f"{ratios} {hardware(report.machine)}."
    )
