"""Copies of the parameters: their average, and a copy in low precision."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ..kernels.commit import Operation, Write, commit, put, write
from ..kernels.formats import Formats, compute_of
from ..memory import checks
from ..memory.dtypes import name_of, named
from ..memory.placement import AVERAGE
from .backend import Backend, backend_of
from .flat import Flat
from .options import Options
from .parameters import Parameters

CHUNK = 1 << 16  # elements exchanged at a time


class CopyStore(Protocol):
    """A place for copies of all parameters other than memory."""

    def array(self, name: str, number: int) -> Any:
        """The array of a name."""

    def start(self, leaves: Sequence[Any], values: Sequence[Any]) -> None:
        """Write initial values to the parts of an array, unless it has values already."""


class ParameterCopies:
    """The average and the low-precision copy of the parameters, recreated when parameters are
    added.

    Attributes:
        ema: the average, of the dtype of the arithmetic, or None.
        shadow: the copy, or None.
        given: the caller's arrays that receive a copy of each parameter, None for parameters
            without one.
        swapped: the exchange in effect, while the averages are in place of the parameters.
        store: allocates the copies; None: they are in memory.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self.ema: Flat | None = None
        self.shadow: Flat | None = None
        self.given: Sequence[Any] = []
        self.swapped: Exchange | None = None
        self.store: CopyStore | None = None
        self._params: Sequence[Any] = ()
        self._names: Sequence[str] = ()

    def check(self, names: Iterable[str]) -> None:
        """Refuse parameters of these dtypes, if their copies cannot share one buffer.

        Raises:
            TypeError: for mixed dtypes, and with `shadow_dtype` for others than float32.
        """
        dtypes = sorted({*names})
        if self._options.ema_decay is not None and len({*map(compute_of, dtypes)}) > 1:
            raise TypeError(
                f"ema_decay: the average is one buffer of one dtype, but the parameters have "
                f"{dtypes}; convert them, or make an optimizer for each dtype"
            )
        if self._options.shadow_dtype is not None and dtypes != ["float32"]:
            raise TypeError(
                f"shadow_dtype={self._options.shadow_dtype!r} is for float32 parameters; these "
                f"are {' and '.join(dtypes)}"
            )

    def part(self, numbers: Sequence[int]) -> "ParameterCopies":
        """The copies of some of the parameters, to which the steps of a subset write."""
        return PartOfCopies(self, numbers)

    def check_given(self, given: Sequence[Any], parameters: Parameters) -> None:
        """Check the caller's arrays for copies of the last parameters.

        Raises:
            TypeError, ValueError: for other shapes and dtypes, and for memory that is in use.
        """
        last = slice(len(parameters.arrays) - len(given), None)
        params, names = parameters.arrays[last], parameters.names[last]
        for array, param, name in zip(given, params, names, strict=True):
            if array is not None:
                checks.check_copy(array, f"shadow of {name}", param, name)
        if any(array is not None for array in given):
            if self._options.shadow_dtype is not None:
                raise ValueError(
                    f"shadow_dtype={self._options.shadow_dtype!r} makes a copy in memory of the "
                    "optimizer's own, and shadow= one in arrays of yours; give one of them"
                )
            copies = zip([*self.given, *given], parameters.names, strict=True)
            checks.check_apart(
                [
                    *map(checks.span, parameters.arrays, parameters.names),
                    *(checks.span(a, f"shadow of {name}") for a, name in copies if a is not None),
                ]
            )

    def followed(self, parameters: Parameters, given: Sequence[Any] = ()) -> list[Operation]:
        """The operations that allocate copies of these parameters, the last of them in the arrays
        `given`; existing averages are kept."""
        params, ema, shadow = parameters.arrays, None, None
        backend = backend_of(params[0])
        if self._options.ema_decay is not None:
            known = self.ema.leaves if self.ema else []
            dtype = compute_of(params[0].dtype.name)
            ema = parameters.flat_like(self._room("ema", parameters, dtype, backend))
            self._start(ema, [*known, *params[len(known) :]])
        if self._options.shadow_dtype is not None:
            dtype = named(self._options.shadow_dtype)
            shadow = parameters.flat_like(self._room("shadow", parameters, dtype, backend))
            with np.errstate(all="ignore"):
                self._start(shadow, params)
        with np.errstate(all="ignore"):
            commit(_writes(given, params[len(params) - len(given) :]))
        held = put(self, ema=ema, shadow=shadow, given=[*self.given, *given])
        return [*held, *put(self, _params=params, _names=parameters.names)]

    def _room(self, name: str, parameters: Parameters, dtype: Any, backend: Backend) -> Any:
        if self.store:
            return self.store.array(name, 0)
        beside, size = parameters.arrays[:1], parameters.size
        return backend.zeros_beside(beside, [size], dtype, AVERAGE)[0]

    def _start(self, flat: Flat, values: Sequence[Any]) -> None:
        if self.store:
            self.store.start(flat.leaves, values)
        else:
            commit(_writes(flat.leaves, values))

    def restored(self, averages: Sequence[Any], write: Write = write) -> list[Operation]:
        """The operations that restore saved averages, or start from the parameters, and round
        the parameters into their copy."""
        taken = _writes(self.ema.leaves, averages or self._params, write) if self.ema else []
        return taken + self.refreshed()

    def refreshed(self) -> list[Operation]:
        """The operations that round the parameters into their copies."""
        return _writes(self.shadow.leaves if self.shadow else self.given, self._params)

    def exchange(self) -> "Exchange":
        """A prepared exchange of parameters and average.

        Raises:
            ValueError: if a parameter is read-only.
        """
        assert self.ema
        self.check_writeable("swap_ema()")
        there, back = list[Operation](), list[Operation]()
        for average, param in zip(self.ema.leaves, self._params, strict=True):
            if average.dtype == param.dtype:
                swaps = exchanged(average.reshape(-1), param.reshape(-1))
                there += swaps
                back += swaps
            else:
                writable = param.reshape(param.shape)  # even if `param` is made read-only meanwhile
                there.append(_rounded(writable, average))
                back.append(write(writable, param.copy()))
        refreshed = self.refreshed()
        return Exchange(self, [*there, *refreshed], [*back, *refreshed])

    def check_writeable(self, name: str) -> None:
        """Refuse read-only parameters, for an operation of this name.

        Raises:
            ValueError: if one is read-only.
        """
        for number, param in enumerate(self._params):
            if not param.flags.writeable:
                raise ValueError(
                    f"{name} writes to the parameters, but {self._names[number]} is read-only; "
                    "set its flags.writeable to True"
                )

    @property
    def params(self) -> Sequence[Any]:
        """The parameters."""
        return self._params

    @property
    def streams(self) -> dict[str, list[Any]]:
        """The arrays by the streams of a kernel."""
        kept = {"ema": self.ema, "shadow": self.shadow}
        owned = {name: flat.leaves for name, flat in kept.items() if flat}
        return owned | ({"shadow": [*self.given]} if self.copied else {})

    @property
    def copied(self) -> bool:
        """True if a parameter has a copy in one of the caller's arrays."""
        return any(array is not None for array in self.given)

    def formats(self, formats: Sequence[Formats]) -> Sequence[Formats]:
        """The formats of the parameters, with those of copies in the caller's arrays."""
        if not self.copied:
            return formats
        return [
            each if array is None else replace(each, shadow=name_of(array.dtype))
            for each, array in zip(formats, self.given, strict=True)
        ]


