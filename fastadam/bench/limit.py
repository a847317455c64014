"""The limit of a step: its reads and writes, through the library's own loops, and no arithmetic.

Each pass of a step over memory has a pass of the limit: one that updates arrays is a rule that
changes nothing, one that only reads is a sum. These loops serve any number of arrays, so there is
one limit for all optimizers with the same passes. They are launched without an optimizer around
them, and are as fast as loops that one would write by hand for Numba.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from ..engine.budget import Streams
from ..engine.launch import kernel_for
from ..engine.rule_sums import first_kernel
from ..kernels.cpu.threads import SERIAL_BELOW, get_threads
from ..kernels.factory import Kernel
from ..kernels.formats import Formats
from ..kernels.storage.block_sums import BLOCK
from ..kernels.transforms import STATE, SUM
from ..memory.aligned import aligned_zeros
from ..memory.checks import address
from ..memory.launch_table import Table
from ..rules import Rule, rule

TOTAL = "total"


@cache
def still(states: int) -> Rule:
    """A rule that changes nothing, since `zero` is 0, which the compiler cannot know."""
    keep = _keep(states)

    def still(param, grad, state, h):  # type: ignore[no-untyped-def]
        nothing = h.zero * grad
        return param + nothing, keep(state, nothing)

    return Rule(still, _names(states), ("zero",))


def _names(states: int) -> tuple[str, ...]:
    return tuple(f"state{number}" for number in range(states))


def _keep(states: int) -> Callable[..., Any]:
    """Build `keep(state, nothing) -> state` for a tuple of that length."""
    if not states:
        return lambda state, nothing: ()
    rest = _keep(states - 1)
    return lambda state, nothing: (state[0] + nothing,) + rest(state[1:], nothing)


@cache
def summed(states: int) -> Rule:
    """A rule whose first part adds up gradient and states, and reads no parameter."""
    add = _add(states)

    def term(param, grad, state, h):  # type: ignore[no-untyped-def]
        return (add(grad, state),)

    def unchanged(param, grad, state, h, s):  # type: ignore[no-untyped-def]
        return param + s.total, state

    return rule(state=_names(states), sums=(TOTAL,), prepare=term)(unchanged)


def _add(states: int) -> Callable[..., Any]:
    """Build `add(number, state)`, the sum with all numbers of a tuple of that length."""
    if not states:
        return lambda number, state: number
    rest = _add(states - 1)
    return lambda number, state: rest(number + state[0], state[1:])


def limit(arrays: Mapping[str, Any], passes: Sequence[Streams]) -> Callable[[], None]:
    """The launches of a step that read and write the same arrays as each of its passes; small
    arrays serially, as in the library.

    Args:
        arrays: float32 arrays of one dimension and size, by the names of streams; what passes read
            besides is left out.
        passes: the streams of each pass, the update first, which comes last.
    """
    runs = []
    for streams in reversed(passes):
        found = [(arrays[each.name], each.mode) for each in streams if each.name in arrays]
        read = [array for array, mode in found if mode == "r"]
        written = [array for array, mode in found if mode != "r"]
        runs.append(_pass(written, read))
    return partial(_in_order, runs)


def _in_order(runs: Sequence[Callable[[], None]]) -> None:
    for run in runs:
        run()


def _pass(written: Sequence[Any], read: Sequence[Any]) -> Callable[[], None]:
    """The launch that reads all of these arrays, and writes back those of the first sequence, of
    which there may be none."""
    formats = Formats.alike("float32")
    if written:
        kernel = kernel_for(still(len(written) - 1), formats)
        return _launch(kernel, (written[0], *read, *written[1:]))
    made, size = summed(len(read) - 1), read[0].size
    sums = aligned_zeros(-(-size // BLOCK), "float64")
    return _launch(first_kernel(made, formats, (), sums), (read[0], *read), **{SUM + TOTAL: sums})


def _launch(kernel: Kernel, arrays: Sequence[Any], **more: Any) -> Callable[[], None]:
    """The launch of a kernel over parameter, gradient and states, and more arrays by name."""
    size = arrays[0].size
    table = Table(kernel, [size], records=1)
    names = ("param", "grad", *(STATE + name for name in _names(len(arrays) - 2)))
    placed = {**dict(zip(names, arrays, strict=True)), **more}
    for name, array in placed.items():
        table.place(name, [address(array)])
    table.pack(0, *(0.0 for _ in kernel.rule.hyper))
    threads = 1 if size < SERIAL_BELOW else get_threads()
    run = table.serial if threads == 1 else table.parallel(threads)
    return partial(_call, run, table, placed)


def _call(run: Callable[[], None], *kept: Any) -> None:
    """Run; the other arguments are only kept alive, since a kernel holds nothing but addresses."""
    run()
