"""Formats of few bits: what a code stands for, and how numbers are rounded to it."""

import ml_dtypes
import numpy as np
import pytest

from fastadam.engine.convert import converted, dequantized
from fastadam.kernels.formats import FLOAT, PAIRS, Formats, floats
from fastadam.kernels.scalar.stochastic import element_noise, hashed
from fastadam.kernels.storage.int8 import Int8

BF16 = ml_dtypes.bfloat16
F32 = floats("float32", "float32")
BLOCK = Int8.block


def everything(seed=0, count=1 << 18):
    """Float32 of all kinds: random bits, and the edges."""
    bits = np.random.default_rng(seed).integers(0, 1 << 32, count, np.uint64).astype(np.uint32)
    edges = [0, 1, 0x7FFF, 0x8000, 0x7F7FFFFF, 0x7F7F7FFF, 0x7F7F8000, 0x7F800000, 0x7FFFFFFF]
    edges += [0x7F800001, 0x3F800000, 0x3F808000, 0x3F807FFF, 0x00800000, 0x007FFFFF]
    edges = np.array(edges, np.uint32)
    return np.concatenate([bits, edges, edges | np.uint32(1 << 31)]).view(np.float32)


def bits(array):
    return np.asarray(array).view(f"u{array.itemsize}")


def as_pair(values, name):
    return converted((values,), F32, PAIRS[name], values.size)


def from_pair(main, rest, name):
    (values,) = converted((main, rest), PAIRS[name], F32, main.size)
    return values


def test_sixteen_bits_more_keep_every_float():
    values = everything()
    main, rest = as_pair(values, "split16")
    assert (main.dtype, rest.dtype) == (BF16, np.int16)
    back, real = from_pair(main, rest, "split16"), ~np.isnan(values)
    np.testing.assert_array_equal(bits(back)[real], bits(values)[real])
    assert np.isnan(back[~real]).all()


@pytest.mark.parametrize("name", PAIRS)
def test_the_half_to_be_used_is_the_nearest_bfloat16(name):
    values = everything()
    values = values[~(np.abs(values) < 1e-30)]  # of smaller ones a second bfloat16 has few bits
    main, _ = as_pair(values, name)
    with np.errstate(all="ignore"):
        want = values.astype(BF16)
    differ = (bits(main) != bits(want)) & ~(np.isnan(values) & np.isnan(main))
    tie = (bits(values) & 0xFFFF) == 0x8000  # to even there, away from zero here
    if name != "split16":  # rounded first, to 24 bits or fewer
        tie = np.isin(bits(values) & 0xFFFF, np.arange(0x7F80, 0x8081))
    assert not (differ & ~tie).any()


def test_eight_bits_more_keep_24():
    values = everything()
    back, real = from_pair(*as_pair(values, "split8"), "split8"), ~np.isnan(values)
    kept, rest = bits(values) >> 8, bits(values) & 0xFF
    up = (rest > 0x80) | ((rest == 0x80) & (kept & 1 == 1))  # to nearest, ties to even
    np.testing.assert_array_equal(bits(back)[real], ((kept + up) << 8)[real])
    assert np.isnan(back[~real]).all()


def test_a_second_bfloat16_keeps_at_least_sixteen_bits():
    values = everything()
    values = values[np.isfinite(values) & (np.abs(values) < 3e38) & (np.abs(values) > 1e-30)]
    back = from_pair(*as_pair(values, "kahan"), "kahan")
    # each half has 8 bits with rounding to nearest: 2**-9 of at most 2**-9
    assert np.abs(back / values.astype(np.float64) - 1).max() <= 2**-17
    special = np.array([0, np.inf, -np.inf, np.nan, 3.4e38], np.float32)
    back = from_pair(*as_pair(special, "kahan"), "kahan")
    np.testing.assert_array_equal(back[:4], special[:4])
    assert not np.isnan(back[4])


def test_a_second_bfloat16_leaves_in_place_what_does_not_move():
    """If it is rounded up to half a last bit of the first, the sum is a tie."""
    main, rest = as_pair(everything(), "kahan")
    again, rest_again = as_pair(from_pair(main, rest, "kahan"), "kahan")
    real = ~np.isnan(main)
    assert (again == main)[real].all()  # zero may lose its sign
    assert (rest_again == rest)[real].all()


# Rounding by chance


