"""The contenders: a float32 AdamW step and its tail, by fastadam and by PyTorch.

All contenders of a case exist at the same time, so that they can be timed in turns. Those of
fastadam share parameters and gradients, those of PyTorch another set of both, which PyTorch
allocates; what else a contender keeps is its own. Every step gets fresh gradients, since some steps
clear theirs: moments of gradients that stay zero become subnormal, and slow.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

import fastadam as fa

from ...budget import moved_by
from ...kernels.factory import Kernel
from ..contenders import HYPER, Array, Case, Memory, as_given
from .pytorch import Loop
from .tails import TAILS, Tail

# Bytes per element of what is shared, of moments, of what options keep
SHARED, MOMENTS, KEPT = 20, 8, {"ema_decay": 4, "shadow_dtype": 2, "accumulate_steps": 4}


class Contender(NamedTuple):
    """A step with its tail, ready to be taken, and views of its memory.

    Attributes:
        step: takes a step, of several micro-batches if the tail accumulates.
        bytes: what a step that was taken has read and written per element.
        grads: where a step wants its gradients, in one place or more.
        share: what they are multiplied by beforehand: a loop would multiply the loss.
        ema: the average of the parameters, if the tail has one.
        shadow: their copy in bfloat16, or its bits, if the tail has one.
    """

    name: str
    tail: Tail
    step: Callable[[], object]
    bytes: Callable[[], float]
    params: Sequence[Array]
    grads: Sequence[Sequence[Array]]
    share: float
    ema: Sequence[Array]
    shadow: Sequence[Array]

    def fill(self, sources: Sequence[Array]) -> None:
        """Copy the gradients of the next step, which is no part of it."""
        for targets in self.grads:
            for target, source in zip(targets, sources, strict=True):
                np.multiply(source, np.float32(self.share), out=target)


def _fused(tail: Tail, memory: Memory) -> Contender:
    """An optimizer with options."""
    options = dict(tail.options)
    scale = options.pop("grad_scale", None)
    optimizer = fa.AdamW(as_given(memory.params), **HYPER, **options)
    micro_step = partial(optimizer.step, as_given(memory.grads), grad_scale=scale)

    def step() -> None:
        for _ in range(tail.micro_batches):
            micro_step()

    return Contender(
        "fused",
        tail,
        step,
        bytes=lambda: launched(optimizer._kernels(), tail.micro_batches),
        params=memory.params,
        grads=[memory.grads],
        share=1.0,
        ema=optimizer.ema.leaves if "ema_decay" in options else [],
        shadow=optimizer.shadow.leaves if "shadow_dtype" in options else [],
    )


def launched(kernels: Sequence[Kernel], micro_batches: int) -> float:
    """Bytes per element of an update: its kernel runs once, what goes ahead of it (a norm, or a
    sum with the next micro-batch) once, or for each micro-batch but the last.

    Kernels over float64 are left out: they add up a norm, from one number for 1024 elements.
    """
    update, *ahead = [traffic(k) for k in kernels if k.streams[1].storage.compute == "float32"]
    return update + sum(ahead) * max(1, micro_batches - 1)


def traffic(kernel: Kernel) -> float:
    """Bytes per element that a kernel reads and writes."""
    return moved_by(kernel.streams)


def _torch(tail: Tail, memory: Memory) -> Contender:
    """A sequence of calls."""
    import torch

    loop = Loop(tail, memory.tensors)
    return Contender(
        "torch",
        tail,
        loop.step,
        bytes=lambda: loop.bytes,
        params=[tensor.numpy() for tensor in loop.params],
        grads=[[t.numpy() for t in side] for side in (loop.grads, loop.next_grads) if side],
        share=1 / tail.micro_batches,
        ema=[tensor.numpy() for tensor in loop.ema],
        shadow=[tensor.view(torch.uint16).numpy() for tensor in loop.shadow],
    )


_MAKERS: dict[str, Callable[[Tail, Memory], Contender]] = {"fused": _fused, "torch": _torch}


def names_for(torch: bool) -> list[str]:
    """The contenders, with PyTorch or without."""
    return [name for name in _MAKERS if torch or name != "torch"]


def contenders(case: Case, names: Sequence[str], tails: Sequence[Tail] = TAILS) -> list[Contender]:
    """Contenders of a case, on memory that they share."""
    memory = Memory(case)
    return [_MAKERS[name](tail, memory) for tail in tails for name in names]


def needed(case: Case, names: Sequence[str]) -> int:
    """How much memory all contenders of a case take together."""
    own = [MOMENTS + sum(KEPT.get(name, 0) for name in tail.options) for tail in TAILS]
    return case.elements * (SHARED + len(names) * sum(own))
