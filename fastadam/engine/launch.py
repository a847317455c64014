"""One launch: all parameters of one rule variant and dtype, with their kernel and their table."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from numbers import Real
from operator import itemgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from ..cuda.array import DeviceArray
from ..cuda.launch_table import DeviceTable
from ..kernels.compose import Stream
from ..kernels.factory import Kernel, default_target, kernel
from ..kernels.formats import FLOAT, Formats
from ..kernels.storage.elementwise import WHOLE, Column
from ..kernels.transforms import STATE, staged, streams
from ..memory.checks import address
from ..memory.launch_table import SKIPPED, Table
from ..rules import Rule
from ..validation import dtype_name

if TYPE_CHECKING:
    from .state import Grouping


def kernel_for(
    rule: Rule, formats: Formats, options: tuple[str, ...] = (), like: Any = None
) -> Kernel:
    """The kernel of a rule with options, for arrays where `like` lies, which is the host if None.

    Raises:
        TypeError: for a rule that cannot be compiled.
    """
    names = options + formats.options
    return kernel(staged(rule, names), streams(rule, names, formats), target_of(like))


def target_of(array: Any) -> ModuleType:
    """Where kernels for an array run."""
    if not isinstance(array, DeviceArray):
        return default_target()
    from ..cuda import target as cuda

    return cuda


def _target_for(device: str | None) -> ModuleType:
    if device not in (None, "cpu", "cuda"):
        raise ValueError(f"device={device!r}; give 'cpu' or 'cuda'")
    if device != "cuda":
        return default_target()
    from ..cuda import target as cuda
    from ..cuda import transfer as cuda_memory

    cuda_memory.number()  # refuses where there is none
    return cuda


def alike(keys: Iterable[Any]) -> dict[Any, list[int]]:
    """The places of each key."""
    places: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return places


class Kept(NamedTuple):
    """An array that is kept for each parameter: a column of a stream of a kernel.

    Attributes:
        name: in `state` and in checkpoints.
        part: which column of the stream it is.
    """

    name: str
    stream: Stream
    part: int

    @property
    def column(self) -> Column:
        return self.stream.storage.stored[self.part]


@cache
def kept_for(names: tuple[str, ...], formats: Formats) -> dict[str, Kept]:
    """What is kept for a parameter besides itself, if it has state of these names."""
    param = Stream("param", formats.param_storage)
    arrays = [Kept(c.part, param, k) for k, c in enumerate(param.storage.stored) if k]
    for name in names:
        stream = Stream(STATE + name, formats.state_storage)
        arrays += [
            Kept(name + column.part, stream, part)
            for part, column in enumerate(stream.storage.stored)
            if column.per < WHOLE
        ]
    return {array.name: array for array in arrays}


def warmup(*optimizers: Any, dtype: Any = "float32", device: str | None = None) -> None:
    """Compile ahead, or load from the disk cache, what a first step would.

    Args:
        optimizers: classes, compiled for `dtype` with their default flags, or instances, compiled
            for the parameters they hold; default Adam and AdamW.
        dtype: of parameters and gradients, for classes: "float32" (default), "float64", "bfloat16"
            or "float16".
        device: where classes are to run: "cpu" (default) or "cuda".

    Raises:
        TypeError: for another dtype, and for what is no optimizer.
        ValueError: for another device, or one where an instance does not run.
        RuntimeError: if there is no such device.

    Examples:
        >>> import fastadam as fa
        >>> fa.warmup(fa.AdamW)
    """
    from .. import optimizers as family

    name = dtype_name(dtype)
    if not isinstance(name, str) or name not in FLOAT:
        raise TypeError(f"warmup(): dtype={name} is not supported; give {' or '.join(FLOAT)}")
    target = _target_for(device)
    for optimizer in optimizers or (family.Adam, family.AdamW):
        rule = getattr(optimizer, "rule", None)
        if not isinstance(rule, Rule):
            raise TypeError(
                f"warmup(): {optimizer!r} is no optimizer of fastadam; give a class, such as "
                "fastadam.AdamW, or one that holds arrays"
            )
        if isinstance(optimizer, type):
            kernels = [kernel(rule, streams(rule, (), Formats.alike(name)), target)]
        else:
            kernels = optimizer._kernels()
            if device and any(made.target is not target for made in kernels):
                raise ValueError(
                    f"device={device!r} is not where this {type(optimizer).__name__} runs; leave "
                    "device out"
                )
        for made in kernels:
            made.target.warm(made.run)


class Launch:
    """A kernel and the table of some parameters.

    Attributes:
        members: the numbers of the parameters in the optimizer.
        kept: what is kept for each of them.
        numbers: what options read once per parameter, by name; written by the host.
        draws: the number from which the noise of each parameter follows; one, or an array.
        late: how many steps each has taken less than the optimizer, likewise.
    """

    def __init__(
        self,
        rule: Rule,
        kernel: Kernel,
        params: Sequence[Any],
        members: Sequence[int],
        kept: Sequence[Kept] = (),
    ) -> None:
        self.rule, self.kernel, self.members, self.kept = rule, kernel, members, kept
        self.draws: Any = np.array(members, np.uint32) if len(members) > 1 else members[0]
        self.late: Any = 0
        mine = [params[i] for i in members]
        table = DeviceTable if isinstance(mine[0], DeviceArray) else Table
        self.table = table(kernel, [p.size for p in mine], len(params))
        self.table.place("param", [address(param) for param in mine])
        self.numbers: dict[str, Any] = {}
        rooms: dict[str, tuple[Any, Any]] = {}
        for stream in self.kernel.streams:
            for part, column in enumerate(stream.storage.stored):
                if column.per == WHOLE:
                    name = column.part or stream.name
                    if name not in rooms:
                        rooms[name] = self.table.room(column.dtype, len(members))
                    self.numbers[name], places = rooms[name]
                    self.table.place(stream.name, places, part)

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
            except (KeyError, TypeError, struct.error, OverflowError):
                self._refuse(constants)
            if len(constants) != count:
                self._refuse(constants)

        return write

    def _refuse(self, constants: Any) -> NoReturn:
        if not isinstance(constants, Mapping):
            raise TypeError(f"hyper() returned {constants!r}; give a dict with {self.rule.hyper}")
        missing = [name for name in self.rule.hyper if name not in constants]
        added = [name for name in constants if name not in self.rule.hyper]
        if missing or added:
            raise ValueError(
                f"hyper() must return one number for each name of its rule; "
                f"missing: {missing}, not in the rule: {added}"
            )
        if all(isinstance(constant, Real) for constant in constants.values()):
            compute = self.kernel.streams[0].storage.compute
            most = float(np.finfo(compute).max)
            large = [f"{name}={n!r}" for name, n in constants.items() if not -most <= n <= most]
            raise ValueError(
                f"hyper() returned {', '.join(large) or constants}, too large for {compute}; make "
                "the hyperparameters smaller that it follows from, such as lr"
            )
        raise TypeError(f"hyper() returned {constants}; give numbers")

    def place(self, stream: str, addresses: Sequence[int]) -> None:
        """Point the table at arrays of a step, given for all parameters of the optimizer."""
        self.table.place(stream, [addresses[i] for i in self.members])

    def tell(self, option: str, number: Any) -> None:
        """Give an option its number, or one for each parameter."""
        self.numbers[option][...] = number

    def start(self, stream: str, lacks: Mapping[int, float]) -> None:
        """Say what new state lacks, by parameter, of the number it starts at, in the next step."""
        if stream in self.numbers:
            for place, member in enumerate(self.members):
                if member in lacks:
                    self.numbers[stream][place] = lacks[member]

    def choose(self, records: Sequence[int]) -> None:
        """Say which record each parameter of the optimizer takes, or SKIPPED."""
        self.table.rows[:, 0] = [records[i] for i in self.members]

    def write_rows(self, grouping: "Grouping", state: Mapping[str, Sequence[Any]]) -> None:
        """Point the table at arrays of state, and at the record of each parameter."""
        cohorts = grouping.cohorts
        self.choose([k if cohorts[k].active else SKIPPED for k in grouping.cohort_of])
        for name, stream, part in self.kept:
            arrays = [state[name][i] for i in self.members]
            places = [0 if array is None else address(array) for array in arrays]
            self.table.place(stream.name, places, part)


def _picker(names: tuple[str, ...]) -> Callable[[Mapping[str, float]], Sequence[float]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda constants: [constants[name] for name in names]
