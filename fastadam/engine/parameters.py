"""The arrays to update: their order, their names, and the structure of their gradients."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np

from ..memory import checks
from ..memory.complex_numbers import REAL, Pairs, as_pairs, shown
from ..memory.containers import Container, Snapshot
from ..memory.parameter_changes import Checked, Facts, ParameterChanges
from ..memory.tree import Tree, dotted, indexed, leaves, listed, mapped, matched, structure_of
from .backend import as_array, backend_of, is_array
from .flat import Flat

NO_GRADS = (
    "step() without gradients uses opt.grads, which has not been used yet; fill opt.grads.tree, or "
    "pass the gradients"
)


class Gathered(NamedTuple):
    """A checked tree of arrays: its arrays in order, and their names."""

    tree: Tree  # with containers of its own
    flat: Flat | None
    arrays: list[Any]
    names: list[str]
    paths: list[str]  # dotted, for checkpoints; none if the tree is not a dict
    container: Container | None = None  # the caller's tree
    facts: Sequence[Facts] = ()


class Parameters:
    """All arrays of an optimizer: one tree, or a flat list over several groups."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []
        self.names: list[str] = []  # for messages: params['w'], param_groups[1]['params'][0]
        self.flat: Flat | None = None
        self.alone = False
        self._public: Tree = None  # the tree as returned to the user
        self._others: list[Container] = []  # other trees returned to the user
        self._containers: list[Container] = []
        self._facts: list[Facts] = []
        self._spans: list[checks.Span] = []
        self._held: list[ref[Any]] = []  # NumPy refuses to resize an array with weak references
        self._shown: MutableMapping[Flat, Flat] = WeakKeyDictionary()
        self._given: list[str | None] = []  # the name of each parameter in its group
        self._changes: ParameterChanges | None = None
        self._adopt([], None)

    def checked(
        self, trees: Iterable[tuple[Tree, str]], taken: Sequence[checks.Span]
    ) -> list[Gathered]:
        """The arrays of labelled trees, which do not overlap the current parameters and `taken`.

        Raises:
            TypeError, ValueError: for an array that cannot be updated in place.
        """
        checked = list[Gathered]()
        first, first_name = (self.arrays or [None])[0], (self.names or [""])[0]
        for tree, label in trees:
            gathered = _gathered(tree, label)
            if first is None:
                first, first_name = gathered.arrays[0], gathered.names[0]
            for array, name in zip(gathered.arrays, gathered.names, strict=True):
                checks.check_array(array, name, written=True, updated=True)
                checks.check_together(array, name, first, first_name)
            checked.append(gathered._replace(facts=list(map(Facts.of, gathered.arrays))))
        new = [span for gathered in checked for span in _spans(gathered)]
        checks.check_apart([*self._spans, *new, *taken])
        return checked

    def with_groups(
        self,
        gathered: Sequence[Gathered],
        alone: bool,
        given: Sequence[Sequence[str] | None] = (),
    ) -> "Parameters":
        """The parameters with those of more trees.

        Args:
            gathered: the checked trees.
            alone: True for one tree without groups.
            given: for each group, the names that it gives its parameters, or None."""
        more = Parameters()
        more.arrays = self.arrays + [array for each in gathered for array in each.arrays]
        more.names = self.names + [name for each in gathered for name in each.names]
        more.alone = alone
        more._facts = self._facts + [facts for each in gathered for facts in each.facts]
        more._containers = self._containers + [g.container for g in gathered if g.container]
        more._spans = sorted([*self._spans, *(s for each in gathered for s in _spans(each))])
        more._held = self._held + [r for g in gathered for a in g.arrays for r in _references(a)]
        more._given = list(self._given)
        for each, names in zip(gathered, given or [None] * len(gathered), strict=True):
            unnamed: list[str | None] = [None] * len(each.arrays)
            more._given += names if names and len(names) == len(unnamed) else unnamed
        if alone:
            more._adopt(gathered[0].tree, gathered[0].flat)
        else:
            more._adopt([shown(array, array) for array in more.arrays], None)
            more._find_by_name()
        return more

    def _find_by_name(self) -> None:
        """Accept gradients of groups by name, too, if all parameters have unique names."""
        names: dict[str, Any] = {name: None for name in self._given if name is not None}
        if len(names) == len(self.arrays):
            self._named = names
            self._pick = itemgetter(*names) if len(names) > 1 else None

    def replace(self, arrays: Sequence[Any]) -> None:
        """Replace the arrays of a list by others of the same shapes and dtypes."""
        self.arrays[:] = arrays
        self.tree = list(arrays)

    def _adopt(self, tree: Tree, flat: Flat | None) -> None:
        self.tree, self.flat, self.structure = tree, flat, structure_of(tree)
        self.single = isinstance(self.structure, int)
        self._plain = isinstance(tree, list | tuple) and [*self.structure] == [*range(len(tree))]
        self._paths = [path for path, _ in leaves(tree)]
        flat_dict = isinstance(tree, Mapping) and {*map(len, self._paths)} == {1} and len(tree) > 1
        self._pick = itemgetter(*tree) if flat_dict else None
        self._named = dict[str, Any]()  # of groups, whose parameters all have names
        self._last_buffers: dict[str, tuple[Any, list[Any]]] = {}  # kept, to be known again

    @property
    def changes(self) -> ParameterChanges:
        """A detector of arrays that were changed or replaced."""
        if self._changes is None:
            self._changes = self._new_changes()
        return self._changes

    def _new_changes(self) -> ParameterChanges:
        checked = list(map(Checked, self.arrays, self.names, self._facts))
        if self.flat:
            name = self._containers[0].label.removesuffix(".tree")
            checked.append(Checked(self.flat.buffer, f"{name}.buffer", Facts.of(self.flat.buffer)))
        return ParameterChanges([*self._containers, *self._others], checked)

    def public(self) -> Tree:
        """The tree, in containers whose changes by the user are detected from now on."""
        if self.flat or self.single:
            return self.tree
        if self._public is None:
            self._public = mapped(lambda leaf: leaf, self.tree)
            self.follow(Container(self._public, "opt.params", Snapshot(self.tree)))
        return self._public

    @property
    def containers(self) -> list[Container]:
        """The caller's containers of the arrays."""
        return self._containers

    @property
    def facts(self) -> list[Facts]:
        """The properties of each array when it was checked."""
        return self._facts

    def follow(self, container: Container) -> None:
        """Detect changes of a container that was returned to the user."""
        if all(each.given is not container.given for each in self._others):
            self.changes.include(container)
            self._others.append(container)

    @property
    def spans(self) -> list[checks.Span]:
        """The memory of the arrays."""
        return self._spans

    @property
    def nbytes(self) -> list[int]:
        """The number of bytes of each array."""
        return [array.nbytes for array in self.arrays]

    @property
    def size(self) -> int:
        """The number of elements."""
        return sum(array.size for array in self.arrays)

    def flat_like(self, buffer: Any) -> Flat:
        """A Flat of the structure and shapes of the parameters over a buffer of their size."""
        return Flat(self.structure, [array.shape for array in self.arrays], buffer)

    @property
    def has_pairs(self) -> bool:
        """True if there are arrays of complex numbers."""
        return any(isinstance(array, Pairs) for array in self.arrays)

    def shown(self, flat: Flat) -> Flat:
        """A Flat like the parameters for the user: over the same buffer, with complex arrays for
        complex parameters."""
        pairs = [isinstance(array, Pairs) for array in self.arrays]
        if not any(pairs) or flat.buffer.dtype not in REAL.values():
            return flat
        if flat not in self._shown:
            shapes = [array.shape for array in self.arrays]
            self._shown[flat] = Flat(self.structure, shapes, flat.buffer, pairs)
        return self._shown[flat]

    def own_grads(self) -> Flat:
        """New gradients of zero: a Flat of the structure, shapes and dtype of the parameters.

        Raises:
            TypeError: if the parameters have several dtypes.
        """
        dtypes = sorted({str(array.dtype) for array in self.arrays})
        if len(dtypes) > 1:
            raise TypeError(
                f"grads is one buffer of one dtype, but the parameters have {dtypes}; "
                "pass the gradients to step() instead"
            )
        first = self.arrays[0]
        return self.shown(self.flat_like(backend_of(first).zeros(self.size, first.dtype)))

    def called(self, name: str) -> list[str]:
        """The names of the arrays of a tree of this structure: grads['w'], mask[0]."""
        if not (self.alone or self._containers):  # tensors, which support several forms of masks
            return [f"the {name} of {each}" for each in self.names]
        return [indexed(name, path) for path in self._paths]

    def matched(self, grads: Any, name: str = "grads") -> Any:
        """The gradients in the order of the arrays; only the structure is checked."""
        if self.single and not (self.flat is not None and _one_dimensional(grads)):
            return (grads.tree,) if isinstance(grads, Flat) else (grads,)
        if self._plain and isinstance(grads, list | tuple) and len(grads) == len(self.arrays):
            return grads
        if self._pick and type(grads) is dict and len(grads) == len(self.arrays):
            with suppress(KeyError):  # `matched` has a better message
                return self._pick(grads)
        if isinstance(grads, Flat):
            grads = grads.tree
        elif self.flat is not None and _one_dimensional(grads):
            return self._slices(grads, name)
        if self._named and isinstance(grads, Mapping):
            return self._by_name(grads, name)
        try:
            return matched(self.structure, grads, name)
        except ValueError as error:
            if self.alone:
                raise
            raise ValueError(
                f"{error}; with groups, {name} is one flat list over all groups, in their order"
                + ", or a dict by the names of the parameters" * bool(self._named)
            ) from None

    def _by_name(self, grads: Mapping[Any, Any], name: str) -> list[Any]:
        """The arrays of a tree with the names of the parameters of groups, in their order.

        Raises:
            ValueError: for missing and unknown names.
        """
        found = [(dotted(path), leaf) for path, leaf in leaves(grads)]
        arrays = dict(found)
        if arrays.keys() != self._named.keys() or len(arrays) < len(found):
            missing = [each for each in self._named if each not in arrays]
            unknown = [each for each, _ in found if each not in self._named]
            raise ValueError(
                f"{name} does not have the names of the parameters of the groups: missing "
                f"{missing}, unknown {unknown}; give each name once"
                + ", with None for a parameter without a gradient"
                * (name == "grads")
            )
        return [arrays[each] for each in self._named]

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


