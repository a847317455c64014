"""Layout of a file: the places of its arrays, and the comparison of layouts."""

from collections.abc import Iterable
from math import prod
from typing import Any, NamedTuple

from ..dtypes import named

LINE = 64  # bytes, between arrays
SECTION = 1 << 16  # bytes, between groups of arrays


class Entry(NamedTuple):
    """An array of a file.

    Attributes:
        name: its name, such as `w` or `exp_avg/w`.
        dtype: the name of its dtype.
        shape: its shape.
        offset: the offset of its first byte in the data of the file.
        start: the initial value of all elements.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    start: float = 0

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * int(named(self.dtype).itemsize)

    @property
    def kind(self) -> str:
        return f"{self.dtype} of shape {self.shape}"

    @classmethod
    def of(cls, saved: Iterable[Any]) -> "Entry":
        """The entry with the fields that a file contains."""
        name, dtype, shape, offset, start = saved
        return cls(name, dtype, tuple(shape), offset, start)


class Layout(NamedTuple):
    """The arrays of a file, and the optimizer to which they belong.

    Attributes:
        kind: "parameters" or "state".
        owner: the name of the optimizer, for a state file.
        entries: the arrays.
    """

    kind: str
    owner: str
    entries: list[Entry]

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays, including the padding between them."""
        return max((each.offset + each.nbytes for each in self.entries), default=0)

    def difference(self, other: "Layout") -> str | None:
        """A description of the first difference of another layout, that of a file, or None."""
        if other.kind != self.kind:
            return f"it holds {other.kind}, not {self.kind}"
        if other.owner != self.owner:
            return f"it holds the state of {other.owner}, not of {self.owner}"
        theirs = {entry.name: entry for entry in other.entries}
        for entry in self.entries:
            held = theirs.get(entry.name)
            if held is None:
                return f"it lacks {entry.name!r}; it has {_some(theirs)}"
            if held.kind != entry.kind:
                return f"its {entry.name!r} is {held.kind}, not {entry.kind}"
            if held.start != entry.start:
                return f"its {entry.name!r} started at {held.start}, not at {entry.start}"
        if more := [name for name in theirs if name not in {e.name for e in self.entries}]:
            return f"it has {_some(more)} besides"
        if other.entries != self.entries:
            return f"its arrays are in another order: {_some(theirs)}"
        return None


def placed(
    arrays: Iterable[tuple[str, str, tuple[int, ...]]], offset: int = 0, line: int = 1
) -> list[Entry]:
    """Entries for consecutive arrays (name, dtype, shape), each at a multiple of `line` bytes."""
    entries = list[Entry]()
    for name, dtype, shape in arrays:
        entries.append(Entry(name, dtype, shape, -(-offset // line) * line))
        offset = entries[-1].offset + entries[-1].nbytes
    return entries


def _some(names: Iterable[str]) -> str:
    shown = [*map(repr, names)]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
