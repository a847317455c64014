"""Whether tensors are what others were, and where those were: one call for all of them each."""

from collections.abc import Sequence
from typing import Any

import torch

ADDRESS = torch.Tensor.data_ptr


def _guards() -> Any:
    """What guards compiled code in PyTorch; its import does not bring the compiler."""
    try:
        from torch._C._dynamo.guards import TensorGuards
    except ImportError:
        return None
    return TensorGuards


GUARDS = _guards()


def addresses(tensors: Sequence[Any]) -> list[int]:
    """Where tensors begin."""
    return list(map(ADDRESS, tensors))


class Layouts:
    """Remembers of tensors all but where they are: type, dtype, device, shape, strides, sign.

    PyTorch's guards compare all that several times as fast as its attributes can be read.
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._same = (
            GUARDS(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check
            if GUARDS
            else _by_attributes(tensors)
        )

    def fit(self, others: Sequence[Any]) -> bool:
        """Whether as many others, of which none is there twice, are such tensors."""
        return bool(self._same(*others))


def _by_attributes(tensors: Sequence[Any]) -> Any:
    known = list(map(_attributes, tensors))
    return lambda *others: list(map(_attributes, others)) == known


def _attributes(tensor: Any) -> tuple[Any, ...]:
    if getattr(tensor, "layout", None) != torch.strided:
        return (type(tensor),)
    kind = type(tensor), tensor.dtype, tensor.device, tensor.requires_grad
    return *kind, tensor.shape, tensor.stride(), tensor.is_neg()
