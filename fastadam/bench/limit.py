"""The limit of a step: its reads and writes, through the library's own loop, and no arithmetic.

That loop serves any number of states, so there is one limit for every optimizer. It is launched
without an optimizer around it, and is as fast as the loop that one would write by hand for Numba.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from ..engine.launch import kernel_for
from ..kernels.cpu.threads import SERIAL_BELOW, get_threads
from ..kernels.formats import Formats
from ..memory.checks import address
from ..memory.launch_table import Table
from ..rules import Rule


@cache
def still(states: int) -> Rule:
    """A rule that changes nothing, since `zero` is 0, which the compiler cannot know."""
    keep = _keep(states)

    def still(param, grad, state, h):  # type: ignore[no-untyped-def]
        nothing = h.zero * grad
        return param + nothing, keep(state, nothing)

    return Rule(still, tuple(f"state{number}" for number in range(states)), ("zero",))


def _keep(states: int) -> Callable[..., Any]:
    """Build `keep(state, nothing) -> state` for a tuple of that length."""
    if not states:
        return lambda state, nothing: ()
    rest = _keep(states - 1)
    return lambda state, nothing: (state[0] + nothing,) + rest(state[1:], nothing)


def limit(param: Any, grad: Any, states: Sequence[Any]) -> Callable[[], None]:
    """A launch that reads all arrays and writes all but the gradient; small arrays serially, as in
    the library."""
    arrays = (param, grad, *states)
    table = Table(
        kernel_for(still(len(states)), Formats.alike(param.dtype.name)), [param.size], records=1
    )
    for stream, array in zip(table.kernel.streams, arrays, strict=True):
        table.place(stream.name, [address(array)])
    table.pack(0, 0.0)
    threads = 1 if param.size < SERIAL_BELOW else get_threads()
    run = table.serial if threads == 1 else table.parallel(threads)
    return partial(_call, run, table, arrays)


def _call(run: Callable[[], None], *kept: Any) -> None:
    """Run; the other arguments are only kept alive, since a kernel holds nothing but addresses."""
    run()
