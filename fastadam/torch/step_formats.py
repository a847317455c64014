"""Formats of the tensors of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..engine.options import Options
from ..kernels.formats import Formats
from ..memory.dtypes import name_of
from .tensors import ParameterMemory

if TYPE_CHECKING:
    from ..rules import Rule


def formats_of(
    owners: Sequence[tuple[Options, Rule]],
    memories: Sequence[ParameterMemory],
    dtypes: Sequence[Any],
) -> list[Formats]:
    """The storage of each parameter, its gradient and its state.

    Args:
        owners: the options and the rule of each parameter.
        memories: the parameters.
        dtypes: those of their gradients.
    """
    known, found = dict[tuple[Any, ...], Formats](), list[Formats]()
    for (options, rule), memory, dtype in zip(owners, memories, dtypes, strict=True):
        part, size = memory.part, memory.param.numel()
        key = options, rule, memory.array.dtype, dtype, size, part.shape
        if key not in known:
            formats = options.formats(memory.array, name_of(dtype), size)
            known[key] = formats.ruled(rule, part.shape)
        found.append(known[key])
    return found
