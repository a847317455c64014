"""Collective operations over buckets: means of gradients to their owners, parameters to all."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..memory.aligned import aligned_zeros
from ..processes.communicator import Wait, raw
from ..processes.resumable import ResumableCommunicator
from .buckets import Bucket, Line
from .line_arrays import LineArrays


class MeanGradients:
    """The means over all processes of the gradients of the own parts.

    While the parts of a bucket are being sent, those of the previous bucket are added, in the order
    of the processes, so that the bits depend neither on timing nor on the library.

    Args:
        comm: the communicator.
        line: the elements of the parameters.
        buckets: the division of the line.
        dtypes: the dtype of the arithmetic for each bucket.
        comm_dtype: the dtype in which gradients are sent; None: their own.

    Attributes:
        parts: for each bucket, the part of the means that belongs to this process.
    """

    def __init__(
        self,
        comm: ResumableCommunicator,
        line: Line,
        buckets: Sequence[Bucket],
        dtypes: Sequence[Any],
        comm_dtype: Any,
    ) -> None:
        self._comm, self._line, self._buckets, self._comm_dtype = comm, line, buckets, comm_dtype
        sizes = [stop - start for start, stop in (bucket.part(comm.rank) for bucket in buckets)]
        pairs = zip(sizes, dtypes, strict=True)
        self.parts = [aligned_zeros(size, dtype) for size, dtype in pairs]
        lengths = [bucket.stop - bucket.start for bucket in buckets]
        most = max((n * d.itemsize for n, d in zip(lengths, dtypes, strict=True)), default=0)
        self._sent = [aligned_zeros(most, np.uint8) for _ in range(2)]
        room = max((n * d.itemsize for n, d in zip(sizes, dtypes, strict=True)), default=0)
        self._received = [aligned_zeros(comm.size * room, np.uint8) for _ in range(2)]

    def collect(
        self, grads: LineArrays, dtypes: Sequence[Any], chosen: Sequence[int] | None = None
    ) -> None:
        """Exchange gradients, and set `parts` to their means.

        Args:
            grads: the gradients of the parameters.
            dtypes: their dtypes, the same in all processes.
            chosen: the numbers of the buckets; None for all.
        """
        numbers = range(len(self._buckets)) if chosen is None else chosen

        def begin(place: int) -> tuple[list[Any], Wait]:
            number = numbers[place]
            return self._begin(grads, number, place % 2, self._sent_as(number, dtypes))

        def use(place: int, rows: list[Any]) -> None:
            averaged(rows, self.parts[numbers[place]], self._comm.size)

        overlapped(self._comm, len(numbers), begin, use)

    def _begin(
        self, grads: LineArrays, number: int, room_of: int, dtype: Any
    ) -> tuple[list[Any], Wait]:
        """Start the exchange of a bucket; returns a row for each process, the own one included."""
        bucket, rank = self._buckets[number], self._comm.rank
        sent = grads.view(bucket.start, bucket.stop)
        if sent is None or sent.dtype != dtype or not sent.flags.writeable:
            nbytes = (bucket.stop - bucket.start) * dtype.itemsize
            sent = self._sent[room_of][:nbytes].view(dtype)
            with np.errstate(all="ignore"):  # overflow of a narrow dtype gives infinity
                grads.read(bucket.start, bucket.stop, sent)
        outgoing = [sent[a - bucket.start : b - bucket.start] for a, b in bucket.parts]
        size = outgoing[rank].size
        room = self._received[room_of][: self._comm.size * size * dtype.itemsize]
        rows = list(room.view(dtype).reshape(self._comm.size, size))
        wait = self._comm.exchange(list(map(raw, outgoing)), list(map(raw, rows)))
        rows[rank] = outgoing[rank]
        return rows, wait

    def _sent_as(self, number: int, dtypes: Sequence[Any]) -> Any:
        """The dtype in which the gradients of a bucket are sent."""
        bucket, own = self._buckets[number], self.parts[number].dtype
        if self._comm_dtype is not None and self._comm_dtype.itemsize < own.itemsize:
            return self._comm_dtype
        found = {dtypes[piece.number] for piece in self._line.pieces(bucket.start, bucket.stop)}
        return found.pop() if len(found) == 1 else own


def averaged(rows: Sequence[Any], total: Any, count: int) -> None:
    """Set `total` to the sum of arrays, divided by a number."""
    _add_up(rows, total)
    if count > 1:
        with np.errstate(all="ignore"):
            np.divide(total, total.dtype.type(count), out=total)


def summed(rows: Sequence[Any], dtype: Any) -> Any:
    """The sum of arrays, a new array."""
    total = np.empty(rows[0].size, dtype)
    _add_up(rows, total)
    return total


def _add_up(rows: Sequence[Any], total: Any) -> None:
    """Set `total` to the sum of arrays, added in their order in the dtype of `total`."""
    first, *others = (row.astype(total.dtype, copy=False) for row in rows)
    with np.errstate(all="ignore"):
        if not others:
            np.copyto(total, first)
        for row in others:
            np.add(first, row, out=total)
            first = total


class Parts:
    """Distribution of arrays of which each process has updated its parts: parameters, averages."""

    def __init__(self, comm: ResumableCommunicator, line: Line, buckets: Sequence[Bucket]) -> None:
        self._comm, self._line, self._buckets = comm, line, buckets

    def gather(
        self, arrays: LineArrays, dtypes: Sequence[Any], chosen: Sequence[int] | None = None
    ) -> None:
        """Complete arrays, of which each process has updated its own parts.

        Args:
            arrays: the arrays.
            dtypes: the dtype of each bucket.
            chosen: the numbers of the buckets to complete; None for all.
        """
        numbers = range(len(self._buckets)) if chosen is None else chosen

        def begin(place: int) -> tuple[list[Any], Wait]:
            number = numbers[place]
            return self._begin(arrays, self._buckets[number], dtypes[number])

        def use(place: int, rows: list[Any]) -> None:
            for rank, (start, stop) in enumerate(self._buckets[numbers[place]].parts):
                if rows and rank != self._comm.rank:
                    arrays.write(start, stop, rows[rank])

        overlapped(self._comm, len(numbers), begin, use)

    def _begin(self, arrays: LineArrays, bucket: Bucket, dtype: Any) -> tuple[list[Any], Wait]:
        """Start to exchange a bucket; returns what is still to be copied into the arrays."""
        whole, rank = arrays.view(bucket.start, bucket.stop), self._comm.rank
        scattered = whole is None
        if scattered:
            whole = np.empty(bucket.stop - bucket.start, dtype)
            start, stop = bucket.part(rank)
            arrays.read(start, stop, whole[start - bucket.start : stop - bucket.start])
        parts = [whole[a - bucket.start : b - bucket.start] for a, b in bucket.parts]
        sent = [raw(parts[rank])] * self._comm.size
        wait = self._comm.exchange(sent, list(map(raw, parts)))
        return parts if scattered else [], wait


def overlapped(
    comm: ResumableCommunicator,
    count: int,
    begin: Callable[[int], tuple[Any, Wait]],
    use: Callable[[int, Any], None],
) -> None:
    """Make so many exchanges, each begun before the one before it is waited for.

    Those that were completed before an exception are left out.

    Args:
        begin: begins the exchange of a number; returns what `use` needs, and the function to wait.
        use: uses what was received in the exchange of a number, possibly twice.
    """
    last: Callable[[], None] | None = None
    for number in range(count):
        place = comm.place
        if comm.passed():
            continue
        received, wait = begin(number)
        if last is not None:
            last()
        last = partial(_finish, comm, place, wait, partial(use, number, received))
    if last is not None:
        last()


def _finish(comm: ResumableCommunicator, place: int, wait: Wait, use: Callable[[], None]) -> None:
    wait()
    use()
    comm.use(place)
