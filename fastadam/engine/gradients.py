"""Read-only inputs of a step (gradients, masks); validated only when the array objects changed."""

import ctypes
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import repeat
from operator import add, attrgetter, le, methodcaller, or_
from typing import Any

import numpy as np

from ..memory import checks
from ..memory.array_headers import KnownArrays
from ..memory.complex_numbers import Pairs, as_pairs, is_complex
from ..memory.parameter_changes import ParameterChanges
from ..memory.rows import Rows, RowsDtype

_address, _view = ctypes.addressof, ctypes.c_char.from_buffer
_dtype, _shape = attrgetter("dtype"), attrgetter("shape")
_as_integers = methodcaller("view", np.dtype(np.uint16))
PLAIN = {np.ndarray}  # array types without subclass behaviour that has to be checked
MANY = 16  # from this number of arrays, a comparison in NumPy is faster


def fast_addresses(
    arrays: Sequence[Any],
    dtypes: Sequence[Any],
    shapes: Sequence[tuple[int, ...]],
    itemsize: int,
    foreign: bool = False,
) -> list[int] | None:
    """The addresses of contiguous, writable, aligned arrays; None if one has another layout.

    The buffer protocol is five times as fast as NumPy's own attributes. It does not support
    `foreign` dtypes such as bfloat16.
    """
    try:
        if {*map(type, arrays)} != PLAIN:
            return None
        if list(map(_dtype, arrays)) != dtypes or list(map(_shape, arrays)) != shapes:
            return None
        buffers = map(_as_integers, arrays) if foreign else arrays
        addresses = list(map(_address, map(_view, buffers)))
    except (TypeError, ValueError, AttributeError):  # no array, or read-only, or empty
        return None
    return None if reduce(or_, addresses) & (itemsize - 1) else addresses


class OtherDtypesError(Exception):
    """Arrays are valid, but their dtypes differ from the expected ones.

    Attributes:
        dtypes: their dtypes; the expected ones where there is no array.
    """

    def __init__(self, dtypes: Sequence[Any]) -> None:
        self.dtypes = dtypes


def with_rows(arrays: Sequence[Any], params: Sequence[Any], dtypes: Sequence[Any]) -> list[Any]:
    """The dtypes of gradients if some are row-sparse; the expected ones for the others.

    Raises:
        TypeError: for rows of parameters of complex numbers.
    """
    pairs = zip(arrays, params, strict=True)
    if any(isinstance(array, Rows) and isinstance(param, Pairs) for array, param in pairs):
        raise TypeError("Rows are for real parameters; give the whole gradient of a complex one")
    return [
        RowsDtype.of(param) if isinstance(array, Rows) else dtype
        for array, param, dtype in zip(arrays, params, dtypes, strict=True)
    ]


def _paired(array: Any, name: str, param: Any) -> Any:
    """An array of complex numbers as pairs of reals, if its parameter is such an array.

    Raises:
        TypeError: if only one of them is.
    """
    if isinstance(param, Pairs) and array is not None and not isinstance(array, Pairs):
        pairs = as_pairs(array)
        if not isinstance(pairs, Pairs):
            raise TypeError(
                f"{name} is {checks.short(array)}, but its parameter is an array of complex "
                "numbers; give one of complex numbers, too"
            )
        return pairs
    if is_complex(array) and not isinstance(param, Pairs):
        raise TypeError(
            f"{name} has dtype {array.dtype}, but its parameter is real; give its real part: a.real"
        )
    return array


