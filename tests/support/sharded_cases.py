"""Parameters and gradients of sharded optimizers, and comparisons of their states."""

import numpy as np

import fastadam as fa

SHAPES = {"w": (70, 90), "b": (300,), "one": (), "u": (40, 150)}


def parameters(dtype="float32", flat=True):
    rng = np.random.default_rng(1)
    tree = {n: np.asarray(rng.standard_normal(s)).astype(dtype) for n, s in SHAPES.items()}
    return fa.flatten(tree) if flat else tree


def gradients(step, dtype="float32", off=0.0):
    """Small integers, and `off` times others: sums over processes and their means are exact."""
    rng = np.random.default_rng(step)
    return {
        name: np.asarray(rng.integers(-8, 8, shape) / 4 + off * rng.integers(-4, 4, shape)).astype(
            dtype
        )
        for name, shape in SHAPES.items()
    }


def off_of(comm):
    return comm.rank - (comm.size - 1) / 2


def assert_same_state(one, other):
    assert one["state"].keys() == other["state"].keys()
    for number, entry in one["state"].items():
        assert entry.keys() == other["state"][number].keys()
        for name, array in entry.items():
            np.testing.assert_array_equal(array, other["state"][number][name])
            assert array.dtype == other["state"][number][name].dtype
    assert one.get("ema", {}).keys() == other.get("ema", {}).keys()
    for number, array in one.get("ema", {}).items():
        np.testing.assert_array_equal(array, other["ema"][number])


def flat_of(opt):
    return np.concatenate([array.reshape(-1) for array in opt.params.values()])
