"""Communicator whose messages an exception cannot lose: an operation can be run again."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..kernels.commit import Operation, commit, put
from ..memory.arrays import address
from .communicator import Communicator, Wait


class ResumableCommunicator:
    """A communicator that records the exchanges of an operation.

    If an exception interrupts the operation, it is run again from the start: exchanges that were
    begun are not begun again, and what they received is there. The operation has to make the same
    exchanges then; `passed` tells which of them there is nothing left to do for.

    Args:
        comm: the processes.

    Attributes:
        recording: whether exchanges are recorded; those of a single process, for whose messages
            nobody waits, never are.
        place: the number of the next exchange since `again`.
        abandoned: whether all processes have ended an operation with an error.
    """

    recording = abandoned = False
    place = 0

    def __init__(self, comm: Communicator) -> None:
        self._comm, self.rank, self.size = comm, comm.rank, comm.size
        self._begun = list[tuple[Sequence[Any], Sequence[Any], Wait]]()
        self._received, self._used = set[int](), set[int]()

    def exchange(self, send: Sequence[Any], receive: Sequence[Any]) -> Wait:
        """Begin an exchange, as `Communicator.exchange`, unless it was begun before."""
        if not self.recording:
            return self._comm.exchange(send, receive)
        if self.place == len(self._begun):
            self._begin(send, receive)
        self.place += 1
        return partial(self._finish, self.place - 1, receive)

    def _begin(self, send: Sequence[Any], receive: Sequence[Any]) -> None:
        """Begin an exchange and record it, with no byte code of this package in between."""
        if prepared := getattr(self._comm, "prepared", None):
            operations, wait = prepared(send, receive)
            commit([*operations, partial(self._begun.append, (send, receive, wait))])
            return
        arrays = (send,), (receive,)
        self._begun.extend(zip(*arrays, map(self._comm.exchange, *arrays), strict=True))

    def _finish(self, number: int, receive: Sequence[Any]) -> None:
        """Wait for an exchange; what was received goes to these arrays as well."""
        _, first, wait = self._begun[number]
        if number not in self._received:
            commit([wait, partial(self._received.add, number)])
        for rank, (one, other) in enumerate(zip(receive, first, strict=True)):
            if rank != self.rank and one.size and address(one) != address(other):
                one[...] = other

    # Exchanges one by one

    def passed(self) -> bool:
        """Leave out the next exchange if what it received was used already; whether it was."""
        if not self.recording or self.place not in self._used:
            return False
        self.place += 1
        return True

    def use(self, number: int) -> None:
        """Note that what an exchange received was used, and need not be kept."""
        if number < self.place:  # else there was no such exchange
            self._used.add(number)

    # Operations

    def again(self) -> None:
        """Run a part of an operation from its start."""
        self.recording, self.place = self.size > 1, 0

    def ended(self, recording: bool) -> list[Operation]:
        """The operations that end a part of an operation, of which others follow if `recording`."""
        records = self._begun, self._received, self._used
        recorded = put(self, recording=recording and self.size > 1, place=0)
        return [*(each.clear for each in records), *recorded]


def forget(comm: Communicator) -> None:
    """End an operation that all processes end with an error."""
    if isinstance(comm, ResumableCommunicator):
        commit([*comm.ended(recording=False), *put(comm, abandoned=True)])
