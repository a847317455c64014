"""Trees: one array, or dicts, lists and tuples of trees, in the order in which they are written.

The structure of a tree is the same tree with the number of each leaf in its place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Tree = Any
Leaf = tuple[tuple[str | int, ...], Any]


def leaves(tree: Tree, path: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """The leaves with their paths."""
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from leaves(branch, (*path, key))
    elif isinstance(tree, list | tuple):
        for k, branch in enumerate(tree):
            yield from leaves(branch, (*path, k))
    else:
        yield path, tree


def alone(tree: Tree) -> list[Any]:
    """The leaves without their paths, for where each step asks for them."""
    if not isinstance(tree, dict | list | tuple):
        return [tree]
    found: list[Any] = []
    for branch in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(branch, dict | list | tuple):
            found += alone(branch)
        else:
            found.append(branch)
    return found


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
    """The tree of that structure with these leaves."""
    return mapped(lambda number: values[number], structure)


def matched(structure: Tree, tree: Tree, name: str) -> list[Any]:
    """The leaves of `tree` in the order of `structure`; dicts match by key, lists match tuples.

    Raises:
        ValueError: if the two differ, with the path of the first difference.
    """
    found: list[Any] = []
    _match(structure, tree, name, found.append)
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
