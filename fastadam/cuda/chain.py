"""Several launches in one: the first by the whole grid, the others by its last thread block.

Each launch reads the results of the previous one. Thread blocks count how many of them have
finished the first launch; the last one runs the other launches, with barriers in between. These are
over few elements, such as the launches that add up the block sums of a norm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..kernels.compose import update_of
from ..rules.linker import digest, linked
from . import target as cuda
from .array import zeros
from .device_table import BLOCKS, DeviceTable

if TYPE_CHECKING:
    from ..engine.backend import ChainedLaunch
    from ..kernels.factory import Kernel

# A program: how many thread blocks are done, how many launches there are, then for each launch
# which kernel it is of, and its task.
DONE, COUNT, HEADER = range(3)
KIND, TASK, ENTRY = range(3)
COMPUTE = "float64"  # of all kernels in a chain


def chain_of(kernels: Sequence[Kernel], memory: Any) -> Callable[[int], None]:
    """The kernel for launches of several kernels, with this access to memory."""
    integer, put = memory.access(np.dtype("int64"), "table")
    share, wait, teams, is_last = memory.share, memory.wait, memory.teams, memory.is_last

    def nothing(kind, table, chunks, records, chunk):
        return None

    update: Any = nothing
    for number, kernel in enumerate(kernels):
        names = [stream.name for stream in kernel.streams]
        one = update_of(kernel.rule, kernel.streams, cuda.Memory(names))
        update = _either(number, one, update)

    def chain(program):
        place, count = 0, integer(program, COUNT)
        while place < count:
            entry = program + 8 * (HEADER + ENTRY * place)
            kind, task = integer(entry, KIND), integer(entry, TASK)
            table, chunks, records = integer(task, 0), integer(task, 1), integer(task, 2)
            first, last = integer(task, 3), integer(task, 4)
            for chunk in teams(first, last) if place == 0 else range(first, last):
                update(kind, table, chunks, records, chunk)
            place += 1
            if place > 1:
                wait()
            elif is_last(program + 8 * DONE):
                for _ in share(1):
                    put(program, DONE, 0)
            else:
                place = count

    return chain


def _either(number: int, one: Any, rest: Any) -> Any:
    """The function that updates a chunk by `one` for kernel `number`, by `rest` for others."""

    def either(kind, table, chunks, records, chunk):
        if kind == number:
            one(table, chunks, records, chunk)
        else:
            rest(kind, table, chunks, records, chunk)

    return either


@cache
def compiled(kernels: tuple[Kernel, ...]) -> Any:
    """The kernel for launches of these kernels, ready to be loaded."""

    def swap(value: Any) -> Any:
        return cuda.swap(value, COMPUTE)

    function = chain_of(kernels, cuda.Memory(["program"]))
    mark = digest(swap, function, cuda.RECIPE) if cuda.RECIPE else "plain"
    return cuda.compiled(linked(function, f"chain_{mark}", mark, cuda.jit, swap))


def chained(launches: Sequence[ChainedLaunch]) -> Callable[[], None]:
    """A function that runs these launches in order, in the current stream."""
    tables = [cast(DeviceTable, launch.table) for launch in launches]
    kernels = tuple(dict.fromkeys(launch.kernel for launch in launches))
    entries = [
        (kernels.index(launch.kernel), table.task.address)
        for launch, table in zip(launches, tables, strict=True)
    ]
    program = zeros(HEADER + ENTRY * len(entries), np.int64)
    program[...] = [0, len(entries), *np.ravel(entries)]
    grid = min(max(1, len(tables[0].chunks)), BLOCKS)
    start = cuda.launcher(compiled(kernels), grid, program.address)

    def run() -> None:
        for table in tables:
            table.send()
        start()

    run.kept = program  # type: ignore[attr-defined]  # launches know its address only
    return run
