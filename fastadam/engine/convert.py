"""Conversion from one storage to another, by an update kernel whose rule is the identity."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..kernels.factory import kernel
from ..kernels.formats import COMPENSATION, Formats, floats
from ..kernels.storage.base import WHOLE, Storage
from ..kernels.storage.int8 import Int8
from ..kernels.stream import Stream
from ..memory.checks import address
from ..memory.dtypes import named
from ..rules import rule
from .backend import backend_of
from .columns import ROW_STEP
from .launch import Launch

SCALE = "_scale"  # suffix of the names of the scales of codes
ORDER = "codes_order"  # the dimensions of codes, outermost in memory first, as blocks are cut


@rule()
def identity(param, grad, state, h):  # type: ignore[no-untyped-def]
    return grad, state


def converted(arrays: Sequence[Any], source: Storage, target: Storage, size: int) -> list[Any]:
    """One-dimensional arrays with the numbers of `arrays`, converted from one storage to another.

    Args:
        arrays: the columns of the source.
        source, target: the storages.
        size: the number of elements.
    """
    columns = [column for column in target.stored if column.per < WHOLE]
    backend = backend_of(arrays[0])
    results = [backend.zeros(-(-size // c.per), named(c.outside)) for c in columns]
    streams = (Stream("param", target, "w"), Stream("grad", source, "r"))
    launch = Launch(identity, kernel(identity, streams, backend.target), results, [0])
    for name, parts in (("param", results), ("grad", arrays)):
        for part, array in enumerate(parts):
            launch.table.place(name, [address(array)], part)
    launch.table.runner(None)()
    return results


def dequantized(codes: Any, scales: Any, compute: str = "float32") -> Any:
    """The numbers that codes and the scales of their blocks represent."""
    source, target = Int8(compute), floats(compute, compute)
    (values,) = converted((codes, scales), source, target, codes.size)
    return values.reshape(codes.shape)


def code_names(entry: Mapping[str, Any]) -> set[str]:
    """The names of the state in an entry that is stored as codes."""
    codes = {name for name, array in entry.items() if array.dtype == np.int8}
    return codes - {COMPENSATION, ORDER, ROW_STEP}


def is_order(dims: Sequence[int], shape: Sequence[int]) -> bool:
    """True for a permutation of the dimensions of a shape."""
    return sorted(dims) == [*range(len(shape))]


def same_order(one: Sequence[int], other: Sequence[int], shape: Sequence[int]) -> bool:
    """True if either order of the dims puts elements in the same order in memory."""
    first, second = ([dim for dim in dims if shape[dim] > 1] for dims in (one, other))
    return first == second


def state_names(entry: Mapping[str, Any]) -> set[str]:
    """The names of the state in an entry, without scales, compensation, the order of codes and the
    step counts of rows."""
    scales = {name + SCALE for name in code_names(entry)}
    return entry.keys() - scales - {COMPENSATION, ORDER, ROW_STEP}


def fitted(entry: Mapping[str, Any], formats: Formats) -> dict[str, Any]:
    """Saved state of a parameter, converted to these formats: to codes, or to floats.

    Codes are rounded stochastically, as in a step.
    """
    entry = _in_rows(entry, formats)
    fit, coded = dict(entry), code_names(entry)
    if formats.state != "int8":
        for name in coded:
            codes, scales = _plain(entry[name], "int8"), _plain(fit.pop(name + SCALE), "float32")
            fit[name] = dequantized(codes, scales, formats.compute)
        return fit
    for name in state_names(entry) - coded - {*formats.row_state, *formats.column_state}:
        values, source = _plain(entry[name], formats.compute), floats(*[formats.compute] * 2)
        codes, scales = converted((values,), source, formats.state_storage, values.size)
        fit[name], fit[name + SCALE] = codes.reshape(values.shape), scales
    return fit


def _in_rows(entry: Mapping[str, Any], formats: Formats) -> dict[str, Any]:
    """The entry with codes whose blocks are in row-major order, or floats in place of others."""
    rows = dict(entry)
    order = rows.pop(ORDER, np.empty(0)).astype(int)
    for name in code_names(rows):
        codes = rows[name]
        if order.size and not same_order(order, range(codes.ndim), codes.shape):
            laid, scales = _plain(codes.transpose(order), "int8"), rows.pop(name + SCALE)
            values = dequantized(laid, _plain(scales, "float32"), formats.compute)
            rows[name] = _plain(values.transpose(np.argsort(order)), formats.compute)
    return rows


def _plain(array: Any, dtype: str) -> Any:
    return np.ascontiguousarray(array, dtype)


def master(param: Any, rest: Any, formats: Formats) -> Any:
    """A parameter in the dtype of the arithmetic, with its compensation `rest`, if any."""
    if rest is None:
        return param.astype(formats.compute)
    arrays, compute = (param, rest), formats.compute
    (weights,) = converted(arrays, formats.param_storage, floats(compute, compute), param.size)
    return weights.reshape(param.shape)
