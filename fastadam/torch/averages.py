"""Averages and low-precision copies of the parameters, and their exchange for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ..engine.averages import Exchange
from ..kernels.commit import Operation, write
from ..kernels.formats import compute_of
from .complex_numbers import dtype_like
from .shards import local, unwrapped
from .state import dtypes
from .tensors import name_of

if TYPE_CHECKING:
    from .owner import Owner


class Averages:
    """The state of the exchange: averages in the optimizer's state, or in its parameters.

    Attributes:
        swapped: the exchange in effect, None outside `swap_ema()`.
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


@contextmanager
def swapped(optimizer: Any, holder: Averages) -> Iterator[None]:
    """A `with` block in which parameters and averages are exchanged."""
    exchange: Exchange | None = None
    try:
        try:
            with optimizer._lock:
                optimizer._check_not_swapped()
                exchange = exchange_of(optimizer, holder)
                with optimizer._scope():
                    exchange.make()
            optimizer._written()
            yield
        finally:
            optimizer._put_back(exchange)
    finally:
        optimizer._put_back(exchange)  # in case of an interrupt in between


def copies_of(optimizer: Owner, name: str, option: str) -> list[Any]:
    """The averages or low-precision copies of the parameters; what a parameter without steps is
    itself, converted.

    Raises:
        AttributeError: naming the option, if the optimizer does not have it.
    """
    if name not in (wanted := dtypes(optimizer._options)):
        raise AttributeError(f"{name} is not available; give the optimizer {option}")
    state = optimizer.state
    return [
        state[p][name]
        if name in state.get(p, ())
        else unwrapped(p).detach().to(dtype_like(p, wanted[name] or compute_of(name_of(p))))
        for p in optimizer._params()
    ]


def _part(tensor: Any) -> Any:
    return local(tensor).detach()
