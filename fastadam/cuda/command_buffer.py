"""The command buffer of the prologue kernel: its input, constants for every possible step count,
and its output, the outcome of the step."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ..engine.grad_norm import GradNorm
from ..engine.launch import Launch
from ..engine.scales import flag_of
from ..memory.arrays import is_device
from .array import as_array, integers, ring, zeros
from .device_table import DeviceTable
from .pending_steps import MAX_IN_FLIGHT

Run = tuple[int, int, int]  # the address of adjacent step counters, their number, their kind


class Flag(NamedTuple):
    """A flag that is set if gradients are not finite.

    Attributes:
        address: its address on the device; 0 if the host has the flag.
        kind: the kind of its number; see `prologue_kernel.KINDS`.
        forced: True if the host knows that it is set.
    """

    address: int
    kind: int
    forced: bool


def flag_for(found_inf: Any) -> Flag:
    """The flag of the argument `found_inf` of a step.

    Raises:
        TypeError, ValueError: if it is not a flag.
    """
    from .context import work
    from .prologue_kernel import KINDS
    from .streams import orders_of

    if not is_device(found_inf):
        return Flag(0, 0, flag_of(found_inf))
    array = as_array(found_inf)
    if array.size != 1 or array.dtype.name not in KINDS:
        raise TypeError(
            f"step(): found_inf is an array of {array.dtype} and shape {array.shape}; give one "
            "number"
        )
    work.turn.join(orders_of([found_inf]))
    return Flag(array.address, KINDS[array.dtype.name], False)


def page_of(launches: Sequence[Launch]) -> Any:
    """The current constants of launches, in the layout in which the prologue kernel copies them."""
    return np.concatenate([table_of(launch).head for launch in launches])


class CommandBuffer:
    """The memory of the prologue kernel: constants for every possible count, and outcomes.

    Args:
        updates: the launches of a step that counts.
        clearing: the launches of a step that is skipped.
        norm: the norm that the prologue kernel reads, or None.
        judged: True if a norm that is not finite skips the step.
        pages: the number of pages.
        count: the step count on the device.
        constants: an entry for each constant that depends on a learning rate on the device.
        rate: that learning rate, of the first group; None if the host has it.
        runs: the largest number of runs of step counters.

    Attributes:
        pages: on the host, a page with the constants of the updates for each possible count.
        outcomes: a row for each of the last `MAX_IN_FLIGHT` steps, which the device writes.
    """

    def __init__(
        self,
        updates: Sequence[Launch],
        clearing: Sequence[Launch],
        norm: GradNorm | None,
        judged: bool,
        pages: int,
        count: Any,
        constants: Sequence[Sequence[int]] = (),
        rate: Any = None,
        runs: int = 0,
    ) -> None:
        from . import prologue_kernel as prologue
        from .context import driver

        self._tables = [table_of(launch) for launch in (*updates, *clearing)]
        tasks, starts = zip(*(table.conditional_task() for table in self._tables), strict=True)
        entries = [
            (
                task.address,
                len(table.chunks),
                number >= len(updates),
                table.home,
                len(table.head) if number < len(updates) else 0,
            )
            for number, (table, task) in enumerate(zip(self._tables, tasks, strict=True))
        ]
        words = sum(entry[-1] for entry in entries) + prologue.OPERATIONS * len(constants)
        about = [*chain.from_iterable(entries), *chain.from_iterable(constants)]
        self._runs_at = prologue.HEADER + len(about)
        fixed = self._runs_at + prologue.RUN * runs
        self._words = np.zeros(fixed + pages * words, np.int64)
        self._words[prologue.HEADER : self._runs_at] = about
        self.pages = self._words[fixed:].reshape(pages, words)
        self._there = zeros(self._words.size, np.int64)
        for place, number in (
            (prologue.JUDGED, judged),
            (prologue.COUNT, count.address),
            (prologue.ENTRIES, len(entries)),
            (prologue.FIELDS, len(constants)),
            (prologue.PAGES, self._there.address + 8 * fixed),
            (prologue.RATE, rate.address if rate is not None else 0),
            (prologue.RATE_KIND, prologue.KINDS[rate.dtype.name] if rate is not None else 0),
        ):
            self._words[place] = number
        self._ring = ring(self._words.nbytes)
        self._pinned = driver.pinned(8 * prologue.OUTCOME_WORDS * MAX_IN_FLIGHT)
        self.outcomes = integers(self._pinned, MAX_IN_FLIGHT * prologue.OUTCOME_WORDS).reshape(
            MAX_IN_FLIGHT, -1
        )
        self._starts = [prologue.launcher(self._there.address), *starts]
        self._norm, self._place = norm, 0
        self._kept = tasks, count, rate  # kept alive; the device has their addresses only

    def count_in(self, runs: Sequence[Run]) -> None:
        """Set further step counters, which the device advances with each step that counts."""
        from . import prologue_kernel as prologue

        self._words[prologue.RUNS] = len(runs)
        flat = [*chain.from_iterable(runs)]
        self._words[self._runs_at : self._runs_at + len(flat)] = flat

    def run(self, base: int, pages: int, certain: bool, flag: Flag, unscale: int = 0) -> int:
        """Launch the prologue kernel and the kernels after it; returns the number of the outcome.

        Args:
            base: the step count of the first page.
            pages: the number of pages, one for each possible count.
            certain: True if the first page is known to be the right one; else the device chooses.
            flag: the flag of the step.
            unscale: the address of the factor of the norm; 0 if the host has it.
        """
        from . import prologue_kernel as prologue

        place, self._place = self._place, (self._place + 1) % MAX_IN_FLIGHT
        words, norm = self._words, self._norm
        words[prologue.KNOWN] = base if certain else -1
        words[prologue.BASE], words[prologue.LAST_PAGE] = base, pages - 1
        words[prologue.FLAG], words[prologue.KIND], words[prologue.FORCED] = flag
        words[prologue.TOTAL] = norm.total.address if norm and not flag.forced else 0
        words[prologue.UNSCALE] = unscale
        words[prologue.OUTCOME] = self.outcomes[place].ctypes.data
        unused = self.pages[pages:].nbytes
        self._ring.send(self._there.address, words.ctypes.data, words.nbytes - unused)
        for table in self._tables:
            table.send_rows()
        for start in self._starts:
            start()
        return place


def table_of(launch: Launch) -> DeviceTable:
    """The table of a launch on a device."""
    assert isinstance(launch.table, DeviceTable)
    return launch.table
