"""Parameter groups from rules about the names of parameters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..memory.checks import short
from ..memory.tree import dotted, leaves, listed
from ..validation import lasts, meant_by
from .flat import Flat

Settings = Mapping[str, Any]
Patterns = Mapping[str, Settings]
Named = list[tuple[str, Any]]

OF_A_GROUP = ("params", "param_names")  # set here
SHOWN = 8  # names in a message
GIVE_NAMES = (
    "give a dict of arrays, {'w': ..., 'b': ...}, pairs of a name and an array, or "
    "model.named_parameters() of a PyTorch model"
)


def by_name(
    params: Any, rules: Patterns | Callable[[str], Settings | None]
) -> list[dict[str, Any]]:
    """Parameter groups with hyperparameters that follow from the names of the parameters.

    Parameters with equal settings share a group; the others are in a group with the settings of
    the constructor. Groups are in the order of their first parameters, and parameters keep their
    order within a group. Each group has the names in `param_names`. The result is a list of dicts
    for any optimizer of fastadam, fastadam.torch or `torch.optim`.

    With NumPy arrays, `step` takes gradients, targets, inputs and masks in the structure of
    `params`, as a dict from names, or as one list over all groups, in the order of the groups.

    Args:
        params: a dict of arrays, which may hold dicts, lists and tuples (names are dotted, as
            "layers.0.weight"), a Flat of such a dict, or pairs of a name and an array or tensor,
            such as `model.named_parameters()`.
        rules: a dict from patterns to hyperparameters and options of a group, or a function of the
            name that returns these, or None. A pattern is one of the module `fnmatch`: `*` is any
            text, dots included, `?` any character, `[ab]` one of these; upper and lower case
            differ. If several patterns match a name, all apply in the order of the dict, and later
            ones take precedence.

    Returns:
        the groups.

    Raises:
        TypeError: if the parameters have no names, or settings are not a dict.
        ValueError: for a pattern that matches no name, with the closest one, for two parameters of
            one name, and for settings named "params" or "param_names". Unknown hyperparameters are
            refused by the optimizers of fastadam.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> net = {"fc": {"weight": np.ones((2, 2)), "bias": np.ones(2)}, "norm": [np.ones(2)]}
        >>> groups = fa.by_name(net, {"*bias": {"weight_decay": 0}, "norm*": {"weight_decay": 0}})
        >>> [group["param_names"] for group in groups]
        [['fc.weight'], ['fc.bias', 'norm.0']]
        >>> opt = fa.AdamW(groups, weight_decay=0.1)
        >>> [group["weight_decay"] for group in opt.param_groups]
        [0.1, 0.0]
    """
    named = _named(params)
    each = _by_function(rules, named) if callable(rules) else _by_patterns(rules, named)
    groups: list[tuple[Settings, Named]] = []
    for pair, settings in zip(named, each, strict=True):
        members = next((found for known, found in groups if _same(known, settings)), None)
        if members is None:
            groups.append((settings, members := []))
        members.append(pair)
    return [
        {
            "params": [array for _, array in members],
            "param_names": [name for name, _ in members],
            **settings,
        }
        for settings, members in groups
    ]


def _named(params: Any) -> Named:
    """The names and arrays of parameters."""
    tree = params.tree if isinstance(params, Flat) else listed(params)
    if isinstance(tree, Mapping):
        named = [(dotted(path), array) for path, array in leaves(tree)]
    elif isinstance(tree, list | tuple) and all(map(_is_pair, tree)):
        named = [(name, array) for name, array in tree]
    else:
        raise TypeError(f"params={short(params)} has no names; {GIVE_NAMES}")
    if not named:
        raise ValueError("params contains no arrays; give at least one parameter")
    seen = set[str]()
    for name, _ in named:
        if name in seen:
            raise ValueError(f"two parameters are named {name!r}; rename one")
        seen.add(name)
    return named


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, list | tuple) and len(entry) == 2 and isinstance(entry[0], str)


def _by_function(function: Callable[[str], Any], named: Named) -> Iterator[Settings]:
    """The settings of each parameter from a function."""
    for name, _ in named:
        settings = function(name)
        yield {} if settings is None else _checked(settings, f"rules({name!r})")


def _by_patterns(rules: Any, named: Named) -> list[Settings]:
    """The settings of each parameter from a dict of patterns."""
    if not isinstance(rules, Mapping):
        raise TypeError(
            f"rules={short(rules)} is neither a dict nor a function; give a dict such as "
            "{'*bias': {'weight_decay': 0}}"
        )
    each: list[dict[str, Any]] = [{} for _ in named]
    for pattern, settings in rules.items():
        if not isinstance(pattern, str):
            raise TypeError(f"rules has the key {pattern!r}, which is not a string")
        checked = _checked(settings, f"rules[{pattern!r}]")
        found = [k for k, (name, _) in enumerate(named) if fnmatchcase(name, pattern)]
        if not found:
            raise ValueError(_unmatched(pattern, [name for name, _ in named]))
        for k in found:
            each[k].update(checked)
    return [*each]


def _checked(settings: Any, where: str) -> Settings:
    if not isinstance(settings, Mapping):
        raise TypeError(
            f"{where} is {short(settings)}; give a dict of hyperparameters, such as "
            "{'weight_decay': 0}"
        )
    for name in OF_A_GROUP:
        if name in settings:
            raise ValueError(f"{where} sets {name!r}, which follows from the names; leave it out")
    return settings


def _unmatched(pattern: str, names: Sequence[str]) -> str:
    """The message for a pattern that matches nothing, with the closest name."""
    text = pattern.strip("*?.")
    parts = [part for name in names for part in name.split(".")]
    meant = meant_by(text, [*dict.fromkeys([*parts, *names])]) if text else None
    better = [pattern.replace(text, meant), f"*{meant}*"] if meant else []
    working = [each for each in better if any(fnmatchcase(name, each) for name in names)]
    hint = f"did you mean {working[0]!r}? " if working else ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    listing = f"{', '.join(names[:SHOWN])}{more}"
    end = f"{hint}The parameters are {listing}" if hint else f"the parameters are {listing}"
    return f"the pattern {pattern!r} matches no parameter; {end}"


def _same(one: Any, other: Any) -> bool:
    """True if settings are certainly equal; objects of other types are equal to themselves only."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(lasts(one) and one == other)
