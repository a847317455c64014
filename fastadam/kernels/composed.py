"""Functions made of lines of text, which a compiler inlines."""

from collections.abc import Iterable, Sequence
from typing import Any


def composed(head: str, lines: Sequence[str], **names: Any) -> Any:
    """A function of these lines, which call others by name.

    Numba inlines them. Of functions that call each other in a chain it would copy the last once for
    every other.
    """
    scope: dict[str, Any] = {"__name__": __name__, **names}
    exec("\n    ".join([f"def composed({head}):", *lines]), scope)
    return scope["composed"]


def in_order(head: str, functions: Sequence[Any]) -> Any:
    """A function that calls all of these, which return nothing, with its own arguments."""
    names = {f"part_{k}": function for k, function in enumerate(functions)}
    return composed(head, [*(f"{name}({head})" for name in names), "return None"], **names)


def tuple_of(head: str, items: Iterable[str], **names: Any) -> Any:
    """A function that returns a tuple of these expressions."""
    return composed(head, [f"return ({''.join(f'{item}, ' for item in items)})"], **names)
