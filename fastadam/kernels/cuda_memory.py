"""Moving bytes to, from and on a device, by address."""

from ctypes import memmove, memset
from typing import Any

import numpy as np
from numba import config, cuda

SIMULATED = bool(config.ENABLE_CUDASIM)


def allocate(nbytes: int) -> tuple[int, Any]:
    """Zeroed bytes: where they begin, and what keeps them.

    Raises:
        RuntimeError: if there is no device.
    """
    if SIMULATED:
        host = np.zeros(nbytes, np.uint8)
        return host.ctypes.data, host
    if not cuda.is_available():
        raise RuntimeError(
            "no CUDA device can be used: a driver, a GPU and the toolkit are needed "
            '(pip install "fastadam[cuda]" brings the toolkit; `python -m numba -s` tells what is '
            "missing)"
        )
    array = cuda.device_array(nbytes, np.uint8)
    cuda.cudadrv.driver.device_memset(array, 0, nbytes)
    return array.device_ctypes_pointer.value, array


def write(target: Any, values: Any) -> None:
    """Host numbers to a device array of the same size and dtype."""
    values = np.ascontiguousarray(values)
    if SIMULATED:
        memmove(target.address, values.ctypes.data, values.nbytes)
    else:
        _bytes(target).copy_to_device(values.reshape(-1).view(np.uint8))


def clear(target: Any) -> None:
    """Zeros everywhere."""
    if SIMULATED:
        memset(target.address, 0, target.nbytes)
    else:
        cuda.cudadrv.driver.device_memset(_bytes(target), 0, target.nbytes)


def read(source: Any) -> Any:
    """The numbers of a device array on the host."""
    values = np.empty(source.size, source.dtype)
    if SIMULATED:
        memmove(values.ctypes.data, source.address, values.nbytes)
    else:
        _bytes(source).copy_to_host(values.view(np.uint8))
    return values


def copy(target: Any, source: Any) -> None:
    """The bytes of one device array to another of the same size."""
    if SIMULATED:
        memmove(target.address, source.address, source.nbytes)
    else:
        _bytes(target).copy_to_device(_bytes(source))


def _bytes(array: Any) -> Any:
    return cuda.as_cuda_array(array.view(np.uint8))
