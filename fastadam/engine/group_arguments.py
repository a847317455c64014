"""The argument `params`: a tree of arrays, or groups of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..memory.checks import short
from ..memory.tree import leaves, listed, matched, structure_of
from .backend import as_array
from .flat import Flat
from .param_groups import CARRIED
from .parameters import Gathered

SHADOW = "shadow"  # the key of a group for arrays that receive copies of its parameters
MISSPELT = ("param", "parameters")  # for `params`


def once(params: Any) -> Any:
    """The parameters with iterators, which can be read only once, replaced by lists."""
    params = list(params) if isinstance(params, Iterator) else params
    if not are_groups(params):
        return params
    trees = [group["params"] for group in params]
    return [
        {**group, "params": list(tree)} if isinstance(tree, Iterator) else group
        for group, tree in zip(params, trees, strict=True)
    ]


def first_array(params: Any) -> Any:
    """The first array of the parameters, None if there is none."""
    if are_groups(params):
        params = listed(params[0]["params"])
    tree = params.tree if isinstance(params, Flat) else params
    return next((leaf for _, leaf in leaves(tree)), None)


def are_groups(params: Any) -> bool:
    """True for a list of groups, False for a tree of arrays."""
    return (
        isinstance(params, list | tuple)
        and len(params) > 0
        and all(isinstance(group, dict) and "params" in group for group in params)
    )


def check_one_shadow(shadow: Any) -> None:
    """Refuse `shadow=` beside groups.

    Raises:
        ValueError: with a fix.
    """
    if shadow is not None:
        raise ValueError(
            "shadow= is for parameters without groups; put it into the groups: "
            "{'params': ..., 'shadow': ...}"
        )


def copies_in(group: Mapping[str, Any], gathered: Gathered) -> list[Any]:
    """The arrays that receive copies of the parameters of a group, None for those without.

    Raises:
        ValueError: if their structure is not that of the parameters.
    """
    shadow = group.get(SHADOW)
    if shadow is None:
        return [None] * len(gathered.arrays)
    tree = shadow.tree if isinstance(shadow, Flat) else shadow
    return [
        None if leaf is None else as_array(leaf)
        for leaf in matched(structure_of(gathered.tree), tree, SHADOW)
    ]


def check_group(group: Any, where: str) -> None:
    """Refuse an object that is not a group.

    Raises:
        TypeError: names what is missing.
    """
    if not isinstance(group, dict):
        raise TypeError(f"a parameter group is a dict with 'params', not {short(group)}")
    if "params" not in group:
        raise TypeError(f"a parameter group is a dict with 'params'; {where} has {list(group)}")


def check_tree(params: Any, hyperparameters: Iterable[str]) -> None:
    """Refuse a tree that was probably meant to be groups.

    Raises:
        TypeError: names what is missing.
    """
    known = {*hyperparameters, *CARRIED} - {"params"}
    if isinstance(params, Mapping):
        if _like_a_group(params, known):
            raise TypeError(
                _lacking("params", params, "put it into a list: [{'params': ..., ...}]")
            )
    elif isinstance(params, list | tuple):
        entries = [entry if isinstance(entry, Mapping) else {} for entry in params]
        several = any("params" in entry for entry in entries)
        for number, entry in enumerate(entries):
            misspelt = several and "params" not in entry and any(n in entry for n in MISSPELT)
            if misspelt or _like_a_group(entry, known):
                _refuse_mixed(entries, number)


def _like_a_group(tree: Mapping[Any, Any], known: set[str]) -> bool:
    """True for a dict with a hyperparameter beside `params`, or in a form that is not a tree."""
    there = tree.keys() & known
    named = "params" in tree or any(name in tree for name in MISSPELT)
    return bool(there) and (named or any(_setting(tree[name]) for name in there))


def _setting(value: Any) -> bool:
    """True for a number, a name or a schedule, or several; False for an array."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_setting, value))
    return isinstance(value, int | float | str) or callable(value)


def _refuse_mixed(entries: Sequence[Mapping[Any, Any]], number: int) -> None:
    if "params" not in entries[number]:
        raise TypeError(_lacking(f"params[{number}]", entries[number], "add it"))
    other = next(k for k, entry in enumerate(entries) if "params" not in entry)
    raise TypeError(
        f"params[{number}] looks like a parameter group, but params[{other}] is not; put its "
        "arrays into a group as well: {'params': ...}"
    )


def _lacking(name: str, group: Mapping[Any, Any], way_out: str) -> str:
    lacks = "" if "params" in group else f" without the key 'params'; it has {list(group)}"
    return f"{name} looks like a parameter group{lacks}; {way_out}"
