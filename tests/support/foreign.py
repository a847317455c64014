"""Storages and options that fastadam does not have, made from its pieces alone."""

from dataclasses import dataclass

import numpy as np

from fastadam.kernels.storage.base import COLUMNS, Coding, Column
from fastadam.kernels.storage.elementwise import Elementwise
from fastadam.kernels.storage.packing import in_scratch

u16, u32, i8, f32 = np.uint16, np.uint32, np.int8, np.float32
_16, _1, _BIAS = u32(16), u32(1), u32(0x7FFF)


def bf16_to_f32(code):
    return u32(u32(code) << _16).view(np.float32)


def f32_to_bf16(value):
    bits = f32(value).view(np.uint32)
    odd = u32(u32(bits >> _16) & _1)
    return u16(u32(u32(bits + u32(_BIAS + odd)) >> _16))


BFLOAT16 = Elementwise("bf16", "uint16", "float32", bf16_to_f32, f32_to_bf16)


@dataclass(frozen=True)
class Int8:
    """int8 codes with a float32 scale per block, the largest magnitude in it."""

    block: int = 256
    tag = "q8"
    compute = "float32"

    @property
    def stored(self):
        return Column("int8"), Column("float32", self.block)

    def pieces(self, memory, name, column, scratch):
        load, store = memory.access(np.dtype("int8"), name)
        load_scale, store_scale = memory.access(np.dtype("float32"), name + ".scale")
        slot, tiny, step = COLUMNS + column, f32(1e-30), f32(1 / 127)
        top_code, half = f32(127), f32(0.5)

        def encode(at, i, value, settled):
            scaled = value / settled[0] * top_code
            store(at[slot], i, i8(scaled + (half if scaled > f32(0) else -half)))

        coding = Coding(
            "float32",
            f32,
            lambda value: (abs(value),),
            lambda one, other: (max(one[0], other[0]),),
            lambda at, joined: (max(joined[0], tiny),),
            1,
            encode,
            lambda at, settled: store_scale(at[slot + 1], 0, settled[0]),
        )

        def read(at, i):
            return f32(load(at[slot], i)) * step * load_scale(at[slot + 1], 0)

        return in_scratch(memory, name, read, coding, self.block, scratch)


def halved(grad, extra):
    """An option ahead of the rule."""
    (factor,) = extra
    return grad * factor


def averaged(old, new, extra):
    """An option behind the rule."""
    ema, comp = extra
    return new, (ema + comp * (new - ema), comp)
