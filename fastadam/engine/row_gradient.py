"""The row-sparse gradient of one parameter: its rows, sorted and merged, and their values."""

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
    """The elements that a step updates, and the addresses of their gradients.

    Attributes:
        starts: the first element of each run.
        stops: the element after the last of each run.
        grads: the address of the first gradient of each run.
        touched: the address of the first mark of each run, which tells the elements of the rows
            from others in the same block; only for runs of whole blocks.
    """

    starts: Any = NONE
    stops: Any = NONE
    grads: Any = NONE
    touched: Any = None


class RowGradient:
    """The rows of one parameter that have a gradient in a step.

    Args:
        param: the parameter.
        name, param_name: the names of gradient and parameter in messages.

    Attributes:
        param: the parameter.
        name: the name of the gradient in messages.
        width: the number of elements of a row.
        block: the number of elements in a block of the state.
        apart: True if each row is a run by itself, for constants of its own or for a list of rows.
        lazy: True if rows have constants of their own.
        measured: True if the norm of the gradient is needed.
        threads: the threads of a launch.
        runs: the elements of the rows, and their gradients.
        root: an array of one number, the norm of the gradient.
        squares: the sums of squares of blocks of its rows, if the norm is needed.
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
        self._kept: list[Any] = []  # arrays whose addresses are in tables

    @property
    def partial(self) -> bool:
        """True if a block of the state may contain parts of other rows."""
        return self.block < WHOLE and self.width % self.block != 0

    def take(self, rows: Rows) -> None:
        """Check the gradient of a step, sort its rows, and add up repeated ones.

        Raises:
            TypeError, ValueError, IndexError: if it does not match the parameter.
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
        """The indices of the rows, in ascending order, each once."""
        if self._numbers is None and isinstance(self.runs, SortedRows):
            self._numbers, _ = self.runs.unpacked()
        return self._numbers

    def _packed(self, rows: Rows, order: Order) -> Any:
        """Add up repeated rows, and convert values that the kernel cannot read in place.

        Returns the address of the gradient of each row.

        Raises:
            ValueError: for repeated rows of a gradient that is declared unique.
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
        """The address of memory for sums, which start at -0.0, so that zeros keep their signs."""
        packed = np.full(elements, -0.0, self._compute)
        self._kept.append(packed)
        return address(packed)

    def _add(self, values: Any, sources: Any, sums: Any, begins: Any) -> None:
        """Add up values, in order.

        Args:
            values: the array of the values.
            sources: the address of the values of each row.
            sums: the address of the sum of each row.
            begins: the first row of each sum; None if each row has a sum of its own.
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
        """A table of runs of elements, in the memory of the parameter."""
        return RowTable(kernel, records, unit)

    def list(self, kernel: Kernel, records: int, unit: int) -> ListTable:
        """A table of listed rows."""
        return ListTable(kernel, records, unit, self.width)

    def steps_in(self, array: Any) -> Any:
        """The step counts of rows, to be read and written by row index."""
        return array

    def on_host(self, values: Any) -> Any:
        """The values of rows in the memory of the host."""
        return values

    def _by_rows(self, found: Any) -> None:
        """Merge rows that are adjacent, in the parameter and in the gradient, into runs."""
        starts, stops, grads = np.empty((3, len(found)), np.int64)
        stride = 0 if self.apart else self.width * self._itemsize
        join = whole("fastadam.kernels.cpu.row_passes").join
        count = join(self.numbers, found, self.width, stride, starts, stops, grads)
        self.runs = Runs(starts[:count], stops[:count], grads[:count])

    def _by_blocks(self) -> Any:
        """Form runs of whole blocks, with marks for the elements of the rows; returns the position
        of each row among the gradients of the runs."""
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
        """Compute the norm of the gradient, row by row, so that it does not depend on addresses."""
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
    """Refuse repeated rows in a gradient that is declared unique."""
    place = int(np.argmax(counts > 1))
    raise ValueError(
        f"{name}: unique=True, but row {numbers[place]} is given {counts[place]} times; "
        "leave unique out, and gradients of the same row are added up"
    )


def _ends(new: Any) -> tuple[Any, Any]:
    """The first and the last position of each run, from marks of the first ones."""
    first = np.flatnonzero(new)
    return first, np.append(first, len(new))[1:] - 1
