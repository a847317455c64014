"""PyTorch's side of the suites: its optimizers, the calls around a step, and 8-bit optimizers.

The calls around a step are those that need the fewest passes over memory. Unscaling and clipping
are one factor, which fused AdamW takes as `grad_scale`, as it does from `torch.amp.GradScaler`; it
writes the scaled gradients to memory as well, but `torch._foreach_mul_` and `clip_grad_norm_` would
be two more passes. Norms come from `torch.dot`, which is faster than `get_total_norm`. The first of
several micro-batches leaves its gradients in the buffer to which the others are added.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from .workload import HYPER, Contender, Memory

READ_AND_WRITTEN = ("param", "exp_avg", "exp_avg_sq")
INEXACT_8_BIT = 2.0**-5  # root mean square of stochastic rounding to an eighth of an octave


def load_torch() -> bool:
    """Import PyTorch, and return True if it is installed; call this before Numba starts threads.

    Otherwise both share one OpenMP library in which Numba has enabled nested parallelism, and
    PyTorch's small operations take milliseconds, since each of its threads starts others.
    """
    if find_spec("torch") is None:
        return False
    import torch  # noqa: F401

    return True


def step_contender(name: str, memory: Memory, **how: bool) -> Contender:
    """A step of PyTorch's optimizer of the same name."""
    variant = memory.variant
    optimizer = variant.in_torch(memory.tensors, **how, **variant.torch_values)
    params = [tensor.detach().numpy() for tensor in memory.tensors]
    grads = [tensor.grad.numpy() for tensor in memory.tensors]
    return Contender(name, optimizer.step, params, grads)


class Call(NamedTuple):
    """A call over all tensors of some names, which it reads and writes."""

    run: Callable[[], object]
    reads: Sequence[str]
    writes: Sequence[str]

    @property
    def bytes(self) -> int:
        """Traffic per element: two bytes for a number in bfloat16, four for others."""
        return sum(2 if name == "shadow" else 4 for name in (*self.reads, *self.writes))


class Loop:
    """State of a training loop, and the calls it makes for a step with options.

    Attributes:
        next_grads: the gradients of each micro-batch after the first, if there are any.
        ema: the average of the parameters, if the options enable it.
        shadow: their copy in bfloat16, if the options enable it.
    """

    def __init__(self, options: Mapping[str, Any], tensors: Sequence[Any]) -> None:
        import torch

        self._options, micro_batches = options, options.get("accumulate_steps", 1)
        self.params = [tensor.detach() for tensor in tensors]
        self.grads = [tensor.grad for tensor in tensors]
        self._flat_grads = [grad.view(-1) for grad in self.grads]
        self.next_grads = [grad.clone() for grad in self.grads if micro_batches > 1]
        self.ema = [param.clone() for param in self.params if "ema_decay" in options]
        self.shadow = [param.bfloat16() for param in self.params if "shadow_dtype" in options]

        optimizer = self._optimizer = torch.optim.AdamW(tensors, fused=True, **HYPER)
        if "grad_scale" in options:
            optimizer.grad_scale = torch.tensor(options["grad_scale"])
        rescaled = ("grad",) if {"grad_scale", "clip_norm"} & options.keys() else ()
        self._sums, self._checks, self._clears = [], [], []
        updated = READ_AND_WRITTEN
        self._updates = [Call(optimizer.step, (*updated, "grad"), (*updated, *rescaled))]
        if self.next_grads:
            add = partial(torch._foreach_add_, self.grads, self.next_grads)
            self._sums = [Call(add, ("grad", "next_grad"), ("grad",))] * (micro_batches - 1)
        if {"clip_norm", "skip_nonfinite"} & options.keys():
            self._checks = [Call(self._measure, ("grad",), ())]
        if self.ema:
            lerp = partial(torch._foreach_lerp_, self.ema, self.params, 1 - options["ema_decay"])
            self._updates.append(Call(lerp, ("ema", "param"), ("ema",)))
        if self.shadow:
            round_to = partial(torch._foreach_copy_, self.shadow, self.params)
            self._updates.append(Call(round_to, ("param",), ("shadow",)))
        if "zero_grads" in options:
            self._clears = [Call(partial(torch._foreach_zero_, self.grads), (), ("grad",))]

    def _measure(self) -> bool:
        """Set the factor of the gradients from their norm; False if it is not finite."""
        import torch

        scale = self._options.get("grad_scale", 1.0)
        squares = torch.stack([torch.dot(grad, grad) for grad in self._flat_grads])
        norm = squares.sum().sqrt() / scale
        if "clip_norm" in self._options:
            factor = torch.clamp(self._options["clip_norm"] / (norm + 1e-6), max=1.0)
            self._optimizer.grad_scale = scale / factor
        return "skip_nonfinite" not in self._options or bool(torch.isfinite(norm))

    def step(self) -> None:
        """Update all parameters, or none if the gradients are not finite."""
        for add in self._sums:
            add.run()
        if all(check.run() for check in self._checks):
            for update in self._updates:
                update.run()
        for clear in self._clears:
            clear.run()

    @property
    def bytes(self) -> int:
        """Traffic of a step per element."""
        calls = (*self._sums, *self._checks, *self._updates, *self._clears)
        return sum(each.bytes for each in calls)


