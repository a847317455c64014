"""Blocks of 256 values, a row for each, in which all codes store optimizer state.

A block without negative values is coded without a sign, as a second moment. A negative scale marks
a block with signs.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

BLOCK = 256


class Stored(NamedTuple):
    """Codes and scales of some blocks."""

    codes: Any
    scales: Any


class Code(Protocol):
    """A code: encodes float32 blocks at a step, and decodes them."""

    def encode(self, values: Any, step: int) -> Stored: ...

    def decode(self, stored: Stored) -> Any: ...


def bits(values: Any) -> Any:
    """float32 as int32: a piecewise linear logarithm of positive numbers."""
    return values.view(np.int32)


def floats(numbers: Any) -> Any:
    """The inverse of `bits`."""
    return numbers.astype(np.int32).view(np.float32)


def signed(values: Any) -> Any:
    """True for each block with a negative value."""
    return (bits(values) < 0).any(axis=1, keepdims=True)


@dataclass(frozen=True)
class Plain:
    """Values of another dtype, without scales."""

    dtype: Any

    def encode(self, values: Any, step: int) -> Stored:
        return Stored(values.astype(self.dtype), np.empty((len(values), 0)))

    def decode(self, stored: Stored) -> Any:
        return stored.codes.astype(np.float32)


def store(code: Code, array: Any, step: int) -> Stored:
    """Encode an array; its last block is filled up with zeros."""
    flat = array.reshape(-1)
    blocks = np.zeros((-(-flat.size // BLOCK), BLOCK), np.float32)
    blocks.reshape(-1)[: flat.size] = flat
    return code.encode(blocks, step)


def replace(code: Code, array: Any, step: int) -> None:
    """Replace an array by its encoded and decoded values."""
    found = code.decode(store(code, array, step))
    array[...] = found.reshape(-1)[: array.size].reshape(array.shape)


def bytes_of(code: Code, values: int = 1 << 16) -> float:
    """Bytes of a stored value."""
    stored = store(code, np.ones(values, np.float32), 1)
    return sum(part.nbytes for part in stored) / values
