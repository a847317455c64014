"""The loops, all there are: over chunks, over blocks, over elements.

They serve every rule, storage, option and device; what differs is put in by name.
"""

from collections.abc import Callable
from typing import Any


def teams(first: int, last: int) -> range:
    """The chunks of this caller; a target puts its own in place."""
    return range(first, last)


def update(table: int, chunks: int, records: int, chunk: int) -> None:
    """Stands for the function that `update_with` composes."""
    raise NotImplementedError


def integer(address: int, index: int) -> int:
    """Stands for the target's load of a 64-bit integer."""
    raise NotImplementedError


def kernel(task: int) -> None:
    """A task is five integers: where table, chunks and records are, its first chunk, its last."""
    table, chunks, records = integer(task, 0), integer(task, 1), integer(task, 2)
    for chunk in teams(integer(task, 3), integer(task, 4)):
        update(table, chunks, records, chunk)


def update_with(
    pieces: Any,
    addresses: Any,
    element: Any,
    memory: Any,
    registers: Any,
    reserve: Any,
    block: int,
    row_size: int,
    record_size: int,
) -> Callable[..., None]:
    """The function that updates one run of elements of one parameter, composed from its pieces.

    A chunk is (row, start, stop). A row is the number of its record, or -1 when the parameter has
    no gradient, then the address of each of its arrays. A record is the constants of the step.
    """
    read, write, pack = pieces
    integer, share = memory.integer, memory.share

    def update(table, chunks, records, chunk):
        row = table + integer(chunks, 3 * chunk) * row_size
        start, stop = integer(chunks, 3 * chunk + 1), integer(chunks, 3 * chunk + 2)
        record = integer(row, 0)
        if record < 0:
            return
        h = registers(records + record * record_size)
        scratch = reserve()
        for first in range(start, stop, block):
            at = (first, scratch) + addresses(row, first)
            count = block if stop - first > block else stop - first
            for i in share(count):
                write(at, i, element(read(at, i), h))
            pack(at, count)

    return update
