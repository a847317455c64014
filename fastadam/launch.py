"""One launch: all parameters of one rule variant and dtype, with their kernel and their table."""

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from operator import itemgetter
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from .kernels.factory import Kernel, default_target, kernel
from .kernels.stages import STATE, staged, streams
from .kernels.storage import FLOAT, Single
from .memory.checks import address
from .memory.device import DeviceArray
from .memory.device_table import DeviceTable
from .memory.table import SKIPPED, Table
from .rules import Rule
from .state import State


def kernel_for(rule: Rule, like: Any, options: tuple[str, ...] = ()) -> Kernel:
    """The kernel of a rule with options, for arrays of the dtype of `like`, and where it lies.

    Args:
        like: a parameter, or a dtype for the host.

    Raises:
        TypeError: for a dtype without a storage, or a rule that cannot be compiled.
    """
    name = np.dtype(getattr(like, "dtype", like)).name
    if name not in FLOAT:
        raise TypeError(f"dtype={name} is not supported; give {' or '.join(FLOAT)}")
    return kernel(staged(rule, options), streams(rule, options, name), target_of(like))


def target_of(array: Any) -> ModuleType:
    """Where kernels for an array run."""
    if not isinstance(array, DeviceArray):
        return default_target()
    from .kernels import cuda

    return cuda


def by_dtype(params: Sequence[Any]) -> dict[Any, list[int]]:
    """The numbers of the parameters of each dtype."""
    numbers: dict[Any, list[int]] = {}
    for number, param in enumerate(params):
        numbers.setdefault(param.dtype, []).append(number)
    return numbers


def warmup(*optimizers: Any, dtype: Any = "float32") -> None:
    """Compile ahead, or load from the disk cache, what a first step would.

    Args:
        optimizers: classes, compiled for `dtype` with their default flags, or instances, compiled
            for the parameters they hold; default Adam and AdamW.
        dtype: "float32" (default) or "float64", for classes.

    Examples:
        >>> import fastadam as fa
        >>> fa.warmup(fa.AdamW)
    """
    from . import optimizers as family

    for optimizer in optimizers or (family.Adam, family.AdamW):
        if isinstance(optimizer, type):
            kernels = [kernel_for(optimizer.rule, dtype)]  # type: ignore[attr-defined]
        else:
            kernels = optimizer._kernels()
        for made in kernels:
            made.target.warm(made.run)


class Launch:
    """A kernel and the table of some parameters.

    Attributes:
        members: the numbers of the parameters in the optimizer.
        numbers: what options read once per parameter, by name; written by the host.
    """

    def __init__(
        self,
        rule: Rule,
        kernel: Kernel,
        params: Sequence[Any],
        members: Sequence[int],
    ) -> None:
        self.rule, self.kernel, self.members = rule, kernel, members
        mine = [params[i] for i in members]
        table = DeviceTable if isinstance(mine[0], DeviceArray) else Table
        self.table = table(kernel, [p.size for p in mine], len(params))
        self.table.place("param", [address(param) for param in mine])
        self.numbers = {
            stream.name: self.table.numbers(stream.name, stream.storage.dtype, len(members))
            for stream in self.kernel.streams
            if isinstance(stream.storage, Single)
        }

    def writer(self, number: int) -> Callable[[Mapping[str, float]], None]:
        """What keeps the constants that `hyper` returned as record `number`.

        It raises ValueError if a name is missing, there are others, or a number is too large, and
        TypeError if something is not a number.
        """
        pack = partial(self.table.pack, number * self.kernel.record.size)
        pick, count = _picker(self.rule.hyper), len(self.rule.hyper)

        def write(constants: Mapping[str, float]) -> None:
            try:
                pack(*pick(constants))
            except (KeyError, struct.error, OverflowError):
                self._refuse(constants)
            if len(constants) != count:
                self._refuse(constants)

        return write

    def _refuse(self, constants: Mapping[str, float]) -> NoReturn:
        missing = [name for name in self.rule.hyper if name not in constants]
        added = [name for name in constants if name not in self.rule.hyper]
        if missing or added:
            raise ValueError(
                f"hyper() must return one number for each name of its rule; "
                f"missing: {missing}, not in the rule: {added}"
            )
        if all(isinstance(constant, Real) for constant in constants.values()):
            raise ValueError(f"hyper() returned {constants}; a number is too large for the dtype")
        raise TypeError(f"hyper() returned {constants}; give numbers")

    def place(self, stream: str, addresses: Sequence[int]) -> None:
        """Point the table at arrays of a step, given for all parameters of the optimizer."""
        self.table.place(stream, [addresses[i] for i in self.members])

    def tell(self, option: str, number: float) -> None:
        """Give an option its number."""
        self.numbers[option][...] = number

    def choose(self, records: Sequence[int]) -> None:
        """Say which record each parameter of the optimizer takes, or SKIPPED."""
        self.table.rows[:, 0] = [records[i] for i in self.members]

    def write_rows(self, state: State) -> None:
        """Point the table at the state, and at the record of each parameter."""
        self.choose([k if state.cohorts[k].active else SKIPPED for k in state.cohort_of])
        for name in self.rule.state:
            arrays = [state.arrays[name][i] for i in self.members]
            self.table.place(
                STATE + name, [0 if array is None else address(array) for array in arrays]
            )


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, float]], Sequence[float]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda constants: [constants[name] for name in names]
