"""Targets of kernels: the protocols that every target implements.

A target is a module: `kernels.cpu.target`, `kernels.plain_python` and `cuda.target`. It compiles
the pieces of a loop and the loop itself, and says how the loop reaches numbers in memory.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ..rules.linker import Shared


class MemoryAccess(Protocol):
    """Access to the numbers of streams by address, and how the threads of a team share work.

    All functions here are pieces of a loop: a compiler of the target inlines them.

    Attributes:
        integer: `integer(address, index)` loads a 64-bit integer of a table.
        wide: access to groups of neighbours at once, None where a target gains nothing by it.
        warps: the threads that exchange numbers in registers (`warps.Lanes`), or None.
        prefetch: `prefetch(address)` prefetches a cache line; None if the target cannot.
        prefetching: `prefetching(sizes, count)`: the function `fetch(at, i)` that prefetches
            `count` elements from `i` on, if the target can. The keys of `sizes` are the
            places of the addresses of arrays in `at`, the values the bytes of an element.
        folded: `folded(step, start)`: the function `each(at, first, count, more)` that begins with
            `joined = start`, calls `joined = step(at, i, more, joined)` for each i from `first` to
            `count`, none of which reads what another writes, and returns it; None for a target that
            packs blocks in another way.
    """

    integer: Callable[[int, int], int]
    wide: Any
    warps: Any
    prefetch: Any
    prefetching: Any
    folded: Any

    @property
    def teams(self) -> Callable[[int, int], Any]:
        """`teams(first, last)`: the chunks that the calling team takes of a range."""

    @property
    def share(self) -> Callable[[int], Any]:
        """`share(count)`: the elements that the calling thread of a team takes of a block."""

    @property
    def loop(self) -> Callable[..., Any]:
        """`loop(step)`: the function `each(at, first, count, more)` that calls `step(at, i, more)`
        for each i from `first` to `count` that the calling thread takes. With `loop(step, width)`
        a target that vectorises takes so many of them at a time; with `loop(step, width, False)`
        also where fewer are left, which suits loops of few."""

    @property
    def wait(self) -> Callable[[], None]:
        """`wait()`: a barrier of the team."""

    @property
    def enter(self) -> Callable[..., Any]:
        """`enter()`: set the floating-point mode; returns the one before."""

    @property
    def leave(self) -> Callable[..., Any]:
        """`leave(mode)`: restore the floating-point mode that `enter` returned."""

    def group_size(self, dtype: "np.dtype[Any]") -> int:
        """The alignment, in bytes, that an access to numbers of a dtype promises."""

    def access(self, dtype: "np.dtype[Any]", scope: str) -> tuple[Any, Any]:
        """`load(address, index)` and `store(address, index, value)` for numbers of one dtype.

        Args:
            scope: the name of the memory; numbers in different scopes never overlap.
        """

    def tabulated(self, formula: Any, count: int) -> Any:
        """`formula`, a function of an index below `count`, or its values in a table."""

    def registers(self, dtype: "np.dtype[np.void]", record: Any) -> Any:
        """`load(address)`: the fields of a record in memory as a named tuple.

        Args:
            dtype: of the record in memory.
            record: the class of the named tuple.
        """

    def reserve(self, words: int) -> Callable[[], int]:
        """`reserve()`: the address of that many 32-bit words of scratch for a team."""


class Target(Protocol):
    """A compiler for kernels and the functions that run what it compiled."""

    @property
    def RECIPE(self) -> Any:  # noqa: N802
        """The content of kernel digests that identifies the target; None if nothing is compiled."""

    @property
    def SHARED(self) -> Shared | None:  # noqa: N802
        """The callees that kernels of the target share; None if each has its own."""

    @property
    def REFUSALS(self) -> tuple[type[Exception], ...]:  # noqa: N802
        """The exceptions by which the compiler refuses a rule."""

    @property
    def Memory(self) -> Callable[[Sequence[str]], MemoryAccess]:  # noqa: N802
        """`Memory(names)`: access to the numbers of streams of these names."""

    @property
    def swap(self) -> Callable[[Any, str], Any]:
        """`swap(value, compute)`: a constant of a rule in the dtype of its arithmetic."""

    @property
    def jit(self) -> Callable[[Any, str], Any]:
        """`jit(function, module)`: a function of a module, to be called by compiled ones."""

    @property
    def compiled(self) -> Callable[[Callable[[int], None]], Any]:
        """`compiled(function)`: a kernel that takes the address of a task."""

    @property
    def warm(self) -> Callable[[Any], None]:
        """`warm(kernel)`: compile or load whatever running the kernel needs."""


Sequences = Sequence[Sequence[tuple[Any, int]]]  # of kernels, each with the address of its task


class HostTarget(Target, Protocol):
    """A target whose kernels the host runs, in threads."""

    @property
    def serial(self) -> Callable[[Any, int], Callable[[], None]]:
        """`serial(kernel, task)`: a function that runs a kernel on the task at an address."""

    @property
    def parallel(self) -> Callable[[Any, int, int, int], Callable[[], None]]:
        """`parallel(kernel, tasks, size, count)`: a function that runs a kernel on `count` tasks,
        of which the first is at the address `tasks`, `size` bytes apart."""

    @property
    def sequences(self) -> Callable[[Sequences], tuple[Callable[[], None], Any]]:
        """`sequences(shares)`: a function that runs kernels on tasks, those of each share one after
        the other in a thread of its own; and what is to be kept as long as that function."""


class GridTarget(Target, Protocol):
    """A target whose kernels run as a grid of thread blocks on a device."""

    @property
    def THREADS(self) -> int:  # noqa: N802
        """The threads of a block."""

    @property
    def WARP(self) -> int:  # noqa: N802
        """The threads of a warp."""

    @property
    def launcher(self) -> Callable[[Any, int, int], Callable[[], None]]:
        """`launcher(kernel, blocks, task)`: a function that launches a kernel over so many blocks
        with the address of a task."""
