"""Arguments of an embedded step: the arrays and numbers of a kernel, by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.options import Options
from ..engine.param_groups import values_of
from ..engine.rule_choice import rule_for
from ..kernels.formats import COMPENSATION, FLOAT, PAIRS, ROUND, Formats
from ..kernels.rule_streams import streams
from ..kernels.storage.base import WHOLE, Column
from ..kernels.stream import Stream, record_of
from ..kernels.transforms import OPTIONS, STATE, TOUCHED, ZERO_GRADS, staged
from ..optimizer import Optimizer
from ..rules import ROW, Rule
from ..rules.algorithm import Values
from ..validation import alternatives, choice, dtype_name

CHOICES = tuple(
    name for name in (*OPTIONS, ZERO_GRADS) if not name.startswith(ROUND) and name != TOUCHED
)
NAMES = {"grad_scale": "grad_factor", "grad_power": "grad_power"}  # they multiply the gradient
STATES = (None, "float32", "float64", "bfloat16", "int8")


@dataclass(frozen=True)
class Argument:
    """An array of a kernel, or one number for all elements.

    Attributes:
        name: its name, unique in a kernel.
        column: its format.
        mode: "rw", "r", "w", or "rz": read, then set to zero.
    """

    name: str
    column: Column
    mode: str

    @property
    def is_number(self) -> bool:
        return self.column.per == WHOLE

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes that hold its bits."""
        also = {"uint8": ("bool", "int8") if not self.column.kept else ("int8",)}
        names = (self.column.outside, self.column.dtype, *also.get(self.column.dtype, ()))
        return tuple(dict.fromkeys(names))

    @property
    def size(self) -> int:
        """Bytes of a stored number."""
        return np.dtype(self.column.dtype).itemsize


def arguments_of(kernel_streams: Sequence[Stream]) -> Iterator[Argument]:
    """The arguments of a kernel, in the order of a row of its table."""
    for stream in kernel_streams:
        called = stream.name.removeprefix(STATE)
        called = NAMES.get(called, called)
        for column in stream.storage.stored:
            part = column.part.lstrip("_")
            name = part if part == COMPENSATION else f"{called}_{part}" if part else called
            mode = "r" if column.per == WHOLE else stream.mode
            yield Argument(name, column, mode)


@dataclass(frozen=True)
class Embedded:
    """A step to be compiled into another program: a rule in certain formats, with options.

    Attributes:
        optimizer: the class of the optimizer; None for a bare rule.
        values: its hyperparameters, of which flags have effect.
        rule: its rule, without options.
        options: names of options, and of those that the formats imply.
    """

    optimizer: type[Optimizer] | None
    values: Values
    rule: Rule
    formats: Formats
    options: tuple[str, ...]

    @property
    def staged(self) -> Rule:
        return staged(self.rule, self.options)

    @property
    def streams(self) -> tuple[Stream, ...]:
        return streams(self.rule, self.options, self.formats)

    @property
    def arguments(self) -> list[Argument]:
        return [*arguments_of(self.streams)]

    @property
    def compute(self) -> str:
        return self.formats.compute

    @property
    def block(self) -> int:
        """The number of elements that state in int8 stores together; 1 without."""
        block = min(stream.storage.block for stream in self.streams)
        return 1 if block == WHOLE else block

    @property
    def record(self) -> "np.dtype[np.void]":
        """The constants of a step in memory."""
        return record_of(self.rule, self.compute)


