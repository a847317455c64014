"""Layout: the parameters of a sharded optimizer, and their division over processes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..engine.parameters import Parameters
from ..engine.partition import Piece
from ..kernels.formats import compute_of
from ..processes.communicator import Communicator
from ..rules.algorithm import Values
from .arguments import inner_groups, runs_of
from .buckets import Line, buckets_of
from .line_arrays import LineArrays
from .pieces import OwnPieces
from .whole_rows import bucket_length, divided


class ShardLayout:
    """The division of parameters into buckets, and of these into pieces for each process.

    Args:
        comm: the processes.
        parameters: the whole parameters.
        groups: for each group its settings and "params".
        bucket_bytes: the size of a bucket.
        whole_rows: True to divide parameters between rows only, even if shares become unequal.

    Attributes:
        divisions: for each parameter the places where it may be divided.
        line: the elements of the parameters, one after another.
        buckets: how the line is divided.
        partition: the pieces of this process, as the engine of their optimizer needs them.
        computes: the dtype of the arithmetic for each parameter.
    """

    def __init__(
        self,
        comm: Communicator,
        parameters: Parameters,
        groups: Sequence[Values],
        bucket_bytes: int,
        whole_rows: bool,
    ) -> None:
        self.parameters, self.groups, self._rank = parameters, groups, comm.rank
        arrays = parameters.arrays
        self.divisions = divided(arrays, comm.size, whole_rows)
        self.line = Line([array.size for array in arrays], [each.unit for each in self.divisions])
        usual = max(1, bucket_bytes // max(array.itemsize for array in arrays))
        lengths = [bucket_length(each, usual, comm.size) for each in self.divisions]
        alike = [*zip([array.dtype for array in arrays], lengths, strict=True)]
        self.buckets = [
            bucket
            for span, (_, length) in runs_of(self.line, alike)
            for bucket in buckets_of(self.line, [span], length, comm.size)
        ]
        group_of = [k for k, group in enumerate(groups) for _ in group["params"]]
        of_all = [number for number, each in enumerate(self.divisions) if each.whole]
        self.partition = OwnPieces(comm, self.line, self.buckets, group_of, of_all)
        self.computes = [np.dtype(compute_of(array.dtype.name)) for array in arrays]

    @property
    def pieces(self) -> Sequence[Piece]:
        """The pieces of this process."""
        return self.partition.pieces

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the parameters."""
        return [array.shape for array in self.parameters.arrays]

    @cached_property
    def line_params(self) -> LineArrays:
        """The parameters along the line."""
        flat = self.parameters.flat
        return LineArrays(self.line, self.parameters.arrays, flat.buffer if flat else None)

    def inner_groups(self) -> list[Values]:
        """The groups of the optimizer of the pieces."""
        views = self.pieces_of(self.parameters.arrays)
        return inner_groups(self.groups, self.pieces, views)

    def by_bucket(self, dtypes: Sequence[Any]) -> list[Any]:
        """The dtype of each bucket, of those of the parameters."""
        firsts = (next(self.line.pieces(each.start, each.stop)) for each in self.buckets)
        return [dtypes[piece.number] for piece in firsts]

    def buckets_besides(self, numbers: Sequence[int]) -> list[int] | None:
        """The numbers of the buckets that have elements of other parameters than these; None for
        all."""
        if not numbers:
            return None
        there = (
            {piece.number for piece in self.line.pieces(bucket.start, bucket.stop)}
            for bucket in self.buckets
        )
        return [number for number, members in enumerate(there) if not members <= {*numbers}]

    def by_piece(self, parts: Sequence[Any]) -> list[Any]:
        """Arrays of the own parts of buckets, cut into pieces; empty ones for empty pieces."""
        found = dict[Piece, Any]()
        for bucket, part in zip(self.buckets, parts, strict=True):
            at = 0
            for piece in self.line.pieces(*bucket.part(self._rank)):
                size = piece.stop - piece.start
                found[piece] = part[at : at + size]
                at += size
        nothing = [np.zeros(0, dtype) for dtype in self.computes]
        return [
            found.get(piece, nothing[piece.number]).reshape(self.shape_of(piece))
            for piece in self.pieces
        ]

    def shape_of(self, piece: Piece) -> tuple[int, ...]:
        """The shape of a piece: rows of the parameter, or elements."""
        return self.divisions[piece.number].shape_of(piece)

    def pieces_of(self, arrays: Sequence[Any]) -> list[Any]:
        """The pieces of whole arrays: views, if the arrays are contiguous."""
        return [
            arrays[piece.number].reshape(-1)[piece.start : piece.stop].reshape(self.shape_of(piece))
            for piece in self.pieces
        ]

    def fill_in(self, arrays: Sequence[Any], parts: Sequence[Any]) -> None:
        """Write the pieces of this process into whole arrays."""
        for piece, part in zip(self.pieces_of(arrays), parts, strict=True):
            piece[...] = part

    def whole_groups(self, state_dict: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The groups of a state_dict of pieces, with the indices and names of whole parameters."""
        groups, first = [], 0
        for group, live in zip(state_dict["param_groups"], self.groups, strict=True):
            numbers = list(range(first, first + len(live["params"])))
            names = {"param_names": live["param_names"]} if live["param_names"] else {}
            groups.append({**group, **names, "params": numbers})
            first += len(numbers)
        return groups
