"""CUDA: a thread block for each chunk, its threads for the elements; runs in the simulator too.

This file, cuda_driver.py, cuda_memory.py and primitives.py are all that another CUDA compiler for
Python would have to replace.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from inspect import signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda, types
from numba.core.typing.templates import fold_arguments

from .blocks import LANES
from .cuda_queue import SIMULATED as SIMULATED
from .cuda_queue import driver, work
from .link import recipe
from .scalars import larger, smaller

RECIPE = None if SIMULATED else recipe(__spec__)  # what a kernel is made with
THREADS = 256  # of a block; a constant in kernels, since 64-bit division costs 30 registers
GROUP = 4  # elements that a thread moves at once
# What the assembler gets is to be what the compiler of kernels makes, not made once more behind it.
OPTIONS = {"lto": False} if "lto" in signature(cuda.jit).parameters else {}

if SIMULATED and not TYPE_CHECKING:
    from .python import Memory as Addressed
    from .python import swap

    def shared(words: int) -> Callable[[], int]:
        return lambda: cuda.shared.array(words, np.int32).ctypes.data

else:
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import nvvm

    from .primitives import Memory as Addressed
    from .primitives import shared

    def swap(value: Any, compute: str = "float64") -> Any:
        """What stands for a value that a rule refers to: a float takes the dtype of the
        arithmetic."""
        if type(value) is float:
            return np.dtype(compute).type(value)
        if type(value) is tuple:
            return tuple(swap(item, compute) for item in value)
        return larger if value is max else smaller if value is min else value


def jit(function: Any, module: str) -> Any:
    callee = cuda.jit(device=True, **OPTIONS)(function)
    return callee if SIMULATED or not function.__defaults__ else _filling(callee)


def _filling(callee: Any) -> Any:
    """A device function whose default arguments may be left out, as Numba's own CUDA forgets."""
    typed, parameters = callee.get_call_template, signature(callee.py_func)

    def given(index: int, parameter: Any, value: Any) -> Any:
        return value

    def left_out(index: int, parameter: Any, default: Any) -> Any:
        return types.Omitted(default)

    callee.get_call_template = lambda args, kws: typed(
        fold_arguments(parameters, args, kws, given, left_out, given), {}
    )
    return callee


class Memory(Addressed):
    """Access to global memory, and how a grid shares the work.

    Attributes:
        lanes: how many threads fold what a block is packed from; the others wait.
    """

    space, lanes = 1, LANES

    def __init__(self, names: Sequence[str], group: int = 1) -> None:
        super().__init__(names, group)
        self.wide = Memory(names, GROUP) if group == 1 else None

    @staticmethod
    def teams(first: int, last: int) -> range:
        return range(first + cuda.blockIdx.x, last, cuda.gridDim.x)

    @staticmethod
    def share(count: int) -> range:
        return range(cuda.threadIdx.x, count, THREADS)

    @staticmethod
    def wait() -> None:
        cuda.syncthreads()

    @staticmethod
    def reserve(words: int) -> Callable[[], int]:
        return shared(words) if words else nothing


def nothing() -> int:
    return 0


def compiled(function: Callable[[int], None]) -> Any:
    return cuda.jit(**OPTIONS)(function)


def launcher(kernel: Any, blocks: int, task: int) -> Callable[[], None]:
    """What launches a kernel over so many blocks, in the stream of the moment."""
    function, threads, arguments = loaded(kernel), THREADS, driver.arguments(task)
    return lambda: driver.launch(function, blocks, threads, arguments, work.stream)


@cache
def loaded(kernel: Any) -> Any:
    """A kernel, compiled and loaded onto the device."""
    if SIMULATED:
        return kernel
    driver.bind()
    with _as_written():
        made = kernel.compile((types.int64,))
    return driver.function(made)


def warm(kernel: Any) -> None:
    """Compile a kernel for the device."""
    loaded(kernel)


def ptx(function: Any, capability: tuple[int, int]) -> str:
    """The text of a kernel for a compute capability; no device is needed."""
    with _without_device(capability), _as_written():
        text, _ = cuda.compile_ptx(function.py_func, (types.int64,), cc=capability)
    return str(text)


@contextmanager
def _as_written() -> Iterator[None]:
    """Let every operation round once, as on the CPU: the compiler of CUDA would join a product and
    a sum, and Numba has no switch for it."""
    with dispatcher.global_compiler_lock:
        compile_ir = nvvm.compile_ir
        nvvm.compile_ir = partial(compile_ir, fma=False)
        try:
            yield
        finally:
            nvvm.compile_ir = compile_ir


def missing() -> str:
    """Why nothing can be compiled here, or an empty string."""
    try:
        cuda.compile_ptx(lambda: None, (), cc=(9, 0))
    except Exception as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


@contextmanager
def _without_device(capability: tuple[int, int]) -> Iterator[None]:
    """Tell the compiler of device functions a capability; by itself it would ask a device."""
    asked = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = asked
