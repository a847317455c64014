"""Arguments that several commands share: optimizers, their keywords and dtypes."""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

SPELLING = "hyperparameters follow as in sgd:momentum=0.9,nesterov=True"
HELP = {
    "params": "dtype of the parameters (default: float32)",
    "grads": "dtype of the gradients (default: that of the parameters)",
    "state": "dtype of the state; int8: one byte per value, with a scale for each block of 256 "
    "(default: that of the arithmetic, float32 unless parameters are float64)",
    "compensation": "keep the bits that bfloat16 parameters lack: kahan in a second bfloat16, "
    "split8 in an int8, split16 in an int16 (default: none)",
    "rounding": "rounding of 16-bit parameters; stochastic: up or down at random, so that small "
    "updates are not lost (default: nearest)",
}
KEYWORDS = {"state": "state_dtype", "compensation": "compensation", "rounding": "rounding"}


class Chosen(NamedTuple):
    """An optimizer by name, and keywords for its constructor."""

    name: str
    keywords: dict[str, Any]


def optimizer(text: str) -> Chosen:
    """An optimizer written as `sgd:momentum=0.9`; for `type=`."""
    from ..bench.variants import parsed

    try:
        return Chosen(*parsed(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def keyword(text: str) -> tuple[str, Any]:
    """A keyword written as NAME=VALUE; for `type=`."""
    from ..bench.variants import keyword

    try:
        return keyword(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def names_of_optimizers(sums: bool = True, matrices: bool = True) -> str:
    """The names of optimizers, for help.

    Args:
        sums: False leaves out those whose rules have sums.
        matrices: False leaves out those whose rules have matrices.
    """
    from .. import optimizers

    rules = {name: getattr(optimizers, name).rule for name in optimizers.__all__}
    names = [n for n, r in rules.items() if (sums or not r.sums) and (matrices or not r.matrix)]
    return f"one of {', '.join(sorted(names, key=str.lower))}, in any case; {SPELLING}"


def merged(*sources: dict[str, Any]) -> dict[str, Any]:
    """Keywords from several options.

    Raises:
        ValueError: if one is given twice.
    """
    together: dict[str, Any] = {}
    for source in sources:
        for name, value in source.items():
            if name in together:
                raise ValueError(f"{name} is given twice, as {together[name]!r} and {value!r}")
            together[name] = value
    return together


def add_precision(add: Callable[..., Any], *names: str) -> None:
    """Add options for dtypes and rounding; None if one is not given."""
    from ..engine.options import ROUNDINGS, STATES
    from ..kernels.formats import FLOAT, PAIRS

    choices: dict[str, tuple[str, ...]] = {
        "params": tuple(FLOAT),
        "grads": tuple(FLOAT),
        "state": STATES,
        "compensation": tuple(PAIRS),
        "rounding": ROUNDINGS,
    }
    for name in names:
        add(f"--{name}", choices=choices[name], help=HELP[name])


def precision(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keywords of an optimizer from the options that were given."""
    told = {keyword: getattr(arguments, name) for name, keyword in KEYWORDS.items()}
    return {keyword: value for keyword, value in told.items() if value is not None}
