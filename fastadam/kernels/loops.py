"""The loops of all kernels: over chunks, over blocks, over elements.

They are shared by every rule, storage, option and device; the linker replaces the functions that
differ, by name.
"""

from collections.abc import Callable
from typing import Any


def teams(first: int, last: int) -> range:
    """The chunks of the calling team; replaced by the target."""
    return range(first, last)


def wait() -> None:
    """Barrier of the threads of a team; replaced by a target whose teams have several threads."""


def enter() -> int:
    """Begin a task; replaced by a target whose threads have floating-point modes."""
    return 0


def leave(mode: int) -> None:
    """End a task; `mode` is what `enter` returned."""


def update(table: int, chunks: int, records: int, chunk: int) -> None:
    """Placeholder of the function that `update_with` composes."""
    raise NotImplementedError


def integer(address: int, index: int) -> int:
    """Placeholder of the target's load of a 64-bit integer."""
    raise NotImplementedError


def kernel(task: int) -> None:
    """Run a task: the addresses of table, chunks and records, its first and its last chunk."""
    table, chunks, records = integer(task, 0), integer(task, 1), integer(task, 2)
    mode = enter()
    for chunk in teams(integer(task, 3), integer(task, 4)):
        update(table, chunks, records, chunk)
    leave(mode)


def loop_over(share: Any) -> Callable[[Any], Any]:
    """The `loop` of a target whose compiler needs no help; see `MemoryAccess`."""

    def loop(step: Any, width: int = 0, whole: bool = True) -> Any:
        def each(at, first, count, more):
            for i in share(count - first):
                step(at, first + i, more)

        return each

    return loop


def folding(step: Any, start: Any) -> Callable[..., Any]:
    """The `folded` of a target whose compiler needs no help; see `MemoryAccess`."""

    def each(at, first, count, more):
        joined = start
        for i in range(first, count):
            joined = step(at, i, more, joined)
        return joined

    return each


def one_by_one(read: Any, write: Any, element: Any, loop: Any) -> Callable[..., None]:
    """The function that updates the elements of a block from `first` on."""

    def step(at, i, h):
        write(at, i, element(read(at, i), h))

    return loop(step)  # type: ignore[no-any-return]


def four_by_four(single: Any, access: Any, share: Any, two: bool) -> Callable[..., None]:
    """The function that updates a block in groups of four, for a device with 16-byte accesses.

    `read_first` and the first access of `write_four` assume that the whole group is aligned.
    Unaligned blocks and the last elements are left to `single`.

    Args:
        two: True if a thread loads two groups, half a block apart, before it computes the first, so
            that more loads are under way.
    """
    aligned, read_first, read, write_four, _, element = access

    def load(at, i):
        return read_first(at, i), read(at, i + 1), read(at, i + 2), read(at, i + 3)

    def update(at, i, four, h):
        a, b, c, d = four
        write_four(at, i, (element(a, h), element(b, h), element(c, h), element(d, h)))

    def one_group(at, first, count, h):
        groups = count // 4 if aligned(at) else 0
        for group in share(groups):
            update(at, 4 * group, load(at, 4 * group), h)
        single(at, 4 * groups, count, h)

    def two_groups(at, first, count, h):
        pairs = count // 8 if aligned(at) else 0
        for pair in share(pairs):
            i, j = 4 * pair, 4 * (pair + pairs)
            one, other = load(at, i), load(at, j)
            update(at, i, one, h)
            update(at, j, other, h)
        single(at, 8 * pairs, count, h)

    return two_groups if two else one_group


def at_once(elements: Any, addresses: Any) -> Callable[..., None]:
    """The function that updates a run of elements of streams without blocks."""

    def run(row, start, stop, h):
        elements((start, 0) + addresses(row, start), 0, stop - start, h)

    return run


