"""The kinds of reports there are: steps, and tails of steps."""

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from . import chart, records, report, tables
from .tail import chart as tail_chart
from .tail import report as tail_report
from .tail import tables as tail_tables


class Kind(NamedTuple):
    """A kind of report, who tells it (table, to_markdown, summary, headline), and who draws it
    (write_chart)."""

    report: type[report.Measured[Any]]
    tables: ModuleType
    chart: ModuleType


STEPS = Kind(report.Report, tables, chart)
TAILS = Kind(tail_report.Report, tail_tables, tail_chart)


def kind_of(measured: report.Measured[Any]) -> Kind:
    """The kind of a report."""
    return TAILS if isinstance(measured, TAILS.report) else STEPS


def from_csv(text: str) -> Any:
    """The report that was written as this text, of the kind that its columns tell.

    Raises:
        ValueError: if a column is missing.
    """
    made = (TAILS if records.fits(text, TAILS.report.kind) else STEPS).report
    return made(*records.from_csv(text, made.kind))


def read_csv(path: Path) -> Any:
    """The report in a file."""
    return from_csv(path.read_text(encoding="utf-8"))
