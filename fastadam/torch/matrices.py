"""Matrices of rules as tensors, and the orthogonalization of Muon in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..optimizers.muon import ratio
from ..rules import Rule
from .shards import unwrapped
from .tensors import flat

if TYPE_CHECKING:
    from ..rules.algorithm import Algorithm, Values
    from .tensors import ParameterMemory

Transform = Callable[[Any, "Values", Any], None]


class TensorWorkspace:
    """The matrices of tensors, on their device.

    Args:
        memories: the memory of each parameter.
        transform: `transform(author, group, tensor)` transforms a tensor in place.
    """

    def __init__(self, memories: Sequence[ParameterMemory], transform: Transform) -> None:
        self._memories, self._transform = memories, transform
        self._rooms: dict[int, Any] = {}

    def room(self, number: int, dtype: str) -> Any:
        like = self._memories[number].dense_part
        self._rooms[number] = torch.zeros_like(like, dtype=getattr(torch, dtype))
        return flat(self._rooms[number])

    def transform(self, author: Algorithm, number: int, values: Values) -> None:
        self._transform(author, values, self._rooms[number])


def check_matrices(rule: Rule, owner: str, params: Sequence[Any]) -> None:
    """Refuse parameters that are not matrices, for a rule with a matrix.

    Raises:
        ValueError: with the shape of the first such parameter, and for a complex one.
    """
    for param in params if rule.matrix else ():
        if param.is_complex():
            raise ValueError(f"{owner} does not support complex parameters")
        if param.ndim != 2:
            raise ValueError(
                f"{owner} only supports 2D parameters whereas we found a parameter with size: "
                f"{tuple(unwrapped(param).shape)}; give biases, norms, embeddings and other "
                "parameters to an optimizer of their own, such as fastadam.torch.AdamW"
            )


class Orthogonalization:
    """The transformation of Muon, with PyTorch's products, in bfloat16."""

    @staticmethod
    def _transform(author: Algorithm, group: Values, matrix: Any) -> None:
        found = orthogonalized(matrix, group["ns_coefficients"], group["ns_steps"], group["eps"])
        matrix.copy_(found).mul_(ratio(matrix.shape, group["adjust_lr_fn"]))


def orthogonalized(
    matrix: Any, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Any:
    """A matrix after so many steps of the Newton-Schulz iteration, in bfloat16."""
    a, b, c = coefficients
    rows, columns = matrix.shape
    x = matrix.bfloat16()
    x = x.T if rows > columns else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.addmm(x, factor, x, beta=a)
    return x.T if rows > columns else x
