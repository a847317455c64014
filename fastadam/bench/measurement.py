"""Measured times: one row for each contender of a case; ratios are computed when shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

OURS, LIMIT = "fastadam", "limit"


@dataclass(frozen=True)
class Measurement:
    """One contender of one case in one configuration.

    Attributes:
        suite: name of the suite.
        case: label of the case; all contenders of a case were timed in turns.
        config: configuration within the suite: the optimizer, the option, or the dtypes.
        contender: implementation; `fastadam` is this library, `limit` its memory traffic alone.
        arrays: number of arrays that a step updates.
        elements: their number of elements together.
        bytes: memory traffic of a step per element.
        resident: bytes per element that stay allocated between steps; 0 if not counted.
        rounds: number of samples.
        p20_s, p50_s, p80_s: seconds per step, quantiles over the rounds.
    """

    suite: str
    case: str
    config: str
    contender: str
    arrays: int
    elements: int
    bytes: float
    resident: float
    rounds: int
    p20_s: float
    p50_s: float
    p80_s: float

    @property
    def size(self) -> str:
        """The label of the case, without the shape of a matrix."""
        return self.case.partition(" (")[0]

    @property
    def shape(self) -> str:
        """The shape of a matrix in parentheses, if the label has one."""
        return self.case.removeprefix(self.size)

    @property
    def gb_per_s(self) -> float:
        """Memory traffic at the median time."""
        return self.bytes * self.elements / self.p50_s / 1e9


@dataclass(frozen=True)
class Report:
    """A machine and the measurements made on it, all of one suite."""

    machine: dict[str, str]
    rows: Sequence[Measurement]

    @property
    def suite(self) -> str:
        """Name of the suite."""
        return self.rows[0].suite

    @cached_property
    def cases(self) -> list[str]:
        """Labels of the cases, in order."""
        return list(dict.fromkeys(row.case for row in self.rows))

    @cached_property
    def configs(self) -> list[str]:
        """Configurations, in order."""
        return list(dict.fromkeys(row.config for row in self.rows))

    @cached_property
    def contenders(self) -> list[str]:
        """Names of the contenders, in order."""
        return list(dict.fromkeys(row.contender for row in self.rows))

    @cached_property
    def rivals(self) -> list[str]:
        """Contenders that are neither fastadam nor the limit, fastest first by expectation."""
        return [name for name in reversed(self.contenders) if name not in (OURS, LIMIT)]

    @cached_property
    def _index(self) -> dict[tuple[str, str, str], Measurement]:
        return {(row.case, row.config, row.contender): row for row in self.rows}

    def find(self, case: str, config: str, contender: str = OURS) -> Measurement | None:
        """The measurement of a contender, or None if it was not timed."""
        return self._index.get((case, config, contender))

    def beside(
        self, row: Measurement, contender: str | None = None, config: str | None = None
    ) -> Measurement | None:
        """The measurement of the same case with another contender or configuration."""
        return self.find(row.case, config or row.config, contender or row.contender)

    def ratio(
        self, row: Measurement, contender: str | None = None, config: str | None = None
    ) -> float | None:
        """The time of a row over that of another contender or configuration of the same case."""
        other = self.beside(row, contender, config)
        return row.p50_s / other.p50_s if other else None

    def share_of_limit(self, row: Measurement) -> float | None:
        """The share of the speed, in bytes per second, that memory traffic alone allows."""
        limit = self.beside(row, LIMIT)
        return row.gb_per_s / limit.gb_per_s if limit else None

    def of(self, contender: str = OURS, config: str | None = None) -> Iterator[Measurement]:
        """The rows of a contender, of one configuration or of all."""
        for row in self.rows:
            if row.contender == contender and config in (None, row.config):
                yield row

    def largest(self) -> Measurement:
        """The row of fastadam for the largest case; of one array, if there is such a case."""
        ours = list(self.of()) or list(self.rows)
        return max(ours, key=lambda row: (row.arrays == 1, row.elements))
