"""Changes to the internals of Numba's CUDA on which fastadam depends, and checks that they work.

Each change either replaces an attribute of Numba while Numba's compiler lock is held, and restores
it, or applies to a single function.

* `rounding_once`: products and sums are not contracted (FMA), so that results have the bits of the
  CPU. NVVM contracts them by default, and Numba has no option for it.
* `for_capability`: compiles for a compute capability without a device.
* `with_defaults`: default arguments of device functions, which Numba's CUDA does not support.
* `verify`: compiles a * b + c once per process and checks that its PTX has no FMA.

numba_compat is not imported in the simulator, which compiles nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from inspect import signature
from typing import Any

from numba import cuda, types
from numba.core.typing.templates import fold_arguments
from numba.cuda import codegen, dispatcher
from numba.cuda.cudadrv import nvvm

# Link-time optimization would compile the code again, with contraction.
OPTIONS = {"lto": False} if "lto" in signature(cuda.jit).parameters else {}


def made(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, list[dict[str, Any]]]:
    """A kernel compiled for arguments of these types, and the options of each compilation."""
    used: list[dict[str, Any]] = []
    with rounding_once(used):
        return dispatcher._Kernel(function.py_func, arguments, **function.targetoptions), used


@contextmanager
def rounding_once(used: list[dict[str, Any]]) -> Iterator[None]:
    """A `with` block in which kernels are compiled to round after every operation, as the CPU does.

    Args:
        used: takes the options of each compilation.
    """
    with dispatcher.global_compiler_lock:
        compile_ir = nvvm.compile_ir

        def compile_exactly(text: Any, **options: Any) -> Any:
            used.append({"fma": False, **options})
            return compile_ir(text, **used[-1])

        nvvm.compile_ir = compile_exactly
        try:
            yield
        finally:
            nvvm.compile_ir = compile_ir


@contextmanager
def for_capability(capability: tuple[int, int]) -> Iterator[None]:
    """A `with` block in which kernels are compiled for a compute capability, without a device."""
    with dispatcher.global_compiler_lock:
        device, library = dispatcher.get_current_device, codegen.CUDACodeLibrary
        asked = library._ensure_cc
        dispatcher.get_current_device = lambda: _Device(capability)
        library._ensure_cc = lambda self, cc: cc or capability
        try:
            yield
        finally:
            dispatcher.get_current_device, library._ensure_cc = device, asked


class _Device:
    def __init__(self, capability: tuple[int, int]) -> None:
        self.compute_capability = capability


def with_defaults(callee: Any) -> Any:
    """A device function whose default arguments may be left out in a call."""
    typed, parameters = callee.get_call_template, signature(callee.py_func)

    def given(index: int, parameter: Any, value: Any) -> Any:
        return value

    def left_out(index: int, parameter: Any, default: Any) -> Any:
        return types.Omitted(default)

    callee.get_call_template = lambda args, kws: typed(
        fold_arguments(parameters, args, kws, given, left_out, given), {}
    )
    return callee


@cache
def verify() -> None:
    """Compile a * b + c, and check that the product is rounded; once per process.

    Raises:
        RuntimeError: if it is not.
    """

    def kernel(numbers):  # type: ignore[no-untyped-def]
        numbers[0] = numbers[1] * numbers[2] + numbers[3]

    function = cuda.jit(kernel, **OPTIONS)
    text = made(function, (types.float32[::1],))[0]._codelibrary.get_asm_str()
    if "fma." in text or "mul.rn.f32" not in text or "add.rn.f32" not in text:
        raise RuntimeError(
            "Numba's CUDA compiled a * b + c without rounding the product: its results would not "
            "have the bits of the CPU's; install another version of numba-cuda, or report it"
        )
