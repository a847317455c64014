"""Optimizers on the host and on a device, over equal arrays."""

import numpy as np
import pytest
from cases import DEFAULTS

from fastadam.cuda.array import zeros
from fastadam.kernels.formats import FLOAT

numba = pytest.importorskip("numba")
cuda = pytest.importorskip("numba.cuda")
SIMULATED = bool(numba.config.ENABLE_CUDASIM)
STEPS = 2 if SIMULATED else 20
SIZE = 67 if SIMULATED else 5003  # more than a chunk
each_default = pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.id)
each_dtype = pytest.mark.parametrize(  # low precision joins as soon as parameters may have it
    "dtype", [name for name in ("float32", "float64", "bfloat16", "float16") if name in FLOAT]
)


class Borrowed:
    """An array of another library: nothing but its `__cuda_array_interface__`."""

    def __init__(self, array):
        self._array = array

    @property
    def __cuda_array_interface__(self):
        if not SIMULATED:
            return self._array.__cuda_array_interface__
        host = self._array._ary.__array_interface__
        names = ("shape", "typestr", "data", "strides")
        return {**{name: host[name] for name in names}, "version": 3}


def host(array):
    """A copy on the host."""
    return array.copy_to_host() if hasattr(array, "copy_to_host") else np.array(array)


def device(values):
    """A copy on the device, whose memory Numba owns."""
    return cuda.to_device(np.ascontiguousarray(values))


def own(values):
    """A copy on the device, of any dtype there is, whose memory is fastadam's."""
    array = zeros(values.size, values.dtype).reshape(values.shape)
    array[...] = values
    return array


class Pair:
    """An optimizer on the CPU, and the same on the GPU."""

    def __init__(self, optimizer, params, make=device, **hyper):
        self.make = make
        self.params, self.device_params = params, [make(param) for param in params]
        self.cpu = optimizer(params, **hyper)
        self.gpu = optimizer(self.device_params, **hyper)

    def step(self, grads, mask=None, **more):
        there = [None if grad is None else self.make(grad) for grad in grads]
        masks = {"mask": mask} if mask is not None else {}
        theirs = {"mask": [device(each) for each in mask]} if mask is not None else {}
        return self.cpu.step(grads, **masks, **more), self.gpu.step(there, **theirs, **more)

    def check(self):
        """Check that both are correct, and in place."""
        for got, want in zip(self.device_params, self.params, strict=True):
            same(host(got), want)
        assert self.gpu.state.keys() == self.cpu.state.keys()
        for name, arrays in self.cpu.state.items():
            for got, want in zip(self.gpu.state[name], arrays, strict=True):
                assert (got is None) == (want is None)
                if want is not None:
                    same(np.asarray(got), want)


def same(got, want):
    """Check that two arrays have the same dtype and numbers."""
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
