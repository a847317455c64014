"""The kinds of reports there are: steps, tails, low precision, and the adapter for PyTorch."""

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from . import adapter, chart, records, report, tables
from .low_precision import chart as low_precision_chart
from .low_precision import report as low_precision_report
from .low_precision import tables as low_precision_tables
from .tail import chart as tail_chart
from .tail import report as tail_report
from .tail import tables as tail_tables


class Kind(NamedTuple):
    """A kind of report, who tells it (table, to_markdown, summary, headline), who draws it
    (write_chart), if anybody does, and the packages that it compares with besides PyTorch."""

    report: type[report.Measured[Any]]
    tables: ModuleType
    chart: ModuleType | None
    packages: tuple[str, ...] = ()


STEPS = Kind(report.Report, tables, chart)
TAILS = Kind(tail_report.Report, tail_tables, tail_chart)
ADAPTERS = Kind(adapter.Report, adapter, None)
LOW_PRECISION = Kind(
    low_precision_report.Report,
    low_precision_tables,
    low_precision_chart,
    ("bitsandbytes", "torchao"),
)
KINDS = (TAILS, LOW_PRECISION, ADAPTERS, STEPS)


def kind_of(measured: report.Measured[Any]) -> Kind:
    """The kind of a report."""
    return next(kind for kind in KINDS if isinstance(measured, kind.report))


def from_csv(text: str) -> Any:
    """The report that was written as this text, of the kind that its columns tell.

    Raises:
        ValueError: if a column is missing.
    """
    made = next((k.report for k in KINDS if records.fits(text, k.report.kind)), STEPS.report)
    return made(*records.from_csv(text, made.kind))


def read_csv(path: Path) -> Any:
    """The report in a file."""
    return from_csv(path.read_text(encoding="utf-8"))
