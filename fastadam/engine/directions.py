"""The two parts of rules with a direction, which stays in the cache between them."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ..kernels.factory import kernel
from ..kernels.formats import Formats
from ..kernels.rule_parts import DIRECTION
from ..kernels.rule_streams import in_directions, streams_of_directions
from ..kernels.transforms import staged_directions
from ..memory.aligned import aligned_zeros
from ..memory.checks import address
from ..memory.placement import LINE
from .launch import Launch


class Directions:
    """The launches of both parts of an update over groups of tensors.

    Args:
        update: the launch of the update as a whole.
        params: all parameters.
        formats: how those of the update are kept.
        options: those of the kernels.

    Attributes:
        first: adds the terms of the sums and writes state and directions.
        finish: updates parameters.
    """

    def __init__(
        self, update: Launch, params: Sequence[Any], formats: Formats, options: tuple[str, ...]
    ) -> None:
        rule, target = update.rule, update.kernel.target
        rules = staged_directions(rule, options)
        streams = streams_of_directions(rule, options, formats)
        self.first, self.finish = (
            Launch(rule, kernel(*each, target), params, update.members, update.kept)
            for each in zip(rules, streams, strict=True)
        )
        self._dtype = np.dtype(formats.compute)

    def rooms(self, shares: Iterable[Sequence[Any]]) -> tuple[Any, list[Any]]:
        """The addresses of the directions of all members, and the memory that they are in.

        Args:
            shares: for each thread its groups, the places of members; all groups of a thread are in
                the same memory.
        """
        sizes = -(-np.asarray(self.first.sizes) * self._dtype.itemsize // LINE) * LINE
        found, kept = np.zeros(len(sizes), np.int64), []
        for groups in shares:
            starts = [[0, *accumulate(sizes[group])] for group in groups]
            kept.append(aligned_zeros(max((ends[-1] for ends in starts), default=0), np.uint8))
            for group, begun in zip(groups, starts, strict=True):
                found[group] = address(kept[-1]) + np.array(begun[:-1], np.int64)
        return found, kept

    def place(self, addresses: Any) -> None:
        """Point both launches at the directions."""
        for launch in (self.first, self.finish):
            launch.table.place(DIRECTION, addresses)


def directions_for(
    update: Launch, params: Sequence[Any], formats: Formats, options: tuple[str, ...]
) -> Directions | None:
    """The two parts of an update, or None if its rule, or an option, has it in one."""
    if in_directions(update.rule, options, formats):
        return Directions(update, params, formats, options)
    return None
