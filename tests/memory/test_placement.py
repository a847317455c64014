"""The offsets of arrays that fastadam allocates, and what they cost in memory."""

import itertools

import numpy as np
import pytest

import fastadam as fa
from fastadam.memory.aligned import aligned_zeros, zeros_beside
from fastadam.memory.placement import AVERAGE, GRADIENT, LINE, PAGE, STATE, layout

KINDS = (GRADIENT, STATE, AVERAGE)
LARGE = 1 << 15  # bytes: padding of a page is an eighth


def offset(array):
    return array.ctypes.data % PAGE


def apart(one, other):
    """The distance of two offsets within a page."""
    distance = (one - other) % PAGE
    return min(distance, PAGE - distance)


@pytest.mark.parametrize("distance", KINDS)
@pytest.mark.parametrize("address", [0, 16, 64, 1000, 4092])
def test_large_arrays_have_their_place_and_waste_a_page_each_at_most(address, distance):
    sizes = [LARGE, LARGE + 4, 10 * LARGE, 3 * LARGE + 64]
    addresses = [address + 12345 * 16 * k for k in range(4)]
    first, starts, nbytes = layout(addresses, sizes, distance)
    for beside, start in zip(addresses, starts, strict=True):
        assert (first + start - (beside - beside % LINE)) % PAGE == distance
    assert all(b >= a + s for a, b, s in zip(starts, starts[1:], sizes, strict=False))
    assert starts[-1] + sizes[-1] <= nbytes <= sum(sizes) + PAGE * len(sizes)


@pytest.mark.parametrize("size", [4, 400, 4000, 4096, 20_000])
@pytest.mark.parametrize("spacing", ["packed", "malloc", "random", "same page"])
def test_small_arrays_keep_away_from_their_parameters_and_waste_an_eighth_at_most(size, spacing):
    step = {"packed": size, "malloc": size + 16, "same page": 8 * PAGE}.get(spacing, 0)
    rng = np.random.default_rng(0)
    addresses = (16 + step * np.arange(500)).tolist()
    if spacing == "random":
        addresses = (16 * rng.integers(0, 1 << 20, 500)).tolist()
    first, starts, nbytes = layout(addresses, [size] * 500, STATE)
    assert all(start % LINE == 0 for start in starts)
    assert all(b - a >= size for a, b in itertools.pairwise(starts))
    rounded = -(-size // LINE) * LINE
    assert nbytes <= 500 * rounded + 500 * size // 8
    if size >= 4000:  # smaller ones end before a load can meet a store under way
        near = [apart(first + s, a) < 256 for a, s in zip(addresses, starts, strict=True)]
        assert sum(near) <= 500 // 20


def test_arrays_of_one_kind_have_equal_offsets_and_are_zeros_on_cache_lines():
    params = [np.ones(size, np.float32) for size in (70_000, 3, 0, 1000, 50_000)]
    sizes = [param.size for param in params]
    one, other = (zeros_beside(params, sizes, np.float32, STATE) for _ in range(2))
    for a, b, param in zip(one, other, params, strict=True):
        assert offset(a) == offset(b)
        assert offset(a) % LINE == 0
        assert a.size == param.size
        assert a.dtype == np.float32
        assert not a.any()
    assert zeros_beside([], [], np.float32) == []
    assert aligned_zeros(5, np.float64).ctypes.data % LINE == 0


def test_an_optimizer_places_what_it_keeps_of_a_parameter():
    size = 20_000
    flat = fa.flatten({"w": np.ones(size, np.float32)})
    opt = fa.AdamW(flat, ema_decay=0.9, shadow_dtype="bfloat16", accumulate_steps=2)
    for _ in range(2):
        opt.step({"w": np.ones(size, np.float32)})
    start = offset(flat.buffer)
    kept = [opt.state["exp_avg"][0], opt.state["exp_avg_sq"][0]]
    assert [(offset(array) - start) % PAGE for array in kept] == [STATE, STATE]
    copies = [opt.ema.buffer, opt.shadow.buffer]
    assert [(offset(array) - start) % PAGE for array in copies] == [AVERAGE, AVERAGE]
    assert (offset(flat.zeros_like().buffer) - start) % PAGE == GRADIENT
