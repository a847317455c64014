"""Backends: everything that depends on where the arrays of an optimizer lie, host or device.

Only `backend_of` distinguishes them. The backend of a device is imported with the first array on
one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np

from ..kernels.factory import Kernel, default_target
from ..kernels.target import Target
from ..memory import aligned, checks
from ..memory.arrays import ARRAYS, is_device
from ..memory.launch_table import Table
from .gradients import StepArrays
from .hyperparameters import checked

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..kernels.cpu.threads import Limit
    from .step_info import StepInfo


class ChainedLaunch(Protocol):
    """The members of a launch that `Backend.chained` uses.

    Attributes:
        kernel: its kernel.
        table: its table of addresses and constants.
    """

    kernel: Kernel
    table: Table


class Lock(Protocol):
    """The lock of an optimizer; on a device it also selects the stream of the work."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> None: ...


class DeferredScalar(Protocol):
    """Numbers that are computed on a device and fetched when they are read."""

    def put(self, number: Any, meaning: Callable[[float], float]) -> Callable[[], float]:
        """Store a number; returns a function that fetches it and applies `meaning`."""


class SkippableSteps(Protocol):
    """Steps that a device may skip by itself: the host does not wait for their outcome."""

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels launched besides those of the update."""

    def place(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Set the addresses of the gradients, and which parameters have one."""

    def takes(self, found_inf: Any, grad_scale: Any, lr: Any = None) -> bool:
        """True if `step` is to take the next step."""

    def step(self, engine: Any, lr: float | None, grad_scale: Any, found_inf: Any) -> StepInfo:
        """Take a step without waiting for its result."""


class Backend(Protocol):
    """Operations on arrays that lie in one place.

    Attributes:
        name: "cpu" or "cuda", as in the argument `device`.
    """

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> Target:
        """The target for which kernels are compiled."""

    def check_available(self) -> None:
        """Raise RuntimeError if there is no such device."""

    def as_array(self, array: Any) -> Any:
        """An array without a copy: a NumPy array as it is, one of a device as `DeviceArray`."""

    def to_host(self, number: Any) -> Any:
        """A NumPy copy of an array of a device; anything of the host as it is."""

    def rate(self, lr: Any) -> Any:
        """A learning rate of a step: a checked number, or one in the memory of a device.

        Raises:
            TypeError, ValueError: if it is wrong.
        """

    def zeros(self, size: int, dtype: Any) -> Any:
        """A new one-dimensional array of zeros, aligned to a cache line."""

    def zeros_beside(
        self, arrays: Sequence[Any], counts: Sequence[int], dtype: Any, distance: int
    ) -> list[Any]:
        """New one-dimensional arrays of zeros in one buffer, each on a cache line of its own, and
        on the host at a distance from another array; see `memory.placement`."""

    def table(self, kernel: Kernel, sizes: Sequence[int], records: int, units: Any = 1) -> Table:
        """The table of addresses and constants of a kernel; see `Table` for `units`."""

    def chained(
        self, launches: Sequence[ChainedLaunch], threads: Limit
    ) -> tuple[list[Callable[[], None]], list[Kernel]]:
        """Functions that run launches in order, and their kernels. A device combines them into one
        launch, which is efficient if those after the first have few elements."""

    def gradients(
        self,
        params: Sequence[Any],
        param_names: Sequence[str],
        names: Sequence[str],
        dtypes: Sequence[Any],
        cleared: bool,
    ) -> StepArrays:
        """The gradients of some parameters, of these dtypes; None leaves one out."""

    def masks(
        self, params: Sequence[Any], param_names: Sequence[str], names: Sequence[str]
    ) -> StepArrays:
        """Masks of some parameters, True for elements to update."""

    def lock(self, params: Callable[[], Sequence[Any]] = list, owner: Any = None) -> Lock:
        """A new lock for work on arrays of this backend.

        Args:
            params: returns arrays whose library determines the stream.
            owner: the optimizer whose lock it is, None without one.
        """

    def on(self, lock: Any, stream: Any) -> AbstractContextManager[Any]:
        """A lock, with the work in a given stream.

        Raises:
            ValueError: on the host, which has no streams.
        """

    def deferred_scalar(self) -> DeferredScalar | None:
        """Storage for numbers fetched later; None where reading a number costs nothing."""

    def conditional_step(self, *arguments: Any, **keywords: Any) -> SkippableSteps | None:
        """The part of a plan that takes steps which the device may skip; None without any.

        The arguments are those of `cuda.conditional_step.ConditionalStep`.

        Raises:
            RuntimeError: if the step is being captured in a CUDA graph and cannot be.
        """


