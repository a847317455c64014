"""Detection of arrays that were replaced, added or removed in the user's containers."""

from collections.abc import Mapping, MappingView, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from .tree import Tree, indexed, leaves, mapped


class _Only:
    """An object equal to one object only, for arrays of one element, which compare by value."""

    __array_ufunc__ = None  # arrays leave the comparison to it

    def __init__(self, one: Any) -> None:
        self._one = one

    def __eq__(self, other: object) -> bool:
        return self._one is other

    __hash__ = None  # type: ignore[assignment]


def _marker(leaf: Any) -> Any:
    """A stand-in for a leaf in comparisons of containers.

    The leaf itself, if no other array can be equal to it in Python's comparison, which begins with
    identity."""
    return leaf if isinstance(leaf, np.ndarray) and leaf.size > 1 else _Only(leaf)


class Change(NamedTuple):
    """The first difference between a tree and a snapshot: an array replaced, added or removed."""

    where: str  # such as ['w'][0]
    kind: Literal["replaced", "added", "removed"]


class Snapshot:
    """A snapshot of a tree.

    Attributes:
        containers: the tree in new containers, which equal only containers with the same leaves.
    """

    def __init__(self, tree: Tree) -> None:
        self.containers, self._leaves = mapped(_marker, tree), dict(leaves(tree))

    def fits(self, tree: Tree) -> bool:
        """True if a tree has the same leaves in the same places."""
        try:
            if [self.containers] == [tree]:  # in a list, which compares by identity first
                return True
        except Exception:  # arrays that differ have no truth value
            return False
        return self.change(tree) is None  # for containers that redefine equality

    def change(self, tree: Tree) -> Change | None:
        """The first difference, or None."""
        now, then = dict(leaves(tree)), self._leaves
        for path, leaf in now.items():
            if path not in then:
                return Change(indexed("", path), "added")
            if then[path] is not leaf:
                return Change(indexed("", path), "replaced")
        for path in then.keys() - now.keys():
            return Change(indexed("", path), "removed")
        return None


class Container(NamedTuple):
    """A container of arrays that the user may change, with a snapshot and its name."""

    given: Any
    label: str
    then: Snapshot
    home: str = "opt.param_groups"  # where the user finds the arrays in use

    @property
    def live(self) -> bool:
        """True if it is not a tree itself, but a view of one, or changeable like one."""
        return isinstance(self.given, MappingView | Sequence) and not self.plain

    @property
    def plain(self) -> bool:
        return isinstance(self.given, Mapping | list | tuple)

    def now(self) -> Tree:
        """The current tree in it."""
        return list(self.given) if self.live else self.given
