"""Parameters that change places with their averages, for evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .shards import unwrapped

if TYPE_CHECKING:
    from .optimizer import Optimizer


@torch.no_grad()
def exchange(optimizer: Optimizer, aside: dict[int, Any], back: bool) -> None:
    """Let parameters and averages change places; the copies in low precision follow.

    `aside` takes up weights of sixteen bits, which could not give the average back.
    """
    params, averages, state = optimizer._params(), optimizer.ema, optimizer.state
    for number, (outer, average) in enumerate(zip(params, averages, strict=True)):
        param = unwrapped(outer)
        if back and number in aside:
            param.copy_(aside[number])
        elif "ema" in state.get(outer, ()):  # else it is its own average
            kept = param.clone()
            param.copy_(average)
            if average.dtype == param.dtype:
                average.copy_(kept)
            else:
                aside[number] = kept
    if optimizer._options.shadow_dtype is not None:
        for param, shadow in zip(params, optimizer.shadow, strict=True):
            shadow.copy_(unwrapped(param))
