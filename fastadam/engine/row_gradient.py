"""The row-sparse gradient of one parameter: its rows in order, each once, its values in place."""

import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from ..kernels.cpu.threads import Limit
from ..kernels.factory import Kernel
from ..kernels.formats import Formats, compute_of
from ..kernels.imports import whole
from ..kernels.storage.base import WHOLE
from ..kernels.storage.block_sums import Sums
from ..memory.aligned import aligned_zeros
from ..memory.checks import address
from ..memory.dtypes import name_of
from ..memory.list_table import ListTable
from ..memory.row_table import RowTable, SortedRows
from ..memory.rows import Rows, flattened, refuse_index
from .accumulation import add
from .grad_norm import norm_kernel
from .launch import kernel_for
from .row_order import Order, groups_of, reorder, sorted_rows

NONE = np.empty(0, np.int64)


class Runs(NamedTuple):
    """The elements that a step updates, and where their gradients are.

    Attributes:
        starts: the first element of each run.
        stops: the one after its last.
        grads: the address of its first gradient.
        touched: where blocks hold elements of other rows, too, the address of its first mark.
    """

    starts: Any = NONE
    stops: Any = NONE
    grads: Any = NONE
    touched: Any = None


class RowGradient:
    """The rows of one parameter that have a gradient in a step.

    Args:
        param: the parameter.
        name, param_name: what gradient and parameter are called in messages.

    Attributes:
        param: the parameter.
        name: what the gradient is called in messages.
        width: the number of elements of a row.
        block: the number of elements that the state of the parameter packs at once.
        apart: whether each row is a run by itself, for constants of its own or a list of rows.
        lazy: whether rows have constants of their own.
        measured: whether the norm of the gradient is needed.
        threads: how many threads may be used.
        runs: the elements of the rows, and their gradients.
        root: an array of one number, the norm of the gradient.
        squares: the sums of squares of blocks of its rows, if it is measured.
    """

    def __init__(self, param: Any, name: str, param_name: str) -> None:
        self.param, self.name, self._param_name = param, name, param_name
        self._compute = compute_of(name_of(param.dtype))
        self._itemsize = np.dtype(self._compute).itemsize
        self.width = math.prod(param.shape[1:])
        self.block, self.apart, self.lazy, self.measured = WHOLE, False, False, False
        self.threads: Limit = None
        self._numbers: Any = NONE
        self.runs: Runs | SortedRows = Runs()
        self.root, self.squares = aligned_zeros(1, "float64"), np.empty(0)
        self._adders: dict[str, RowTable] = {}
        self._norm: RowTable | None = None
        self._kept: list[Any] = []  # what tables hold the addresses of

    @property
    def partial(self) -> bool:
        """True if a block of the state may hold parts of other rows."""
        return self.block < WHOLE and self.width % self.block != 0

    def take(self, rows: Rows) -> None:
        """Check the gradient of a step, sort its rows, and add up those that are given twice.

        Raises:
            TypeError, ValueError, IndexError: if it does not go with the parameter.
        """
        values, width, compute = rows.values, self.width, self._compute
        described = self.name, self.param, self._param_name
        indices, limit = flattened(rows, *described), self.param.shape[0]
        base, stride = address(values), width * values.itemsize
        order = sorted_rows(indices, limit, base, stride, width)
        if order is None:
            refuse_index(rows, *described)
        self._kept, self._numbers, found = [values], None, None
        if width == 0:
            self._numbers, self.runs, found = NONE, Runs(), NONE
        elif order.repeated or self.partial or name_of(values.dtype) != compute:
            found = self._packed(rows, order)
        elif self.lazy or order.rows is None:
            self._numbers, found = order.unpacked()
            self._by_rows(found)
        else:
            self.runs = order.rows
        if self.measured:
            self._measure(order.unpacked()[1] if found is None else found)

    @property
    def numbers(self) -> Any:
        """The numbers of the rows, in order, each once."""
        if self._numbers is None and isinstance(self.runs, SortedRows):
            self._numbers, _ = self.runs.unpacked()
        return self._numbers

    def _packed(self, rows: Rows, order: Order) -> Any:
        """Add up or convert rows, which one kernel cannot read where they are; returns the address
        of the gradient of each.

        Raises:
            ValueError: for repeated rows that were promised to be unique.
        """
        numbers, addresses = order.unpacked()
        values, width, groups = rows.values, self.width, groups_of(numbers)
        if order.repeated and rows.unique:
            refuse_repeated(self.name, groups.numbers, groups.counts)
        if groups.many:
            given = self.on_host(values).reshape(len(numbers), width)
            reorder(order, addresses, groups, given)
        self._numbers = groups.numbers
        if self.partial:
            found = self._by_blocks()
            begins = np.cumsum(groups.counts) - groups.counts
            self._add(values, addresses, np.repeat(found, groups.counts), begins)
            return found
        every = name_of(values.dtype) != self._compute
        given = len(numbers) if every else groups.repeated
        count, least = (len(groups.numbers), 1) if every else (groups.several, 2)
        base, size = self._buffer(count * width), width * self._itemsize
        found, begins = np.empty_like(groups.numbers), np.empty(count, np.int64)
        sources, sums = np.empty((2, given), np.int64)
        gather = whole("fastadam.kernels.cpu.row_passes").gather
        sorts = groups.firsts, groups.counts, least, addresses
        gather(*sorts, base, size, found, sources, sums, begins)
        self._add(values, sources, sums, begins if order.repeated else None)
        self._by_rows(found)
        return found

    def _buffer(self, elements: int) -> int:
        """The address of memory for sums, which start at a zero that keeps the signs of zeros."""
        packed = np.full(elements, -0.0, self._compute)
        self._kept.append(packed)
        return address(packed)

    def _add(self, values: Any, sources: Any, sums: Any, begins: Any) -> None:
        """Add up values, in order.

        Args:
            values: the array in which they are.
            sources: the address of those of each row.
            sums: the address of the sum that each belongs to.
            begins: the first row of each sum; None if each has a sum of its own.
        """
        dtype = name_of(values.dtype)
        if dtype not in self._adders:
            self._adders[dtype] = self._adder(dtype)
        table, starts = self._adders[dtype], np.zeros_like(sources)
        runs = starts, np.full_like(starts, self.width)
        table.spread(runs, {"param": sums, "grad": sources}, whole=begins)
        table.run(self.threads)

    def _adder(self, dtype: str) -> RowTable:
        """The table of the kernel that adds values of a dtype."""
        return self.table(kernel_for(add, Formats(self._compute, dtype)), 1)

    def table(self, kernel: Kernel, records: int, unit: int = 1) -> RowTable:
        """A table of runs of elements, where the parameter lies."""
        return RowTable(kernel, records, unit)

    def list(self, kernel: Kernel, records: int, unit: int) -> ListTable:
        """A table of rows, for a kernel that finds them by a list."""
        return ListTable(kernel, records, unit, self.width)

    def steps_in(self, array: Any) -> Any:
        """The counts of rows, which are read and written by the numbers of rows."""
        return array

    def on_host(self, values: Any) -> Any:
        """The values of rows where NumPy can read them."""
        return values

    def _by_rows(self, found: Any) -> None:
        """Merge rows that are adjacent, in the parameter and here, into runs."""
        starts, stops, grads = np.empty((3, len(found)), np.int64)
        stride = 0 if self.apart else self.width * self._itemsize
        join = whole("fastadam.kernels.cpu.row_passes").join
        count = join(self.numbers, found, self.width, stride, starts, stops, grads)
        self.runs = Runs(starts[:count], stops[:count], grads[:count])

    def _by_blocks(self) -> Any:
        """Let runs be of whole blocks, with marks of the elements of the rows; returns where the
        gradient of each row has its place among theirs."""
        size, width, first = self.block, self.width, self.numbers * self.width
        low, high = first // size, (first + width - 1) // size
        counts = high - low + 1
        before = np.cumsum(counts) - counts
        blocks = np.repeat(low - before, counts) + np.arange(int(counts.sum()))
        new = np.diff(blocks, prepend=-1) != 0
        places = (np.cumsum(new) - 1)[before] * size + first - low * size
        blocks = blocks[new]
        edges = np.zeros(len(blocks) * size + 1, np.int8)
        edges[places] += 1
        edges[places + width] -= 1
        marks = np.cumsum(edges, dtype=np.int8)
        packed = self._buffer(len(blocks) * size)
        self._kept.append(marks)
        first, last = _ends(np.diff(blocks, prepend=-2) != 1)
        self.runs = Runs(
            blocks[first] * size,
            np.minimum((blocks[last] + 1) * size, self.param.size),
            packed + first * (size * self._itemsize),
            address(marks) + first * size,
        )
        return packed + places * self._itemsize

    def _measure(self, found: Any) -> None:
        """Take the norm of the gradient, row by row, so that it does not depend on their places."""
        if self._norm is None:
            self._norm = RowTable(norm_kernel(Formats.alike(self._compute)), 1)
        blocks = -(-self.width // Sums.block)
        sums, starts = np.zeros(len(found) * blocks), np.zeros_like(found)
        places = address(sums) + np.arange(len(found)) * (blocks * sums.itemsize)
        self._norm.spread((starts, starts + self.width), {"param": places, "grad": found})
        self._norm.run(self.threads)
        self.squares = sums
        self.root[0] = math.sqrt(np.add.reduce(sums))


def refuse_repeated(name: str, numbers: Any, counts: Any) -> NoReturn:
    """Refuse rows of which one is given several times, although they were promised not to be."""
    place = int(np.argmax(counts > 1))
    raise ValueError(
        f"{name}: unique=True, but row {numbers[place]} is given {counts[place]} times; "
        "leave unique out, and gradients of the same row are added up"
    )


def _ends(new: Any) -> tuple[Any, Any]:
    """The first and the last place of each run, from marks of those where a run begins."""
    first = np.flatnonzero(new)
    return first, np.append(first, len(new))[1:] - 1
