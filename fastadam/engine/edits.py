"""Parameter groups as users edit them, and the detection of edits."""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

from ..kernels.commit import Operation, put

Noted = TypeVar("Noted")


class Edits:
    """Edits of the groups by the user since the optimizer last read them.

    Attributes:
        pending: True if there was any edit.
        items: True if every edit was `group[name] = value`.
        names: the names assigned in this way.
    """

    pending = True
    items = False

    def __init__(self) -> None:
        self.names: set[str] = set()

    def read(self) -> list[Operation]:
        """The operations that record that the groups have been read."""
        return [partial(set.clear, self.names), *put(self, items=True, pending=False)]


def _noting(*names: str) -> Callable[[type[Noted]], type[Noted]]:
    """Make the methods of these names record an edit."""

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return method(self, *args, **kwargs)
            finally:
                self.edits.items = False
                self.edits.pending = True

        return noted

    def decorate(cls: type[Noted]) -> type[Noted]:
        for name in names:
            setattr(cls, name, noting(getattr(cls, name)))
        return cls

    return decorate


@_noting("__delitem__", "__ior__", "update", "setdefault", "pop", "popitem", "clear")
class ParamGroup(dict[str, Any]):
    """The dict of a group that users see and edit."""

    edits = Edits()

    def __setitem__(self, name: str, value: Any) -> None:
        edits = self.edits
        try:
            dict.__setitem__(self, name, value)
        finally:
            edits.names.add(name)
            edits.pending = True


@_noting("__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "extend", "insert")
@_noting("pop", "remove", "clear", "reverse", "sort")
class ParamGroups(list[ParamGroup]):
    """The list of groups that users see and edit."""

    edits = Edits()
