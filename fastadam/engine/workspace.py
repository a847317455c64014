"""Memory for the matrices of rules, such as the update of Muon before it is orthogonalized."""

from collections.abc import Sequence
from typing import Any, Protocol

from ..rules.algorithm import Algorithm, Values
from .backend import backend_of


class Workspace(Protocol):
    """The memory of matrices, one for each parameter with such a rule."""

    def room(self, number: int, dtype: str) -> Any:
        """A new array for the matrix of a parameter, whose elements are in its order."""

    def transform(self, author: Algorithm, number: int, values: Values) -> None:
        """Call the `transform` of the optimizer for the matrix of a parameter, in place."""


class HostWorkspace:
    """The matrices of NumPy arrays."""

    def __init__(self, params: Sequence[Any]) -> None:
        self._params, self._rooms = params, dict[int, Any]()

    def room(self, number: int, dtype: str) -> Any:
        param = self._params[number]
        self._rooms[number] = backend_of(param).zeros(param.size, dtype)
        return self._rooms[number]

    def transform(self, author: Algorithm, number: int, values: Values) -> None:
        author.transform(values, self._rooms[number].reshape(self._params[number].shape))
