"""Exchange of parameters and their averages, for evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..engine.averages import Exchange
from ..kernels.commit import Operation, write
from .shards import local

if TYPE_CHECKING:
    from .owner import Owner


class Averages:
    """The state of the exchange: averages in the optimizer's state, or in its parameters.

    Attributes:
        swapped: the exchange in force, None outside `swap_ema()`.
    """

    swapped: Exchange | None = None


@torch.no_grad()
def exchange_of(optimizer: Owner, holder: Averages) -> Exchange:
    """Prepare the exchange of parameters and averages; low-precision copies are updated too."""
    params, averages, state = optimizer._params(), optimizer.ema, optimizer.state
    there, back = list[Operation](), list[Operation]()
    for param, average in zip(params, averages, strict=True):
        if "ema" not in state.get(param, ()):
            continue  # without steps, the parameter equals its average
        part, other = _part(param), _part(average)
        if part.dtype == other.dtype:
            aside = torch.empty_like(part)
            swaps = [write(aside, part), write(part, other), write(other, aside)]
            there += swaps
            back += swaps
        else:  # a 16-bit parameter could not hold the average exactly
            there.append(write(part, other))
            back.append(write(part, part.clone()))
    refreshed = list[Operation]()
    if optimizer._options.shadow_dtype is not None:
        pairs = zip(optimizer.shadow, params, strict=True)
        refreshed = [write(_part(shadow), _part(param)) for shadow, param in pairs]
    return Exchange(holder, [*there, *refreshed], [*back, *refreshed])


def _part(tensor: Any) -> Any:
    return local(tensor).detach()
