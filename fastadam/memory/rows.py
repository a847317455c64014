"""Row-sparse gradients: the rows of an array that have one, and their values."""

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ..kernels.formats import compute_of
from . import checks
from .arrays import is_device

LONGEST = np.iinfo(np.int64).max


class Rows:
    """A gradient of some rows of an array; the other rows have no gradient.

        grad[indices[k]] += values[k]  for all k

    Rows run along the first axis of the parameter; those of a one-dimensional array are its
    elements. A step reads and writes only these rows of the parameter and of its state, so its time
    does not depend on the size of the array. The values of a repeated row are added up in the dtype
    of the arithmetic, in an order that depends on the values alone: neither the order of the rows
    nor the number of threads changes a bit of the result. The arrays are not copied.

    For a parameter on a GPU, both may be arrays of any library on the device, or arrays of the
    host. Indices are copied to the host, where they are sorted, and values to the device.

    Args:
        indices: the row indices, an array of integers of any shape.
        values: the gradient of each row: an array whose shape is that of `indices` followed by that
            of one row; float32, float64 (for float64 parameters only), bfloat16 or float16,
            C-contiguous.
        size: the number of rows of the parameter, which is then checked; default None: any.
        unique: True declares that no row is repeated, which is checked; default False.

    Raises:
        TypeError: if `indices` are not integers, or `values` not an array of floats; for arrays on
            a device, this is raised by the step, before anything changes.
        ValueError: for shapes that do not match. At the step also for values whose shape is not
            that of a row of the parameter, and for repeated rows with `unique=True`.
        IndexError: at the step, before anything changes, for an index outside the parameter; the
            first such index is named. Negative indices are outside.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> table = np.ones((4, 2))
        >>> opt = fa.SGD(table, lr=0.5)
        >>> info = opt.step(fa.Rows([2, 0, 2], np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])))
        >>> table
        array([[1. , 0.5],
               [1. , 1. ],
               [0. , 1. ],
               [1. , 1. ]])
    """

    __slots__ = ("indices", "size", "unique", "values")

    def __init__(
        self, indices: Any, values: Any, size: int | None = None, unique: bool = False
    ) -> None:
        self.indices = indices if is_device(indices) else checked_indices(indices)
        if not is_device(values):
            checks.check_array(values, "Rows: values", written=False)
        shape, given = _shape(values), _shape(self.indices)
        if shape[: len(given)] != given:
            raise ValueError(
                f"Rows: values have shape {shape}, but indices {given}; give "
                "the shape of the indices, then that of a row"
            )
        if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer)):
            raise TypeError(f"Rows: size={size!r} must be the number of rows, an int, or None")
        if size is not None and size < 0:
            raise ValueError(f"Rows: size={size!r} must not be negative")
        if not isinstance(unique, bool | np.bool_):
            raise TypeError(f"Rows: unique={unique!r} must be True or False")
        self.values, self.size, self.unique = values, size, bool(unique)

    def __repr__(self) -> str:
        given, unique = _shape(self.indices), ", unique" if self.unique else ""
        row, values = _shape(self.values)[len(given) :], self.values
        dtype = getattr(values, "dtype", type(values).__name__)
        return f"Rows({math.prod(given)} rows of shape {row}, {dtype}{unique})"


def _shape(array: Any) -> tuple[int, ...]:
    """The shape of an array, which may be an object with a device array interface only."""
    if hasattr(array, "shape"):
        return tuple(array.shape)
    return tuple(array.__cuda_array_interface__["shape"])


@dataclass(frozen=True)
class RowsDtype:
    """The dtype of a row-sparse gradient in kernels: that of the arithmetic."""

    name: str
    kind = "f"

    @property
    def itemsize(self) -> int:
        return np.dtype(self.name).itemsize

    @classmethod
    def of(cls, param: Any) -> "RowsDtype":
        return cls(compute_of(param.dtype.name))


def checked_indices(given: Any) -> Any:
    """Indices as an array of integers.

    Raises:
        TypeError: for other types, and for masked arrays.
    """
    indices = np.asarray(given)
    checks.check_kind(given, "Rows: indices")
    if indices.size == 0 and not isinstance(given, np.ndarray):
        indices = indices.astype(np.int64)
    if indices.dtype.kind not in "iu":
        nan = indices.dtype.kind == "f" and bool(np.isnan(indices).any())
        raise TypeError(
            f"Rows: indices have dtype {indices.dtype}{', with NaN' if nan else ''}; give integers"
            + ("" if nan else ", such as indices.astype(np.int64)")
        )
    return indices


def check_place(rows: Rows, name: str, param: Any, param_name: str) -> None:
    """Refuse rows on a device for a parameter on the host.

    Raises:
        TypeError: naming both.
    """
    for part in ("indices", "values"):
        if is_device(getattr(rows, part)) and not is_device(param):
            raise TypeError(
                f"{name}: {part} lie on a device, but {param_name} on the host; move them to one "
                "place"
            )


def flattened(rows: Rows, name: str, param: Any, param_name: str) -> Any:
    """The indices as a one-dimensional array of int64, after checks of shapes and dtypes.

    An unsigned index that is too large for int64 becomes a negative one.

    Raises:
        TypeError: for rows on a device and a parameter on the host, and for float64 values where
            the arithmetic is single.
        ValueError: for another shape of rows, another size, or a parameter without dimensions.
    """
    check_place(rows, name, param, param_name)
    shape, indices, values = param.shape, rows.indices, rows.values
    if not shape:
        raise ValueError(
            f"{name} is Rows, but {param_name} has no dimensions; give its gradient as an array"
        )
    row, given = shape[1:], values.shape[indices.ndim :]
    if given != row:
        raise ValueError(
            f"{name}: a row of values has shape {given}, but one of "
            f"{param_name} has {row}; they must be the same"
        )
    if rows.size not in (None, shape[0]):
        raise ValueError(f"{name}: size={rows.size}, but {param_name} has {shape[0]} rows")
    if values.dtype == np.float64 != param.dtype:
        raise TypeError(
            f"{name}: values have dtype float64, but {param_name} has {param.dtype}; convert them "
            "with values.astype(np.float32)"
        )
    flat = np.ascontiguousarray(indices.reshape(-1), np.int64)
    return flat if flat.flags.aligned else flat.copy()


def flat_indices(rows: Rows, name: str, param: Any, param_name: str) -> Any:
    """As `flattened`, with a check of the range of the indices.

    Raises:
        TypeError, ValueError: as `flattened`.
        IndexError: naming the first index that is out of range.
    """
    flat = flattened(rows, name, param, param_name)
    if flat.size and (flat.min() < 0 or flat.max() >= param.shape[0]):
        refuse_index(rows, name, param, param_name)
    return flat


def refuse_index(rows: Rows, name: str, param: Any, param_name: str) -> NoReturn:
    """Raise the IndexError for the first index that is out of range."""
    indices, count = rows.indices, param.shape[0]
    first = int(np.flatnonzero((indices < 0) | (indices >= count))[0])
    place = ", ".join(map(str, np.unravel_index(first, indices.shape))) or "()"
    value = int(indices.reshape(-1)[first])
    asked = "there are no negative indices here" if value < 0 else f"there are {count} rows"
    raise IndexError(
        f"{name}: indices[{place}] is {value}, outside {param_name}: {asked}; give indices "
        f"from 0 to {count - 1}"
    )