def rounded(values, storage, option, key):
    """`values` rounded under a key by the option of a kernel, and back."""
    from fastadam.engine.convert import identity
    from fastadam.engine.launch import Launch
    from fastadam.kernels.factory import kernel
    from fastadam.kernels.stream import Stream
    from fastadam.kernels.transforms import OPTIONS, staged

    stage = OPTIONS[option]
    result = np.zeros(values.size, np.uint16)
    noise = Stream("noise", stage.extras["noise"].storage, "r")
    streams = (Stream("param", storage, "w"), Stream("grad", F32, "r"), noise)
    launch = Launch(identity, kernel(staged(identity, (option,)), streams), [result], [0])
    launch.table.place("grad", [values.ctypes.data])
    launch.set_number("noise", key)
    launch.table.serial()
    return result


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(BF16, 1.0, 2.0), (np.float16, 1.0, 2.0), (np.float16, 1e-6, 6e-5), (np.float16, 0, 2e-7)],
    ids=["bfloat16", "float16", "small float16", "smallest float16"],
)
def test_rounding_by_chance_keeps_the_mean(dtype, low, high):
    name = np.dtype(dtype).name
    values = np.random.default_rng(0).uniform(low, high, 1000).astype(np.float32)
    rows = np.repeat(values, 400)  # 400 elements with noise of their own
    codes = rounded(rows, FLOAT[name], f"round:{name}", 12345).view(dtype).astype(np.float64)
    spacing = np.spacing(values.astype(dtype).astype(np.float32).max().astype(dtype))
    spacing = float(abs(np.float64(spacing)))
    assert np.abs(codes - rows).max() < spacing * (1 + 1e-6)  # to one of the two neighbours
    mean = codes.reshape(-1, 400).mean(axis=1) - values
    # of 1000 means with a deviation of at most spacing / 2 / sqrt(400), six deviations
    assert np.abs(mean).max() < 6 * spacing / 40
    assert abs(mean.mean()) < 6 * spacing / 40 / np.sqrt(1000)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_what_is_exact_is_never_moved_by_rounding(name):
    codes = np.arange(1 << 16, dtype=np.uint16)
    dtype = np.dtype(BF16 if name == "bfloat16" else np.float16)
    values = codes.view(dtype).astype(np.float32)
    for key in (0, 1, 0xFFFFFFFF):
        got = rounded(values, FLOAT[name], f"round:{name}", key).view(dtype)
        real = ~np.isnan(values)
        np.testing.assert_array_equal(bits(got)[real], codes[real])
        assert np.isnan(got[~real].astype(np.float32)).all()


def test_rounding_by_chance_makes_nothing_infinite_that_rounding_to_nearest_does_not():
    values = np.linspace(65_000, 66_000, 4096, dtype=np.float32)
    with np.errstate(over="ignore"):
        want = np.isinf(values.astype(np.float16))
    for signed in (values, -values):
        got = rounded(signed, FLOAT["float16"], "round:float16", 7).view(np.float16)
        assert not (np.isinf(got) & ~want).any()
        assert np.isinf(got[values >= 65536]).all()
        np.testing.assert_array_equal(np.signbit(got), np.signbit(signed))


def test_keys_positions_and_their_high_bits_draw_apart():
    def draw(key, first, count=20000):
        with np.errstate(over="ignore"):
            key = np.array([key], np.uint32)
            second = hashed(np.array([first >> 32], np.uint32), np.uint32(0x9E3779B9), key)
            at = (np.arange(count) + (first & 0xFFFFFFFF)).astype(np.uint32)
            return hashed(at, key, second) / 2**32

    one = draw(1, 0)
    with np.errstate(over="ignore"):
        assert element_noise(np.uint32(1), 0, 7) / 2**32 == one[7]
    for other in (draw(2, 0), draw(1, 20000), draw(1, 1 << 32), draw(1 << 31, 0)):
        # uncorrelated: 1 / sqrt(20000) is a deviation
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(20000)
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 5 / np.sqrt(20000)
    assert abs(one.mean() - 0.5) < 5 / np.sqrt(12 * 20000)


# Blocks of bytes


def coded(values):
    codes, scales = converted((values,), F32, Int8(), values.size)
    return codes, scales


