"""Exchange of row-sparse gradients: each row goes to its owner, and comes back updated."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..memory.dtypes import named
from ..memory.rows import Rows
from ..processes.communicator import NOTHING, gathered
from ..processes.resumable import ResumableCommunicator, forget
from .layout import ShardLayout
from .row_packets import Packet
from .shared_memory import SharedGradients

NONE, ARRAY, NO_ROWS = range(3)  # kinds of gradients; after them rows of each dtype
NO_NUMBERS = np.empty(0, np.int64)
DTYPES = ("float32", "float64", "bfloat16", "float16")


class GivenRows(NamedTuple):
    """Rows that one process gives: their numbers, and a matrix of their values."""

    indices: Any
    values: Any

    @property
    def kind(self) -> int:
        """The kind of the gradient."""
        return NO_ROWS + 1 + DTYPES.index(self.values.dtype.name) if len(self.indices) else NO_ROWS


class Kinds(NamedTuple):
    """The gradients of a step.

    Attributes:
        active: for each parameter whether any process has a gradient of it.
        sparse: the numbers of the parameters whose gradients are row-sparse.
        dtypes: the dtype of the values of each of these.
    """

    active: Sequence[bool]
    sparse: Sequence[int] = ()
    dtypes: Sequence[Any] = ()


class Owners:
    """The owners of the rows of a parameter.

    Args:
        pieces: for each process the first rows of its pieces.

    Attributes:
        counts: the number of pieces of each process.
    """

    def __init__(self, pieces: Sequence[Sequence[int]]) -> None:
        self.counts = [len(each) for each in pieces]
        firsts = np.concatenate([np.array(each, np.int64) for each in pieces])
        self._places = np.argsort(firsts, kind="stable").astype(np.uint32)
        self._firsts = firsts[self._places]

    def sorted(self, indices: Any) -> tuple[Any, Any]:
        """An order of rows in which those of a piece follow each other, and their number for each
        piece; pieces by process."""
        places = self._places[np.searchsorted(self._firsts, indices, "right") - 1]
        if len(self._firsts) <= 1 << 16:
            places = places.astype(np.uint16)  # for which the sort takes linear time
        counts = np.bincount(places, minlength=len(self._firsts))
        return np.argsort(places, kind="stable"), counts


class RowExchange:
    """The exchange of row-sparse gradients, and of the rows that were updated.

    Args:
        comm: the processes.
        layout: how the parameters are divided over them.
        comm_dtype: the dtype in which values are sent, None for their own.
        gradients: those of the processes of this host, if they share the parameters.
    """

    def __init__(
        self,
        comm: ResumableCommunicator,
        layout: ShardLayout,
        comm_dtype: Any,
        gradients: SharedGradients | None = None,
    ) -> None:
        self._comm, self._layout, self._comm_dtype = comm, layout, comm_dtype
        self._hosts = gradients.hosts if gradients else None
        self._owners = dict[int, Owners]()

    def kinds(self, given: Sequence[Any]) -> Kinds:
        """The kinds of the gradients of all processes.

        Raises:
            ValueError: in all processes, if those of one parameter differ.
        """
        own = [
            NONE if each is None else each.kind if isinstance(each, GivenRows) else ARRAY
            for each in given
        ]
        found = gathered(self._comm, np.array(own, np.uint8), [len(own)] * self._comm.size)
        columns = np.stack(found, axis=1)
        active, sparse, dtypes = [*map(any, columns > NONE)], list[int](), list[Any]()
        for number in np.flatnonzero((columns > ARRAY).any(axis=1)).tolist():
            dtype = self._checked(number, columns[number])
            wire = self._comm_dtype
            sparse.append(number)
            dtypes.append(wire if wire is not None and wire.itemsize < dtype.itemsize else dtype)
        return Kinds(active, sparse, dtypes)

    def _checked(self, number: int, column: Any) -> Any:
        """The dtype of the rows of all processes."""
        name, ranks = self._layout.parameters.names[number], range(len(column))
        rows = next(rank for rank in ranks if column[rank] > ARRAY)
        for rank in ranks:
            if column[rank] == ARRAY:
                forget(self._comm)
                raise ValueError(
                    f"the gradient of {name} is Rows in process {rows}, but an array in process "
                    f"{rank}; give Rows, arrays or None in all processes"
                )
        filled = [rank for rank in ranks if column[rank] > NO_ROWS]
        kinds = [DTYPES[column[rank] - NO_ROWS - 1] for rank in filled]
        for rank, kind in zip(filled, kinds, strict=True):
            if kind != kinds[0]:
                forget(self._comm)
                raise ValueError(
                    f"the rows of the gradient of {name} have dtype {kind} in process {rank}, but "
                    f"{kinds[0]} in process {filled[0]}; convert one of them"
                )
        return named(kinds[0]) if kinds else self._layout.computes[number]

    def none_of(self, kinds: Kinds) -> dict[int, Rows]:
        """A gradient without rows for each piece of the parameters with row-sparse gradients."""
        layout = self._layout
        return {
            place: _rows(NO_NUMBERS, np.empty(0, layout.computes[n]), layout.divisions[n].shape)
            for place, (n, _, _) in enumerate(layout.pieces)
            if n in kinds.sparse
        }

    def collect(self, given: Sequence[Any], kinds: Kinds) -> dict[int, Rows]:
        """The rows that processes give for the pieces of this one, divided by their number.

        Args:
            given: the gradients of this process.
            kinds: those of all.

        Returns:
            The rows by the place of the piece.
        """
        comm, ranks = self._comm, range(self._comm.size)
        owners = [self._owners_of(number) for number in kinds.sparse]
        sent, counts = self._outgoing(given, kinds, owners)
        room = sum(each.counts[comm.rank] for each in owners)
        expected = [np.empty(room, np.int64) for _ in ranks]
        self._exchange([_joined(each) for each in counts], expected)
        expected[comm.rank] = _joined(counts[comm.rank])
        edges = np.cumsum([0, *(each.counts[comm.rank] for each in owners)])
        parts = [[row[a:b] for a, b in pairwise(edges)] for row in expected]
        received = [self._packet(kinds, [int(p.sum()) for p in parts[rank]]) for rank in ranks]
        received[comm.rank] = sent[comm.rank]
        self._exchange([each.data for each in sent], [each.data for each in received])
        found = dict[int, Rows]()
        for k, number in enumerate(kinds.sparse):
            rows = [(each.rows(k), part[k]) for each, part in zip(received, parts, strict=True)]
            found |= self._of_pieces(number, rows)
        return found

    def gather(self, kinds: Kinds, gradients: Sequence[Any]) -> None:
        """Send the rows of the pieces here that were updated, and receive those of others.

        Args:
            gradients: of each piece: its rows, or these with the `numbers` that were updated.
        """
        if self._hosts and len(self._hosts.groups) == 1:
            return
        comm, arrays = self._comm, self._layout.parameters.arrays
        numbers = [self._updated(number, gradients) for number in kinds.sparse]
        own = np.array([len(each) for each in numbers], np.int64)
        counts = gathered(comm, own, [len(own)] * comm.size)
        dtypes = [arrays[number].dtype for number in kinds.sparse]
        packets = [self._packet(kinds, each.tolist(), dtypes) for each in counts]
        for k, number in enumerate(kinds.sparse):
            indices, values = packets[comm.rank].rows(k)
            indices[...] = numbers[k]
            np.take(self._table(number), numbers[k], axis=0, out=values, mode="clip")
        sources = self._sources
        mine, nothing = packets[comm.rank].data, Packet([], [], []).data
        sent = [mine if rank in self._targets else nothing for rank in range(comm.size)]
        found = [each.data if k in sources else nothing for k, each in enumerate(packets)]
        self._exchange(sent, found)
        for rank in sources:
            for k, number in enumerate(kinds.sparse):
                indices, values = packets[rank].rows(k)
                self._table(number)[indices] = values

    @cached_property
    def _targets(self) -> list[int]:
        """The processes that receive the rows updated here."""
        rank, hosts = self._comm.rank, self._hosts
        if hosts is None:
            return [other for other in range(self._comm.size) if other != rank]
        others = [host for host in range(len(hosts.groups)) if host != hosts.number]
        return [hosts.partner(host, rank) for host in others]

    @cached_property
    def _sources(self) -> list[int]:
        """The processes whose updated rows this one receives."""
        rank, hosts = self._comm.rank, self._hosts
        others = [other for other in range(self._comm.size) if other != rank]
        if hosts is None:
            return others
        apart = [other for other in others if other not in hosts.own]
        return [other for other in apart if hosts.partner(hosts.number, other) == rank]

    def _owners_of(self, number: int) -> Owners:
        if number not in self._owners:
            width = self._layout.divisions[number].width
            self._owners[number] = Owners(
                [
                    [p.start // width for p in pieces if p.number == number and p.stop > p.start]
                    for pieces in self._layout.partition.of_rank
                ]
            )
        return self._owners[number]

    def _outgoing(
        self, given: Sequence[Any], kinds: Kinds, owners: Sequence[Owners]
    ) -> tuple[list[Packet], list[list[Any]]]:
        """The rows for each process, and for each the numbers of rows of its pieces."""
        sorts, ranks = list[tuple[Any, Any]](), range(self._comm.size)
        counts = [list[Any]() for _ in ranks]
        for number, each in zip(kinds.sparse, owners, strict=True):
            rows = given[number]
            order, found = each.sorted(NO_NUMBERS if rows is None else rows.indices)
            edges = np.cumsum([0, *each.counts])
            for rank in ranks:
                counts[rank].append(found[edges[rank] : edges[rank + 1]])
            sorts.append((rows, order))
        sent = [self._packet(kinds, [int(c.sum()) for c in each]) for each in counts]
        for k, (rows, order) in enumerate(sorts):
            first = 0
            for rank in ranks if rows is not None else ():
                indices, values = sent[rank].rows(k)
                chosen = order[first : first + len(indices)]
                first += len(indices)
                indices[...] = rows.indices[chosen]
                with np.errstate(all="ignore"):  # what is too large for a narrow dtype is infinite
                    values[...] = rows.values[chosen]
        return sent, counts

    def _of_pieces(self, number: int, rows: Sequence[tuple[Any, Any]]) -> dict[int, Rows]:
        """The rows of the pieces of a parameter here, from those of each process in order."""
        layout, size = self._layout, self._comm.size
        shape, dtype = layout.divisions[number].shape, layout.computes[number]
        places = [k for k, p in enumerate(layout.pieces) if p.number == number]
        filled = [k for k in places if layout.pieces[k].stop > layout.pieces[k].start]
        found = self.none_of(Kinds((), [number]))
        firsts = [0] * len(rows)
        for j, place in enumerate(filled):
            total = sum(int(counts[j]) for _, counts in rows)
            indices = np.empty(total, np.int64)
            values = np.empty((total, layout.divisions[number].width), dtype)
            at = 0
            for rank, ((theirs, numbers), counts) in enumerate(rows):
                first, count = firsts[rank], int(counts[j])
                indices[at : at + count] = theirs[first : first + count]
                _divided(numbers[first : first + count], size, values[at : at + count])
                firsts[rank], at = first + count, at + count
            indices -= layout.pieces[place].start // layout.divisions[number].width
            found[place] = _rows(indices, values, shape)
        return found

    def _packet(self, kinds: Kinds, counts: Sequence[int], dtypes: Sequence[Any] = ()) -> Packet:
        widths = [self._layout.divisions[number].width for number in kinds.sparse]
        return Packet(counts, dtypes or kinds.dtypes, widths)

    def _updated(self, number: int, gradients: Sequence[Any]) -> Any:
        """The numbers of the rows of a parameter that were updated here."""
        width = self._layout.divisions[number].width
        pieces = enumerate(self._layout.pieces)
        own = [(place, piece) for place, piece in pieces if piece.number == number]
        return np.concatenate([_numbers(gradients[k]) + p.start // width for k, p in own])

    def _table(self, number: int) -> Any:
        """A parameter as a matrix, whose rows are its."""
        return self._layout.parameters.arrays[number].reshape(
            -1, self._layout.divisions[number].width
        )

    def _exchange(self, sent: Sequence[Any], received: Sequence[Any]) -> None:
        rank = self._comm.rank
        outgoing = [NOTHING if k == rank else each.view(np.uint8) for k, each in enumerate(sent)]
        rooms = [NOTHING if k == rank else each.view(np.uint8) for k, each in enumerate(received)]
        self._comm.exchange(outgoing, rooms)()


def _numbers(gradient: Any) -> Any:
    """The numbers of the rows of a gradient, in order, each once."""
    return np.unique(gradient.indices) if isinstance(gradient, Rows) else gradient.numbers


def _joined(arrays: Sequence[Any]) -> Any:
    return np.concatenate([NO_NUMBERS, *arrays])


def _divided(values: Any, count: int, out: Any) -> None:
    """Write values divided by a number, in the dtype of `out`."""
    with np.errstate(all="ignore"):
        out[...] = values
        if count > 1:
            np.divide(out, out.dtype.type(count), out=out)


def _rows(indices: Any, values: Any, shape: Sequence[int]) -> Rows:
    return Rows(indices, values.reshape(len(indices), *shape[1:]))