class StepArrays:
    """Arrays of a step, one for each parameter: their checks and their addresses.

    They are referred to weakly, so that the gradients of a step are not kept alive.

    Args:
        params: the parameters, in order.
        param_names, names: the names of the parameters and of the arrays in messages.
        dtypes: the dtypes of the arrays.
        check: `check(array, name, param, param_name)` raises for an invalid array.
        convert: converts an array of any library to one that fastadam supports.
        optional: True if an array may be None.
        cleared: True if the step writes zeros to the arrays, so that they may not share memory.
    """

    addresses: list[int]
    active: list[bool]

    def __init__(
        self,
        params: Sequence[Any],
        param_names: Sequence[str],
        names: Sequence[str],
        dtypes: Sequence[Any],
        check: Callable[[Any, str, Any, str], None],
        convert: Callable[[Any], Any],
        optional: bool,
        cleared: bool = False,
    ) -> None:
        self._params, self._param_names, self._names = params, param_names, names
        self._dtypes, self._check, self._convert = list(dtypes), check, convert
        self._optional, self._cleared = optional, cleared
        self._shapes = [param.shape for param in params]
        self._itemsize = max(dtype.itemsize for dtype in self._dtypes)
        self._foreign = any(dtype.kind == "V" for dtype in self._dtypes)
        self._sizes = [p.size * t.itemsize for p, t in zip(params, self._dtypes, strict=True)]
        self._known = KnownArrays()
        self.active, self.addresses = [], []
        self.rows: Sequence[Any] = [None] * len(params)  # a RowGradient for each row-sparse one

    @property
    def dtypes(self) -> Sequence[Any]:
        """The dtypes of the arrays."""
        return self._dtypes

    def protect(self, spans: Sequence[checks.Span]) -> None:
        """Set the memory that a step writes, in which no array may lie."""
        self._starts = [-1, *(s.start for s in spans)]
        self._stops = [-1, *(s.stop for s in spans)]
        self._owners = ["", *(s.name for s in spans)]
        self._vectors = tuple(map(np.array, (self._starts, self._stops, self._sizes)))

    def same(self, arrays: Sequence[Any]) -> bool:
        """True if these are the array objects of the last call of `bind`, all of them not None,
        and none changed in place."""
        return self._known.same(arrays)

    def comparison(self, changes: ParameterChanges) -> Callable[[Sequence[Any]], bool]:
        """A function that compares arrays with those of the last call of `bind`, as `same` does,
        and also detects changes of the parameters."""
        return changes.comparison(self._known)

    def seen(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """The arrays for readers other than the launches."""
        return arrays

    def bind(self, arrays: Sequence[Any]) -> None:
        """Check arrays, one or None per parameter, and store their addresses.

        Raises:
            TypeError: if one is not an array of the dtype.
            ValueError: if one has another shape, or lies in memory that the step writes.
            OtherDtypesError: if only the dtypes differ, and gradients may have these.
        """
        again = self._known.forget(arrays)
        self.active = [array is not None for array in arrays]
        complete = all(self.active)
        fast = complete and self._fast(arrays)
        self.addresses = fast or self._slow(arrays)
        if self._cleared:
            checks.check_apart(self.spans())
        if complete:
            self._known.note(arrays, again)

    def _fast(self, arrays: Sequence[Any]) -> list[int] | None:
        """The addresses by the fast check; None if it fails."""
        addresses = fast_addresses(
            arrays, self._dtypes, self._shapes, self._itemsize, self._foreign
        )
        return addresses if addresses and self._apart(addresses) else None

    def _apart(self, addresses: list[int]) -> bool:
        """True if the last protected span that begins before an array's end ends before it."""
        if len(addresses) < MANY:
            ends = map(add, addresses, self._sizes)
            before = [self._stops[k - 1] for k in map(bisect_left, repeat(self._starts), ends)]
            return all(map(le, before, addresses))
        starts, stops, sizes = self._vectors
        at = np.array(addresses)
        return bool((stops[np.searchsorted(starts, at + sizes) - 1] <= at).all())

    def spans(self) -> Iterator[checks.Span]:
        """The memory of the arrays."""
        for start, size, name in zip(self.addresses, self._sizes, self._names, strict=True):
            if start:
                yield checks.Span(start, start + size, name)

    def _slow(self, arrays: Sequence[Any]) -> list[int]:
        addresses = []
        if self._optional and (dtypes := with_rows(arrays, self._params, self._dtypes)) != (
            self._dtypes
        ):
            raise OtherDtypesError(dtypes)
        arrays = list(map(_paired, map(self._convert, arrays), self._names, self._params))
        dtypes = [
            expected if array is None else getattr(array, "dtype", None)
            for array, expected in zip(arrays, self._dtypes, strict=True)
        ]
        for k, (array, name) in enumerate(zip(arrays, self._names, strict=True)):
            if array is None and self._optional:
                addresses.append(0)
                continue
            self._check(array, name, self._params[k], self._param_names[k])
            span = checks.span(array, name)
            self.check_free(span)
            addresses.append(span.start)
        if dtypes != self._dtypes:
            raise OtherDtypesError(dtypes)
        return addresses

    def check_free(self, span: checks.Span) -> None:
        """Refuse an array in memory that a step writes.

        Raises:
            ValueError: naming both.
        """
        place = bisect_left(self._starts, span.stop) - 1
        if span.stop > span.start and self._stops[place] > span.start:
            raise ValueError(
                f"{span.name} lies in the memory of {self._owners[place]}, which the step writes; "
                "give a copy"
            )