class HostBackend:
    """Arrays in the memory of the host."""

    name = "cpu"

    @property
    def target(self) -> Target:
        return default_target()

    def check_available(self) -> None:
        """Do nothing: the host is always available."""

    def as_array(self, array: Any) -> Any:
        return array

    def to_host(self, number: Any) -> Any:
        return number

    def rate(self, lr: Any) -> Any:
        return checked("lr", lr, 0.0, "step(): ")

    def zeros(self, size: int, dtype: Any) -> Any:
        return aligned.aligned_zeros(size, dtype)

    def zeros_beside(
        self, arrays: Sequence[Any], counts: Sequence[int], dtype: Any, distance: int
    ) -> list[Any]:
        return aligned.zeros_beside(arrays, counts, dtype, distance)

    def table(self, kernel: Kernel, sizes: Sequence[int], records: int, units: Any = 1) -> Table:
        return Table(kernel, sizes, records, units)

    def chained(
        self, launches: Sequence[ChainedLaunch], threads: Limit
    ) -> tuple[list[Callable[[], None]], list[Kernel]]:
        runs = [launch.table.runner(threads) for launch in launches]
        return runs, [launch.kernel for launch in launches]

    def gradients(
        self,
        params: Sequence[Any],
        param_names: Sequence[str],
        names: Sequence[str],
        dtypes: Sequence[Any],
        cleared: bool,
    ) -> StepArrays:
        check = checks.check_cleared if cleared else checks.check_gradient
        return StepArrays(params, param_names, names, dtypes, check, as_array, True, cleared)

    def masks(
        self, params: Sequence[Any], param_names: Sequence[str], names: Sequence[str]
    ) -> StepArrays:
        dtypes = [np.dtype(bool)] * len(params)
        return StepArrays(params, param_names, names, dtypes, checks.check_mask, as_array, False)

    def lock(self, params: Callable[[], Sequence[Any]] = list, owner: Any = None) -> Lock:
        return RLock()  # reentrant: `hyper()` may use its own optimizer

    def on(self, lock: Any, stream: Any) -> NoReturn:
        refuse(stream)

    def deferred_scalar(self) -> None:
        return None

    def conditional_step(self, *arguments: Any, **keywords: Any) -> None:
        return None


HOST = HostBackend()


def backend_of(array: Any) -> Backend:
    """The backend of the device of an array; the host's for anything else."""
    return _cuda() if is_device(array) else HOST


def backend_named(device: str) -> Backend | None:
    """The backend of a device by its name, None for any other name."""
    if device == "cuda":
        return _cuda()
    return HOST if device == "cpu" else None


def _cuda() -> Backend:
    from ..cuda.backend import CUDA

    return CUDA


def as_array(array: Any) -> Any:
    """An array as fastadam uses it: those of a device as `DeviceArray`, others unchanged."""
    return array if isinstance(array, ARRAYS) else backend_of(array).as_array(array)


def is_array(array: Any) -> bool:
    """True for NumPy arrays and for arrays on a device, of any library."""
    return isinstance(array, np.ndarray) or is_device(array)


def refuse(stream: Any) -> NoReturn:
    """Refuse a stream for arrays of the host."""
    raise ValueError(f"stream={stream!r} is for arrays on a device; these lie on the host")
