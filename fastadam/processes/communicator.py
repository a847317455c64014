"""Communicator: the one operation that a sharded optimizer needs of a message-passing library."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..kernels.commit import Operation, commit

Wait = Callable[[], None]
NOTHING = np.empty(0, np.uint8)


@runtime_checkable
class Communicator(Protocol):
    """Processes that exchange messages; those of mpi4py and PyTorch are adapted to it.

    Any object with these members can be given to `fastadam.distributed.Sharded`.

    Attributes:
        rank: the number of this process, from 0.
        size: the number of processes.
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def exchange(self, send: Sequence[Any], receive: Sequence[Any]) -> Wait:
        """Begin to send an array to each process, and to receive one from each.

        All processes call it in the same order with matching sizes. The arrays are left alone
        until the function returned was called.

        Args:
            send: for each process a contiguous array of uint8; that at `rank` is ignored, and
                empty ones need not be sent.
            receive: likewise, written to.

        Returns:
            A function that waits until everything was received and sent. If it raises an exception,
            it may be called again.
        """


def begun(operations: Sequence[Operation], wait: Wait) -> Wait:
    """Begin an exchange by its operations; returns the function that waits for it."""
    commit(operations)
    return wait


def messages(
    comm: Communicator,
    receiving: Callable[[int], Sequence[Operation]],
    sending: Callable[[int], Sequence[Operation]],
) -> list[Operation]:
    """The operations that begin the messages of an exchange, with the nearest processes first:
    receive from those before this one, send to those after it.

    Args:
        comm: the processes.
        receiving, sending: return the operations that begin the messages from or to a process.
    """
    apart, operations = range(1, comm.size), list[Operation]()
    for step in apart:
        operations += receiving((comm.rank - step) % comm.size)
    for step in apart:
        operations += sending((comm.rank + step) % comm.size)
    return operations


ADAPTERS = {
    "mpi4py": ("mpi", "MpiCommunicator"),
    "torch": ("process_group", "GroupCommunicator"),
}  # by the package that the class of a communicator is from


def communicator_of(comm: Any) -> Communicator:
    """A Communicator for a communicator of mpi4py or a process group of PyTorch; a Communicator
    unchanged.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(comm, Communicator):
        return comm
    package = type(comm).__module__.partition(".")[0]
    if package not in ADAPTERS:
        raise TypeError(
            f"comm={comm!r} is not a communicator; give one of mpi4py such as MPI.COMM_WORLD, a "
            "process group of torch.distributed such as torch.distributed.group.WORLD, or an "
            "object with rank, size and exchange() as fastadam.distributed.Communicator has them"
        )
    module, name = ADAPTERS[package]
    adapter = getattr(import_module(f".{module}", __package__), name)
    adapted: Communicator = adapter(comm)
    return adapted


def raw(array: Any) -> Any:
    """The bytes of a contiguous array of one dimension, as an array."""
    return array.view(np.uint8)


def gathered(comm: Communicator, own: Any, sizes: Sequence[int]) -> list[Any]:
    """The arrays of all processes, of these sizes and of the dtype of `own`."""
    arrays = [own if k == comm.rank else np.empty(n, own.dtype) for k, n in enumerate(sizes)]
    sent = raw(own) if own.size else NOTHING
    comm.exchange([sent] * comm.size, [raw(a) if a.size else NOTHING for a in arrays])()
    return arrays
