"""Pieces of this process: the partition that the engine of its optimizer needs."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.partition import BLOCK, Piece
from ..processes.agreement import Agreement
from ..processes.communicator import Communicator, gathered
from .buckets import Bucket, Line


class OwnPieces:
    """The pieces of parameters that belong to this process.

    A group without a piece here has an empty one, since every group has an array. Parameters
    without elements belong to the first process.

    Args:
        comm: the processes.
        line: the elements of all parameters.
        buckets: how the line is divided.
        group_of: the group of each parameter.

    Attributes:
        of_rank: the pieces of each process.
        pieces: those of this process.
        active: whether any parameter has a gradient in this step, be it of another process.
    """

    active = True

    def __init__(
        self, comm: Communicator, line: Line, buckets: Sequence[Bucket], group_of: Sequence[int]
    ) -> None:
        self._comm, self._agreement = comm, Agreement(comm)
        self.sizes, self.group_of = line.sizes, list(group_of)
        empty = [Piece(number, 0, 0) for number, size in enumerate(line.sizes) if not size]
        self.of_rank = [
            self._with_all_groups(
                [piece for bucket in buckets for piece in line.pieces(*bucket.part(rank))]
                + ([] if rank else empty)
            )
            for rank in range(comm.size)
        ]
        self.pieces = self.of_rank[comm.rank]

    def _with_all_groups(self, pieces: list[Piece]) -> list[Piece]:
        there = {self.group_of[piece.number] for piece in pieces}
        firsts = {group: k for k, group in reversed([*enumerate(self.group_of)])}
        empty = [Piece(first, 0, 0) for group, first in firsts.items() if group not in there]
        return sorted([*pieces, *empty])

    @cached_property
    def _blocks(self) -> list[Any]:
        """For each process the numbers of the blocks whose sums it computes."""
        counts = [max(1, -(-size // BLOCK)) for size in self.sizes]
        first = np.cumsum([0, *counts])
        return [
            np.concatenate(
                [
                    np.arange(start // BLOCK, -(-stop // BLOCK)) + first[number]
                    for number, start, stop in pieces
                ]
            )
            for pieces in self.of_rank
        ]

    def complete(self, sums: Any) -> None:
        """Fill in the sums of blocks that other processes have computed."""
        own = sums[self._blocks[self._comm.rank]]
        parts = gathered(self._comm, own, [len(blocks) for blocks in self._blocks])
        for blocks, part in zip(self._blocks, parts, strict=True):
            sums[blocks] = part

    def all_true(self, value: bool) -> bool:
        """True if the value is true in all processes."""
        (any_false,) = self._agreement.flags(not value)
        return not any_false