def _gathered(given: Tree, label: str) -> Gathered:
    """The arrays of a tree that has not been checked."""
    flat = given if isinstance(given, Flat) else None
    if flat:
        flat.views(f"{label}.tree")
    tree = flat.tree if flat else listed(given)
    found = list(leaves(tree))
    if not found:
        raise ValueError(f"{label} contains no arrays; give at least one parameter")
    arrays = [as_pairs(as_array(leaf)) for _, leaf in found]
    names = [indexed(label, p) for p, _ in found]
    paths = [dotted(path) for path, _ in found] if isinstance(tree, dict) else []
    own = tree if flat else mapped(lambda leaf: leaf, tree)
    container = flat.container(label) if flat else Container(given, label, Snapshot(own))
    return Gathered(own, flat, arrays, names, paths, container)


def _spans(gathered: Gathered) -> Iterator[checks.Span]:
    """The memory of arrays."""
    for array, name, facts in zip(*gathered[2:4], gathered.facts, strict=False):
        yield checks.Span(facts.address, facts.address + array.nbytes, name)


def _references(array: Any) -> Iterator[Any]:
    """Weak references to an array and the arrays of which it is a view."""
    while isinstance(array, np.ndarray):
        yield ref(array)
        array = array.base


def _one_dimensional(array: Any) -> bool:
    return is_array(array) and len(array.shape) == 1