def loop_contender(config: str, options: Mapping[str, Any], memory: Memory) -> Contender:
    """A step with options, as a sequence of calls."""
    import torch

    loop = Loop(options, memory.tensors)
    return Contender(
        "torch",
        loop.step,
        [tensor.numpy() for tensor in loop.params],
        [tensor.numpy() for tensor in loop.grads],
        config=config,
        bytes=lambda: loop.bytes,
        options=options,
        more_grads=[tensor.numpy() for tensor in loop.next_grads],
        grad_share=1 / options.get("accumulate_steps", 1),
        ema=[tensor.numpy() for tensor in loop.ema],
        shadow=[tensor.view(torch.uint16).numpy() for tensor in loop.shadow],
    )


class Peer(NamedTuple):
    """An AdamW for tensors of PyTorch, and the format in which it keeps state."""

    name: str
    state: str
    module: str
    optimizer: str
    options: dict[str, Any]
    rounding: float


# torchao quantizes state only where blocks fill an array: 128 is the most at 1e7
PEERS = (
    Peer("bitsandbytes", "8-bit", "bitsandbytes.optim", "AdamW8bit", {}, INEXACT_8_BIT),
    Peer("torchao", "8-bit", "torchao.optim", "AdamW8bit", {"block_size": 128}, INEXACT_8_BIT),
    Peer("torchao", "float8", "torchao.optim", "AdamWFp8", {"block_size": 128}, INEXACT_8_BIT),
)
PACKAGES = tuple(dict.fromkeys(peer.name for peer in PEERS))


def installed_peers() -> list[Peer]:
    """The low-precision optimizers for PyTorch that are installed."""
    return [peer for peer in PEERS if find_spec(peer.name)]


def peer_contender(peer: Peer, memory: Memory) -> Contender:
    """A step of such an optimizer."""
    tensors = memory.tensors
    made = getattr(import_module(peer.module), peer.optimizer)
    optimizer = made(tensors, **HYPER, **peer.options)
    params = [tensor.detach().numpy() for tensor in tensors]
    grads = [tensor.grad.numpy() for tensor in tensors]

    def updated() -> float:
        """Bytes of parameter and state per element."""
        states = [array for state in optimizer.state.values() for array in state.values()]
        inner = [part for state in states if hasattr(state, "nbytes") for part in _parts(state)]
        arrays: list[Any] = [*params, *inner]
        return float(sum(array.nbytes for array in arrays) / sum(memory.sizes))

    return Contender(
        peer.name,
        optimizer.step,
        params,
        grads,
        config=peer.state,
        bytes=lambda: 2 * updated() + grads[0].itemsize,
        resident=lambda: updated() + grads[0].itemsize,
        rounding=peer.rounding,
        weights=lambda: [np.array(param) for param in params],
    )


def _parts(tensor: Any) -> list[Any]:
    """The plain tensors inside a tensor subclass."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    return [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
