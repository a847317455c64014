"""Parameters with gaps: what lies between their elements may belong to others."""

from collections.abc import Sequence
from math import gcd

import torch

from .tensors import Place


def check_gaps(places: Sequence[Place]) -> None:
    """Refuse elements that belong to two parameters, of which one has gaps.

    Raises:
        ValueError: naming both.
    """
    spans = sorted((*_span(place), k) for k, place in enumerate(places) if place.part.numel())
    while spans:
        start, stop, _ = spans[0]
        together = [spans.pop(0)]
        while spans and spans[0][0] < stop:
            stop = max(stop, spans[0][1])
            together.append(spans.pop(0))
        if len(together) > 1:
            _mark([places[number] for _, _, number in together], start, stop)


def _span(place: Place) -> tuple[int, int]:
    """The first byte of a parameter, and the one after its last."""
    part = place.part
    steps = zip(part.shape, part.stride(), strict=True)
    last = sum((length - 1) * stride for length, stride in steps)
    return part.data_ptr(), part.data_ptr() + (last + 1) * part.element_size()


def _mark(places: Sequence[Place], start: int, stop: int) -> None:
    unit = gcd(*(n for p in places for n in (p.part.element_size(), p.part.data_ptr() - start)))
    owners = torch.zeros((stop - start) // unit, dtype=torch.int32, device="cpu")
    for number, place in enumerate(places):
        part, size = place.part, place.part.element_size() // unit
        strides = [stride * size for stride in part.stride()]
        first = (part.data_ptr() - start) // unit
        mine = owners.as_strided((*part.shape, size), (*strides, 1), first)
        if owner := int(mine.max()):
            raise ValueError(
                f"{places[owner - 1].name} and {place.name} share the same memory; give each "
                "element once, and copy one of them if they are meant to differ"
            )
        mine.fill_(number + 1)
