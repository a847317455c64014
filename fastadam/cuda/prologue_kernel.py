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
from .device_rate import (
    ADD,
    CONSTANT,
    FROM,
    MOST,
    OVER,
    OVER_RATE,
    TIMES,
    TIMES_RATE,
    UNDER,
    UNDER_RATE,
)

# A program: some integers, an entry for each launch, one for each constant that follows from a
# learning rate on the device, one for each run of counters, then the pages. A page is the heads of
# all tables, then the operations that compute those constants.
KNOWN, BASE, LAST_PAGE, FORCED, TOTAL, JUDGED = range(6)
FLAG, KIND, OUTCOME, COUNT, ENTRIES, FIELDS, RUNS, PAGES = range(6, 14)
UNSCALE, RATE, RATE_KIND, HEADER = range(14, 18)
# An entry: its task, how many chunks to open it for, whether that is for skipped steps, and where
# its head goes, of so many words.
TASK, CHUNKS, INSTEAD, HEAD, WORDS, ENTRY = range(6)
# A constant: where it goes, of so many bytes, and the learning rate; in a page its operations, a
# byte each, then their constants.
PLACE, BYTES, SOURCE, SOURCE_KIND, FIELD = range(5)
OPERATIONS = 1 + MOST
# Counters of steps: where they are, how many, and of which kind.
FIRST, LENGTH, COUNTER_KIND, RUN = range(4)
LAST = 4  # the word of a task that says where its chunks end
# An outcome: how many steps have counted, whether this was skipped, whether it was known to be of
# no use, the sum of the squares of its gradients, what their norm is to be multiplied by, and the
# learning rate, if these two are on the device.
COUNTED, SKIPPED, USELESS, SQUARES, SCALED, RATED, OUTCOME_WORDS = range(7)
KINDS = {"float32": 1, "float64": 2, "bool": 3, "uint8": 3, "int32": 4, "int64": 5}  # of numbers


def prologue_of(memory: Any) -> Callable[[int], None]:
    """The kernel, one block of which runs; from access to memory."""
    integer, put = memory.access(np.dtype("int64"), "table")
    double, put_double = memory.access(np.dtype("float64"), "table")
    single, put_single = memory.access(np.dtype("float32"), "table")
    byte, _ = memory.access(np.dtype("uint8"), "table")
    small, put_small = memory.access(np.dtype("int32"), "table")
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

    def rate_at(address, kind):
        return double(address, 0) if kind == 2 else np.float64(single(address, 0))

    def computed(rate, page):
        """A constant of the step: the operations of a page, one after the other."""
        codes, value = integer(page, 0), rate
        for k in range(MOST):
            code, constant = (codes >> (8 * k)) & 255, double(page, 1 + k)
            if code == ADD:
                value = value + constant
            elif code == TIMES:
                value = value * constant
            elif code == OVER:
                value = value / constant
            elif code == UNDER:
                value = constant / value
            elif code == FROM:
                value = constant - value
            elif code == TIMES_RATE:
                value = value * rate
            elif code == OVER_RATE:
                value = value / rate
            elif code == UNDER_RATE:
                value = rate / value
            elif code == CONSTANT:
                value = constant
        return value

    def write_constant(field, page):
        value = computed(rate_at(integer(field, SOURCE), integer(field, SOURCE_KIND)), page)
        if integer(field, BYTES) == 8:
            put_double(integer(field, PLACE), 0, value)
        else:
            put_single(integer(field, PLACE), 0, np.float32(value))

    def count_on(run):
        first, kind = integer(run, FIRST), integer(run, COUNTER_KIND)
        for i in share(integer(run, LENGTH)):
            if kind == 1:
                put_single(first, i, single(first, i) + np.float32(1))
            elif kind == 2:
                put_double(first, i, double(first, i) + 1.0)
            elif kind == 4:
                put_small(first, i, np.int32(small(first, i) + 1))
            else:
                put(first, i, integer(first, i) + 1)

    def entry_of(program, k):
        return program + 8 * (HEADER + ENTRY * k)

    def constants_of(program):
        return entry_of(program, integer(program, ENTRIES))

    def runs_of(program):
        return constants_of(program) + 8 * FIELD * integer(program, FIELDS)

    def page_of(program, count):
        size = OPERATIONS * integer(program, FIELDS)
        for k in range(integer(program, ENTRIES)):
            size += integer(entry_of(program, k), WORDS)
        number, last = count - integer(program, BASE), integer(program, LAST_PAGE)
        return integer(program, PAGES) + 8 * size * (last if number > last else number)

    def open_tasks(program, page, skipped):
        """Let the launches of a counted or of a skipped step run; returns where the heads end."""
        for k in range(integer(program, ENTRIES)):
            entry = entry_of(program, k)
            instead = integer(entry, INSTEAD) != 0
            for _ in share(1):
                put(integer(entry, TASK), LAST, integer(entry, CHUNKS) if skipped == instead else 0)
            if not skipped:
                for i in share(integer(entry, WORDS)):
                    put(integer(entry, HEAD), i, integer(page, i))
            page += 8 * integer(entry, WORDS)
        return page

    def count_step(program, operations):
        """Compute the constants of a step that counts, and add it to the counters."""
        constants, runs = constants_of(program), runs_of(program)
        for k in share(integer(program, FIELDS)):
            write_constant(constants + 8 * FIELD * k, operations + 8 * OPERATIONS * k)
        for k in range(integer(program, RUNS)):
            count_on(runs + 8 * RUN * k)

    def record(program, counted, skipped, dropped, squares):
        outcome = integer(program, OUTCOME)
        unscale, rate = integer(program, UNSCALE), integer(program, RATE)
        put(integer(program, COUNT), 0, counted)
        put(outcome, COUNTED, counted)
        put(outcome, SKIPPED, 1 if skipped else 0)
        put(outcome, USELESS, 1 if dropped else 0)
        put_double(outcome, SQUARES, squares)
        put_double(outcome, SCALED, double(unscale, 0) if unscale != 0 else 1.0)
        if rate != 0:
            put_double(outcome, RATED, rate_at(rate, integer(program, RATE_KIND)))

    def prologue(program):
        known = integer(program, KNOWN)
        count = known if known >= 0 else integer(integer(program, COUNT), 0)
        dropped, total = useless(program), integer(program, TOTAL)
        squares = double(total, 0) if total != 0 else 0.0
        bad = squares - squares != 0.0  # infinite, or NaN
        skipped = dropped or (bad and integer(program, JUDGED) != 0)
        wait()
        operations = open_tasks(program, page_of(program, count), skipped)
        wait()
        if not skipped:
            count_step(program, operations)
        for _ in share(1):
            record(program, count if skipped else count + 1, skipped, dropped, squares)

    return prologue


@cache
def compiled() -> Any:
    """The prologue kernel, ready to be loaded."""

    def swap(value: Any) -> Any:
        return cuda.swap(value, "float64")

    function = prologue_of(cuda.Memory(["program"]))
    mark = digest(swap, function, cuda.RECIPE) if cuda.RECIPE else "plain"
    return cuda.compiled(linked(function, f"prologue_{mark}", mark, cuda.jit, swap))


def warm() -> None:
    """Compile and load all that a step may need, which cannot be done inside a capture."""
    cuda.warm(compiled())
    driver.prepare()


def launcher(program: int) -> Callable[[], None]:
    """A function that launches the prologue kernel with a command buffer, by its address."""
    return cuda.launcher(compiled(), 1, program)
