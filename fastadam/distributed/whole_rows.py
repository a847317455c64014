"""Whole rows: which parameters are divided between rows only, so that each row has one owner."""

from collections.abc import Collection, Sequence
from math import lcm, prod
from typing import Any, NamedTuple

from ..engine.columns import ROW_STEP
from ..engine.partition import BLOCK, Piece

FINE = 8  # pieces of each process from which shares are about equal


class Division(NamedTuple):
    """The places at which a parameter may be divided.

    Attributes:
        shape: of the parameter.
        unit: the number of elements that are not divided.
        whole: whether it consists of whole rows.
    """

    shape: tuple[int, ...]
    unit: int = BLOCK
    whole: bool = False

    @property
    def width(self) -> int:
        """The number of elements of a row."""
        return prod(self.shape[1:])

    @property
    def size(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    def shape_of(self, piece: Piece) -> tuple[int, ...]:
        """The shape of a piece: rows, or elements."""
        size = piece.stop - piece.start
        return (size // self.width, *self.shape[1:]) if self.whole else (size,)

    def per(self, name: str, of_rows: Collection[str]) -> int:
        """The number of elements for each number of a state, which has `of_rows` for rows."""
        return max(1, self.width) if name in of_rows else 1


def divided(arrays: Sequence[Any], processes: int, always: bool) -> list[Division]:
    """The places where parameters may be divided.

    Args:
        arrays: the parameters.
        processes: the number of processes.
        always: True for whole rows, even if shares become unequal then.
    """
    return [_division(array.shape, processes, always) for array in arrays]


def _division(shape: tuple[int, ...], processes: int, always: bool) -> Division:
    size: int = prod(shape)
    if not (shape and size):
        return Division(shape)
    unit = lcm(BLOCK, prod(shape[1:]))
    even = unit == BLOCK or size >= FINE * processes * unit
    return Division(shape, unit, True) if always or even else Division(shape)


def bucket_length(division: Division, usual: int, processes: int) -> int:
    """The number of elements of buckets of a parameter, so that each process has a share."""
    return max(usual, FINE // 2 * processes * division.unit) if division.unit > BLOCK else usual


def names_of_rows(groups: Sequence[Any]) -> frozenset[str]:
    """The names of the state of which there is a number for each row."""
    return frozenset({ROW_STEP}.union(*(group.rule.row_state for group in groups)))
