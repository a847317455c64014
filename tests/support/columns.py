"""Random numbers as they may stand in the arrays of a kernel."""

import numpy as np

from fastadam.kernels.row_pieces import COLUMN_SPAN, ROW_LENGTH
from fastadam.kernels.storage.base import COLUMN
from fastadam.kernels.transforms import STATE

SIGNED = ("param", "grad", "exp_avg", "momentum_buffer")


def contents(rng, stream, part, size):
    """The array of one column of a stream, for a parameter of so many elements."""
    column = stream.storage.stored[part]
    if stream.name in (ROW_LENGTH, COLUMN_SPAN):  # the parameter is one row
        return np.array([size])
    count = size if column.per == COLUMN else -(-size // column.per)
    signed = stream.name.removeprefix(STATE) in SIGNED
    if column.dtype == "uint8" and not column.kept:  # a mask
        return rng.random(count) > 0.5
    if column.dtype in ("uint8", "int8", "int16"):
        return rng.integers(0, 100, count)
    values = (rng.random(count) - (0.5 if signed else 0)).astype(np.float32)
    if column.dtype == "uint32" and column.kept:  # scales
        return np.abs(values).view(np.uint32)
    if column.dtype == "uint32":
        return rng.integers(0, 1 << 32, count)
    if column.kept == "float16":
        return values.astype(np.float16).view(np.uint16)
    return values.view(np.uint32) >> 16 if column.dtype == "uint16" else values
