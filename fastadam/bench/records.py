"""Measurements in a CSV file: `# name: value` lines on the machine, then a dataclass per line."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from typing import Any, TypeVar, get_type_hints

Record = TypeVar("Record")


def to_csv(machine: Mapping[str, str], records: Sequence[Any], kind: type[Any]) -> str:
    """Records of that kind as text."""
    out = io.StringIO()
    for name, value in machine.items():
        out.write(f"# {name}: {value}\n")
    writer = csv.DictWriter(out, [field.name for field in fields(kind)], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _exact(value) for name, value in asdict(record).items()})
    return out.getvalue()


def _exact(value: Any) -> Any:
    """Six digits are more than a measurement tells."""
    return f"{value:.6g}" if isinstance(value, float) else value


def from_csv(text: str, kind: type[Record]) -> tuple[dict[str, str], list[Record]]:
    """The machine and the records that `to_csv` wrote; a column with a default may be missing.

    Raises:
        ValueError: if another is.
    """
    lines = text.splitlines()
    comments = [line[1:].split(":", 1) for line in lines if line.startswith("#")]
    machine = {name.strip(): value.strip() for name, value in comments}
    table = csv.DictReader(line for line in lines if not line.startswith("#"))
    return machine, [_record(values, kind) for values in table]


def fits(text: str, kind: type[Any]) -> bool:
    """Whether a CSV has the columns of records of that kind."""
    header = next(csv.reader(line for line in text.splitlines() if not line.startswith("#")), [])
    return {*_needed(kind)} <= {*header}


def _needed(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind) if field.default is MISSING]


def _record(values: dict[str, str], kind: type[Any]) -> Any:
    if missing := [name for name in _needed(kind) if not values.get(name)]:
        raise ValueError(f"the CSV lacks {missing}; measure again")
    kinds = get_type_hints(kind)
    return kind(**{name: kinds[name](text) for name, text in values.items() if name in kinds})


def digest(text: str) -> str:
    """Sixteen digits that change with any number or word of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
