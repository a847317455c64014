"""An optimizer with some hyperparameters, written as `sgd:momentum=0.9`."""

import ast
import inspect
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import optimizers
from ..engine.budget import Streams, plain_passes, traffic_of
from ..optimizer import Optimizer
from ..rules import Rule
from ..validation import check_known

ALL = "all"
LARGE = 1 << 40  # elements of an array whose rows and columns are few
ALL_TEXTS = {  # among all, with random gradients, which let its learning rate grow without end
    "Prodigy": "Prodigy:growth_rate=1.0"
}
NOT_TIMED = [
    name for name in optimizers.__all__ if getattr(optimizers, name).rule.matrix
]  # their time is that of matrix products, not of memory


@dataclass
class Variant:
    """An optimizer of the library, and the hyperparameters that are not its defaults.

    Attributes:
        over_one: the optimizer of one float32 element, to evaluate its methods; it takes no step.

    Raises:
        TypeError, ValueError: for hyperparameters that it does not take.
    """

    optimizer: type[Optimizer]
    hyper: dict[str, Any] = field(default_factory=dict)
    over_one: Optimizer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_known(self.hyper, self.optimizer.defaults, self.label)
        self.over_one = self.optimizer(np.zeros(1, np.float32), **self.hyper)

    @property
    def label(self) -> str:
        """The text that `variants` reads."""
        options = ",".join(f"{name}={value!r}" for name, value in self.hyper.items())
        return f"{self.optimizer.__name__}:{options}".rstrip(":")

    @property
    def values(self) -> dict[str, Any]:
        """All hyperparameters by name."""
        return {**self.optimizer.defaults, **self.hyper}

    @property
    def rule(self) -> Rule:
        return self.over_one.rule

    def shape_of(self, size: int) -> tuple[int, ...]:
        """The shape of an array of so many elements: one dimension, or, for a rule with state or
        sums of rows or columns, the matrix nearest to a square."""
        if not self.rule.of_rows:
            return (size,)
        rows = next((n for n in range(math.isqrt(size), 0, -1) if size % n == 0), 0)
        return (rows, size // max(1, rows))

    @property
    def passes(self) -> list[Streams]:
        """The streams of each pass over float32 arrays of a step."""
        return plain_passes(self.rule, self.shape_of(LARGE))

    @property
    def bytes(self) -> int:
        """Traffic of a step per float32 element."""
        return traffic_of(self.rule, self.shape_of(LARGE))

    @property
    def states(self) -> list[str]:
        """The names of the states with a number for each element."""
        form = self.rule.of(self.shape_of(LARGE))
        return [n for n in form.state if n not in (*form.row_state, *form.column_state)]

    @property
    def in_torch(self) -> Any:
        """PyTorch's class of the same name; None if there is none, or it lacks a hyperparameter, or
        takes no gradients of all elements."""
        import torch

        name = self.optimizer.__name__
        twin = None if name == "SparseAdam" else getattr(torch.optim, name, None)
        return twin if twin and self.hyper.keys() <= keywords(twin) else None

    @property
    def torch_values(self) -> dict[str, Any]:
        """The hyperparameters that PyTorch's class takes."""
        known = keywords(self.in_torch)
        return {name: value for name, value in self.values.items() if name in known}


ADAMW = Variant(optimizers.AdamW)


def keywords(function: Any) -> set[str]:
    """The names of its arguments."""
    return {*inspect.signature(function).parameters}


def variants(texts: Sequence[str]) -> list[Variant]:
    """The optimizers that the texts name, each once: `lion`, `sgd:momentum=0.9`, or `all`.

    Raises:
        TypeError, ValueError: for a name or a hyperparameter that does not exist.
    """
    every = [ALL_TEXTS.get(name, name) for name in optimizers.__all__ if name not in NOT_TIMED]
    each = [t for text in texts for t in (every if text.lower() == ALL else [text])]
    return list({variant.label: variant for variant in map(_variant, each)}.values())


def _variant(text: str) -> Variant:
    name, hyper = parsed(text, ALL)
    if name in NOT_TIMED:
        raise ValueError(
            f"{name} multiplies matrices, which takes far longer than its passes over memory; "
            "choose another optimizer"
        )
    return Variant(getattr(optimizers, name), hyper)


def parsed(text: str, *more: str) -> tuple[str, dict[str, Any]]:
    """Name and keywords of an optimizer written as `sgd:momentum=0.9,nesterov=True`.

    Values are Python literals; any other word is a string, as in `shadow_dtype=bfloat16`.

    Args:
        more: other words that the message about an unknown name lists.

    Raises:
        ValueError: for a name that does not exist, or a text of another form.
    """
    name, _, keywords = text.partition(":")
    found = optimizers.by_name(name, *more)
    return found.__name__, dict(map(keyword, _split(keywords)))


def keyword(text: str) -> tuple[str, Any]:
    """A keyword written as NAME=VALUE.

    Raises:
        ValueError: if it is not.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name.isidentifier() and equals and value):
        raise ValueError(f"{text!r} is not NAME=VALUE, such as momentum=0.9")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _split(text: str) -> list[str]:
    """The parts of a text between commas outside of brackets."""
    parts = re.findall(r"(?:[^,(\[]|\([^)]*\)|\[[^\]]*\]|[(\[])+", text)
    return [part.strip() for part in parts]
