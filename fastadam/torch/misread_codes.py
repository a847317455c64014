"""Detection of int8 codes that were loaded as numbers, for example by distributed checkpoints."""

from collections.abc import Mapping
from typing import Any

import torch

from ..engine.convert import SCALE
from ..kernels.storage.int8 import Int8
from .shards import local

SAMPLE = 4096  # elements of a first, cheap check
SQUARES = {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "acc_delta", "sum"}  # never negative
KINDS = 16  # real state has at least as many distinct codes


def check_numbers(entry: Mapping[str, Any], label: str) -> None:
    """Reject codes of `state_dtype="int8"` that were copied into floats, without their scales.

    A distributed checkpoint does so if the optimizer that loads it has state in floats. Codes are
    whole numbers, and each of their blocks contains the largest code.

    Raises:
        ValueError: naming the entry.
    """
    for name, value in entry.items():
        if name != "step" and name + SCALE not in entry and _looks_coded(name, value):
            raise ValueError(
                f"{label}: {name!r} has codes of state_dtype='int8' as {value.dtype}, without "
                "their scales: a checkpoint was copied into state of another dtype; load it into "
                "an optimizer with state_dtype='int8', or save opt.dequantized_state()"
            )


@torch.no_grad()
def _looks_coded(name: str, value: Any) -> bool:
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        return False
    part = local(value).detach()
    if part.is_meta or part.layout != torch.strided or not part.numel():
        return False
    if not _all_codes(part.reshape(-1)[:SAMPLE] if part.is_contiguous() else part):
        return False
    if name in SQUARES and bool((part < 0).any()):
        return True
    if part.numel() < Int8.block or not _all_codes(part):
        return False
    values = part.as_strided((part.numel(),), (1,)) if _dense(part) else part.reshape(-1)
    return len(values[:SAMPLE].unique()) >= KINDS and _has_largest(values)


_dense = torch.ops.aten.is_non_overlapping_and_dense


def _all_codes(values: Any) -> bool:
    return bool(((values == values.round()) & (values >= -128) & (values <= 127)).all())


def _has_largest(values: Any) -> bool:
    """True if each run that contains a whole block has the largest code, or zeros only."""
    size = min(2 * Int8.block, len(values))
    rows = values[: len(values) // size * size].view(-1, size)
    largest = ((rows == 127) | (rows == -1)).any(1)
    return bool((largest | (rows == 0).all(1)).all())
