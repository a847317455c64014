"""The arrays that move: their order, their names, and the structure their gradients must have."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import checks
from .device import as_array, is_device
from .flat import Flat
from .tree import Tree, dotted, indexed, leaves, matched, structure_of


class Gathered(NamedTuple):
    """A tree of arrays, checked: its arrays in order, and what they are called."""

    tree: Tree
    flat: Flat | None
    arrays: list[Any]
    names: list[str]
    paths: list[str]  # dotted, for checkpoints; none if the tree is not a dict


class Parameters:
    """All arrays of an optimizer: one tree, or a flat list over several groups."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self.names: list[str] = []  # for messages: params['w'], param_groups[1]['params'][0]
        self.flat: Flat | None = None
        self.alone = False
        self._adopt([], None)

    def checked(self, tree: Tree, label: str, taken: Sequence[checks.Span]) -> Gathered:
        """The arrays of a tree, if they can move in place beside those already here and `taken`.

        Raises:
            TypeError, ValueError: if one cannot.
        """
        flat = tree if isinstance(tree, Flat) else None
        if flat:
            flat.views(f"{label}.tree")
            tree = flat.tree
        found = list(leaves(tree))
        if not found:
            raise ValueError(f"{label} holds no array; give at least one parameter")
        arrays = [as_array(leaf) for _, leaf in found]
        names = [indexed(label, path) for path, _ in found]
        for array, name in zip(arrays, names, strict=True):
            checks.check_array(array, name, written=True)
            checks.check_together(array, name, (self.arrays + arrays)[0], (self.names + names)[0])
        spans = map(checks.span, self.arrays + arrays, self.names + names)
        checks.check_apart([*spans, *taken])
        paths = [dotted(path) for path, _ in found] if isinstance(tree, dict) else []
        return Gathered(tree, flat, arrays, names, paths)

    def add(self, gathered: Gathered, alone: bool) -> None:
        """Take in what was checked, as the only tree or as one of several."""
        self.arrays, self.names = self.arrays + gathered.arrays, self.names + gathered.names
        self.alone = alone
        if alone:
            self._adopt(gathered.tree, gathered.flat)
        else:
            self._adopt(list(self.arrays), None)

    def replace(self, arrays: Sequence[Any]) -> None:
        """Take arrays like those before in their places, of a list of them."""
        self.arrays[:] = arrays
        self.tree = list(arrays)

    def _adopt(self, tree: Tree, flat: Flat | None) -> None:
        self.tree, self.flat, self.structure = tree, flat, structure_of(tree)
        self.single = isinstance(self.structure, int)
        self._plain = isinstance(tree, list | tuple) and [*self.structure] == [*range(len(tree))]
        self._paths = [path for path, _ in leaves(tree)]
        self._last_buffers: dict[str, tuple[Any, list[Any]]] = {}  # kept, to be known again

    @property
    def nbytes(self) -> list[int]:
        """How many bytes each array has."""
        return [array.nbytes for array in self.arrays]

    @property
    def size(self) -> int:
        """How many elements there are."""
        return sum(array.size for array in self.arrays)

    def flat_like(self, buffer: Any) -> Flat:
        """A Flat of the structure and shapes of the parameters over a buffer of their size."""
        return Flat(self.structure, [array.shape for array in self.arrays], buffer)

    def called(self, name: str) -> list[str]:
        """What the arrays of a tree of this structure are called: grads['w'], mask[0]."""
        return [indexed(name, path) for path in self._paths]

    def matched(self, grads: Any, name: str = "grads") -> Any:
        """The gradients in the order of the arrays; only the structure is looked at."""
        if self.single and not (self.flat and _one_dimensional(grads)):
            return (grads.tree,) if isinstance(grads, Flat) else (grads,)
        if self._plain and isinstance(grads, list | tuple) and len(grads) == len(self.arrays):
            return grads
        if isinstance(grads, Flat):
            grads = grads.tree
        elif self.flat is not None and _one_dimensional(grads):
            return self._slices(grads, name)
        return matched(self.structure, grads, name)

    def _slices(self, buffer: Any, name: str) -> list[Any]:
        """The arrays in one array over all elements of a Flat."""
        assert self.flat is not None
        given, buffer = buffer, as_array(buffer)
        last, slices = self._last_buffers.get(name, (None, []))
        if last is not given:
            if buffer.shape != self.flat.buffer.shape:
                raise ValueError(
                    f"{name} is one array of shape {buffer.shape}, but the parameters are a Flat "
                    f"of {self.flat.buffer.size} elements; give as many, or the structure of params"
                )
            checks.check_contiguous(buffer, name)
            slices = self.flat.over(buffer).leaves
            self._last_buffers[name] = given, slices
        return slices


def _one_dimensional(array: Any) -> bool:
    return (isinstance(array, np.ndarray) or is_device(array)) and len(array.shape) == 1