def block_by_block(
    elements: Any, pack: Any, addresses: Any, reserve: Any, block: int
) -> Callable[..., None]:
    """The function that updates a run of elements, all threads of a team in the same block."""

    def run(row, start, stop, h):
        scratch = reserve()
        for first in range(start, stop, block):
            at = (first, scratch) + addresses(row, first)
            count = block if stop - first > block else stop - first
            elements(at, 0, count, h)
            pack(at, count)

    return run


def sums_of_row(
    elements: Any,
    pack: Any,
    addresses: Any,
    zeros: Any,
    joined: Any,
    keep: Any,
    memory: Any,
    block: int,
) -> Callable[..., None]:
    """The function that writes the sums of a row: those of its blocks, added in order."""
    share, wait = memory.share, memory.wait

    def added(row, first, length, scratch, h):
        totals, end = zeros(), first + length
        for part in range(first, end, block):
            at = addresses(row, part, length, scratch)
            count = block if end - part > block else end - part
            elements(at, 0, count, h)
            pack(at, count)
            totals = joined(totals, at)
        for _ in share(1):
            keep(row, first, length, scratch, totals)
        wait()

    return added


def row_at_once(elements: Any, addresses: Any) -> Callable[..., None]:
    """The function that updates the elements of a row of streams without blocks."""

    def updated(row, first, length, scratch, h):
        elements(addresses(row, first, length, scratch), 0, length, h)

    return updated


def row_in_blocks(elements: Any, pack: Any, addresses: Any, block: int) -> Callable[..., None]:
    """The function that updates the elements of a row block by block."""

    def updated(row, first, length, scratch, h):
        end = first + length
        for part in range(first, end, block):
            at = addresses(row, part, length, scratch)
            count = block if end - part > block else end - part
            elements(at, 0, count, h)
            pack(at, count)

    return updated


def row_by_row(
    added: Any,
    update: Any,
    close: Any,
    addresses: Any,
    length_of: Any,
    memory: Any,
    reserve: Any,
    fetch: Any,
) -> Callable[..., None]:
    """The function that updates a run of rows: the sums of each, its elements, its numbers.

    Args:
        fetch: `fetch(row, first, length, stop)` prefetches a later row.
    """
    share, wait = memory.share, memory.wait

    def run(row, start, stop, h):
        scratch, length = reserve(), length_of(row)
        for first in range(start, stop, length):
            fetch(row, first, length, stop)
            added(row, first, length, scratch, h)
            update(row, first, length, scratch, h)
            wait()
            for _ in share(1):
                close(addresses(row, first, length, scratch), h)
            wait()

    return run


def row_after_row(update: Any, length_of: Any, reserve: Any, fetch: Any) -> Callable[..., None]:
    """The function that updates a run of rows, of which no numbers are computed first; `fetch` is
    as for `row_by_row`."""

    def run(row, start, stop, h):
        scratch, length = reserve(), length_of(row)
        for first in range(start, stop, length):
            fetch(row, first, length, stop)
            update(row, first, length, scratch, h)

    return run


def update_with(
    run: Any, integer: Any, registers: Any, row_size: int, record_size: int
) -> Callable[..., None]:
    """Compose the function that updates one chunk: a run of elements of one parameter.

    A chunk is (row, start, stop). A row holds the index of its record, or -1 if the parameter has
    no gradient, then the address of each of its arrays. A record holds the constants of the step.

    Args:
        run: `run(row, start, stop, h)` updates a run of elements with the constants `h`.
        integer: loads a 64-bit integer.
        registers: loads a record into a named tuple.
        row_size: bytes of a row.
        record_size: bytes of a record.
    """

    def update(table, chunks, records, chunk):
        row = table + integer(chunks, 3 * chunk) * row_size
        start, stop = integer(chunks, 3 * chunk + 1), integer(chunks, 3 * chunk + 2)
        record = integer(row, 0)
        if record < 0:
            return
        run(row, start, stop, registers(records + record * record_size))

    return update
