"""The bytes that training keeps in memory, counted from tensors as the core counts arrays."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from ..budget import Budget, budget_of
from ..options import Options
from ..rules import Rule
from .shards import local
from .tensors import name_of


def budget(params: Sequence[Any], rules: Sequence[Rule], options: Options) -> Budget:
    """The budget of parameters and their rules, for what of them is in this process."""
    members = []
    for param, rule in zip(params, rules, strict=True):
        size, grad = local(param).numel(), param.grad
        vector = SimpleNamespace(dtype=SimpleNamespace(name=name_of(param)), size=size)
        grads = None if grad is None else name_of(grad)
        members.append((rule, options.formats(vector, grads, param.numel()), size))
    return budget_of(members, options)
