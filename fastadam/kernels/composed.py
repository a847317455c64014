"""Functions made of lines of text, which a compiler inlines."""

from collections.abc import Sequence
from typing import Any


def composed(head: str, lines: Sequence[str], **names: Any) -> Any:
    """A function of these lines, which call others by name.

    Numba inlines them. Of functions that call each other in a chain it would copy the last once for
    every other.
    """
    scope = {"__name__": __name__, **names}
    exec("\n    ".join([f"def composed({head}):", *lines]), scope)
    return scope["composed"]
