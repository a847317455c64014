"""Overlap of parameters with gaps, whose memory may interleave."""

from collections.abc import Sequence
from math import gcd

import torch

from .tensors import ParameterMemory


def check_overlap(memories: Sequence[ParameterMemory]) -> None:
    """Check that no element belongs to two parameters, if one of them has gaps.

    Raises:
        ValueError: naming both.
    """
    spans = sorted((*_span(memory), k) for k, memory in enumerate(memories) if memory.part.numel())
    while spans:
        start, stop, _ = spans[0]
        together = [spans.pop(0)]
        while spans and spans[0][0] < stop:
            stop = max(stop, spans[0][1])
            together.append(spans.pop(0))
        if len(together) > 1:
            _mark([memories[number] for _, _, number in together], start, stop)


def _span(memory: ParameterMemory) -> tuple[int, int]:
    """The address of the first byte of a parameter, and that after its last."""
    part = memory.part
    steps = zip(part.shape, part.stride(), strict=True)
    last = sum((length - 1) * stride for length, stride in steps)
    return part.data_ptr(), part.data_ptr() + (last + 1) * part.element_size()


def _mark(memories: Sequence[ParameterMemory], start: int, stop: int) -> None:
    unit = gcd(*(n for p in memories for n in (p.part.element_size(), p.part.data_ptr() - start)))
    owners = torch.zeros((stop - start) // unit, dtype=torch.int32, device="cpu")
    for number, memory in enumerate(memories):
        part, size = memory.part, memory.part.element_size() // unit
        strides = [stride * size for stride in part.stride()]
        first = (part.data_ptr() - start) // unit
        mine = owners.as_strided((*part.shape, size), (*strides, 1), first)
        if owner := int(mine.max()):
            raise ValueError(
                f"{memories[owner - 1].name} and {memory.name} share the same memory; give each "
                "element once, and copy one of them if they are meant to differ"
            )
        mine.fill_(number + 1)
