"""The active parameters of an optimizer: those that it updates, and their memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..kernels.commit import Operation
from ..memory import checks
from .masks import arrays_of
from .overlap import check_overlap
from .shards import gradient_part, is_sharded, local, shard_of
from .tensors import ParameterMemory, is_supported

if TYPE_CHECKING:
    from .owner import Owner


class ActiveParameters:
    """The parameters that have a gradient, or had one in an earlier step.

    Args:
        owner: the optimizer.
        params: all parameters of the optimizer, in order.
        grads: their gradients, None for those without.
        keeps: for each group, True if its parameters have state.
        in_rows: for each group, True if the rows of its parameters must be in one piece each.
        last: the active parameters of the last step.

    Attributes:
        everyone: all parameters of the optimizer.
        sizes: the number of parameters of each group.
        by_group: the indices of the active parameters of each group.
        numbers: all of these indices, in one list.
        params, names, memories: the active parameters, their names and their memory.
        rest: the inactive parameters.
        gapped: the memory of parameters with gaps or in another order, which are packed and
            unpacked.
        sharded: True if there are DTensors among them.
        wrapped: True if there are DTensors, or wrappers of other tensors.
    """

    def __init__(
        self,
        owner: Owner,
        params: Sequence[Any],
        grads: Sequence[Any],
        keeps: Sequence[bool],
        in_rows: Sequence[bool],
        last: ActiveParameters | None,
    ) -> None:
        self.everyone = params
        before = {id(param) for param in last.params if is_supported(param)} if last else set()
        remembered = before & {*map(id, owner._entries)}  # whose state the user has not deleted
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
        pairs = zip(in_rows, self.by_group, strict=True)
        each = (in_one for in_one, some in pairs for _ in some)
        self.memories = [*map(ParameterMemory, self.params, self.names, each)]
        self.gapped = [memory for memory in self.memories if not memory.dense]
        self.sharded = any(map(is_sharded, self.params))
        self.wrapped = any(local(param) is not param for param in self.params)
        self._check_together()
        checks.check_apart(map(checks.span, self.arrays, self.names))
        if self.gapped:
            check_overlap(self.memories)

    def _check_together(self) -> None:
        """Check that all parameters are on one device, since they share one table."""
        first = self.memories[0]
        for memory in self.memories:
            if memory.part.device != first.part.device:
                raise RuntimeError(
                    f"{first.name} is on {first.part.device}, but {memory.name} on "
                    f"{memory.part.device}; create one optimizer per device"
                )

    @property
    def draws(self) -> Any:
        """The random stream of each parameter, from its index in the optimizer and its shard."""
        draws = [n + (shard_of(p) << 20) for n, p in zip(self.numbers, self.params, strict=True)]
        return np.array(draws, np.int64).astype(np.uint32)

    @property
    def arrays(self) -> list[Any]:
        """The active parameters as arrays of the core."""
        return [memory.array for memory in self.memories]

    @property
    def device(self) -> Any:
        """The device of all of them."""
        return self.memories[0].part.device

    def of(self, grads: Sequence[Any]) -> Sequence[Any]:
        """The gradients of the active parameters, from those of all parameters."""
        if len(grads) > len(self.numbers):
            return [grads[i] for i in self.numbers]
        return grads

    def parts(self, grads: Sequence[Any]) -> Sequence[Any]:
        """The gradients of the active parameters; for DTensors the parts of this process.

        This may be a collective operation: it is called exactly once per step.
        """
        if not self.wrapped:
            return grads
        pairs = zip(grads, self.params, strict=True)
        return [None if grad is None else gradient_part(grad, param) for grad, param in pairs]

    def marked(self, masks: Sequence[Any]) -> list[Any]:
        """The masks of the active parameters as arrays of the core, from those of all."""
        arrays: list[Any] = arrays_of([masks[i] for i in self.numbers], self.memories)
        return arrays

    def cleared(self, grads: Sequence[Any], parts: Sequence[Any]) -> list[Operation]:
        """The operations that write zeros to the gradients of which `parts` has copies."""
        if not self.wrapped:
            return []
        pairs = zip(grads, parts, strict=True)
        return [partial(_clear, grad) for grad, part in pairs if part is not local(grad)]


@torch.no_grad()
def _clear(grad: Any) -> None:
    grad.zero_()
