"""CSV files of measurements: `# name: value` lines on the machine, then a dataclass per line."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from .measurement import Measurement, Report

Record = TypeVar("Record")


def to_csv(machine: Mapping[str, str], records: Sequence[Any], kind: type[Any]) -> str:
    """Text of a table of records of a dataclass."""
    out = io.StringIO()
    for name, value in machine.items():
        out.write(f"# {name}: {value}\n")
    writer = csv.DictWriter(out, [field.name for field in fields(kind)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _text(value) for name, value in asdict(record).items()})
    return out.getvalue()


def _text(value: Any) -> Any:
    """Six digits of a float, more than the accuracy of a measurement."""
    return f"{value:.6g}" if isinstance(value, float) else value


def from_csv(text: str, kind: type[Record]) -> tuple[dict[str, str], list[Record]]:
    """The machine and the records that `to_csv` wrote; a column with a default may be missing.

    Raises:
        ValueError: if another column is missing, or holds something else.
    """
    lines = text.splitlines()
    comments = [line[1:].split(":", 1) for line in lines if line.startswith("#") and ":" in line]
    machine = {name.strip(): value.strip() for name, value in comments}
    table = csv.DictReader(line for line in lines if not line.startswith("#"))
    return machine, [_record(values, kind) for values in table]


def _record(values: dict[str, str], kind: type[Any]) -> Any:
    missing = [f.name for f in fields(kind) if f.default is MISSING and values.get(f.name) is None]
    if missing:
        raise ValueError(f"the CSV lacks the columns {', '.join(missing)}; measure again")
    kinds = get_type_hints(kind)
    return kind(**{name: kinds[name](text) for name, text in values.items() if name in kinds})


def report_text(report: Report) -> str:
    """A report as the text of a CSV file."""
    return to_csv(report.machine, report.rows, Measurement)


def to_json(reports: Mapping[str, Report]) -> str:
    """Reports as JSON, `{"reports": [{"name", "machine", "rows"}]}`; rows as in the CSV."""
    each = [
        {"name": name, "machine": report.machine, "rows": [asdict(row) for row in report.rows]}
        for name, report in reports.items()
    ]
    return json.dumps({"reports": each}, indent=1)


def report_from(text: str) -> Report:
    """The report that `report_text` wrote.

    Raises:
        ValueError: if the text is something else.
    """
    machine, rows = from_csv(text, Measurement)
    if not rows:
        raise ValueError("the CSV holds no measurement; measure again")
    return Report(machine, rows)


def write_report(report: Report, path: Path) -> None:
    """Save a report as a CSV file."""
    path.write_text(report_text(report), encoding="utf-8")


def read_report(path: Path) -> Report:
    """Load a report.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not a report; the message names it.
    """
    try:
        return report_from(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a benchmark CSV: {error}") from error


def digest(*texts: str) -> str:
    """Sixteen digits that change with any number or word of the texts."""
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


def digest_of(*reports: Report) -> str:
    """Sixteen digits that change with any number or word of the reports."""
    return digest(*map(report_text, reports))