def meaning(codes, scales):
    """The numbers that codes represent, from their definition."""
    scale = np.repeat(scales, BLOCK)[: codes.size]
    code, signed = codes.view(np.uint8).astype(np.int64), np.signbit(scale)
    levels = np.where(signed, 127, 255)
    top = np.abs(scale).view(np.int32).astype(np.int64)
    level = code & levels
    lowest = np.maximum(top - levels * 2**20, 0)
    values = (lowest + level * 2**20).astype(np.int32).view(np.float32)
    return np.where(level == 0, 0, np.where(signed & (code > 127), -values, values))


@pytest.mark.parametrize("signed", [True, False])
def test_a_byte_keeps_a_number_to_an_eighth(signed):
    rng = np.random.default_rng(0)
    values = (10 ** rng.uniform(-4.5, 0, 10_000)).astype(np.float32)
    values[rng.random(values.size) < 0.1] = 0
    if signed:
        values *= rng.choice([-1, 1], values.size).astype(np.float32)
    codes, scales = coded(values)
    assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
    assert codes.nbytes + scales.nbytes <= 1.02 * values.size
    back = dequantized(codes, scales)
    np.testing.assert_array_equal(back, meaning(codes, scales))
    np.testing.assert_array_equal(back == 0, values == 0)
    here = values != 0
    # steps are an eighth of the power of two below
    assert (np.abs(back - values)[here] <= np.abs(values)[here] / 8).all()
    tops = np.abs(values[: 39 * BLOCK].reshape(-1, BLOCK)).max(axis=1)
    np.testing.assert_array_equal(np.abs(scales[:39]), tops)  # the largest is exact
    np.testing.assert_array_equal(np.abs(back[: 39 * BLOCK].reshape(-1, BLOCK)).max(axis=1), tops)


def test_nothing_but_zero_becomes_zero_where_all_is_positive():
    values = np.full(BLOCK, 1e-30, np.float32)
    values[:3] = 1.0, 0.0, 1e-12
    back = dequantized(*coded(values))
    np.testing.assert_array_equal(back == 0, values == 0)
    assert back[3] <= 2 * 2.0**-31.75  # clamped to the smallest code, nine decades below


def test_codes_are_rounded_by_chance():
    """Every block holds the same numbers, but tops of their own draw noise of their own."""
    rng = np.random.default_rng(0)
    value, blocks = np.float32(0.3331), 2000
    values = np.full((blocks, BLOCK), value, np.float32)
    values[:, 0] = 1 + rng.random(blocks) / 4
    back = dequantized(*coded(values.reshape(-1))).reshape(blocks, BLOCK)[:, 1:]
    steps = 2.0**-2 / 8
    assert np.abs(back - value).max() < steps
    # 2000 blocks are independent, elements of one are spread evenly; steps / 2 is one deviation
    assert abs(back.mean() - value) < 6 * steps / 2 / np.sqrt(blocks)


def test_a_nan_spoils_its_block_alone():
    values = np.ones(3 * BLOCK, np.float32)
    values[BLOCK + 5] = np.nan
    back = dequantized(*coded(values))
    np.testing.assert_array_equal(np.isnan(back), np.arange(back.size) // BLOCK == 1)
    values[BLOCK + 5] = np.inf
    back = dequantized(*coded(values))
    assert np.isinf(back[BLOCK + 5])
    assert np.isfinite(np.delete(back, BLOCK + 5)).all()


@pytest.mark.parametrize("top", [1e-45, 1e-40, 1e-37, 1e-30, 3e38])
def test_blocks_of_very_small_and_very_large_numbers(top):
    values = (np.random.default_rng(0).uniform(-1, 1, 4 * BLOCK) * top).astype(np.float32)
    for array in (values, np.abs(values)):
        back = dequantized(*coded(array))
        assert np.isfinite(back).all()
        # subnormal numbers have steps of 2**20 of the smallest
        assert (np.abs(back - array) <= np.abs(array) / 8 + 2.0**20 * 1.5e-45 + top * 2e-5).all()


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
def test_blocks_that_are_not_full(size):
    values = np.random.default_rng(0).normal(size=size).astype(np.float32)
    codes, scales = coded(values)
    assert (codes.shape, scales.shape) == ((size,), (-(-size // BLOCK),))
    # a step between codes is at most an eighth; the smallest code is 2**-15.9 of the largest
    np.testing.assert_allclose(dequantized(codes, scales), values, rtol=1 / 8, atol=1e-4)


def test_formats_alike():
    assert Formats.alike("bfloat16") == Formats("bfloat16", "bfloat16", None, None, "nearest")
