"""Communicators of mpi4py."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..kernels.commit import Operation, added, each_once
from .communicator import Wait, begun, messages

MOST = 1 << 30  # bytes of one message; MPI counts with 32 bits


class MpiCommunicator:
    """A duplicate of a communicator of mpi4py, so that its messages meet no others.

    Args:
        comm: an intracommunicator; making the duplicate is collective.
    """

    def __init__(self, comm: Any) -> None:
        from mpi4py import MPI

        if not isinstance(comm, MPI.Intracomm) or comm == MPI.COMM_NULL:
            raise TypeError(
                f"comm={comm!r} is not an intracommunicator; give one, such as MPI.COMM_WORLD"
            )
        self._mpi, self._comm = MPI, comm.Dup()
        self.rank, self.size = comm.rank, comm.size

    def exchange(self, send: Sequence[Any], receive: Sequence[Any]) -> Wait:
        return begun(*self.prepared(send, receive))

    def prepared(
        self, send: Sequence[Any], receive: Sequence[Any]
    ) -> tuple[Sequence[Operation], Wait]:
        """The operations that begin an exchange, and the function that waits for it."""
        requests, byte = list[Any](), self._mpi.BYTE

        def begin(start: Any, arrays: Sequence[Any], other: int) -> list[Operation]:
            parts = _messages(arrays[other])
            return [added(requests, partial(start, [part, byte]), other) for part in parts]

        receiving = partial(begin, self._comm.Irecv, receive)
        sending = partial(begin, self._comm.Isend, send)
        operations = messages(self, receiving, sending)
        return operations, each_once(self._mpi.Request.Waitall, [requests])


def _messages(array: Any) -> Sequence[Any]:
    return [array[start : start + MOST] for start in range(0, array.size, MOST)]
