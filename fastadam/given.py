"""What is given as parameters: a tree of arrays, or groups of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .groups import CARRIED
from .memory.checks import short
from .memory.flat import Flat
from .memory.tree import leaves, listed

MISSPELT = ("param", "parameters", "weights")  # for `params`


def once(params: Any) -> Any:
    """Lists in place of iterators, which can be gone through only once."""
    params = list(params) if isinstance(params, Iterator) else params
    if not are_groups(params):
        return params
    trees = [group["params"] for group in params]
    return [
        {**group, "params": list(tree)} if isinstance(tree, Iterator) else group
        for group, tree in zip(params, trees, strict=True)
    ]


def first_array(params: Any) -> Any:
    """An array of the parameters, if they are what they should be."""
    if are_groups(params):
        params = listed(params[0]["params"])
    tree = params.tree if isinstance(params, Flat) else params
    return next((leaf for _, leaf in leaves(tree)), None)


def are_groups(params: Any) -> bool:
    """Whether this is a list of groups rather than a tree of arrays."""
    return (
        isinstance(params, list | tuple)
        and len(params) > 0
        and all(isinstance(group, dict) and "params" in group for group in params)
    )


def check_group(group: Any, where: str) -> None:
    """Refuse what is no group.

    Raises:
        TypeError: saying what it lacks.
    """
    if not isinstance(group, dict):
        raise TypeError(f"a parameter group is a dict with 'params', not {short(group)}")
    if "params" not in group:
        raise TypeError(f"a parameter group is a dict with 'params'; {where} has {list(group)}")


def check_tree(params: Any, hyperparameters: Iterable[str]) -> None:
    """Refuse a tree that was meant to be groups.

    Raises:
        TypeError: saying what it lacks.
    """
    known = {*hyperparameters, *CARRIED} - {"params"}
    if isinstance(params, Mapping):
        if _like_a_group(params, known):
            raise TypeError(_lacking("params", params, "; groups come in a list: [{...}]"))
    elif isinstance(params, list | tuple):
        for number, entry in enumerate(params):
            if isinstance(entry, Mapping) and _like_a_group(entry, known):
                _refuse_mixed(params, number)


def _like_a_group(tree: Mapping[Any, Any], known: set[str]) -> bool:
    """Whether a dict has a hyperparameter beside `params`, or in a form in which none is a tree."""
    there = tree.keys() & known
    if not there:
        return False
    named = "params" in tree or any(name in tree for name in MISSPELT)
    return named or any(isinstance(tree[name], int | float | str) for name in there)


def _refuse_mixed(params: Any, number: int) -> None:
    if "params" not in params[number]:
        raise TypeError(_lacking(f"params[{number}]", params[number], ""))
    entries = enumerate(params)
    other = next(k for k, e in entries if not isinstance(e, Mapping) or "params" not in e)
    raise TypeError(
        f"params[{number}] looks like a parameter group, but params[{other}] is none; put its "
        "arrays into a group as well: {'params': ...}"
    )


def _lacking(name: str, group: Mapping[Any, Any], hint: str) -> str:
    lacks = "" if "params" in group else f" without the key 'params'; it has {list(group)}"
    return f"{name} looks like a parameter group{lacks}{hint}"
