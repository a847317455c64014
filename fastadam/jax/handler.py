"""Handlers of XLA's foreign function interface, compiled by Numba.

A handler gets the address of a call frame, whose layout is that of `xla/ffi/api/c_api.h`, version 0
of the interface. Words are 64 bits; their numbers below count from the start of a struct.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import cfunc, types
from numba.core.errors import NumbaError

from ..embedding.intrinsics import constants_of
from ..embedding.nopython import function_of
from ..embedding.tracing import Constants
from ..kernels import mistakes
from ..kernels.cpu import llvm, target
from ..kernels.factory import assembled
from ..kernels.stream import Stream
from ..rules import Rule
from ..rules.linker import digest, linked
from . import sharing

EXTENSION, STAGE, ARGUMENTS, RESULTS, ATTRIBUTES = 1, 4, 9, 14, 20  # of a call frame
COUNT_OF_ARGUMENTS = 7
METADATA = 3  # of the extension by which a version is asked for
DATA, RANK, DIMENSIONS = 3, 4, 5  # of a buffer
EXECUTE = 3
LONG = 65536  # elements of a share
GROUP = 64  # elements at whose multiples parameters are divided

_made: dict[Any, Any] = {}
memory = llvm.Memory(())
word = memory.integer
half, put_half = memory.access(np.dtype(np.int32), "table")
single, _ = memory.access(np.dtype(np.float32), "table")
double, put_double = memory.access(np.dtype(np.float64), "table")


def answered(frame):
    """Answer the question for the version of the interface."""
    extension = word(frame, EXTENSION)
    if half(extension, 2) == 1:
        metadata = word(extension, METADATA)
        put_half(metadata, 6, np.int32(0))  # the major version
        put_half(metadata, 7, np.int32(1))  # the minor version, of which all of this is there
        put_half(metadata, 8, np.int32(0))  # no traits
    return 0


def data_of(buffers, number):
    """The address of the first element of a buffer."""
    return word(word(buffers, number), DATA)


def size_of(buffers, number):
    """The number of elements of a buffer."""
    buffer = word(buffers, number)
    size = 1
    for axis in range(word(buffer, RANK)):
        size *= word(word(buffer, DIMENSIONS), axis)
    return size


def text_of_work(arrays: int, fixed: int, kept: int, fresh: bool) -> str:
    """The text of the function that updates a share of the elements of all parameters.

    Args:
        arrays: the number of arrays of a parameter among the arguments.
        fixed: the number of arguments before them.
        kept: the number of results before them.
        fresh: True if results are the updates, in the memory of the gradients; False if they are
            the parameters.
    """
    param = f"data_of({'given' if fresh else 'made'}, {fixed if fresh else kept} + k)"
    grad = f"data_of({'made' if fresh else 'given'}, {kept if fresh else f'{fixed} + count'} + k)"
    state = [f"data_of(made, {kept} + {k} * count + k)" for k in range(1, arrays - 1)]
    row = ["0", *((grad, param) if fresh else (param, grad)), *state]
    return f"""
def work(frame, record, share, shares):
    given, made = word(frame, {ARGUMENTS}), word(frame, {RESULTS})
    count = (word(frame, {COUNT_OF_ARGUMENTS}) - {fixed}) // {arrays}
    total = elements(frame, {fixed}, count)
    first = total * share // shares // {GROUP} * {GROUP}
    last = total * (share + 1) // shares // {GROUP} * {GROUP}
    if share + 1 == shares:
        last = total
    mode = enter()
    for k in range(count):
        size = size_of(given, {fixed} + k)
        start, stop = first if first > 0 else 0, last if last < size else size
        if start < stop:
            update(words(({", ".join(row)})), words((0, start, stop)), record, 0)
        first, last = first - size, last - size
    leave(mode)
"""


def text_of_handler(constants: Constants, scheduled: Sequence[int], arrays: int, fixed: int) -> str:
    """The text of the handler: count, constants, and the shares of the work.

    Args:
        scheduled: the places of the hyperparameters that are operands.
        arrays, fixed: as for `text_of_work`.
    """
    places = {place: number for number, place in enumerate(scheduled)}
    numbers = [
        f"float(single(data_of(given, {fixed - 1}), {places[k]}))"
        if k in places
        else f"double(numbers, {k})"
        for k in range(len(constants.numbers))
    ]
    count, carried = len(constants.names), range(len(constants.carried))
    before = [f"double(data_of(made, 1), {k})" for k in carried]
    after = "".join(f"    put_double(data_of(made, 1), {k}, found[{count + k}])\n" for k in carried)
    return f"""
