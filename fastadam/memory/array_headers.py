"""Detection of changed NumPy arrays, by comparing the bytes of their headers in memory."""

import sys
from collections.abc import Callable, Sequence
from ctypes import (
    Structure,
    addressof,
    c_byte,
    c_char,
    c_int,
    c_ssize_t,
    c_void_p,
    sizeof,
    string_at,
)
from functools import cache, partial
from operator import is_
from typing import Any
from weakref import ref

import numpy as np

from ..kernels.imports import whole

joined = b"".join
MANY = 16  # arrays from which reading a list in memory pays
HUGE = 256  # arrays from which a compiled comparison of their headers pays


class _Object(Structure):
    """An array in memory, as NumPy's headers declare it; extensions read it in this form."""

    _fields_ = (
        ("head", c_byte * object.__basicsize__),
        ("data", c_void_p),
        ("nd", c_int),
        ("dimensions", c_void_p),
        ("strides", c_void_p),
        ("base", c_void_p),
        ("descr", c_void_p),
        ("flags", c_int),
    )


_START = _Object.data.offset
_Header = c_char * (_Object.flags.offset + sizeof(c_int) - _START)


@cache
def _readable() -> bool:
    """True if array objects have the declared layout in this version of NumPy."""
    array = np.zeros((2, 3), np.float32)
    if sys.implementation.name != "cpython":
        return False
    header = _Object.from_address(id(array))
    return bool(
        (header.data, header.nd) == (array.__array_interface__["data"][0], 2)
        and header.descr == id(array.dtype)
        and header.flags == array.flags.num
    )


class _List(Structure):
    """A list in memory, as Python's headers declare it."""

    _fields_ = (
        ("head", c_byte * object.__basicsize__),
        ("size", c_ssize_t),
        ("items", c_void_p),
    )


def _items(objects: list[Any]) -> bytes:
    """The addresses of the objects in a list, as bytes."""
    return string_at(_List.from_address(id(objects)).items, sizeof(c_void_p) * len(objects))


@cache
def _lists_readable() -> bool:
    """True if list objects have the declared layout in this version of Python."""
    objects = [object() for _ in range(MANY)]
    if sys.implementation.name != "cpython":
        return False
    header = _List.from_address(id(objects))
    return header.size == len(objects) and _items(objects) == _packed(list(map(id, objects)))


def _packed(numbers: Sequence[int]) -> bytes:
    return bytes((c_void_p * len(numbers))(*numbers))


def _identity(numbers: list[int]) -> Callable[[Sequence[Any]], bool]:
    """A function that returns True for the objects with these `id`s.

    For many objects in a list, it takes a twentieth of the time of calling `id` for each.
    """
    if len(numbers) < MANY or not _lists_readable():
        return lambda arrays: list(map(id, arrays)) == numbers
    count, known = len(numbers), _packed(numbers)

    def same(arrays: Sequence[Any]) -> bool:
        if type(arrays) is not list:
            return list(map(id, arrays)) == numbers
        return len(arrays) == count and _items(arrays) == known

    return same


