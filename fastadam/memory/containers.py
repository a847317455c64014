"""Containers of the user: detects arrays that were replaced, added or removed."""

from collections.abc import Mapping, MappingView, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from .tree import Tree, indexed, leaves, mapped


class _Only:
    """Equal to one object alone: arrays of one element are equal to others by their value."""

    __array_ufunc__ = None  # arrays leave the comparison to it

    def __init__(self, one: Any) -> None:
        self._one = one

    def __eq__(self, other: object) -> bool:
        return self._one is other

    __hash__ = None  # type: ignore[assignment]


def _marker(leaf: Any) -> Any:
    """A stand-in for a leaf: itself if Python's comparison of containers, which begins with
    identity, can mistake no other array for it."""
    return leaf if isinstance(leaf, np.ndarray) and leaf.size > 1 else _Only(leaf)


class Change(NamedTuple):
    """The place where a tree differs from what it was: an array exchanged, put in, or taken out."""

    where: str  # such as ['w'][0]
    kind: Literal["exchanged", "put in", "taken out"]


class Snapshot:
    """A tree as it was.

    Attributes:
        containers: the tree with containers of its own, equal to one with the same leaves alone.
    """

    def __init__(self, tree: Tree) -> None:
        self.containers, self._leaves = mapped(_marker, tree), dict(leaves(tree))

    def fits(self, tree: Tree) -> bool:
        """True if a tree has the same leaves in the same places."""
        try:
            if [self.containers] == [tree]:  # in a list, where identity comes first
                return True
        except Exception:  # arrays that differ have no truth value
            return False
        return self.change(tree) is None  # of containers with an equality of their own

    def change(self, tree: Tree) -> Change | None:
        """The first difference, or None."""
        now, then = dict(leaves(tree)), self._leaves
        for path, leaf in now.items():
            if path not in then:
                return Change(indexed("", path), "put in")
            if then[path] is not leaf:
                return Change(indexed("", path), "exchanged")
        for path in then.keys() - now.keys():
            return Change(indexed("", path), "taken out")
        return None


class Container(NamedTuple):
    """A container of arrays that the user may change, with its earlier content and its name."""

    given: Any
    label: str
    then: Snapshot
    home: str = "opt.param_groups"  # where the arrays are that belong there

    @property
    def live(self) -> bool:
        """True if it is not a tree, but shows what is in one, or may be changed like one."""
        return isinstance(self.given, MappingView | Sequence) and not self.plain

    @property
    def plain(self) -> bool:
        return isinstance(self.given, Mapping | list | tuple)

    def now(self) -> Tree:
        """The tree that is in it."""
        return list(self.given) if self.live else self.given
