"""The prologue kernel, which precedes the launches of a step on a device and lets them run or not.

Whether a step counts is known on the device only, and so is how many have counted before it. The
host prepares the constants of every count that is possible, a page for each; the kernel opens the
tasks of the launches and gives them the page that it is.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..rules.linker import digest, linked
from . import target as cuda
from .context import driver

# A program: some integers, an entry for each launch, then the pages, each the heads of all tables.
KNOWN, BASE, LAST_PAGE, FORCED, TOTAL, JUDGED = range(6)
FLAG, KIND, OUTCOME, COUNT, ENTRIES, HEADER = range(6, 12)
# An entry: its task, how many chunks to open it for, whether that is for skipped steps, and where
# its head goes, of so many words.
TASK, CHUNKS, INSTEAD, HEAD, WORDS, ENTRY = range(6)
LAST = 4  # the word of a task that says where its chunks end
# An outcome: how many steps have counted, whether this was skipped, whether it was known to be of
# no use, and the sum of the squares of its gradients.
COUNTED, SKIPPED, USELESS, SQUARES, OUTCOME_WORDS = range(5)
KINDS = {"float32": 1, "float64": 2, "bool": 3, "uint8": 3, "int32": 4, "int64": 5}  # of a flag


def gate_of(memory: Any) -> Callable[[int], None]:
    """The kernel, one block of which runs; from access to memory."""
    integer, put = memory.access(np.dtype("int64"), "table")
    double, put_double = memory.access(np.dtype("float64"), "table")
    single, _ = memory.access(np.dtype("float32"), "table")
    byte, _ = memory.access(np.dtype("uint8"), "table")
    small, _ = memory.access(np.dtype("int32"), "table")
    share, wait = memory.share, memory.wait

    def useless(program):
        flag, kind = integer(program, FLAG), integer(program, KIND)
        if integer(program, FORCED) != 0:
            return True
        if kind == 1:
            return single(flag, 0) != 0.0
        if kind == 2:
            return double(flag, 0) != 0.0
        if kind == 3:
            return byte(flag, 0) != 0
        if kind == 4:
            return small(flag, 0) != 0
        return kind == 5 and integer(flag, 0) != 0

    def gate(program):
        where = integer(program, COUNT)
        count = integer(program, KNOWN) if integer(program, KNOWN) >= 0 else integer(where, 0)
        dropped, total = useless(program), integer(program, TOTAL)
        squares = double(total, 0) if total != 0 else 0.0
        bad = squares - squares != 0.0  # infinite, or NaN
        skipped = dropped or (bad and integer(program, JUDGED) != 0)
        wait()
        entries = program + 8 * HEADER
        pages = entries + 8 * ENTRY * integer(program, ENTRIES)
        size = 0
        for k in range(integer(program, ENTRIES)):
            size += integer(entries + 8 * ENTRY * k, WORDS)
        number, last = count - integer(program, BASE), integer(program, LAST_PAGE)
        page = pages + 8 * size * (last if number > last else number)
        for k in range(integer(program, ENTRIES)):
            entry = entries + 8 * ENTRY * k
            instead = integer(entry, INSTEAD) != 0
            for _ in share(1):
                put(integer(entry, TASK), LAST, integer(entry, CHUNKS) if skipped == instead else 0)
            if not skipped:
                for i in share(integer(entry, WORDS)):
                    put(integer(entry, HEAD), i, integer(page, i))
            page += 8 * integer(entry, WORDS)
        for _ in share(1):
            counted, outcome = count if skipped else count + 1, integer(program, OUTCOME)
            put(where, 0, counted)
            put(outcome, COUNTED, counted)
            put(outcome, SKIPPED, 1 if skipped else 0)
            put(outcome, USELESS, 1 if dropped else 0)
            put_double(outcome, SQUARES, squares)

    return gate


@cache
def compiled() -> Any:
    """The prologue kernel, ready to be loaded."""

    def swap(value: Any) -> Any:
        return cuda.swap(value, "float64")

    function = gate_of(cuda.Memory(["program"]))
    mark = digest(swap, function, cuda.RECIPE) if cuda.RECIPE else "plain"
    return cuda.compiled(linked(function, f"gate_{mark}", mark, cuda.jit, swap))


def warm() -> None:
    """Compile and load all that a step may need, which cannot be done inside a capture."""
    cuda.loaded(compiled())
    driver.prepare()


def launcher(program: int) -> Callable[[], None]:
    """A function that launches the prologue kernel with a command buffer, by its address."""
    return cuda.launcher(compiled(), 1, program)
