"""What was measured: a row for each contender of each case and tail."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..contenders import Case
from ..report import Measured
from ..timing import Timing
from .contenders import Contender
from .tails import PLAIN


@dataclass(frozen=True)
class Row:
    """One contender of one case with one tail.

    Attributes:
        case: label of the case.
        arrays: how many arrays a step updates.
        elements: how many elements they have together.
        options: label of the tail.
        contender: its name.
        rounds: how many samples were taken.
        p20, p50, p80: seconds per step, quantiles over the rounds.
        bytes: what this contender reads and writes per element and step.
        gb_per_s: these bytes over p50.
        to_plain: this p50 over that of the contender's step without a tail.
        to_fused: this p50 over that of fused with the same tail.
    """

    case: str
    arrays: int
    elements: int
    options: str
    contender: str
    rounds: int
    p20: float
    p50: float
    p80: float
    bytes: float
    gb_per_s: float
    to_plain: float
    to_fused: float


def rows_of(case: Case, contenders: Sequence[Contender], timings: Sequence[Timing]) -> list[Row]:
    """The rows of a case; `fused` and the step without a tail must be among the contenders."""
    pairs = [(contender.name, contender.tail.label) for contender in contenders]
    medians = {pair: timing.p50 for pair, timing in zip(pairs, timings, strict=True)}
    return [
        Row(
            case=case.label,
            arrays=len(case.sizes),
            elements=case.elements,
            options=label,
            contender=name,
            rounds=t.rounds,
            p20=t.p20,
            p50=t.p50,
            p80=t.p80,
            bytes=contender.bytes(),
            gb_per_s=contender.bytes() * case.elements / t.p50 / 1e9,
            to_plain=t.p50 / medians[name, PLAIN.label],
            to_fused=t.p50 / medians["fused", label],
        )
        for contender, (name, label), t in zip(contenders, pairs, timings, strict=True)
    ]


class Report(Measured[Row]):
    """Steps with tails."""

    kind = Row

    @cached_property
    def cases(self) -> dict[str, dict[str, dict[str, Row]]]:
        """The rows by case, tail and contender, in order."""
        cases: dict[str, dict[str, dict[str, Row]]] = {}
        for row in self.rows:
            cases.setdefault(row.case, {}).setdefault(row.options, {})[row.contender] = row
        return cases
