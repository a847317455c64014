"""Memory budgets of tensors."""

from collections.abc import Sequence
from typing import Any

from ..engine.budget import Budget, budget_of
from ..engine.options import Options
from .complex_numbers import reals
from .hyperparameters import CheckedGroup
from .shards import local
from .tensors import name_of


def budget(params: Sequence[Any], groups: Sequence[CheckedGroup], options: Options) -> Budget:
    """The budget of the parameters, or of their shards, in this process; `groups` has one each."""
    members = []
    for param, group in zip(params, groups, strict=True):
        part, grad = reals(local(param)), param.grad
        grads = None if grad is None else name_of(grad)
        formats = group.options.formats_of(name_of(param), grads, param.numel())
        members.append((group.rule, formats.ruled(group.rule, part.shape), part.numel()))
    return budget_of(members, options)
