"""Pieces of this process: the partition that the engine of its optimizer needs."""

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.partition import BLOCK, Piece
from ..processes.agreement import Agreement
from ..processes.communicator import Communicator, gathered
from .buckets import Bucket, Line


class OwnPieces:
    """The pieces of parameters that belong to this process.

    A group without a piece here has an empty one, since every group has an array; so has a
    parameter `of_all`, so that what is refused for it is refused everywhere. Parameters without
    elements belong to the first process.

    Args:
        comm: the processes.
        line: the elements of all parameters.
        buckets: how the line is divided.
        group_of: the group of each parameter.
        of_all: the numbers of parameters of which every process has a piece.

    Attributes:
        of_rank: the pieces of each process.
        pieces: those of this process.
        active: whether any parameter has a gradient in this step, be it of another process.
        sparse: the numbers of the parameters whose gradients are row-sparse in this step.
    """

    active = True
    sparse: Collection[int] = ()

    def __init__(
        self,
        comm: Communicator,
        line: Line,
        buckets: Sequence[Bucket],
        group_of: Sequence[int],
        of_all: Sequence[int] = (),
    ) -> None:
        self._comm, self._agreement = comm, Agreement(comm)
        self.sizes, self.group_of = line.sizes, list(group_of)
        empty = [Piece(number, 0, 0) for number, size in enumerate(line.sizes) if not size]
        self.of_rank = [
            self._with_all_groups(
                [piece for bucket in buckets for piece in line.pieces(*bucket.part(rank))]
                + ([] if rank else empty),
                of_all,
            )
            for rank in range(comm.size)
        ]
        self.pieces = self.of_rank[comm.rank]

    def _with_all_groups(self, pieces: list[Piece], of_all: Sequence[int]) -> list[Piece]:
        here = {piece.number for piece in pieces}
        pieces = [*pieces, *(Piece(number, 0, 0) for number in of_all if number not in here)]
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

    def complete_rows(self, gradients: Sequence[Any]) -> None:
        """Let the norms of row-sparse gradients be those of the whole parameters."""
        if not self.sparse:
            return
        pairs = zip(self.pieces, gradients, strict=True)
        own = [(piece, each) for piece, each in pairs if piece.number in self.sparse]
        there = [[p for p in pieces if p.number in self.sparse] for pieces in self.of_rank]
        sizes = np.array([each.squares.size for _, each in own], np.int64)
        counts = gathered(self._comm, sizes, [len(pieces) for pieces in there])
        squares = np.concatenate([np.empty(0), *(each.squares for _, each in own)])
        sums = gathered(self._comm, squares, [int(each.sum()) for each in counts])
        found = dict[Piece, Any]()
        for pieces, count, part in zip(there, counts, sums, strict=True):
            found |= zip(pieces, np.split(part, np.cumsum(count)[:-1]), strict=True)
        for piece, each in own:
            each.root[0] = 0
            if piece.start == 0 < piece.stop:
                rows = [found[p] for p in sorted(found) if p.number == piece.number]
                each.root[0] = np.sqrt(np.add.reduce(np.concatenate(rows)))

    def all_true(self, value: bool) -> bool:
        """True if the value is true in all processes."""
        (any_false,) = self._agreement.flags(not value)
        return not any_false
