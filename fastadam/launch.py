"""One launch: all parameters of one rule variant and dtype, with their kernel and their table."""

import struct
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from .kernels.compose import Stream
from .kernels.factory import Kernel, kernel
from .kernels.storage import FLOAT
from .memory.table import SKIPPED, Table
from .rules import Rule
from .state import State


def kernel_for(rule: Rule, dtype: Any) -> Kernel:
    """The kernel of a rule whose parameters, gradients and state are all of one dtype."""
    storage = FLOAT[str(dtype)]
    states = (Stream(name, storage) for name in rule.state)
    return kernel(rule, (Stream("param", storage), Stream("grad", storage, "r"), *states))


def warmup(*optimizers: Any, dtype: Any = "float32") -> None:
    """Compile ahead, or load from the disk cache, what a first step would.

    Args:
        optimizers: classes, compiled for `dtype` with their default flags, or instances, compiled
            for the parameters they hold; default Adam and AdamW.
        dtype: "float32" (default) or "float64", for classes.

    Example:
        >>> import fastadam as fa
        >>> fa.warmup(fa.AdamW)
    """
    from . import optimizers as family

    for optimizer in optimizers or (family.Adam, family.AdamW):
        groups = () if isinstance(optimizer, type) else optimizer.param_groups
        dtypes = {param.dtype for group in groups for param in group["params"]} or {dtype}
        for each in dtypes:
            made = kernel_for(optimizer.rule, each)
            made.target.parallel(made.run, 0, 0, 0)


class Launch:
    """The kernel and the table of some parameters; `members` are their numbers in the optimizer."""

    def __init__(self, rule: Rule, params: Sequence[Any], members: Sequence[int]) -> None:
        self.rule, self.members, self._params = rule, members, params
        mine = [params[i] for i in members]
        self.kernel = kernel_for(rule, mine[0].dtype)
        self.table = Table(self.kernel, [p.size for p in mine], len(params))
        self.table.place("param", [_start(param) for param in mine])
        self._pick = _picker(rule.hyper)

    def write_record(self, number: int, constants: Mapping[str, float]) -> None:
        """Keep what `hyper` returned as record `number`.

        Raises:
            ValueError: if a name is missing, there are others, or a number is too large.
            TypeError: if something is not a number.
        """
        try:
            if len(constants) != len(self.rule.hyper):
                raise KeyError
            self.table.write_record(number, self._pick(constants))
        except KeyError:
            missing = [name for name in self.rule.hyper if name not in constants]
            added = [name for name in constants if name not in self.rule.hyper]
            raise ValueError(
                f"hyper() must return one number for each name of its rule; "
                f"missing: {missing}, not in the rule: {added}"
            ) from None
        except struct.error:
            raise TypeError(f"hyper() returned {constants}; give numbers") from None
        except OverflowError:
            raise ValueError(
                f"hyper() returned {constants}; a number is too large for the dtype"
            ) from None

    def write_gradients(self, addresses: Sequence[int]) -> None:
        """Point the table at the gradients of a step."""
        self.table.place("grad", [addresses[i] for i in self.members])

    def write_rows(self, state: State) -> None:
        """Point the table at the state, and at the record of each parameter."""
        cohorts = [state.cohort_of[i] for i in self.members]
        self.table.rows[:, 0] = [k if state.cohorts[k].active else SKIPPED for k in cohorts]
        for name in self.rule.state:
            arrays = [state.arrays[name][i] for i in self.members]
            self.table.place(name, [0 if array is None else _start(array) for array in arrays])


def _start(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, float]], Sequence[float]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda constants: [constants[name] for name in names]
