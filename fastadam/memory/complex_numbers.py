"""Complex numbers as pairs of reals, as in PyTorch's optimizers."""

from typing import Any

import numpy as np

REAL: dict[str, Any] = {"complex64": np.dtype(np.float32), "complex128": np.dtype(np.float64)}


class Pairs(np.ndarray[Any, Any]):
    """A view of an array of complex numbers as reals, with one more axis of length two."""


def is_complex(array: Any) -> bool:
    """True for a NumPy array of complex numbers."""
    return isinstance(array, np.ndarray) and array.dtype.kind == "c"


def as_reals(array: Any) -> Any:
    """A view of an array of complex numbers as pairs of reals; anything else unchanged."""
    if not is_complex(array) or array.dtype.name not in REAL:
        return array
    real = REAL[array.dtype.name].newbyteorder(array.dtype.byteorder)
    return array[..., None].view(real)


def as_pairs(array: Any) -> Any:
    """As `as_reals`, with the view marked by its class `Pairs`."""
    reals = as_reals(array)
    return reals if reals is array or type(reals) is not np.ndarray else reals.view(Pairs)


def shown(array: Any, param: Any) -> Any:
    """An array like a parameter for the user: of complex numbers if the parameter is, unless the
    array is in low precision."""
    if not isinstance(param, Pairs) or array is None or array.shape != param.shape:
        return array
    kind = {np.dtype(np.float32): np.complex64, np.dtype(np.float64): np.complex128}
    if array.dtype not in kind:
        return array
    return np.asarray(array).view(kind[array.dtype])[..., 0]


def shape_of(array: Any) -> tuple[int, ...]:
    """The shape of an array for the user."""
    return tuple(array.shape[:-1] if isinstance(array, Pairs) else array.shape)
