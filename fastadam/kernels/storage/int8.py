"""The storage of state in 8 bits: codes, and a scale for each block of 256 elements."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...rules.functions import larger, smaller
from ..scalar.stochastic import hashed
from ..target import MemoryAccess
from .base import COLUMNS, WHOLE, Coding, Column, Pieces, Signed
from .packing import in_scratch

u8, u32, i32, f32 = np.uint8, np.uint32, np.int32, np.float32

_SIGN, _MAGNITUDE, _NAN = u32(0x80000000), u32(0x7FFFFFFF), u32(0x7FC00000)
_INFINITY, _SIGN_CODE, _BELOW = u32(0x7F800000), u32(0x80), u32(0xFFFFF)
_GOLDEN, _HASH = u32(0x9F000), u32(0x9E3779B9)  # of 2**20, in units of 2**12, and of 2**32
_0, _1, _12, _20, _24, _FINE = u32(0), u32(1), u32(12), u32(20), u32(24), u32(0xFFF)
_STEP, _TWO_OCTAVES = u32(1 << 20), u32(1 << 24)
_SIGNED, _UNSIGNED = u32(127 << 20), u32(255 << 20)
BLOCK, LOG_BLOCK = 256, 8


class Steps(NamedTuple):
    """The levels of the codes of a block, computed from its scale; bits of float32 numbers.

    Attributes:
        lowest: the number that code 0 would represent, if it did not represent zero.
        mask: the bits of the sign and of the level above `lowest` in a shifted code.
        tail: the slope of the rounding probability below the first level, relative to that above,
            as a power of two.
    """

    lowest: Any
    mask: Any
    tail: Any


def steps_of(scale):
    top, signed = u32(scale & _MAGNITUDE), scale >= _SIGN
    levels = _SIGNED if signed else _UNSIGNED
    lowest = u32(larger(top, levels) - levels)
    tail = i32(0) if lowest < _TWO_OCTAVES else i32(4)
    mask = u32(levels | (_SIGN if signed else _0))
    known = top <= _INFINITY
    return Steps(lowest if known else _NAN, mask if known else _0, tail if known else i32(0))


def decoded(code, scale):
    steps = steps_of(scale)
    shifted = u32(u32(i32(np.int8(code))) << _20)  # all bits above the level repeat the sign
    lowest = _0 if code == u8(0) else steps.lowest
    return u32(u32(shifted & steps.mask) + lowest).view(np.float32)


def encoded(bits, scale, noise):
    """The code of a number; zero has code 0 and, in a block without signs, nothing else has.

    `noise` is one level plus a random fraction of a level.
    """
    steps, magnitude = steps_of(scale), u32(bits & _MAGNITUDE)
    least = smaller(magnitude, _1 if steps.mask < _SIGN else _0)
    level = u32(larger(level_of(magnitude, steps, noise), i32(least)))
    code = u32(level | u32(u32(bits >> _24) & _SIGN_CODE))
    return u8(code if level > _0 else _0)


def level_of(magnitude, steps, noise):
    beyond = i32(u32(magnitude - u32(steps.lowest + _STEP)))
    beyond = larger(beyond, i32(beyond >> steps.tail))
    return i32(i32(beyond + i32(noise)) >> i32(20))


def encoded_signed(bits, scale, noise):
    """As `encoded`, in a block with signs and without NaN."""
    level = level_of(u32(bits & _MAGNITUDE), steps_of(scale), noise)
    code = u32(u32(level) | u32(u32(bits >> _24) & _SIGN_CODE))
    return u8(code if level > 0 else _0)


def encoded_unsigned(bits, scale, noise):
    """As `encoded`, in a block without signs and without NaN, where no number but zero is below the
    first level: `tail` changes nothing."""
    lowest = steps_of(scale).lowest
    level = i32(i32(u32(bits + u32(noise - u32(lowest + _STEP)))) >> i32(20))
    return u8(larger(level, i32(1)) if bits != _0 else i32(0))


def spread(i):
    """The noise of element `i` before that of its block is added: multiples of the golden ratio,
    which repeat after 256."""
    return u32(u32(u32(i) * _GOLDEN) & _BELOW)


def noise_of(fractions, random, i):
    """One level plus the random fraction of an element: `fractions` from a random element on, and
    the last twelve bits.

    It is evenly distributed for each element, and over the elements of a block.
    """
    first = np.int64(random >> _12)
    return u32(u32(u32(random & _FINE) | _STEP) + fractions(first + i))


@dataclass(frozen=True)
class Int8:
    """A byte per element and the largest magnitude of each block of 256, a float32.

    A code counts levels below the block's largest magnitude, eight per octave and linear in
    between: 2**20 in the bits of a float32. A block with negative numbers, marked by the sign of
    its scale, has 127 levels (4.7 decades) and a sign; others have 255 (9.6 decades). Code 0 is
    zero; without negative numbers only zero itself becomes zero. Codes are rounded stochastically,
    so that small changes are not lost and means are unbiased. With a sign, numbers two octaves
    below the first level become zero: rounded up to it, a first moment could become far larger
    than its divisor.
    """

    compute: str = "float32"
    tag = "q8"
    block = BLOCK
    stored = (
        Column("uint8", kept="int8", start=-1),  # all bits set: the largest magnitude, and its sign
        Column("uint32", BLOCK, part="_scale", kept="float32"),
        Column("uint32", WHOLE, part="dither"),
    )

    def held(self, value: Any) -> Any:
        """The number that is read after all elements of a block were set to `value`."""
        return np.dtype(self.compute).type(f32(value))

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        load, store = memory.access(np.dtype("uint8"), name)
        load_scale, store_scale = memory.access(np.dtype("uint32"), name + ".scale")
        load_dither, _ = memory.access(np.dtype("uint32"), name + ".number")
        codes, scales, dither = COLUMNS + column, COLUMNS + column + 1, COLUMNS + column + 2
        number = np.dtype(self.compute).type

        def settle(at, joined):
            above, below = joined
            above = u32(larger(above, i32(0)))
            scale = u32(larger(above, u32(below & _MAGNITUDE)) | u32(below & _SIGN))
            random = hashed(scale, load_dither(at[dither], 0), _HASH)
            return scale, u32(random & _BELOW)

        fractions = memory.tabulated(spread, 2 * self.block)

        def encoding(code_of):
            def encode(at, i, bits, settled):
                scale, random = settled
                store(at[codes], i, code_of(bits, scale, noise_of(fractions, random, i)))

            return encode

        def unsigned(settled):
            return settled[0] <= _INFINITY

        def signed(settled):
            return settled[0] >= _SIGN and settled[0] <= u32(_SIGN | _INFINITY)

        def part(bits):  # the largest positive number, the largest negative one
            return i32(bits), bits

        def join(one, other):
            return larger(one[0], other[0]), larger(one[1], other[1])

        coding = Coding(
            "uint32",
            lambda value: f32(value).view(np.uint32),
            part,
            join,
            settle,
            2,
            encoding(encoded),
            lambda at, settled: store_scale(at[scales], 0, settled[0]),
            signed=(
                Signed(
                    unsigned,
                    encoding(encoded_unsigned),
                    lambda bits: (bits,),
                    lambda one, other: (larger(one[0], other[0]),),
                    lambda joined: (i32(joined[0]), joined[0]),
                    lambda joined: joined[0] < _SIGN,
                ),
                Signed(
                    signed,
                    encoding(encoded_signed),
                    part,
                    join,
                    lambda joined: joined,
                    lambda joined: True,
                ),
            ),
        )

        def read(at, i):
            return number(decoded(load(at[codes], i), load_scale(at[scales], 0)))

        return in_scratch(memory, name, read, coding, self.block, scratch)


@dataclass(frozen=True)
class Int8AsRead:
    """The same for kernels that only read it, whose blocks may be longer."""

    compute: str = "float32"
    tag = "q8r"
    block = WHOLE
    stored = Int8.stored

    def held(self, value: Any) -> Any:
        return Int8(self.compute).held(value)

    def pieces(self, memory: MemoryAccess, name: str, column: int, scratch: int) -> Pieces:
        load, _ = memory.access(np.dtype("uint8"), name)
        load_scale, _ = memory.access(np.dtype("uint32"), name + ".scale")
        codes, scales = COLUMNS + column, COLUMNS + column + 1
        number = np.dtype(self.compute).type

        def read(at, i):
            return number(decoded(load(at[codes], i), load_scale(at[scales], i >> LOG_BLOCK)))

        return Pieces(read)
