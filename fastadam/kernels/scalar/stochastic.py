"""Random bits and stochastic rounding in plain integer arithmetic, the same code for every target.

The bits are hashes of a counter under a key: the same for any number of threads, any division into
chunks, and any device.
"""

from typing import Any

import numpy as np

u32, f32 = np.uint32, np.float32  # explicit widths: NumPy's promotion differs

_1, _8, _13, _15, _16, _19 = u32(1), u32(8), u32(13), u32(15), u32(16), u32(19)
_LOW = 0xFFFFFFFF
_INFINITY, _SIGN = u32(0x7F800000), u32(0x80000000)
_SMALLEST_NORMAL_HALF = f32(2.0**-14)
_LARGEST_HALF, _LARGEST_BITS, _TOO_LARGE_FOR_HALF = f32(65504.0), u32(0x477FE000), f32(65520.0)


def hashed(counter: Any, key: Any, second_key: Any) -> Any:
    """Thirty-two random bits: C. Wellons' permutation lowbias32 of the counters, with two keys.

    One key, at the start, would only shift the counters; the second one is applied in the middle.
    """
    bits = u32(counter + key)
    bits = u32(u32(bits ^ u32(bits >> _16)) * u32(0x7FEB352D))
    bits = u32(bits ^ second_key)
    bits = u32(u32(bits ^ u32(bits >> _15)) * u32(0x846CA68B))
    return u32(bits ^ u32(bits >> _16))


def element_noise(key, first, i):
    """The random bits of element `first + i` of a parameter."""
    second_key = hashed(u32((first >> 32) & _LOW), u32(0x9E3779B9), key)
    return hashed(u32(u32(first & _LOW) + u32(i)), key, second_key)


def cut(value, noise, dropped):
    """A float32 without its last bits, rounded up or down at random without bias.

    Numbers without these bits, infinity and NaN are returned unchanged.
    """
    bits = f32(value).view(np.uint32)
    below = u32(u32(_1 << dropped) - _1)
    cut = u32(u32(bits + u32(noise & below)) & u32(~below))
    special = u32(bits & _INFINITY) == _INFINITY
    return u32(bits if special else cut).view(np.float32)


def to_bfloat16(value, noise):
    return cut(value, noise, _16)


def to_24_bits(value, noise):
    return cut(value, noise, _8)


def to_float16(value, noise):
    """Round a float32 to float16 stochastically.

    Below 2**-14 the last bit of every float16 has the weight 2**-24. Numbers that are nearer to
    2**16 than to the largest float16 become infinite.
    """
    size = f32(abs(value))
    units = u32(f32(size * f32(2.0**24)) + f32(f32(u32(noise >> _19)) * f32(2.0**-13)))
    sign = u32(f32(value).view(np.uint32) & _SIGN)
    tiny = u32(f32(f32(units) * f32(2.0**-24)).view(np.uint32) | sign).view(np.float32)
    normal = cut(value, noise, _13)
    if size < _TOO_LARGE_FOR_HALF and abs(normal) > _LARGEST_HALF:
        return u32(_LARGEST_BITS | sign).view(np.float32)
    return tiny if size < _SMALLEST_NORMAL_HALF else normal
