"""The kinds of reports there are: steps, tails of steps, and steps of the adapter for PyTorch."""

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from . import adapter, chart, records, report, tables
from .tail import chart as tail_chart
from .tail import report as tail_report
from .tail import tables as tail_tables


class Kind(NamedTuple):
    """A kind of report, who tells it (table, to_markdown, summary, headline), and who draws it
    (write_chart), if anybody does."""

    report: type[report.Measured[Any]]
    tables: ModuleType
    chart: ModuleType | None


STEPS = Kind(report.Report, tables, chart)
TAILS = Kind(tail_report.Report, tail_tables, tail_chart)
ADAPTERS = Kind(adapter.Report, adapter, None)


def kind_of(measured: report.Measured[Any]) -> Kind:
    """The kind of a report."""
    return next(kind for kind in (STEPS, TAILS, ADAPTERS) if isinstance(measured, kind.report))


def from_csv(text: str) -> Any:
    """The report that was written as this text, of the kind that its columns tell.

    Raises:
        ValueError: if a column is missing.
    """
    kinds = [kind for kind in (TAILS, ADAPTERS) if records.fits(text, kind.report.kind)]
    made = (kinds or [STEPS])[0].report
    return made(*records.from_csv(text, made.kind))


def read_csv(path: Path) -> Any:
    """The report in a file."""
    return from_csv(path.read_text(encoding="utf-8"))
