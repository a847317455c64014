"""The public view of the state: writable arrays in read-only containers."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from ..memory.tree import Tree, entry_of, filled
from ..validation import alternatives

Refusing = TypeVar("Refusing")


def _refusing(*names: str) -> Callable[[type[Refusing]], type[Refusing]]:
    """Make the methods of these names raise."""

    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            "opt.state cannot be assigned to, since the optimizer would not see it; write into "
            "the arrays that are there after the first step, such as "
            "opt.state['exp_avg'][0][...] = value, or use load_state_dict"
        )

    def decorate(cls: type[Refusing]) -> type[Refusing]:
        for name in names:
            setattr(cls, name, refuse)
        return cls

    return decorate


@_refusing("__setitem__", "__delitem__", "__ior__", "update", "setdefault", "pop", "popitem")
@_refusing("clear")
class StateView(dict[str, "ArraysView"]):
    """The state by name; a copy is a plain dict."""

    def __missing__(self, name: Any) -> NoReturn:
        raise KeyError(f"opt.state has no {name!r}{alternatives(name, self, f'it has {[*self]}')}")

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


@_refusing("__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "extend", "insert")
@_refusing("pop", "remove", "clear", "reverse", "sort")
class ArraysView(list[Any]):
    """The arrays of one name, by number or by the names of the parameters; a copy is a plain list.

    Args:
        arrays: one per parameter, or None.
        structure: the structure of the parameters.
        numbers: the numbers of parameters by name.
    """

    def __init__(self, arrays: Sequence[Any], structure: Tree, numbers: Mapping[str, int]) -> None:
        super().__init__(arrays)
        self._structure, self._numbers = structure, numbers

    def __getitem__(self, key: Any) -> Any:
        if type(key) is int:
            return super().__getitem__(key)
        if isinstance(key, str) and key in self._numbers:
            return super().__getitem__(self._numbers[key])
        tree = _frozen(filled(self._structure, self))
        return entry_of(tree, [*self], key, "opt.state[...]")

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def numbers_of(groups: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The numbers of parameters by the names that their groups give them, if these are unique."""
    names = [
        name
        for group in groups
        for name in group.get("param_names") or [None] * len(group["params"])
    ]
    counts = Counter(names)
    return {name: number for number, name in enumerate(names) if name and counts[name] == 1}


def _frozen(tree: Tree) -> Tree:
    """A read-only tree, since the optimizer would not use arrays assigned to it."""
    if isinstance(tree, Mapping):
        return MappingProxyType({key: _frozen(branch) for key, branch in tree.items()})
    return tuple(map(_frozen, tree)) if isinstance(tree, list | tuple) else tree
