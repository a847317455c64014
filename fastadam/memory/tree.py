"""Trees: one array, or dicts, lists and tuples of trees, in the order of their items.

The structure of a tree is the same tree with the number of each leaf in its place.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from ..validation import alternatives

Tree = Any
Leaf = tuple[tuple[str | int, ...], Any]

ARRAYS = ("__array__", "__array_interface__", "__dlpack__", "__cuda_array_interface__", "dtype")


def leaves(
    tree: Tree, path: tuple[str | int, ...] = (), around: tuple[int, ...] = ()
) -> Iterator[Leaf]:
    """The leaves with their paths.

    Raises:
        ValueError: if a container contains itself.
    """
    branches = branches_of(tree)
    if branches is None:
        yield path, tree
        return
    if id(tree) in around:
        raise ValueError(
            f"{indexed('the tree', path)} is a {type(tree).__name__} that holds itself"
        )
    around = (*around, id(tree))
    for key, branch in branches:
        if isinstance(branch, Mapping | list | tuple):
            yield from leaves(branch, (*path, key), around)
        else:
            yield (*path, key), branch


def branches_of(tree: Tree) -> Iterable[tuple[Any, Tree]] | None:
    """The items of a container, with keys; None for a leaf."""
    if isinstance(tree, Mapping):
        return tree.items()
    return enumerate(tree) if isinstance(tree, list | tuple) else None


def listed(tree: Tree) -> Tree:
    """A list of the items of an iterable, such as the values of a dict; a tree, and anything that
    may be an array, unchanged."""
    if isinstance(tree, Mapping | list | tuple | str | bytes | np.ndarray):
        return tree
    if not isinstance(tree, Iterable) or any(hasattr(tree, name) for name in ARRAYS):
        return tree
    return list(tree)


def mapped(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """The same tree with `function(leaf)` for each leaf, in order."""
    if isinstance(tree, Mapping):
        return {key: mapped(function, branch) for key, branch in tree.items()}
    if isinstance(tree, list | tuple):
        branches = [mapped(function, branch) for branch in tree]
        if isinstance(tree, list):
            return branches
        return type(tree)(*branches) if hasattr(tree, "_fields") else tuple(branches)
    return function(tree)


def structure_of(tree: Tree) -> Tree:
    numbers = iter(range(1 << 62))
    return mapped(lambda leaf: next(numbers), tree)


def filled(structure: Tree, values: Sequence[Any]) -> Tree:
    """The tree with this structure and these leaves."""
    return mapped(lambda number: values[number], structure)


def entry_of(tree: Tree, leaves: Sequence[Any], key: Any, name: str) -> Any:
    """The entry of a tree that is a dict, or the leaf with an index, or the leaves of a slice.

    Raises:
        KeyError: with the key that was probably meant; `name` is the name of the tree.
        IndexError: for an index that is out of range.
    """
    if isinstance(key, slice):
        return leaves[key]
    if isinstance(tree, Mapping) and key in tree:
        return tree[key]
    if not isinstance(key, Integral) or isinstance(key, bool):
        keys = [*tree] if isinstance(tree, Mapping) else []
        names = [each for each in keys if isinstance(each, str)]
        end = alternatives(
            key, names, f"it has {keys} and numbers" if keys else "it has numbers only"
        )
        raise KeyError(f"{name} has no {key!r}{end}")
    if not -len(leaves) <= int(key) < len(leaves):
        raise IndexError(f"{name}[{key}]: {name} has {len(leaves)} arrays")
    return leaves[int(key)]


def matched(structure: Tree, tree: Tree, name: str) -> list[Any]:
    """The leaves of `tree` in the order of `structure`; dicts match by key, lists match tuples.

    Raises:
        ValueError: if the two differ, with the path of the first difference.
    """
    found: list[Any] = []
    _match(structure, listed(tree), name, found.append)
    return found


def _match(structure: Tree, tree: Tree, path: str, add: Callable[[Any], None]) -> None:
    if isinstance(structure, int):
        return add(tree)
    if isinstance(structure, Mapping):
        if not isinstance(tree, Mapping):
            raise ValueError(_differs(path, f"a dict with the keys {list(structure)}", tree))
        if tree.keys() != structure.keys():
            raise ValueError(
                f"{path} has the keys {list(tree)}, but the parameters there have "
                f"{list(structure)}; give the same structure"
                + ", with None for a parameter without a gradient"
                * path.startswith("grads")
            )
    elif not isinstance(tree, list | tuple) or len(tree) != len(structure):
        raise ValueError(_differs(path, f"a list of {len(structure)}", tree))
    keys = structure if isinstance(structure, Mapping) else range(len(structure))
    for key in keys:
        branch = structure[key]
        if isinstance(branch, int):
            add(tree[key])
        else:
            _match(branch, tree[key], f"{path}[{key!r}]", add)


def _differs(path: str, expected: str, tree: Tree) -> str:
    got = f"a {type(tree).__name__}"
    if isinstance(tree, Mapping | list | tuple):
        got += f" of {len(tree)}"
    return f"{path} is {got}, but the parameters there are {expected}; give the same structure"


def dotted(path: tuple[str | int, ...]) -> str:
    """A path as a name: `layers.0.weight`."""
    return ".".join(map(str, path))


def indexed(name: str, path: tuple[str | int, ...]) -> str:
    """A path as Python writes it: `params['layers'][0]`."""
    return name + "".join(f"[{part!r}]" for part in path)
