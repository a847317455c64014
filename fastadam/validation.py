"""Checks of scalar arguments and of names, with one wording for each mistake."""

import math
from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

NO_NUMBERS = ("c", "S", "U", "M", "m")  # kinds of dtypes that float() would accept
LASTING = {float, int, bool, str, type(None)}
OTHER_NAMES = {
    "b1": "betas",
    "beta": "betas",
    "beta1": "betas",
    "beta2": "betas",
    "dtype": "state_dtype",
    "eta_min": "end",
    "grad_clip": "clip_norm",
    "gradient_accumulation_steps": "accumulate_steps",
    "l2": "weight_decay",
    "max_grad_norm": "clip_norm",
    "max_lr": "lr",
    "max_norm": "clip_norm",
    "num_threads": "threads",
    "step_size": "every",
    "T_0": "period",
    "T_max": "steps",
    "T_mult": "mult",
}  # names in other libraries, with ours


class Range(NamedTuple):
    """A range of allowed numbers, with its text for messages."""

    text: str
    holds: Callable[[float], bool]


ANY = Range("", lambda _: True)
NOT_NEGATIVE = Range(">= 0", lambda number: number >= 0)
POSITIVE = Range("> 0", lambda number: number > 0)
BELOW_ONE = Range(">= 0 and < 1", lambda number: 0 <= number < 1)
ABOVE_ONE = Range("> 1", lambda number: number > 1)
SHARE = Range("> 0 and < 1", lambda number: 0 < number < 1)


def number(
    name: str, value: Any, within: Range = ANY, *, finite: bool = True, hint: str = "give a number"
) -> float:
    """A float from a number of any kind, also from an array of no dimension.

    Args:
        name: the name of the argument in messages.
        within: the allowed range.
        finite: True to reject infinities and NaN.
        hint: the fix to suggest if the value is not a number.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is out of range.
    """
    found = _plain(value)
    try:
        converted = None if isinstance(found, bool | str | bytes) else float(found)
    except (TypeError, ValueError):
        converted = None
    except OverflowError:
        converted = math.inf if found > 0 else -math.inf
    if converted is None:
        raise TypeError(f"{name}={value!r} must be a number; {hint}")
    if finite and not math.isfinite(converted):
        raise ValueError(f"{name}={value!r} must be finite")
    if not within.holds(converted):
        raise ValueError(f"{name}={value!r} must be {within.text}")
    return converted


def count(name: str, value: Any, least: int = 0, hint: str = "give an int") -> int:
    """An int from a whole number of any kind, also from a float such as 1e3.

    Raises:
        TypeError: if it is not a whole number.
        ValueError: if it is less than `least`.
    """
    if type(value) is int and value >= least:
        return value
    found = _plain(value)
    whole = isinstance(found, Integral) and not isinstance(found, bool)
    if not whole and not (isinstance(found, float | np.floating) and float(found).is_integer()):
        raise TypeError(f"{name}={value!r} must be a whole number; {hint}")
    if found < least:
        raise ValueError(f"{name}={value!r} must be >= {least}; {hint}")
    return int(found)


def flag(name: str, value: Any) -> bool:
    """A bool from True or False, of NumPy as well, or from the ints 1 and 0.

    Raises:
        TypeError: if it is something else.
    """
    found = _plain(value)
    if not isinstance(found, Integral) or found not in (0, 1):
        raise TypeError(f"{name}={value!r} must be True or False")
    return bool(found)


def choice(name: str, value: Any, choices: Collection[str | None]) -> Any:
    """Check that a value is one of the given choices.

    Raises:
        ValueError: listing the choices.
    """
    if not (value is None or isinstance(value, str)) or value not in choices:
        *some, last = map(repr, choices)
        raise ValueError(f"{name}={value!r} must be {', '.join(some)} or {last}")
    return value


def dtype_name(value: Any) -> Any:
    """The name of a dtype of NumPy, ml_dtypes, PyTorch or JAX; other values are unchanged."""
    if value is None or isinstance(value, str):
        return value
    if str(value).startswith("torch."):
        return str(value).removeprefix("torch.")
    if not isinstance(value, type | np.dtype) and not hasattr(value, "dtype"):
        return value
    try:
        return np.dtype(value).name
    except (TypeError, ValueError):
        return value


def parts_of(value: Any) -> tuple[Any, ...] | None:
    """The elements of a list, a tuple, a vector or another sequence; None for anything else."""
    if isinstance(value, tuple | list):
        return tuple(value)
    if isinstance(value, str | bytes) or hasattr(value, "keys") or getattr(value, "ndim", 1) != 1:
        return None
    if not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        return None
    return tuple(value[position] for position in range(len(value)))


def alike(one: Any, other: Any) -> bool:
    """True if two settings are equal and of the same types: True differs from 1 and from 1.0."""
    if one is other:
        return True
    if type(one) is not type(other) or one != other:
        return False
    return type(one) not in (tuple, list) or all(map(alike, one, other))


def lasts(value: Any) -> bool:
    """True if a value is immutable."""
    kind = type(value)
    if kind is tuple:
        return all(map(lasts, value))
    return kind in LASTING or isinstance(value, np.number)


def check_known(names: Iterable[str], known: Collection[str], where: str) -> None:
    """Check that all names are known.

    Raises:
        TypeError: suggesting the closest known name, and listing all of them.
    """
    for name in names:
        if name not in known:
            end = alternatives(name, known, f"valid: {', '.join(known)}")
            raise TypeError(f"{where} got an unexpected keyword {name!r}{end}")


def meant_by(name: Any, known: Collection[str]) -> str | None:
    """The known name closest to a given one, which may be abbreviated, misspelt or another
    library's."""
    if not isinstance(name, str):
        return None
    usual = OTHER_NAMES.get(name)
    short = [each for each in known if name in (_initials(each), each) or each == _initials(name)]
    lower = {each.lower().lstrip("-"): each for each in known}  # adamw is AdamW
    like = name.lower().lstrip("-")  # the dashes of two options do not make them alike
    close = get_close_matches(like, lower, n=3)
    close = [lower[each] for each in sorted(close, key=lambda each: not each.startswith(like))]
    return usual if usual in known else next(iter([*short, *close]), None)


def alternatives(name: Any, known: Collection[str], all_of_them: str) -> str:
    """The end of a message about an unknown name: the closest known one, and the list of all."""
    meant = meant_by(name, known)
    if not meant:
        return f"; {all_of_them}"
    return f"; did you mean {meant!r}? {all_of_them[:1].upper()}{all_of_them[1:]}"


def missing(module: str, name: str, known: Collection[str], hint: str = "") -> AttributeError:
    """The error for a name that a module does not have.

    Args:
        module: the name of the module.
        name: what was looked for.
        known: the names there are.
        hint: what to do, if that is clear already.
    """
    meant = None if name.startswith("_") else meant_by(name, known)
    end = hint or (f"did you mean {meant!r}?" if meant else f"it has {', '.join(known)}")
    return AttributeError(f"module {module!r} has no attribute {name!r}; {end}", name=name)


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.split("_")) if "_" in name else ""


def _plain(value: Any) -> Any:
    """The number in a zero-dimensional array; None if it holds anything else, or has a mask."""
    if getattr(value, "ndim", 0) or (
        getattr(getattr(value, "dtype", None), "kind", None) in NO_NUMBERS
    ):
        return None
    if hasattr(value, "mask"):
        return None
    try:
        return value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):
        return None
