"""The C interface of a step: names, types and layout, from which header and object are
generated."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..optimizer import Optimizer
from ..rules.algorithm import Values
from .arguments import Argument, Embedded
from .tracing import Constants

VERSION = 1  # of all that the layout below does not say, such as return codes and checks
SUFFIXES = {"float32": "f32", "float64": "f64", "bfloat16": "bf16", "float16": "f16"}
TYPES = {
    "float32": "float",
    "float64": "double",
    "bfloat16": "uint16_t",
    "float16": "uint16_t",
    "bool": "uint8_t",
}
CODES = {
    "OK": "success",
    "NULL": "a pointer is null",
    "RANGE": "first or last is negative, or last is less than first",
    "MISALIGNED": "an address is not a multiple of the size of its numbers",
    "OVERLAP": "two arrays, one of them written, overlap",
    "STEP": "the step is less than 1",
    "HYPER": "a hyperparameter is out of range",
    "BLOCK": "first is not the beginning of a block of int8 state",
}


# Words of C and C++, and names of other parameters and variables in a header.
KEYWORDS = """
    auto bool case catch char const default delete do double enum explicit extern float friend goto
    inline int long mutable namespace new operator private protected public register restrict short
    signed sizeof static struct switch template this throw typedef typename union unsigned using
    virtual void volatile
"""
TAKEN = {*KEYWORDS.split(), "n", "first", "last", "constants", "hyper", "chunk", "code", "result"}


def c_name(name: str) -> str:
    """A name in a header; names with another meaning there get an underscore at the end."""
    return f"{name}_" if name in TAKEN else name


def code(name: str) -> int:
    """The number of a return code."""
    return [*CODES].index(name)


def c_type(dtype: str) -> str:
    """The C type of numbers of a dtype."""
    return TYPES.get(dtype, f"{dtype}_t")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a C function."""

    declaration: str
    name: str


@dataclass(frozen=True)
class Interface:
    """The C functions and structs of an optimizer.

    Attributes:
        name: the name of the files, such as "adamw", and the prefix of all names in them.
        optimizer: the class of the optimizer.
        values: its hyperparameters, the defaults of the C program.
        steps: a step for each dtype of parameters.
        constants: the function from hyperparameters to constants.
    """

    name: str
    optimizer: type[Optimizer]
    values: Values
    steps: tuple[Embedded, ...]
    constants: Constants

    @property
    def prefix(self) -> str:
        return f"fastadam_{self.name}"

    @property
    def computes(self) -> list[str]:
        """The dtypes of the arithmetic."""
        return [*dict.fromkeys(step.compute for step in self.steps)]

    @property
    def hyper(self) -> list[tuple[str, float | tuple[float, ...]]]:
        """The fields of the struct of hyperparameters, with their defaults."""
        names = dict.fromkeys(name for name, _ in self.constants.numbers)
        fields = [(name, self.values[name]) for name in names]
        return fields + [(n, float(self.optimizer.carried[n])) for n in self.constants.carried]

    def function(self, step: Embedded) -> str:
        """The name of the function of a step."""
        return f"{self.prefix}_{SUFFIXES[step.formats.param]}"

    def record(self, compute: str) -> str:
        """The name of the struct of constants."""
        return f"{self.prefix}_constants_{SUFFIXES[compute]}"

    def parameters(self, step: Embedded) -> Iterator[Parameter]:
        """The parameters of the function of a step, up to the constants."""
        for argument in step.arguments:
            yield Parameter(_declared(argument), c_name(argument.name))
        yield Parameter(f"const {self.record(step.compute)} *constants", "constants")

    @cached_property
    def layout(self) -> str:
        """Everything that a compiled program relies on, as text."""
        lines = [f"{VERSION}", *CODES]
        for name, default in self.hyper:
            lines.append(f"{name}[{len(default)}]" if isinstance(default, tuple) else name)
        for compute in self.computes:
            lines.append(f"{self.record(compute)}: {', '.join(self.constants.names)}")
        for step in self.steps:
            declared = ", ".join(each.declaration for each in self.parameters(step))
            lines.append(f"{self.function(step)}({declared}) {step.block}")
        return "\n".join(lines)

    @property
    def abi(self) -> int:
        """The number of the layout: 32 bits of its digest."""
        return int(hashlib.sha256(self.layout.encode()).hexdigest()[:8], 16)


def _declared(argument: Argument) -> str:
    kind = c_type(argument.column.outside if not _is_mask(argument) else "bool")
    if argument.is_number:
        return f"{kind} {c_name(argument.name)}"
    return f"{'const ' if argument.mode == 'r' else ''}{kind} *{c_name(argument.name)}"


def _is_mask(argument: Any) -> bool:
    return bool("bool" in argument.dtypes)
