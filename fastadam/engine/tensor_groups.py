"""Groups of tensors: the sums of a group, then its update, then the next group.

The update then finds the arrays that the sums have read in the cache of a core. Everything is a
sequence of C functions, and so part of the commitment of a step. Several threads, which would wait
for each other twice in each group, take all tensors as one.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from ..kernels.commit import Operation
from ..kernels.cpu import openmp, threads
from ..kernels.storage.base import ROW
from .launch import Launch

GROUP = 1 << 20  # bytes of a group: about half of a second-level cache


class TensorGroups:
    """The launches of an update and of its sums, group after group.

    Results do not depend on the groups.

    Args:
        update: the launch of the update.
        terms: the one that adds the terms of its sums, block by block.
        folds: those that add these sums, with a row for each sum of each parameter.
        conversion: the one that converts all totals.
        params: the number of all parameters.
    """

    def __init__(
        self,
        update: Launch,
        terms: Launch,
        folds: Sequence[Launch],
        conversion: Launch,
        params: int,
    ) -> None:
        self._update, self._terms, self._folds = update, terms, folds
        self._conversion, self._params = conversion, params
        self._made: dict[Any, list[Operation]] = {}

    @property
    def used(self) -> bool:
        """True if the sums are part of the operations: nothing is streamed from files."""
        return self._update.table.windows is None

    def operations(self, limit: threads.Limit, threaded: bool) -> list[Operation]:
        """The C functions of the update, with those of its sums if they are part of it."""
        if not self.used:
            return self._update.table.operations(limit, threaded)
        threaded = threaded and not self._update.table.small
        count = threads.tasks_for(limit) if threaded else 1
        key = count, openmp.team
        if key not in self._made:
            self._made[key] = [*self._launched(count, limit, threaded)]
        return self._made[key]

    def _launched(self, count: int, limit: threads.Limit, threaded: bool) -> Iterator[Operation]:
        update, terms = self._update, self._terms
        groups = self._cut(GROUP) if count == 1 else [(0, len(update.members))]
        members = np.asarray(update.members)
        several = range(len(terms.rule.sums))
        rows = [
            np.concatenate([members[first:last] + k * self._params for k in several])
            for first, last in groups
        ]
        totals = [
            [
                (0, k * self._params + members[first], k * self._params + members[last - 1] + 1)
                for k in several
            ]
            for first, last in groups
        ]
        small = [fold.table.by_groups(map(fold.table.chunks_of, rows)) for fold in self._folds]
        small.append(self._conversion.table.by_groups(totals))
        bounds = np.searchsorted(update.table.chunks[:, 0], groups).tolist()
        for (first, last), *others in zip(bounds, *small, strict=True):
            if first < last:
                yield terms.table.over(first, last, limit, threaded)
            yield from others
            if first < last:
                yield update.table.over(first, last, limit, threaded)

    def _cut(self, most: int) -> list[tuple[int, int]]:
        """The first member of each group, and the one after its last."""
        each = sum(
            np.dtype(column.dtype).itemsize / column.per
            for _, column, _ in self._update.table.columns()
            if column.per < ROW
        )
        ends = accumulate(size * each for size in self._update.sizes)
        cuts, begun, before = [0], 0.0, 0.0
        for member, end in enumerate(ends):
            if end - begun > most and member > cuts[-1]:
                cuts.append(member)
                begun = before
            before = end
        return [*pairwise([*cuts, len(self._update.sizes)])]
