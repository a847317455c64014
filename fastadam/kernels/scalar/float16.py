"""Conversions of 16-bit floats in plain integer arithmetic, the same code for every target.

Encoding rounds to nearest, ties to even; NaN stays NaN, overflow becomes infinity.
"""

import numpy as np

u16, u32, f32 = np.uint16, np.uint32, np.float32  # explicit widths: NumPy's promotion differs

_1, _13, _16 = u32(1), u32(13), u32(16)
_SIGN, _MAGNITUDE, _INFINITY = u32(0x80000000), u32(0x7FFFFFFF), u32(0x7F800000)
_BELOW_HALF, _QUIET = u32(0x7FFF), u32(0x40)  # just below half a last bit; a quiet NaN's bit


def bfloat16_to_float32(code):
    return u32(u32(code) << _16).view(np.float32)


def float32_to_bfloat16(value):
    value = f32(value)
    bits = value.view(np.uint32)
    kept = u32(bits >> _16)
    odd = u32(kept & _1)
    rounded = u32(u32(bits + u32(_BELOW_HALF + odd)) >> _16)
    return u16(rounded if value == value else u32(kept | _QUIET))


_REBIAS = u32(112 << 23)  # between the exponents of float16 and float32
_HALF_INFINITY, _HALF_NAN, _HALF_SIGN = u32(0x7C00), u32(0x7E00), u32(0x8000)
_TOO_LARGE, _NORMAL = u32(0x47800000), u32(0x38800000)  # 2**16 and 2**-14 as float32
_HALF_NORMAL = u32(0x400)  # 2**-14 as float16
_SMALLEST = f32(0.5)  # its last bit has the weight of the last bit of a subnormal float16
_SMALLEST_BITS = u32(0x3F000000)
_DROP = u32(0xC8000FFF)  # changes the exponent by -112, adds just less than half a last bit


def float16_to_float32(code):
    code = u32(code)
    sign, magnitude = u32(u32(code & _HALF_SIGN) << _16), u32(code & u32(0x7FFF))
    normal = u32(u32(magnitude << _13) + _REBIAS)
    tiny = f32(u32(magnitude | _SMALLEST_BITS).view(np.float32) - _SMALLEST).view(np.uint32)
    special = u32(normal | _INFINITY)
    finite = tiny if magnitude < _HALF_NORMAL else normal
    return u32(sign | (special if magnitude >= _HALF_INFINITY else finite)).view(np.float32)


def float32_to_float16(value):
    bits = f32(value).view(np.uint32)
    sign, magnitude = u32(u32(bits & _SIGN) >> _16), u32(bits & _MAGNITUDE)
    odd = u32(u32(magnitude >> _13) & _1)
    normal = u32(u32(magnitude + u32(_DROP + odd)) >> _13)
    tiny = u32(f32(magnitude.view(np.float32) + _SMALLEST).view(np.uint32) - _SMALLEST_BITS)
    special = _HALF_NAN if magnitude > _INFINITY else _HALF_INFINITY
    rounded = tiny if magnitude < _NORMAL else normal
    return u16(u32(sign | (special if magnitude >= _TOO_LARGE else rounded)))


# A float32 in two parts: a bfloat16, used directly, and the remaining bits. With a rest of sixteen
# bits nothing is lost; with eight bits, a float of twenty-four bits remains.

_8, _HALF_8, _BELOW_8 = u32(8), u32(0x8000), u32(0x7F)
_BYTE, _ALL_NAN = u32(0xFF), u32(0x7FC00000)


def _plain_bits(value):
    """The bits of a float32; every NaN becomes the same one."""
    value = f32(value)
    return u32(value.view(np.uint32) if value == value else _ALL_NAN)


def _bits_of_24(value):
    """The bits of the nearest float with eight bits less."""
    bits = _plain_bits(value)
    return u32(bits + u32(_BELOW_8 + u32(u32(bits >> _8) & _1)))


def _high(bits):
    return u16(u32(bits + _HALF_8) >> _16)


def high_of_32(value):
    return _high(_plain_bits(value))


def rest16(value):
    return np.int16(u16(_plain_bits(value) & u32(0xFFFF)))


def joined16(high, rest):
    return u32(u32(u32(high) << _16) + u32(np.int32(rest))).view(np.float32)


def high_of_24(value):
    return _high(_bits_of_24(value))


def rest8(value):
    return np.int8(np.uint8(u32(_bits_of_24(value) >> _8) & _BYTE))


def joined8(high, rest):
    return u32(u32(u32(high) << _16) + u32(u32(np.int32(rest)) << _8)).view(np.float32)


def sum_of_bfloat16(high, rest):
    return bfloat16_to_float32(high) + bfloat16_to_float32(rest)


def _rest(value):
    """The remainder after rounding to bfloat16; zero for infinity and NaN."""
    rest = value - bfloat16_to_float32(float32_to_bfloat16(value))
    return float32_to_bfloat16(rest if rest - rest == f32(0) else f32(0))


def _sum_kept(value):
    """The sum of both parts; a remainder that is rounded up to a tie changes the bfloat16 now,
    rather than when it is next written."""
    return sum_of_bfloat16(float32_to_bfloat16(value), _rest(value))


def high_of_sum(value):
    return float32_to_bfloat16(_sum_kept(f32(value)))


def rest_of_sum(value):
    return _rest(_sum_kept(f32(value)))