def embedded(
    where: str,
    optimizer: Any,
    dtype: Any = "float32",
    options: Sequence[str] = (),
    grads: Any = None,
    state: Any = None,
    compensation: str | None = None,
    rounding: str = "nearest",
    hyper: Values | None = None,
) -> Embedded:
    """A step to be compiled into another program, its formats and options checked.

    Args:
        where: the name of the caller, for messages.
        optimizer: a class of an optimizer, or a rule.
        hyper: hyperparameters of the class.

    Raises:
        TypeError, ValueError: naming the argument.
    """
    param = choice(f"{where}: dtype", dtype_name(dtype), tuple(FLOAT))
    grad = choice(f"{where}: grads", dtype_name(grads), (None, *FLOAT)) or param
    kept = choice(f"{where}: state", dtype_name(state), STATES)
    choice(f"{where}: compensation", compensation, (None, *PAIRS))
    choice(f"{where}: rounding", rounding, ("nearest", "stochastic"))
    formats = Formats(param, grad, kept, compensation, rounding)
    _check_formats(where, formats)
    names = _checked_options(where, options, param) + formats.options
    cls, rule, values = _parts(where, optimizer, hyper or {})
    settings = Options(state_dtype=kept) if kept in ("bfloat16", "int8") else Options()
    if cls:
        rule = rule_for(cls.without_arrays(), values, settings)
    else:
        settings.check_rule(rule)
    check_one_pass(f"{where}: ", rule)
    return Embedded(cls, values, rule, formats, names)


def check_one_pass(where: str, rule: Rule) -> None:
    """Refuse a rule with sums, whose first pass over memory no single kernel of elements has.

    Raises:
        ValueError: for such a rule; the message begins with `where`.
    """
    if rule.over == ROW:
        raise ValueError(
            f"{where}{rule.name} adds up {', '.join(rule.sums)} of rows, which a function over "
            "elements cannot do; take a step of the optimizer, or choose one without sums"
        )
    if rule.in_two_passes:
        doing = f"adds up {', '.join(rule.sums)}" if rule.sums else "computes matrices"
        raise ValueError(
            f"{where}{rule.name} {doing} in a pass of its own, which one "
            "kernel cannot do; take a step of the optimizer, or choose one without sums"
        )


def _parts(
    where: str, optimizer: Any, hyper: Values
) -> tuple[type[Optimizer] | None, Rule, Values]:
    if isinstance(optimizer, Rule):
        if hyper:
            raise TypeError(
                f"{where}: {', '.join(hyper)}: a rule has no hyperparameters; give the class "
                "of the optimizer"
            )
        return None, optimizer, {}
    if (
        not (isinstance(optimizer, type) and issubclass(optimizer, Optimizer))
        or optimizer is Optimizer
    ):
        raise TypeError(
            f"{where}: {optimizer!r} is neither a class of an optimizer, such as fastadam.AdamW, "
            "nor a rule"
        )
    author = optimizer.without_arrays()
    return optimizer, optimizer.rule, values_of(author, hyper, f"{where}: ")


def _check_formats(where: str, formats: Formats) -> None:
    for name, value, wanted in (
        ("compensation", formats.compensation, ("bfloat16",)),
        ("rounding", formats.rounding == "stochastic", ("bfloat16", "float16")),
        ("grads", formats.grad == "float64", ("float64",)),
        ("state", formats.state == "float64", ("float64",)),
    ):
        if value and formats.param not in wanted:
            shown = getattr(formats, {"grads": "grad"}.get(name, name))
            raise ValueError(
                f"{where}: {name}={shown!r} is for {' and '.join(wanted)} parameters; these are "
                f"{formats.param}"
            )


def _checked_options(where: str, options: Any, param: str) -> tuple[str, ...]:
    if isinstance(options, str):
        raise TypeError(f"{where}: options={options!r} is one string; write ({options!r},)")
    for name in options:
        if name not in CHOICES:
            end = alternatives(name, CHOICES, f"choose from {', '.join(CHOICES)}")
            raise ValueError(f"{where}: option {name!r} is unknown{end}")
    copies = [name for name in options if name in ("bfloat16", "float16")]
    masks = [name for name in options if name in ("mask", "mask_state")]
    for pair in (copies, masks):
        if len({*pair}) > 1:
            raise ValueError(f"{where}: options {' and '.join(pair)} exclude each other; give one")
    if copies and param != "float32":
        raise ValueError(f"{where}: option {copies[0]} is for float32 parameters, not {param}")
    return tuple(name for name in CHOICES if name in options)
