"""A step and its tail in PyTorch: the calls that need the fewest passes over memory.

Unscaling and clipping are one factor, which fused AdamW takes as `grad_scale`, as it does from
`torch.amp.GradScaler`; it writes the scaled gradients to memory as well, but `torch._foreach_mul_`
and `clip_grad_norm_` would be two more passes. Norms are those of `torch.dot`, which is faster than
`get_total_norm`. The first of several micro-batches leaves its gradients where those of the others
are added.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..contenders import HYPER
from .tails import Tail

MOVED = ("param", "exp_avg", "exp_avg_sq")


class Pass(NamedTuple):
    """A call over all tensors of some names, which it reads and writes."""

    call: Callable[[], object]
    reads: Sequence[str]
    writes: Sequence[str]

    @property
    def bytes(self) -> int:
        """Per element: two of a number in bfloat16, four of others."""
        return sum(2 if name == "shadow" else 4 for name in (*self.reads, *self.writes))


class Loop:
    """What a training loop keeps, and what it calls for a step.

    Attributes:
        next_grads: the gradients of each micro-batch after the first, if there are any.
        ema: the average of the parameters, if the tail has one.
        shadow: their copy in bfloat16, if the tail has one.
    """

    def __init__(self, tail: Tail, tensors: Sequence[Any]) -> None:
        import torch

        options = self._options = tail.options
        self.params = [tensor.detach() for tensor in tensors]
        self.grads = [tensor.grad for tensor in tensors]
        self._flat_grads = [grad.view(-1) for grad in self.grads]
        self.next_grads = [grad.clone() for grad in self.grads if tail.micro_batches > 1]
        self.ema = [param.clone() for param in self.params if "ema_decay" in options]
        self.shadow = [param.bfloat16() for param in self.params if "shadow_dtype" in options]

        optimizer = self._optimizer = torch.optim.AdamW(tensors, fused=True, **HYPER)
        if "grad_scale" in options:
            optimizer.grad_scale = torch.tensor(options["grad_scale"])
        rescaled = ("grad",) if {"grad_scale", "clip_norm"} & options.keys() else ()
        self._sums, self._checks, self._clears = [], [], []
        self._updates = [Pass(optimizer.step, (*MOVED, "grad"), (*MOVED, *rescaled))]
        if self.next_grads:
            add = partial(torch._foreach_add_, self.grads, self.next_grads)
            self._sums = [Pass(add, ("grad", "next_grad"), ("grad",))] * (tail.micro_batches - 1)
        if {"clip_norm", "skip_nonfinite"} & options.keys():
            self._checks = [Pass(self._measure, ("grad",), ())]
        if self.ema:
            lerp = partial(torch._foreach_lerp_, self.ema, self.params, 1 - options["ema_decay"])
            self._updates.append(Pass(lerp, ("ema", "param"), ("ema",)))
        if self.shadow:
            round_to = partial(torch._foreach_copy_, self.shadow, self.params)
            self._updates.append(Pass(round_to, ("param",), ("shadow",)))
        if "zero_grads" in options:
            self._clears = [Pass(partial(torch._foreach_zero_, self.grads), (), ("grad",))]

    def _measure(self) -> bool:
        """Whether to update; with what factor, if there is a bound for the norm."""
        import torch

        scale = self._options.get("grad_scale", 1.0)
        squares = torch.stack([torch.dot(grad, grad) for grad in self._flat_grads])
        norm = squares.sum().sqrt() / scale
        if "clip_norm" in self._options:
            factor = torch.clamp(self._options["clip_norm"] / (norm + 1e-6), max=1.0)
            self._optimizer.grad_scale = scale / factor
        return "skip_nonfinite" not in self._options or bool(torch.isfinite(norm))

    def step(self) -> None:
        """One update of all parameters, or none if the gradients are of no use."""
        for add in self._sums:
            add.call()
        if all(check.call() for check in self._checks):
            for update in self._updates:
                update.call()
        for clear in self._clears:
            clear.call()

    @property
    def bytes(self) -> int:
        """What a step reads and writes per element."""
        passes = (*self._sums, *self._checks, *self._updates, *self._clears)
        return sum(each.bytes for each in passes)
