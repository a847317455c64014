"""Arguments that several commands take."""

import argparse
from ast import literal_eval
from collections.abc import Callable
from typing import Any

HELP = {
    "params": "dtype of the parameters (default: float32)",
    "grads": "dtype of the gradients (default: that of the parameters)",
    "state": "dtype of the state; int8: a byte for each number, in blocks of 256 with a scale "
    "(default: that of the arithmetic, float32 for all but float64)",
    "compensation": "keep the bits that bfloat16 parameters lack: kahan in a second bfloat16, "
    "split8 in an int8, split16 in an int16 (default: not at all)",
    "rounding": "of bfloat16 and float16 parameters; stochastic: up or down by chance, so that "
    "small updates are not lost (default: nearest)",
}
KEYWORDS = {"state": "state_dtype", "compensation": "compensation", "rounding": "rounding"}


def add_precision(add: Callable[..., Any], *names: str) -> None:
    """Add options that say how numbers are kept; None where one is not given."""
    from ..kernels.formats import FLOAT, PAIRS
    from ..options import ROUNDINGS, STATES

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
    """What was given of these, as keywords of an optimizer."""
    told = {keyword: getattr(arguments, name) for name, keyword in KEYWORDS.items()}
    return {keyword: value for keyword, value in told.items() if value is not None}


def optimizer_name(text: str) -> str:
    """The name of an optimizer, given in any case; for `type=`."""
    from .. import optimizers

    return {name.lower(): name for name in optimizers.__all__}.get(text.lower(), text)


def keyword(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value a literal of Python or a string; for `type=`."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as momentum=0.9")
    try:
        return name, literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
