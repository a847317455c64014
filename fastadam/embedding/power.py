"""Powers of float64 by basic arithmetic alone, with the same result on every target.

Numbers are pairs of float64 whose sum they represent, with about 106 bits (T. J. Dekker, A
Floating-Point Technique for Extending the Available Precision, Numer. Math. 1971). Results are
correctly rounded unless they lie within about 2**-90 of the middle between two float64.
"""

import numpy as np

SPLIT = 134217729.0  # 2**27 + 1
LN2 = (0.6931471805599453, 2.3190468138462996e-17)
INVERSE_LN2 = 1.4426950408889634
HALVINGS, TERMS = 8, 12
FRACTION, BIAS, ONE = 0xFFFFFFFFFFFFF, 1023, 0x3FF0000000000000
WHOLE = 4503599627370496.0  # 2**52


def sum_of(a, b):
    """a + b as a pair."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def product_of(a, b):
    """a * b as a pair."""
    product = a * b
    c, d = SPLIT * a, SPLIT * b
    a_high, b_high = c - (c - a), d - (d - b)
    a_low, b_low = a - a_high, b - b_high
    rest = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, rest


def added(x, y):
    total, rest = sum_of(x[0], y[0])
    low, rest_low = sum_of(x[1], y[1])
    total, rest = sum_of(total, rest + low)
    return sum_of(total, rest + rest_low)


def multiplied(x, y):
    product, rest = product_of(x[0], y[0])
    return sum_of(product, rest + (x[0] * y[1] + x[1] * y[0]))


def divided(x, y):
    first = x[0] / y[0]
    rest = added(x, multiplied((-first, 0.0), y))
    second = rest[0] / y[0]
    rest = added(rest, multiplied((-second, 0.0), y))
    return added(sum_of(first, second), (rest[0] / y[0], 0.0))


def whole_power(x, count):
    """x to a count, by squaring."""
    result, factor = (1.0, 0.0), (x, 0.0)
    while count > 0:
        if count % 2 == 1:
            result = multiplied(result, factor)
        factor = multiplied(factor, factor)
        count //= 2
    return result


def logarithm(x):
    """The natural logarithm of a positive normal number, as a pair."""
    bits = np.float64(x).view(np.int64)
    exponent = (bits >> 52) - BIAS
    fraction = np.int64((bits & FRACTION) | ONE).view(np.float64)
    if fraction > 1.4142135623730951:
        fraction, exponent = 0.5 * fraction, exponent + 1
    ratio = divided(sum_of(fraction, -1.0), sum_of(fraction, 1.0))
    square, power, total = multiplied(ratio, ratio), ratio, ratio
    for k in range(3, 49, 2):
        power = multiplied(power, square)
        total = added(total, divided(power, (float(k), 0.0)))
    return added(added(total, total), multiplied((float(exponent), 0.0), LN2))


def exponential(x):
    """The exponential of a pair."""
    turns = x[0] * INVERSE_LN2
    count = np.int64(turns + 0.5 if turns > 0.0 else turns - 0.5)
    rest = added(x, multiplied((-float(count), 0.0), LN2))
    scale = 1.0 / (1 << HALVINGS)
    rest = (rest[0] * scale, rest[1] * scale)
    term, total = rest, rest  # exp(rest) - 1, whose small terms keep their digits
    for k in range(2, TERMS):
        term = divided(multiplied(term, rest), (float(k), 0.0))
        total = added(total, term)
    for _ in range(HALVINGS):
        total = added(added(total, total), multiplied(total, total))
    total = added(total, (1.0, 0.0))
    factor = np.int64((count + BIAS) << 52).view(np.float64)
    return total[0] * factor, total[1] * factor


def power(base, exponent):
    """`base ** exponent` for finite float64; NaN where the result is not real.

    A result below the smallest normal number may be less accurate, and zero.
    """
    if -WHOLE < exponent < WHOLE and exponent == float(np.int64(exponent)):
        count = np.int64(exponent)
        result = whole_power(base, -count if count < 0 else count)
        if count < 0:
            result = divided((1.0, 0.0), result)
        total = result[0] + result[1]
        return total if total == total else result[0]
    if not base > 0.0:
        return 0.0 if base == 0.0 and exponent > 0.0 else np.nan
    result = multiplied(logarithm(base), (exponent, 0.0))
    if not -700.0 < result[0] < 700.0:
        return 0.0 if result[0] < 0.0 else np.inf
    result = exponential(result)
    return result[0] + result[1]