def handler(frame):
    if word(frame, {EXTENSION}) != 0:
        return answered(frame)
    if half(frame, {2 * STAGE}) != {EXECUTE}:
        return 0
    given, made = word(frame, {ARGUMENTS}), word(frame, {RESULTS})
    numbers = word(word(word(frame, {ATTRIBUTES}), 0), 2)
    step = half(data_of(made, 0), 0) + 1
    put_half(data_of(made, 0), 0, np.int32(step))
    found = constants({", ".join(["float(step)", *numbers, *before])})
{after}    place = record(found[:{count}])
    shares = elements(frame, {fixed}, (word(frame, {COUNT_OF_ARGUMENTS}) - {fixed}) // {arrays})
    shares = shares // {LONG} + 1
    threads = threads_of(frame) if shares > 1 else 1
    slot = free_slot() if threads > 1 else 0
    if slot == 0:
        work(frame, place, 0, 1)
        return 0
    publish(slot, frame, place, shares)
    for _ in range((threads if threads < shares else shares) - 1):
        if not ask(frame, helper(), slot):
            break
    join(slot)
    settle(slot)
    return 0
"""


def elements(frame, fixed, count):
    """The number of elements of all parameters."""
    total = 0
    for k in range(count):
        total += size_of(word(frame, ARGUMENTS), fixed + k)
    return total


def handler(
    rule: Rule,
    streams: tuple[Stream, ...],
    constants: Constants,
    scheduled: Sequence[int],
    fresh: bool,
) -> Any:
    """The C function of a handler.

    Operands are the count of steps, the carried numbers and the scheduled hyperparameters, if any,
    then the parameters, the gradients, and the arrays of each state. Results are the count, the
    carried numbers, the parameters or their updates, and the arrays of each state.

    Args:
        fresh: True for a rule whose first stream is that of the gradients, which it replaces by
            the updates of the parameters, the second stream.

    Raises:
        TypeError: for a rule that cannot be compiled.
    """
    key = rule, streams, constants, tuple(scheduled), fresh
    if key not in _made:
        try:
            _made[key] = _compiled(rule, streams, constants, scheduled, fresh)
        except NumbaError as error:
            compute = streams[0].storage.compute
            raise mistakes.in_compiling(rule, compute, error) from error
    return _made[key]


def _compiled(
    rule: Rule,
    streams: tuple[Stream, ...],
    constants: Constants,
    scheduled: Sequence[int],
    fresh: bool,
) -> Any:
    kept = 1 + bool(constants.carried)
    fixed, arrays = kept + bool(scheduled), len(streams)
    text = text_of_work(arrays, fixed, kept, fresh)
    text += text_of_handler(constants, scheduled, arrays, fixed)
    scope: dict[str, Any] = {**vars(sharing), **globals()}
    exec(compile(text, __file__, "exec"), scope)
    name, function = assembled(scope["work"], rule, streams, target)
    work = sharing.caller_of_work(sharing.apart(function))
    joined = _linked(sharing.joined, "joined", work=work)
    join, helper = sharing.caller_of_join(sharing.apart(joined))
    _, record = constants_of(len(constants.names), streams[0].storage.compute)
    slots = {"constants": function_of(constants), "record": record, "work": work}
    found = _linked(scope["handler"], name, join=join, helper=helper, **slots)
    signature = types.int64(types.int64)
    return target.cached(
        lambda cache: cfunc(signature, cache=cache, **target.OPTIONS)(found)
    ).ctypes


def _linked(template: Any, name: str, **slots: Any) -> Any:
    """A copy of a function with its callees, named by the digest of all."""
    mark = digest(target.swap, template, slots, target.RECIPE)
    made = linked(template, f"{name}_{mark}", mark, target.jit, target.swap, target.SHARED, **slots)
    return target.with_file(made)
