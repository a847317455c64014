"""Codes on a logarithmic scale: the bits of a float32 as an integer, in steps of one size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from codes_blocks import BLOCK, Stored, bits, floats, signed

MAGNITUDE = np.int32(0x7FFFFFFF)  # all bits of a float32 but the sign's
CHANCE = 20  # bits of a random number; half of 2^20 instead of one rounds to nearest


def mixed(number: Any) -> Any:
    """A hash of 32 bits (lowbias32)."""
    number = (number ^ (number >> np.uint32(16))) * np.uint32(0x7FEB352D)
    number = (number ^ (number >> np.uint32(15))) * np.uint32(0x846CA68B)
    return number ^ (number >> np.uint32(16))


def chances(top: Any, step: int) -> Any:
    """A random number of 20 bits for every value: a hash of the largest of its block and of the
    step, then multiples of the golden ratio."""
    key = mixed(top.view(np.uint32) ^ mixed(np.array([step], np.uint32)))
    each = key + np.arange(BLOCK, dtype=np.uint32) * np.uint32(0x9E3779B9)
    return (each >> np.uint32(32 - CHANCE)).astype(np.int32)


@dataclass(frozen=True)
class Shift:
    """The bits of a magnitude below those of the block's largest, in steps of 2^shift: with 20, an
    eighth of an octave. One scale. Code 0 is zero.

    `random` selects stochastic rounding, for blocks with and without signs. `tail` selects the
    treatment of magnitudes below code 1 in blocks with signs; without signs they are raised to it.
    """

    random: tuple[bool, bool] = (True, True)
    tail: str = "two octaves"
    shift: int = 20

    def scales(self, magnitude: Any) -> Any:
        """The scale of a block: its largest magnitude."""
        return magnitude.max(axis=1, keepdims=True)

    def grid(self, scales: Any, sign: Any) -> tuple[Any, Any]:
        """The logarithm at code 0, if that were one of the steps, and the size of a step."""
        size = np.int64(1) << np.where(sign, self.shift, 20)
        return np.maximum(scales - most(sign) * size, 0), size

    def logarithm(self, magnitude: Any, base: Any) -> Any:
        """From the bits of a magnitude."""
        return magnitude

    def number(self, logarithm: Any, base: Any) -> Any:
        """The magnitude itself."""
        return floats(logarithm)

    def encode(self, values: Any, step: int) -> Stored:
        magnitude, sign = bits(values) & MAGNITUDE, signed(values)
        scales = self.scales(magnitude)
        base, size = self.grid(scales, sign)
        logarithm, chance = self.logarithm(magnitude, base), chances(scales[:, :1], step)
        up = np.where(np.where(sign, *self.random), chance, 1 << (CHANCE - 1))
        count = np.minimum((logarithm - base + (up * size >> CHANCE)) // size, most(sign))
        first = base + size
        raised = ~sign | self.raised(magnitude, base, first, chance * 2.0**-CHANCE)
        count = np.where(logarithm < first, raised, count) * (magnitude > 0)
        codes = count | (bits(values) < 0).astype(np.int64) << 7
        return Stored(codes.astype(np.uint8), np.where(sign, -floats(scales), floats(scales)))

    def raised(self, magnitude: Any, base: Any, first: Any, chance: Any) -> Any:
        """Test if a magnitude below code 1, of the logarithm `first`, becomes code 1."""
        if self.tail == "two octaves":
            return (magnitude - first) * 2.0**-24 > chance - 1
        bound = {"zero": 0.5, "clamped": 0.0, "unbiased": chance}[self.tail]
        return floats(magnitude) > bound * self.number(first, base)

    def decode(self, stored: Stored) -> Any:
        codes, sign = stored.codes.astype(np.int64), signed(stored.scales)
        base, size = self.grid(bits(stored.scales) & MAGNITUDE, sign)
        count = np.where(sign, codes & 127, codes)
        found = np.where(count > 0, self.number(base + count * size, base), np.float32(0))
        return np.where(sign & (codes > 127), -found, found)


def most(sign: Any) -> Any:
    """The largest code of a magnitude."""
    return np.where(sign, np.int64(127), np.int64(255))


class Between(Shift):
    """The same from the smallest to the largest magnitude of the block that is not zero, or from
    16 octaves below the largest (without signs 32). Two scales."""

    def scales(self, magnitude: Any) -> Any:
        top = magnitude.max(axis=1, keepdims=True)
        low = np.where(magnitude == 0, MAGNITUDE, magnitude).min(axis=1, keepdims=True)
        return np.concatenate([top, np.minimum(low, top)], axis=1)

    def grid(self, scales: Any, sign: Any) -> tuple[Any, Any]:
        top, low = scales[:, :1].astype(np.int64), scales[:, 1:].astype(np.int64)
        low = np.maximum(low, top - (np.where(sign, 16, 32) << 23))
        size = np.maximum(-((low - top) // (most(sign) - 1)), 1)
        return low - size, size


class Offset(Shift):
    """Shift, of the sum of a magnitude and code 0: linear below that, logarithmic above."""

    def logarithm(self, magnitude: Any, base: Any) -> Any:
        return bits(floats(magnitude) + floats(base))

    def number(self, logarithm: Any, base: Any) -> Any:
        return floats(logarithm) - floats(base)
