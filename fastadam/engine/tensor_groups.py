"""Groups of tensors: all passes over a group, then all over the next.

A pass then finds the arrays that the one before has read in the cache of a core. Each thread has
groups of its own, so that none waits for another. Everything is a sequence of C functions, and so
part of the commitment of a step.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, cast

import numpy as np

from ..kernels.commit import Operation
from ..kernels.cpu import openmp, threads
from ..kernels.storage.base import ROW
from ..kernels.target import HostTarget
from ..memory.launch_table import Table, cut
from .directions import Directions
from .launch import Launch

GROUP = 1 << 20  # bytes of a group: about half of a second-level cache
LARGEST = 2 * GROUP  # bytes of a tensor that may remain in that cache; threads share larger ones
PARTS = 4  # threads share a tensor, too, of more than such a part of the work of one of them


class Stage(NamedTuple):
    """A pass over tensors.

    Attributes:
        table: that of its launch.
        chunks: `chunks(places)` returns the chunks of some members of the update, by place.
    """

    table: Table
    chunks: Callable[[Any], Any]


def by_tensor(launch: Launch) -> Stage:
    """A pass of which each row is that of a member."""
    return Stage(launch.table, launch.table.chunks_of)


def by_some(launch: Launch, places: Sequence[int]) -> Stage:
    """A pass of which each row is that of the member at one of these places."""

    def chunks(chosen: Any) -> Any:
        return launch.table.chunks_of(np.flatnonzero(np.isin(places, chosen)))

    return Stage(launch.table, chunks)


def by_sum(launch: Launch, members: Any, sums: int, params: int) -> Stage:
    """A pass with a row for each sum of each parameter, those of one sum after those of another."""

    def chunks(places: Any) -> Any:
        rows = [members[places] + k * params for k in range(sums)]
        return launch.table.chunks_of(np.concatenate(rows))

    return Stage(launch.table, chunks)


def by_number(launch: Launch, members: Any, sums: int, params: int) -> Stage:
    """A pass over a row with a number for each sum of each parameter."""

    def chunks(places: Any) -> Any:
        numbers = np.concatenate([members[places] + k * params for k in range(sums)])
        apart = np.diff(numbers, prepend=-2) != 1
        first, last = numbers[apart], numbers[np.append(apart[1:], True)]
        return np.stack([np.zeros_like(first), first, last + 1], axis=1)

    return Stage(launch.table, chunks)


def bytes_of_element(update: Launch) -> float:
    """The bytes of an element in all arrays of an update."""
    return sum(
        np.dtype(column.dtype).itemsize / column.per
        for _, column, _ in update.table.columns()
        if column.per < ROW
    )


def in_cache(update: Launch) -> bool:
    """True if a tensor of an update may remain in a second-level cache."""
    return bool(min(update.sizes) * bytes_of_element(update) <= LARGEST)


class TensorGroups:
    """The passes of an update, group after group.

    Results do not depend on the groups.

    Args:
        update: the launch of the update.
        stages: all passes, in order, with that of the update.
        directions: the two parts of the update for groups that remain in the cache, or None.
        between: the passes between these.
    """

    def __init__(
        self,
        update: Launch,
        stages: Sequence[Stage],
        directions: Directions | None = None,
        between: Sequence[Stage] = (),
    ) -> None:
        self._update, self._stages, self._directions = update, [*stages], directions
        self._in_two = list[Stage]()
        if directions:
            ends = by_tensor(directions.first), by_tensor(directions.finish)
            self._in_two = [ends[0], *between, ends[1]]
        self._after: Sequence[Stage] = ()
        self._bytes = bytes_of_element(update)
        self._made: dict[Any, tuple[list[Operation], Any]] = {}
        self._placed: Any = None  # the key of the operations whose directions launches know
        self._kept: list[Any] = []  # what operations hold the addresses of

    def surround(self, before: Sequence[Stage], after: Sequence[Stage]) -> None:
        """Take more passes, before all others and after the update."""
        self._stages = [*before, *self._stages, *after]
        self._after = after

    @property
    def used(self) -> bool:
        """True if the passes are part of the operations: nothing is streamed from files."""
        return self._update.table.windows is None

    def operations(self, limit: threads.Limit, threaded: bool) -> list[Operation]:
        """The C functions of the update, with those of its other passes if they are part of it."""
        if not self.used:
            tables = [self._update.table, *(stage.table for stage in self._after)]
            return [each for table in tables for each in table.operations(limit, threaded)]
        threaded = threaded and not self._update.table.small
        count = threads.tasks_for(limit) if threaded else 1
        key = count, openmp.team
        if key not in self._made:
            large, shares = self._divided(count)
            groups = [self._groups(share) for share in shares]
            operations = [*self._launched(count, large, groups)]
            self._made[key] = operations, self._rooms(groups)
        made, rooms = self._made[key]
        if self._directions and key != self._placed:
            self._placed = None  # in case of an interrupt
            self._directions.place(rooms)
            self._placed = key
        return made

    def _rooms(self, shares: Sequence[Sequence[Any]]) -> Any:
        """The addresses of directions, for threads with these groups."""
        if not self._directions:
            return None
        some = [[group for group in groups if self._remains(group)] for groups in shares]
        found, kept = self._directions.rooms(some)
        self._kept.append(kept)
        return found

    def _remains(self, group: Any) -> bool:
        """True if the tensors of a group remain in the cache from pass to pass."""
        return bool(sum(self._update.sizes[place] for place in group) * self._bytes <= LARGEST)

    def _launched(self, count: int, large: Any, shares: Sequence[Any]) -> Iterator[Operation]:
        """Those for so many threads: the passes over tensors that they share, then those over the
        others, of which each thread has some groups."""
        if large.size:
            for stage in self._stages:
                parts = cut(stage.chunks(large), count)
                yield self._together([[(stage, part)] for part in parts])
        if shares:
            yield self._together([[*self._in_turns(share)] for share in shares])

    def _in_turns(self, groups: Sequence[Any]) -> Iterator[tuple[Stage, Any]]:
        """All passes over a group, then those over the next."""
        for group in groups:
            for stage in self._in_two if self._in_two and self._remains(group) else self._stages:
                yield stage, stage.chunks(group)

    def _together(self, shares: Sequence[Sequence[tuple[Stage, Any]]]) -> Operation:
        """The C function that launches passes over chunks, one after the other in each thread."""
        target = cast(HostTarget, self._update.kernel.target)
        tasks = [
            [(stage.table.kernel.run, stage.table.task_over(chunks)) for stage, chunks in share]
            for share in shares
        ]
        made, kept = target.sequences(tasks)
        self._kept.append(kept)
        return made

    def _divided(self, count: int) -> tuple[Any, list[list[int]]]:
        """The places of the tensors that threads share, and for each thread those of the tensors
        that it has alone."""
        sizes, each = self._update.sizes, self._bytes
        if count == 1:
            return np.array([], np.int64), [[*range(len(sizes))]]
        most = min(LARGEST / each, sum(sizes) / count / PARTS)
        shares: list[list[int]] = [[] for _ in range(count)]
        loads = [0] * count
        for place in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
            if sizes[place] <= most:
                least = loads.index(min(loads))
                shares[least].append(place)
                loads[least] += sizes[place]
        large = [place for place, size in enumerate(sizes) if size > most]
        return np.array(large, np.int64), [sorted(share) for share in shares if share]

    def _groups(self, places: Sequence[int]) -> list[Any]:
        """Tensors in groups."""
        sizes, most = self._update.sizes, GROUP / self._bytes
        ends = [*accumulate(sizes[place] for place in places)]
        cuts, begun, before = [0], 0, 0
        for k, end in enumerate(ends):
            if end - begun > most and k > cuts[-1]:
                cuts.append(k)
                begun = before
            before = end
        found = np.array(places, np.int64)
        return [found[first:last] for first, last in pairwise([*cuts, len(places)])]
