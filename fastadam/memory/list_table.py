"""The table of a kernel over listed rows of one array, written anew for each step."""

from ctypes import addressof
from functools import partial
from typing import cast

import numpy as np

from ..kernels.commit import Operation
from ..kernels.cpu import threads
from ..kernels.factory import Kernel
from ..kernels.row_pieces import GRAD
from ..kernels.target import HostTarget
from .arrays import address
from .launch_table import SKIPPED
from .row_table import RowTable

LEAST = 16  # elements that take as long as a row of fewer, whose cache lines are far from others


class ListTable(RowTable):
    """The memory of one kernel over listed rows of one array; see `kernels/row_list.py`.

    The rows of the next launch are given as in `RowTable.spread`, each as a run by itself.

    Args:
        kernel, records, unit: as for `RowTable`.
        width: the elements of a row.
    """

    def __init__(self, kernel: Kernel, records: int, unit: int, width: int) -> None:
        super().__init__(kernel, records, unit)
        self._width = width

    def chosen(self, limit: threads.Limit, threaded: bool = True) -> Operation:
        """The C function that launches the kernel over all rows, on at most so many threads."""
        records = None
        if self._sorted:
            lists = [*self._sorted[1].elements(self._first)]
        else:
            (starts, _), packed, records, _ = self._given
            if self._first:
                starts = starts + self._first
            lists = [np.ascontiguousarray(each, np.int64) for each in (starts, packed[GRAD])]
        count = len(lists[0])
        row = np.zeros(self.rows.shape[1] + 2, np.int64)
        row[:-2] = self.rows[0]
        row[self._columns[GRAD, 0]], row[-2] = address(lists[1]), address(lists[0])
        if records is not None:
            lists.append(np.ascontiguousarray(records, np.int64))
            row[-1] = address(lists[2])
            row[0] = 0 if row[0] != SKIPPED else SKIPPED
        many = threaded and count * max(self._width, LEAST) >= threads.SERIAL_BELOW
        parts = max(1, min(threads.tasks_for(limit), count)) if many else 1
        cuts = np.arange(parts + 1) * count // parts
        chunks = np.zeros((parts, 3), np.int64)
        chunks[:, 1], chunks[:, 2] = cuts[:-1], cuts[1:]
        tasks = np.empty((parts, 5), np.int64)
        tasks[:, :3] = address(row), address(chunks), addressof(self.records)
        tasks[:, 3], tasks[:, 4] = range(parts), range(1, parts + 1)
        self._kept = [tasks, row, chunks, self.records, *lists]
        first, target = address(tasks), cast(HostTarget, self.kernel.target)
        if parts == 1:
            return partial(self.kernel.run, first)
        return target.parallel(self.kernel.run, first, tasks.strides[0], parts)
