"""Detection of changes that the user makes to parameters after creating the optimizer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from . import checks
from .array_headers import NOT_READ, ArrayHeaders, KnownArrays, comparison, never
from .containers import Container


class Facts(NamedTuple):
    """The properties of an array that a plan relies on."""

    dtype: Any
    shape: tuple[int, ...]
    address: int

    @classmethod
    def of(cls, array: Any) -> "Facts":
        return cls(array.dtype, array.shape, checks.address(array))


class Checked(NamedTuple):
    """An array, its name in messages, and its properties when it was checked."""

    array: Any
    name: str
    facts: Facts


class ParameterChanges:
    """Detects changes of parameters, and of the containers in which they were given.

    Args:
        containers: the containers of the arrays.
        arrays: the arrays.
    """

    def __init__(self, containers: Sequence[Container], arrays: Sequence[Checked]) -> None:
        self._containers, self._then = list[Container](), list[Any]()
        self._trees = list[Any]()  # of the same length as `_then`, and equal to it
        self._arrays = [each for each in arrays if isinstance(each.array, np.ndarray)]
        self._headers = NOT_READ  # until the arrays have been checked
        for each in containers:
            self.include(each)

    def include(self, container: Container) -> None:
        """Detect changes of one more container."""
        if container.plain or container.live:
            self._containers.append(container)
            self._then.append(container.then.containers)
            self._trees.append(container.now())

    def unchanged(self) -> bool:
        """True if one fast comparison finds no change; False does not prove a change."""
        for k, each in enumerate(self._containers):
            if each.live:
                self._trees[k] = each.now()
        try:
            return self._headers.unchanged() and self._then == self._trees
        except Exception:  # arrays that differ have no truth value
            return False

    def comparison(self, others: KnownArrays) -> Callable[[Sequence[Any]], bool]:
        """A function that compares other arrays with known ones, and detects changes of the
        parameters, in one comparison."""
        if others.headers is None or any(each.live for each in self._containers):
            return never
        headers = self._headers + others.headers
        return comparison(others, headers, self._trees, self._then)

    def check_containers(self) -> None:
        """Refuse containers in which an array was replaced, added or removed.

        Raises:
            ValueError: with the place and a fix.
        """
        for each in self._containers:
            change = each.then.change(each.now())
            if change is None:
                continue
            where = each.label + change.where
            if change.kind == "replaced":
                raise ValueError(
                    f"{where} is another array than the one that the optimizer updates, which is "
                    f"in {each.home}; restore that one, and write values into it: "
                    f"{where}[...] = value"
                )
            raise ValueError(
                f"{where} was {change.kind} after the optimizer was created, without effect on the "
                "optimizer; use add_param_group for more arrays, or create a new optimizer"
            )

    def check_arrays(self, written: Sequence[bool]) -> None:
        """Refuse arrays whose properties have changed.

        Args:
            written: for each parameter, True if a step writes to it.

        Raises:
            ValueError: naming the array.
        """
        each_or_any = [*written, any(written)]  # the last for a buffer that holds them all
        for (array, name, facts), needed in zip(self._arrays, each_or_any, strict=False):
            if (now := Facts.of(array)) != facts:
                changed = next(k for k in range(3) if now[k] != facts[k])
                raise ValueError(
                    f"{name} was changed in place, its {Facts._fields[changed]} from "
                    f"{facts[changed]} to {now[changed]}; undo that, or make a new optimizer"
                )
            if needed and not array.flags.writeable:
                _refuse_read_only(name, several=len(written) > 1)
        if all(each.array.flags.writeable for each in self._arrays):
            self._headers = ArrayHeaders([each.array for each in self._arrays])


def _refuse_read_only(name: str, several: bool) -> NoReturn:
    spared = ", or None as its gradient to leave it alone" if several else ""
    raise ValueError(
        f"{name} is read-only now, and a step writes to it; set its flags.writeable = True{spared}"
    )
