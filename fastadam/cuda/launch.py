"""Launches on a GPU: a kernel is loaded onto the device, and queued in a stream over a grid."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from .code_cache import code_for
from .compiler import code_of
from .context import SIMULATED, driver, work


def launcher(kernel: Any, blocks: int, threads: int, task: int) -> Callable[[], None]:
    """A function that launches a kernel in the current stream.

    Args:
        kernel: the kernel.
        blocks: the number of thread blocks.
        threads: the number of threads in each.
        task: the address of the arguments of the kernel.
    """
    function, arguments = loaded(kernel), driver.arguments(task)
    return lambda: driver.launch(function, blocks, threads, arguments, work.stream)


def loaded(kernel: Any) -> Any:
    """A kernel, compiled and loaded onto the device of the calling thread."""
    driver.bind()
    return loaded_on(kernel, driver.device())


@cache
def loaded_on(kernel: Any, device: int) -> Any:
    """The kernel for this device, which is that of the calling thread."""
    if SIMULATED:
        return kernel
    code = partial(code_for, kernel.py_func.__name__, driver.describe(), partial(code_of, kernel))
    kept = code()
    try:
        return driver.function(*kept)
    except RuntimeError:  # a complete file that this device cannot load
        return driver.function(*code(fresh=True))


def warm(kernel: Any) -> None:
    """Compile a kernel for the device."""
    loaded(kernel)
