"""What is timed: an optimizer with some hyperparameters, written as `sgd:momentum=0.9`."""

import ast
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import optimizers
from ..optimizer import Optimizer
from ..rules import Rule
from ..validation import check_known

ALL = "all"


@dataclass
class Variant:
    """An optimizer of the library, and the hyperparameters that are not its defaults.

    Attributes:
        over_one: the optimizer of one float32 element, to be asked, not to be stepped.

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
        """The text that [variants][fastadam.bench.variants.variants] reads."""
        options = ",".join(f"{name}={value!r}" for name, value in self.hyper.items())
        return f"{self.optimizer.__name__}:{options}".rstrip(":")

    @property
    def values(self) -> dict[str, Any]:
        """All hyperparameters by name."""
        return {**self.optimizer.defaults, **self.hyper}

    @property
    def rule(self) -> Rule:
        return self.over_one.rule

    @property
    def bytes(self) -> int:
        """What a step moves per float32 element: it reads and writes parameter and states, and
        reads the gradient."""
        return 4 * (2 * (1 + len(self.rule.state)) + 1)

    @property
    def in_torch(self) -> Any:
        """PyTorch's class of the same name; None if it has none, or does not know an option."""
        import torch

        twin = getattr(torch.optim, self.optimizer.__name__, None)
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
    """What the texts name, each once: `lion`, `sgd:momentum=0.9`, or `all` with their defaults.

    Raises:
        TypeError, ValueError: for a name or an option that there is not.
    """
    each = [t for text in texts for t in (optimizers.__all__ if text.lower() == ALL else [text])]
    return list({variant.label: variant for variant in map(_variant, each)}.values())


def _variant(text: str) -> Variant:
    known = {name.lower(): name for name in optimizers.__all__}
    name, _, options = text.partition(":")
    if name.lower() not in known:
        raise ValueError(
            f"{name!r} is no optimizer; give {ALL}, or some of {', '.join(optimizers.__all__)}"
        )
    return Variant(getattr(optimizers, known[name.lower()]), _options(options))


def _options(text: str) -> dict[str, Any]:
    """Python's `name=value, ...`, the values literals."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if isinstance(call, ast.Call) and not call.args:
            return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError):
        pass
    raise ValueError(f"cannot read the options {text!r}; write them as in sgd:momentum=0.9")
