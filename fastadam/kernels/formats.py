"""Formats: the storages of parameters, gradients and state, by the names of dtypes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

import numpy as np

from ..rules import ROW as ROWS
from ..rules import Rule
from .scalar import float16
from .storage.base import COLUMN, ROW, Column, Storage
from .storage.elementwise import Elementwise, Pair, Started
from .storage.int8 import Int8, Int8AsRead
from .storage.rows import ColumnNumber, RowNumber
from .storage.weighted import Weighted

ROUND = "round:"  # prefix of a format to which a kernel rounds stochastically
BOOL = Elementwise("bool", "uint8", "uint8")
TAGS = {"float32": "f32", "float64": "f64", "bfloat16": "bf16", "float16": "f16"}
NARROW = {
    "bfloat16": (float16.bfloat16_to_float32, float16.float32_to_bfloat16),
    "float16": (float16.float16_to_float32, float16.float32_to_float16),
}
COMPENSATION = "compensation"  # the name of the array of the low bits of a parameter
_HIGH = Column("uint16", kept="bfloat16")
PAIRS = {
    "kahan": Pair(
        "kahan",
        _HIGH,
        Column("uint16", part=COMPENSATION, kept="bfloat16"),
        float16.sum_of_bfloat16,
        float16.high_of_sum,
        float16.rest_of_sum,
    ),
    "split8": Pair(
        "split8",
        _HIGH,
        Column("int8", part=COMPENSATION),
        float16.joined8,
        float16.high_of_24,
        float16.rest8,
    ),
    "split16": Pair(
        "split16",
        _HIGH,
        Column("int16", part=COMPENSATION),
        float16.joined16,
        float16.high_of_32,
        float16.rest16,
    ),
}


def compute_of(dtype: str) -> str:
    """The dtype of the arithmetic on numbers of a dtype."""
    return "float64" if dtype == "float64" else "float32"


@cache
def floats(dtype: str, compute: str) -> Storage:
    """The storage of floats of one dtype, converted to another for the rule."""
    if dtype in NARROW:
        decode, encode = NARROW[dtype]
        if compute != "float32":
            decode, encode = _widened(decode, encode, np.dtype(compute).type)
        return Elementwise(TAGS[dtype], "uint16", compute, decode, encode, kept=dtype)
    if dtype == compute:
        return Elementwise(TAGS[dtype], dtype, compute)
    inside, outside = np.dtype(compute).type, np.dtype(dtype).type
    return Elementwise(TAGS[dtype], dtype, compute, inside, outside)


def _widened(decode: Any, encode: Any, number: Any) -> Any:
    return lambda code: number(decode(code)), lambda value: encode(value)


FLOAT = {name: floats(name, compute_of(name)) for name in TAGS}


@dataclass(frozen=True)
class Formats:
    """The dtypes, by name, in which a parameter, its gradient and its state are stored.

    Attributes:
        param: the dtype of the parameter.
        grad: the dtype of its gradient.
        state: the dtype of its state; None for that of the arithmetic.
        compensation: the format of the low bits of a bfloat16 parameter, or None.
        rounding: "stochastic", or "nearest".
        started: True if state may start at numbers that its dtype cannot represent.
        shadow: the dtype of a copy of the parameter in memory of the caller's, or None.
        inputs: the number of arrays whose weighted sum is the gradient; 0 if it is one array.
        row_state: the names of state with one number for each row.
        row: the number of elements of a row; 0 if that does not matter.
        column_state: the names of state with one number for each column of a matrix.
        column: the number of elements of a column; 0 if that does not matter.
        matrix: True for a parameter of two dimensions or more, if its rule has one for these.
    """

    param: str
    grad: str
    state: str | None = None
    compensation: str | None = None
    rounding: str = "nearest"
    started: bool = False
    shadow: str | None = None
    inputs: int = 0
    row_state: tuple[str, ...] = ()
    row: int = 0
    column_state: tuple[str, ...] = ()
    column: int = 0
    matrix: bool = False

    @classmethod
    def alike(cls, dtype: str) -> "Formats":
        """Parameter and gradient of one dtype, state of the dtype of the arithmetic."""
        return cls(dtype, dtype)

    @property
    def compute(self) -> str:
        return compute_of(self.param)

    @property
    def options(self) -> tuple[str, ...]:
        """The options of a kernel that these formats imply."""
        rounded = self.rounding == "stochastic" and self.param in NARROW
        copied = (self.shadow,) if self.shadow else ()
        return (*copied, ROUND + (self.compensation or self.param)) if rounded else copied

    @property
    def param_storage(self) -> Storage:
        if self.compensation:
            return PAIRS[self.compensation]
        return floats(self.param, self.compute)

    @property
    def grad_storage(self) -> Storage:
        one = floats(self.grad, self.compute)
        return Weighted(one, self.inputs) if self.inputs else one

    @property
    def state_storage(self) -> Storage:
        int8 = self.state == "int8"
        kept = Int8(self.compute) if int8 else floats(self.state or self.compute, self.compute)
        return Started(kept) if self.started else kept

    @property
    def state_as_read(self) -> Storage:
        """The storage of state for kernels that only read it, in blocks of any length."""
        if self.state != "int8":
            return self.state_storage
        kept = Int8AsRead(self.compute)
        return Started(kept) if self.started else kept

    def storage_of(self, name: str, only_read: bool = False) -> Storage:
        """The storage of the state of a name."""
        if name in self.row_state:
            return RowNumber(self.compute, self.row or ROW)
        if name in self.column_state:
            return ColumnNumber(self.compute, self.column or COLUMN)
        return self.state_as_read if only_read else self.state_storage

    def ruled(self, rule: Rule, shape: Sequence[int]) -> "Formats":
        """The formats of a parameter of this shape that a rule, or that of matrices, updates.

        Raises:
            ValueError: for rows that do not consist of whole blocks of its state, or do not divide
                its elements.
        """
        if rule.of(shape) is not rule:
            return replace(self, matrix=True).ruled(rule.of(shape), shape)
        if rule.factors:
            return replace(
                self,
                row_state=rule.row_state,
                row=max(1, shape[-1]),
                column_state=rule.column_state,
                column=max(1, shape[-2]),
            )
        if rule.over != ROWS:
            return self
        length, size = max(1, rule.row_length(shape)), prod(shape)
        what = f"rule {rule.name}: rows of {length} elements"
        if size % length:
            raise ValueError(f"{what} do not divide a parameter of shape {tuple(shape)}")
        coded = self.state == "int8" and {*rule.state} - {*rule.row_state}
        if coded and length % Int8.block and length < size:
            raise ValueError(
                f"{what}, in a parameter of shape {tuple(shape)}, are no whole blocks of "
                f"{Int8.block}, which state_dtype='int8' needs; give the parameter to a group "
                "without it, or set a larger min_quantized_size"
            )
        return replace(self, row_state=rule.row_state, row=length)

    def form_of(self, rule: Rule) -> Rule:
        """The form of a rule that updates the parameter; see `Rule.of`."""
        return rule.matrices if self.matrix and rule.matrices else rule

    @property
    def of_any_row(self) -> "Formats":
        """The formats of parameters with rows of any length, which share a kernel."""
        return replace(self, row=0, column=0) if self.row else self

    @property
    def sharing_kernel(self) -> "Formats":
        """The formats of parameters that share a kernel: there is one for rows of one element, and
        one for rows of any other length."""
        return self if self.of_single_elements else self.of_any_row

    @property
    def of_single_elements(self) -> bool:
        """True if every element is a row."""
        return self.row == 1 and not self.column_state

    def shape_of(self, name: str, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the array of state of a name, of a parameter of this shape."""
        if name in self.column_state:
            return (*shape[:-2], 1, shape[-1])
        if name in self.row_state:
            return (*shape[:-1], 1) if self.column_state else (prod(shape) // max(1, self.row),)
        return tuple(shape)

    def starting(self) -> "Formats":
        """The formats for rules whose state starts at numbers other than zero."""
        exact = {None, self.compute} | ({"int8"} if self.compute == "float32" else set())
        return self if self.state in exact else replace(self, started=True)
