"""CUDA: a thread block for each chunk, its threads for the elements; runs in the simulator too.

Another CUDA compiler for Python would replace this file, compiler.py, launch.py, numba_compat.py,
driver.py, transfer.py and kernels/cpu/llvm.py.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda
from numba.core.errors import NumbaError

from ..kernels.lanes import Lanes
from ..kernels.loops import loop_over
from ..rules.functions import in_dtype
from ..rules.linker import recipe
from . import compiler, launch
from .compiler import declared
from .compiler import missing as missing
from .compiler import ptx as ptx
from .context import SIMULATED as SIMULATED
from .launch import warm as warm

REFUSALS = (NumbaError,)
THREADS = 256  # of a block; a constant in kernels, since 64-bit division costs 30 registers
GROUP = 4  # elements that a thread moves at once
RESIDENT = 2  # blocks that a multiprocessor is to have room for, however long a kernel is
BOUNDED = not SIMULATED and "launch_bounds" in signature(cuda.jit).parameters

SHARED = None
WARP = 32  # threads, of which each can have numbers of the others' registers

if SIMULATED and not TYPE_CHECKING:
    from ..kernels.plain_python import Memory as Addressed
    from ..rules.plain import plain_value as swap
    from .simulator import WARP, arrive, exchange, fence, fetch, meet

    RECIPE = None

    def shared(words: int) -> Callable[[], int]:
        return lambda: cuda.shared.array(words, np.int32).ctypes.data

else:
    from ..kernels.cpu.llvm import Memory as Addressed
    from ..kernels.cpu.llvm import arrive, exchange, fetch, shared
    from . import numba_compat
    from .numba_compat import with_defaults

    RECIPE = recipe(__spec__), recipe(compiler.__spec__), recipe(numba_compat.__spec__)
    swap = in_dtype

    def meet() -> None:
        cuda.syncwarp()

    def fence() -> None:
        cuda.threadfence()


def jit(function: Any, module: str) -> Any:
    callee = declared(function, device=True)
    return callee if SIMULATED or not function.__defaults__ else with_defaults(callee)


def lane() -> int:
    return cuda.threadIdx.x % WARP  # type: ignore[no-any-return]


def blocks(start: int, stop: int, length: int) -> range:
    """The starts of the blocks of elements that a warp takes of those of a thread block."""
    first = start + length * (cuda.threadIdx.x // WARP)
    return range(first, stop, length * (THREADS // WARP))


def share(count: int) -> range:
    """The elements that a thread takes of a block."""
    return range(cuda.threadIdx.x, count, THREADS)


class Memory(Addressed):
    """Access to global memory, and how a grid shares the work."""

    space = 1
    folded: Any = None  # a team shares the elements of a block
    prefetch: Any = None
    warps = Lanes(WARP, lane, exchange, fetch, meet, blocks)

    def __init__(self, names: Sequence[str], group: int = 1) -> None:
        super().__init__(names, group)
        self.wide = Memory(names, GROUP) if group == 1 else None

    @staticmethod
    def teams(first: int, last: int) -> range:
        return range(first + cuda.blockIdx.x, last, cuda.gridDim.x)

    share, loop = staticmethod(share), staticmethod(loop_over(share))

    @staticmethod
    def tabulated(formula: Any, count: int) -> Any:
        return formula

    @staticmethod
    def wait() -> None:
        cuda.syncthreads()

    @staticmethod
    def is_last(done: int) -> bool:
        """True in all threads of the thread block that gets here last of its grid; it sees what
        the others have written. `done` is the address of a count of those that got here."""
        fence()
        cuda.syncthreads()
        last = 0
        if cuda.threadIdx.x == 0 and arrive(done) == cuda.gridDim.x - 1:
            last = 1
        last = cuda.syncthreads_or(last)
        fence()
        return last != 0  # type: ignore[no-any-return]

    @staticmethod
    def reserve(words: int) -> Callable[[], int]:
        return shared(words) if words else nothing


def nothing() -> int:
    return 0


def compiled(function: Callable[[int], None]) -> Any:
    return declared(function, **({"launch_bounds": (THREADS, RESIDENT)} if BOUNDED else {}))


def launcher(kernel: Any, blocks: int, task: int) -> Callable[[], None]:
    """A function that launches a kernel over so many blocks, in the current stream."""
    return launch.launcher(kernel, blocks, THREADS, task)
