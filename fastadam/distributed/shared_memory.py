"""Exchange of gradients and parameters through memory that the processes of a host share.

Within a host nothing is sent. Between hosts, for each part of a bucket one process of a host sends
the sum of the gradients there to the owner of the part, and receives what it has updated.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..memory.checks import address
from ..memory.shared import shared_mapping_of
from ..processes.agreement import Agreement
from ..processes.communicator import NOTHING, Wait, raw
from ..processes.hosts import Hosts, shared_bytes
from ..processes.resumable import ResumableCommunicator
from .buckets import Bucket
from .collectives import averaged, overlapped, summed
from .line_arrays import LineArrays

LINE = 64  # bytes of a line of the caches


class SharedGradients:
    """The gradients of the processes of a host, which all of them can read.

    Making it is collective.

    Args:
        size: the number of elements of the parameters.
        dtype: theirs.

    Attributes:
        hosts: the processes by host.
        rows: an array for each process of this host, in order.
        own: that of this process.
    """

    def __init__(self, comm: ResumableCommunicator, size: int, dtype: Any) -> None:
        self.hosts = hosts = Hosts(comm)
        self._agreement = Agreement(comm)
        step = -(-size * dtype.itemsize // LINE) * LINE
        memory = shared_bytes(comm, hosts, step * len(hosts.own))
        starts = [step * place for place in range(len(hosts.own))]
        self.rows = [memory[s : s + size * dtype.itemsize].view(dtype) for s in starts]
        self.own = self.rows[hosts.place]

    def check(self, param: Any) -> None:
        """Refuse parameters that are shared by other processes.

        Raises:
            ValueError: naming both.
        """
        mapping = shared_mapping_of(param)
        if mapping is None or [*mapping.processes] != self.hosts.own:
            there = mapping and [*mapping.processes]
            raise ValueError(
                f"params are shared by the processes {there}, but those of comm on this host are "
                f"{self.hosts.own}; give Sharded and fa.flatten the same communicator"
            )

    def holds(self, array: Any) -> bool:
        """True if an array is that of this process."""
        if array is None or array.dtype != self.own.dtype:
            return False
        return array.size == self.own.size and address(array) == address(self.own)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._agreement.flags(False)


def shared_by(arrays: Iterable[Any]) -> bool:
    """True if arrays lie in memory that several processes share.

    Raises:
        ValueError: if only some of them do.
    """
    found = {id(shared_mapping_of(array)) if shared_mapping_of(array) else 0 for array in arrays}
    if len(found) > 1:
        raise ValueError(
            "some of params are in memory that processes share, others are not or are in other "
            "memory; give one Flat made by fa.flatten(tree, shared=comm)"
        )
    return found != {0}


class SharedMeans:
    """The means over all processes of the gradients of the own parts, read from shared memory.

    Args:
        parts: for each bucket where the own part of the means is to be.
        comm_dtype: the dtype of sums that are sent between hosts, None for their own.
    """

    def __init__(
        self,
        comm: ResumableCommunicator,
        buckets: Sequence[Bucket],
        parts: Sequence[Any],
        gradients: SharedGradients,
        comm_dtype: Any,
    ) -> None:
        self._comm, self._buckets, self._parts = comm, buckets, parts
        self._rows, self._hosts, self._comm_dtype = gradients.rows, gradients.hosts, comm_dtype

    def collect(self) -> None:
        """Set the parts to the means of the gradients, which all processes have written."""

        def begin(number: int) -> tuple[list[Any], Wait]:
            return self._begin(self._buckets[number], self._parts[number])

        def use(number: int, rows: list[Any]) -> None:
            averaged(rows, self._parts[number], self._comm.size)

        overlapped(self._comm, len(self._buckets), begin, use)

    def _begin(self, bucket: Bucket, own: Any) -> tuple[list[Any], Wait]:
        """Start the exchange of a bucket; returns what is to be added up."""
        hosts, rank, dtype = self._hosts, self._comm.rank, own.dtype
        if len(hosts.groups) == 1:
            start, stop = bucket.part(rank)
            return [row[start:stop] for row in self._rows], lambda: None
        narrow = self._comm_dtype
        wire = narrow if narrow is not None and narrow.itemsize < dtype.itemsize else dtype
        send, receive = [NOTHING] * self._comm.size, [NOTHING] * self._comm.size
        sums = list[Any]()
        for number, group in enumerate(hosts.groups):
            if number == hosts.number:
                start, stop = bucket.part(rank)
                sums.append(summed([row[start:stop] for row in self._rows], dtype))
                continue
            sums.append(np.empty(own.size, wire))
            receive[hosts.partner(number, rank)] = raw(sums[-1])
            for other in group:
                if hosts.partner(hosts.number, other) == rank:
                    start, stop = bucket.part(other)
                    total = summed([row[start:stop] for row in self._rows], dtype)
                    with np.errstate(all="ignore"):
                        send[other] = raw(total.astype(wire, copy=False))
        return sums, self._comm.exchange(send, receive)


class SharedParts:
    """Distribution of parameters that the processes of a host share."""

    def __init__(
        self, comm: ResumableCommunicator, buckets: Sequence[Bucket], gradients: SharedGradients
    ) -> None:
        self._comm, self._buckets, self._gradients = comm, buckets, gradients

    def gather(
        self, arrays: LineArrays, dtypes: Sequence[Any], chosen: Sequence[int] | None = None
    ) -> None:
        """Complete arrays whose own parts are up to date, as `collectives.Parts` does; waits until
        all processes have."""
        if len(self._gradients.hosts.groups) > 1:
            numbers = range(len(self._buckets)) if chosen is None else chosen

            def begin(place: int) -> tuple[list[Any], Wait]:
                number = numbers[place]
                return self._begin(arrays, self._buckets[number], dtypes[number])

            def use(place: int, received: list[Any]) -> None:
                for (start, stop), part in received:
                    arrays.write(start, stop, part)

            overlapped(self._comm, len(numbers), begin, use)
        self._gradients.wait()

    def _begin(self, arrays: LineArrays, bucket: Bucket, dtype: Any) -> tuple[list[Any], Wait]:
        """Start to exchange a bucket; returns what is still to be written into the arrays."""
        hosts, rank = self._gradients.hosts, self._comm.rank
        send, receive = [NOTHING] * self._comm.size, [NOTHING] * self._comm.size
        (start, stop), received = bucket.part(rank), list[Any]()
        own = np.empty(stop - start, dtype)
        arrays.read(start, stop, own)
        for number, group in enumerate(hosts.groups):
            if number != hosts.number:
                send[hosts.partner(number, rank)] = raw(own)
                for other in group:
                    if hosts.partner(hosts.number, other) == rank:
                        span = bucket.part(other)
                        received.append((span, np.empty(span[1] - span[0], dtype)))
                        receive[other] = raw(received[-1][1])
        return received, self._comm.exchange(send, receive)