class ArrayHeaders:
    """The headers of arrays: address, shape, strides, dtype and flags.

    The bytes of all headers are compared in one call, which takes a tenth of the time of reading
    the attributes. The arrays must be alive then. Arrays of a device are left out.

    Attributes:
        views, shapes: the memory of the headers, and that of the shapes.
        header, shape: their bytes at the time of the call; `header` is None, which equals nothing,
            if they cannot be read.
    """

    header: bytes | None = None
    shape = b""

    def __init__(self, arrays: Sequence[Any] = ()) -> None:
        self.views: list[memoryview] = []
        self.shapes: list[memoryview] = []
        if not _readable():
            return
        for array in arrays:
            if isinstance(array, np.ndarray):
                header = _Object.from_address(id(array))
                start = addressof(header) + _START
                self.views.append(memoryview(_Header.from_address(start)))
                if header.nd > 1:  # in one dimension, the other fields determine the shape
                    shape = (c_void_p * header.nd).from_address(header.dimensions)
                    self.shapes.append(memoryview(shape))
        self.header, self.shape = joined(self.views), joined(self.shapes)

    def comparison(self) -> Callable[[], bool]:
        """A function equivalent to `unchanged`, and faster for many arrays."""
        if self.header is None or len(self.views) < HUGE or whole("numba").config.DISABLE_JIT:
            return self.unchanged
        same, count = whole("fastadam.kernels.cpu.headers").same, len(self.views)
        known = np.zeros((count, -(-len(self.header) // count // 8)), np.int64)
        known.view(np.uint8)[:, : len(self.header) // count] = np.frombuffer(
            self.header, np.uint8
        ).reshape(count, -1)
        sizes = np.array([shape.nbytes // sizeof(c_void_p) for shape in self.shapes], np.int64)
        places = [_places(self.views), known, _places(self.shapes), sizes]
        return partial(same, *places, np.frombuffer(self.shape or bytes(8), np.int64).copy())

    def __add__(self, others: "ArrayHeaders") -> "ArrayHeaders":
        both = ArrayHeaders()
        if self.header is not None and others.header is not None:
            both.views, both.shapes = self.views + others.views, self.shapes + others.shapes
            both.header, both.shape = self.header + others.header, self.shape + others.shape
        return both

    def unchanged(self) -> bool:
        """True if all headers are unchanged; shapes are compared last, since the header has their
        address."""
        return joined(self.views) == self.header and (
            not self.shapes or joined(self.shapes) == self.shape
        )


def _places(views: Sequence[memoryview]) -> Any:
    """The addresses of the memory of views."""
    return np.array([addressof(view.obj) for view in views], np.int64)  # type: ignore[arg-type]


NOT_READ = ArrayHeaders()
NOT_READ.header = None


def same_arrays(arrays: Sequence[Any], seen: Sequence["ref[Any]"]) -> bool:
    """True if these are the array objects to which `seen` has weak references, all of them alive.

    While an array is alive, all weak references to it without a callback are one object, so that
    references can be compared; a dead one equals none of a living array.
    """
    try:
        return len(arrays) == len(seen) and all(map(is_, map(ref, arrays), seen))
    except TypeError:  # None, or another object without weak references
        return False


def never(arrays: Sequence[Any]) -> bool:
    """Return False, as a comparison with no known arrays."""
    return False


def comparison(
    known: "KnownArrays", headers: ArrayHeaders, now: Sequence[Any] = (), then: Sequence[Any] = ()
) -> Callable[[Sequence[Any]], bool]:
    """A function that returns True for the known arrays, if all of them are alive, no header has
    changed, and the containers in `now` equal those in `then`."""
    if len(headers.views) >= HUGE:
        return _comparison_of_many(known, headers.comparison(), now, then)
    views, shapes, header, shape = headers.views, headers.shapes, headers.header, headers.shape
    numbers, dead, same = known.ids, known.dead, _identity(known.ids)
    one = numbers[0] if len(numbers) == 1 else None

    def unchanged(arrays: Sequence[Any]) -> bool:
        try:
            return (
                (id(arrays[0]) == one if one else same(arrays))
                and not dead
                and joined(views) == header
                and (not shapes or joined(shapes) == shape)
                and then == now
            )
        except Exception:  # arrays that differ have no truth value
            return False

    return unchanged


def _comparison_of_many(
    known: "KnownArrays",
    headers_unchanged: Callable[[], bool],
    now: Sequence[Any],
    then: Sequence[Any],
) -> Callable[[Sequence[Any]], bool]:
    same, dead = _identity(known.ids), known.dead

    def unchanged(arrays: Sequence[Any]) -> bool:
        try:
            return same(arrays) and not dead and headers_unchanged() and then == now
        except Exception:  # arrays that differ have no truth value
            return False

    return unchanged


class KnownArrays:
    """Arrays of the last step, referred to weakly, so that they are not kept alive.

    Their headers are read only when they are given a second time, which most gradients never are.

    Attributes:
        seen: weak references to the arrays.
        headers: their headers, if they were given twice, else None.
        ids: their `id`s, if they were given twice.
        dead: the references to arrays that are no longer alive.
        same: `same(arrays)` is True if these are the known arrays, unchanged since the second time.
    """

    def __init__(self) -> None:
        self.seen: list[ref[Any]] = []
        self.headers: ArrayHeaders | None = None
        self.ids, self.dead = list[int](), list[Any]()
        self._alive: list[ref[Any]] = []
        self.same: Callable[[Sequence[Any]], bool] = never

    def forget(self, arrays: Sequence[Any]) -> bool:
        """Forget all arrays; returns True if these were the known ones."""
        again = same_arrays(arrays, self.seen)
        self.seen, self._alive, self.headers, self.same = [], [], None, never
        return again

    def note(self, arrays: Sequence[Any], again: bool) -> None:
        """Remember these checked arrays; `again` is the result of `forget`."""
        self.seen = list(map(ref, arrays))
        if again:
            self.headers, self.ids, self.dead = ArrayHeaders(arrays), list(map(id, arrays)), []
            self._alive = [ref(array, self.dead.append) for array in arrays]
            self.same = comparison(self, self.headers)
