"""A simulated device that puts off whatever it may; steps on it and, the same, on the host."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from deferred import deferring

import fastadam as fa
from fastadam.cuda import launch
from fastadam.cuda import target as cuda
from fastadam.cuda import transfer as cuda_memory
from fastadam.cuda.context import driver
from fastadam.kernels import factory

SHAPES = ((2, 3), (), (5,))
OURS, THEIRS = 11, 12  # two streams


@contextmanager
def small_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert cuda.SIMULATED, "set NUMBA_ENABLE_CUDASIM=1"
    monkeypatch.setattr(cuda, "THREADS", 2)
    monkeypatch.setattr(factory, "_made", {})
    launch.loaded_on.cache_clear()
    with deferring(driver):
        allocate = cuda_memory.allocate

        def kept(nbytes):
            driver.kept.append(allocate(nbytes))
            return driver.kept[-1]

        monkeypatch.setattr(cuda_memory, "allocate", kept)
        yield


def arrays(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]


class Foreign:
    """An array of another library, which works on it in a stream."""

    def __init__(self, values, stream=None):
        self.values, self.stream = np.array(values), stream or 0
        driver.kept.append(self.values)
        interface = self.values.__array_interface__
        self.interface = {k: interface[k] for k in ("shape", "typestr", "data", "strides")}

    @property
    def __cuda_array_interface__(self):
        stream = {"stream": self.stream} if self.stream else {}
        return {**self.interface, "version": 3, **stream}

    def fill(self, values, stream):
        """Write to it when the stream has come so far."""
        values = np.array(values)
        driver.queue(stream, lambda: self.values.__setitem__(..., values))


def foreign(each, stream=None):
    return [None if array is None else Foreign(array, stream) for array in each]


def same(host, device):
    driver.finish_all()
    for one, other in zip(host, device, strict=True):
        # in float64, which holds them all: a NaN of ml_dtypes is not equal to itself
        both = np.asarray(one), np.asarray(getattr(other, "values", other))
        np.testing.assert_array_equal(*(each.astype(np.float64) for each in both))


def spoiled(grads, bad):
    if bad is not None:
        grads[-1][-1] = bad
    return grads


class Twins:
    """An optimizer on the host, and the same on the device, in a stream of its own."""

    def __init__(self, optimizer, options, dtype=np.float32):
        self.host, self.infos, self.dtype = arrays(0, dtype), [], dtype
        self.there = foreign(self.host)
        self.opt = optimizer(self.host, **options)
        self.twin = optimizer(self.there, **options)
        self.flagged = "skip_nonfinite" not in options

    def step(self, k, bad, stream=OURS, **more):
        grads = spoiled(arrays(k + 1, self.dtype), bad)
        there = foreign(grads)
        found = {"found_inf": bad is not None} if self.flagged else {}
        flag = {"found_inf": Foreign(np.float32([found["found_inf"]]))} if found else {}
        one = self.opt.step(grads, **found, **more)
        other = self.twin.step(there, **flag, **more, stream=stream)
        self.infos.append((one, other, grads, there, flag))

    def check(self):
        same(self.host, self.there)
        for name, state in self.opt.state.items():
            same(state, map(np.asarray, self.twin.state[name]))
        for copy in ("ema", "shadow"):
            if getattr(self.opt._engine.copies, copy):
                one, other = getattr(self.opt, copy), getattr(self.twin, copy)
                np.testing.assert_array_equal(one.buffer, np.asarray(other.buffer))
        for one, other, grads, there, _ in self.infos:
            assert repr(one) == repr(other)
            same(grads, there)
        one, other = self.opt.state_dict(), self.twin.state_dict()
        assert repr(one["param_groups"]) == repr(other["param_groups"])
        assert {k: float(v["step"]) for k, v in one["state"].items()} == {
            k: float(v["step"]) for k, v in other["state"].items()
        }


class Captured:
    """A step of an optimizer in a graph, and the same optimizer on the host."""

    def __init__(self, optimizer=fa.AdamW, **options):
        self.host = arrays(0)
        self.there, self.grads = foreign(self.host), foreign(arrays(1))
        self.opt, self.twin = optimizer(self.host, **options), optimizer(self.there, **options)
        self.step()
        self.step()

    def step(self, **more):
        """On both, one after the other."""
        for grad, values in zip(self.grads, arrays(1), strict=True):
            grad.fill(values, OURS)
        self.opt.step(arrays(1), **more)
        return self.twin.step(self.grads, stream=OURS, **more)

    def capture(self, **more):
        graph = driver.begin(OURS)
        try:
            return graph, self.twin.step(self.grads, stream=OURS, **more)
        finally:
            driver.end(OURS)

    def replay(self, graph, times):
        for _ in range(times):
            driver.replay(graph, OURS)
            info = self.opt.step(arrays(1))
        return info

    def check(self):
        same(self.host, self.there)
        for name, state in self.opt.state.items():
            same(state, map(np.asarray, self.twin.state[name]))
        one, other = self.opt.state_dict(), self.twin.state_dict()
        assert {k: float(v["step"]) for k, v in one["state"].items()} == {
            k: float(v["step"]) for k, v in other["state"].items()
        }
