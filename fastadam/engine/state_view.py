"""The state as users see it: arrays to be written to, in containers that are not."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

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
class StateView(dict[str, list[Any]]):
    """The state by name; a copy is a plain dict."""

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


@_refusing("__setitem__", "__delitem__", "__iadd__", "__imul__", "append", "extend", "insert")
@_refusing("pop", "remove", "clear", "reverse", "sort")
class ArraysView(list[Any]):
    """The arrays of one name; a copy is a plain list."""

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)