class PartOfCopies(ParameterCopies):
    """The copies of some parameters of an optimizer."""

    def __init__(self, whole: ParameterCopies, numbers: Sequence[int]) -> None:
        super().__init__(whole._options)
        self._whole, self._numbers = whole, numbers
        if whole.copied:
            self.given = [whole.given[number] for number in numbers]

    @property
    def streams(self) -> dict[str, list[Any]]:
        return {
            name: [arrays[number] for number in self._numbers]
            for name, arrays in self._whole.streams.items()
        }


class Averages(Protocol):
    """An object with averages, which may be exchanged with the parameters.

    Attributes:
        swapped: the exchange in effect, or None.
    """

    swapped: "Exchange | None"


class Exchange:
    """A prepared exchange of parameters and averages, with its reversal.

    Args:
        holder: the averages, whose `swapped` is this exchange while it is in effect.
        there, back: the operations of the exchange and of its reversal.
        way_out: an instruction for ending it, for messages.
    """

    def __init__(
        self,
        holder: Averages,
        there: Sequence[Operation],
        back: Sequence[Operation],
        way_out: str = "leave swap_ema()",
    ) -> None:
        self._holder, self.way_out = holder, way_out
        self._there = [*there, *put(holder, swapped=self)]
        self._back = [*back, *put(holder, swapped=None)]

    def make(self) -> None:
        """Exchange them, all or none."""
        with np.errstate(all="ignore"):
            commit(self._there)

    def undo(self) -> None:
        """Exchange everything back, if it was exchanged."""
        if self._holder.swapped is self:
            with np.errstate(all="ignore"):
                commit(self._back)
            self._there = self._back = []  # which refer to this object, and to all arrays


def _writes(copies: Sequence[Any], values: Sequence[Any], write: Write = write) -> list[Operation]:
    """The operations that copy values into arrays, rounded to the dtypes of these; None is
    skipped."""
    pairs = zip(copies, values, strict=True)
    return [_rounded(copy, array, write) for copy, array in pairs if copy is not None]


def _rounded(leaf: Any, values: Any, write: Write = write) -> Operation:
    """The operation that copies values into an array, which may have another dtype."""
    if isinstance(values, np.ndarray) or values.dtype == leaf.dtype:
        return write(leaf, values)
    return lambda: leaf.__setitem__(..., values.astype(leaf.dtype))  # a device has no conversion


def exchanged(one: Any, other: Any) -> list[Operation]:
    """The operations that exchange the elements of two arrays."""
    kept, operations = one[:CHUNK].copy(), list[Operation]()
    for start in range(0, one.size, CHUNK):
        left, right = one[start : start + CHUNK], other[start : start + CHUNK]
        aside = kept[: left.size]
        operations += [write(aside, left), write(left, right), write(right, aside)]
    return operations
