"""The kinds of reports there are, steps and tails: how each is read, told and drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import chart, records, report, tables
from .report import Measured
from .tail import chart as tail_chart
from .tail import report as tail_report
from .tail import tables as tail_tables


class Kind(NamedTuple):
    """What is done with a report of one kind."""

    report: type[Measured[Any]]
    table: Callable[[Any], tables.Table]
    to_markdown: Callable[[Any], str]
    summary: Callable[[Any], str]
    headline: Callable[[Any], str]
    write_chart: Callable[[Any, Path], None]


STEPS = Kind(
    report.Report,
    tables.table,
    tables.to_markdown,
    tables.summary,
    tables.headline,
    chart.write_chart,
)
TAILS = Kind(
    tail_report.Report,
    tail_tables.table,
    tail_tables.to_markdown,
    tail_tables.summary,
    tail_tables.headline,
    tail_chart.write_chart,
)


def kind_of(measured: Measured[Any]) -> Kind:
    """How this report is told."""
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
