"""Which parameters of an optimizer move, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..kernels.commit import Operation
from ..memory import checks
from .overlap import check_gaps
from .shards import gradient_part, is_sharded, local, shard_of
from .tensors import Place, walkable

if TYPE_CHECKING:
    from .optimizer import Optimizer


class Members:
    """Parameters with a gradient, and those that had one before.

    Args:
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        keeps: for each group, whether anything is kept of its parameters.
        last: the members before.

    Attributes:
        everyone: all parameters of the optimizer.
        sizes: how many of them each group has.
        by_group: the numbers of the members of each group.
        numbers: these, in one list.
        params, names, places: of the members, what they are, are called, and where they are.
        rest: the parameters that are no members.
        gapped: the places that are copied together and back.
        sharded: whether there are DTensors among them.
        wrapped: whether there are these, or wrappers of other tensors.
    """

    def __init__(
        self,
        owner: Optimizer,
        params: Sequence[Any],
        grads: Sequence[Any],
        keeps: Sequence[bool],
        last: Members | None,
    ) -> None:
        self.everyone = params
        before = {id(param) for param in last.params if walkable(param)} if last else set()
        remembered = before & {*map(id, owner._entries)}  # not dropped by the user meanwhile
        self.sizes = owner._sizes()
        self.by_group: list[list[int]] = []
        first = 0
        for size, kept in zip(self.sizes, keeps, strict=True):
            known, stop = remembered if kept else before, first + size
            chosen = [
                i for i in range(first, stop) if grads[i] is not None or id(params[i]) in known
            ]
            self.by_group.append(chosen)
            first = stop
        self.numbers = [*chain.from_iterable(self.by_group)]
        self.params: list[Any] = [params[i] for i in self.numbers]
        self.rest = [params[i] for i in {*range(first)} - {*self.numbers}]
        names = owner._names()
        self.names = [names[i] for i in self.numbers]
        self.places = [Place(p, n) for p, n in zip(self.params, self.names, strict=True)]
        self.gapped = [place for place in self.places if not place.dense]
        self.sharded = any(map(is_sharded, self.params))
        self.wrapped = any(local(param) is not param for param in self.params)
        self._check_together()
        checks.check_apart(map(checks.span, self.arrays, self.names))
        if self.gapped:
            check_gaps(self.places)

    def _check_together(self) -> None:
        """Refuse parameters of several devices: they have one table."""
        first = self.places[0]
        for place in self.places:
            if place.part.device != first.part.device:
                raise RuntimeError(
                    f"{first.name} lies on {first.part.device}, but {place.name} on "
                    f"{place.part.device}; make an optimizer for the parameters of each device"
                )

    @property
    def draws(self) -> Any:
        """What the noise of each follows: its number in the optimizer, and which shard it is."""
        draws = [n + (shard_of(p) << 20) for n, p in zip(self.numbers, self.params, strict=True)]
        return np.array(draws, np.int64).astype(np.uint32)

    @property
    def arrays(self) -> list[Any]:
        """The members as arrays of the core."""
        return [place.array for place in self.places]

    @property
    def device(self) -> Any:
        """Where they lie."""
        return self.places[0].part.device

    def of(self, grads: Sequence[Any]) -> Sequence[Any]:
        """Those of the members, of one or None for every parameter."""
        if len(grads) > len(self.numbers):
            return [grads[i] for i in self.numbers]
        return grads

    def parts(self, grads: Sequence[Any]) -> Sequence[Any]:
        """The gradients of the members; of DTensors what goes with their shards.

        All processes take part, so it is called once for each step.
        """
        if not self.wrapped:
            return grads
        pairs = zip(grads, self.params, strict=True)
        return [None if grad is None else gradient_part(grad, param) for grad, param in pairs]

    def cleared(self, grads: Sequence[Any], parts: Sequence[Any]) -> list[Operation]:
        """The operations that write zeros to those gradients of which `parts` has copies."""
        if not self.wrapped:
            return []
        pairs = zip(grads, parts, strict=True)
        return [partial(_clear, grad) for grad, part in pairs if part is not local(grad)]


@torch.no_grad()
def _clear(grad: Any) -> None:
    grad.zero_()
