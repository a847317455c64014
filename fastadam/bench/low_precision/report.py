"""What was measured: a row for each contender of each case."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..contenders import Case
from ..report import Measured
from ..timing import Timing
from .configurations import FLOAT32
from .contenders import Contender


@dataclass(frozen=True)
class Row:
    """One contender of one case.

    Attributes:
        case: label of the case; all of a case were timed in turns.
        elements: how many elements a step updates.
        contender: its name, for steps of fastadam that of the configuration.
        rounds: how many samples were taken.
        p20, p50, p80: seconds per step, quantiles over the rounds.
        bytes: what a step reads and writes per element.
        resident: bytes per element of parameters, gradients and state together.
        gb_per_s: the bytes of a step over p50.
        to_float32: this p50 over that of fastadam's float32 step.
    """

    case: str
    elements: int
    contender: str
    rounds: int
    p20: float
    p50: float
    p80: float
    bytes: float
    resident: float
    gb_per_s: float
    to_float32: float


def rows_of(case: Case, contenders: Sequence[Contender], timings: Sequence[Timing]) -> list[Row]:
    """The rows of a case; the float32 step must be among the contenders."""
    names = [contender.name for contender in contenders]
    float32 = timings[names.index(FLOAT32.label)].p50
    return [
        Row(
            case=case.label,
            elements=case.elements,
            contender=contender.name,
            rounds=t.rounds,
            p20=t.p20,
            p50=t.p50,
            p80=t.p80,
            bytes=contender.bytes(),
            resident=contender.resident(),
            gb_per_s=contender.bytes() * case.elements / t.p50 / 1e9,
            to_float32=t.p50 / float32,
        )
        for contender, t in zip(contenders, timings, strict=True)
    ]


class Report(Measured[Row]):
    """Steps in low precision."""

    kind = Row
