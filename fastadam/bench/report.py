"""What was measured: a row for each contender of each case."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic

from . import records
from .contenders import Case
from .records import Record
from .timing import Timing


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
        gb_per_s: `bytes` per element over p50, whatever the contender really moves.
        of_limit: p50 of the limit over this p50.
        to_fused: this p50 over that of fused.
        optimizer: label of the variant; in files that do not say it, all rows are AdamW's.
        bytes: what its step moves per element, counted for every contender.
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
    optimizer: str = "AdamW"
    bytes: int = 28


def rows_of(case: Case, timings: Mapping[str, Timing], moved: int | None = None) -> list[Row]:
    """The rows of a case; `fused` and `limit` must be among the contenders.

    `moved` is what a step moves per element, if the parameters are not float32.
    """
    fused, limit = timings["fused"].p50, timings["limit"].p50
    moved = moved or case.variant.bytes
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
            gb_per_s=moved * case.elements / t.p50 / 1e9,
            of_limit=limit / t.p50,
            to_fused=t.p50 / fused,
            optimizer=case.variant.label,
            bytes=moved,
        )
        for name, t in timings.items()
    ]


@dataclass(frozen=True)
class Measured(Generic[Record]):
    """A machine and the rows measured on it; a subclass says of which kind they are."""

    kind: ClassVar[type[Any]]
    machine: dict[str, str]
    rows: list[Record]

    @cached_property
    def digest(self) -> str:
        """Sixteen digits that change with any number or word of the report."""
        return records.digest(to_csv(self))

    @cached_property
    def cases(self) -> Any:
        """The rows by case and contender, in order."""
        cases: dict[str, dict[str, Any]] = {}
        row: Any
        for row in self.rows:
            cases.setdefault(row.case, {})[row.contender] = row
        return cases


class Report(Measured[Row]):
    """Steps, each a row for a contender of a case."""

    kind = Row

    @cached_property
    def optimizers(self) -> "dict[str, Report]":
        """A report for each optimizer, in order."""
        rows: dict[str, list[Row]] = {}
        for row in self.rows:
            rows.setdefault(row.optimizer, []).append(row)
        return {name: Report(self.machine, each) for name, each in rows.items()}

    @property
    def several(self) -> bool:
        """Whether there is more than one optimizer."""
        return len(self.optimizers) > 1

    @cached_property
    def cases(self) -> Any:
        """The rows of the one optimizer by case and contender, in order.

        Raises:
            ValueError: if there are several; each is a report of its own in `optimizers`.
        """
        if self.several:
            raise ValueError(f"one optimizer is wanted, but there are {[*self.optimizers]}")
        return super().cases

    @cached_property
    def contenders(self) -> list[str]:
        """The names of all contenders, in order."""
        return list(dict.fromkeys(row.contender for row in self.rows))


def to_csv(report: Measured[Any]) -> str:
    """The report as text."""
    return records.to_csv(report.machine, report.rows, report.kind)


def write_csv(report: Measured[Any], path: Path) -> None:
    path.write_text(to_csv(report), encoding="utf-8")
