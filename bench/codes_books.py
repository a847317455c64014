"""Codes with one scale, the largest value of a block, and a list of entries in units of it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
from codes_blocks import BLOCK, Stored, signed

TINY = np.finfo(np.float32).tiny  # divides where all are zero


@dataclass(frozen=True)
class Book:
    """The nearest entry of an ascending list, in units of the block's largest value."""

    entries: Any

    @cached_property
    def middles(self) -> Any:
        """Between neighbours; the last entry has no upper one."""
        return np.append((self.entries[1:] + self.entries[:-1]) / 2, np.inf).astype(np.float32)

    @cached_property
    def starts(self) -> Any:
        """The entry at the lower end of all numbers that share 18 leading bits. They hold at most
        one middle, so that one comparison finds the nearest."""
        low = np.arange(1 << 18, dtype=np.uint32) << np.uint32(14)
        low |= np.where(low >> np.uint32(31), 0x3FFF, 0).astype(np.uint32)
        return np.searchsorted(self.middles[:-1], low.view(np.float32)).astype(np.uint8)

    def nearest(self, values: Any) -> Any:
        start = self.starts[values.view(np.uint32) >> np.uint32(14)]
        return start + (values > self.middles[start])


@dataclass(frozen=True)
class Books:
    """A book for blocks with signs, another for those without.

    With `raised`, a value without sign that is not zero does not become zero.
    """

    with_sign: Book
    without: Book
    raised: bool = False

    def encode(self, values: Any, step: int) -> Stored:
        sign, scale = signed(values), np.maximum(np.abs(values).max(axis=1, keepdims=True), TINY)
        codes, rows = np.empty(values.shape, np.uint8), sign[:, 0]
        relative = values / scale
        codes[rows] = self.with_sign.nearest(relative[rows])
        positive = self.without.nearest(relative[~rows])
        codes[~rows] = np.maximum(positive, values[~rows] > 0) if self.raised else positive
        return Stored(codes, np.where(sign, -scale, scale))

    def decode(self, stored: Stored) -> Any:
        codes, scale = stored
        books = self.without.entries[codes], self.with_sign.entries[codes]
        return np.where(scale < 0, books[1], books[0]) * np.abs(scale)


def book(positive: Any, negative: Any = ()) -> Book:
    """The book with these magnitudes, and zero."""
    ascending = sorted([0.0, *positive, *(-number for number in negative)])
    return Book(np.array(ascending + [1.0] * (BLOCK - len(ascending)), np.float32))


def even(numbers: Any) -> Book:
    """The book with the same positive and negative entries."""
    return book(numbers, numbers)


def tree(bits_of_fraction: int) -> Any:
    """Dettmers 2021, dynamic tree quantization: seven decades; each has twice as many entries as
    the one below, the means of neighbours on an even grid from 0.1 to 1."""
    grids = [np.linspace(0.1, 1, 2 ** (k + bits_of_fraction) + 1) for k in range(7)]
    decades = [(grid[1:] + grid[:-1]) / 2 * 10.0 ** (k - 6) for k, grid in enumerate(grids)]
    return np.concatenate(decades)


def float8() -> Any:
    """The positive numbers of E4M3, in units of the largest."""
    return np.arange(1, 127, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(float) / 448


STEPS = np.arange(1, 128) / 127
COMPANDED = STEPS / (2 - STEPS)  # the inverse of 2x / (1 + x)
FINE = np.arange(1, 256) / 255
SCALED = {
    "linear": (even(STEPS), book(FINE)),
    "companded": (even(COMPANDED), book(FINE**2)),
    "tree": (book([*tree(0), 1.0], tree(0)), book([*tree(1), 1.0])),
    "float8": (even(float8()), book(float8())),
}
