"""Exchange of gradients and parameters between the processes of a sharded optimizer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.backend import HOST
from ..engine.flat import Flat
from ..kernels.commit import Operation, put
from ..kernels.formats import compute_of
from ..memory.rows import Rows
from ..processes.agreement import Agreement
from ..processes.resumable import ResumableCommunicator
from .collectives import MeanGradients, Parts
from .layout import ShardLayout
from .line_arrays import LineArrays
from .row_exchange import GivenRows, Kinds, RowExchange
from .shared_memory import SharedGradients, SharedMeans, SharedParts

ALL = Kinds(())  # nothing is row-sparse


class Exchange:
    """The exchange of gradients, and the distribution of updated parameters.

    Args:
        comm: the communicator.
        layout: the division of the parameters over the processes.
        comm_dtype: the dtype in which gradients are sent; None: their own.
        gradients: the gradients of the processes of this host, if they share the parameters.

    Attributes:
        grads: for each piece of this process, the mean of its gradients in the last call of
            `collect`.
    """

    def __init__(
        self,
        comm: ResumableCommunicator,
        layout: ShardLayout,
        comm_dtype: Any,
        gradients: SharedGradients | None = None,
    ) -> None:
        self._layout, self._gradients, self._agreement = layout, gradients, Agreement(comm)
        self._dtypes = layout.by_bucket([array.dtype for array in layout.parameters.arrays])
        computes = [np.dtype(compute_of(dtype.name)) for dtype in self._dtypes]
        self._means = MeanGradients(comm, layout.line, layout.buckets, computes, comm_dtype)
        self._parts = Parts(comm, layout.line, layout.buckets)
        self._rows = RowExchange(comm, layout, comm_dtype, gradients)
        self._collected = dict[int, Rows]()
        self.grads = layout.by_piece(self._means.parts)
        self._param_parts: Parts | SharedParts = self._parts
        if gradients:
            means = self._means.parts, gradients, comm_dtype
            self._shared_means = SharedMeans(comm, layout.buckets, *means)
            self._param_parts = SharedParts(comm, layout.buckets, gradients)

    def collect_shared(self) -> None:
        """Set `grads` to the means of the gradients that all processes have in shared memory."""
        self._shared_means.collect()

    def kinds(self, given: Sequence[Any], lacks: bool, sparse: bool) -> Kinds:
        """The kinds of the gradients of all processes.

        Args:
            given: those of this process, one or None for each parameter.
            lacks: whether any process has None.
            sparse: whether any process has row-sparse ones.

        Raises:
            ValueError: in all processes, if those of one parameter differ.
        """
        if sparse:
            return self._rows.kinds(given)
        if lacks:
            return Kinds(self._agreement.flags(*(array is not None for array in given)))
        return Kinds([True] * len(given))

    def collect(
        self, arrays: Sequence[Any], dtypes: Sequence[Any], buffer: Any = None, kinds: Kinds = ALL
    ) -> None:
        """Set `grads` to the means of the gradients of all processes, and collect their rows.

        Args:
            arrays: those of this process, one or None for each parameter.
            dtypes: theirs, the same in all processes.
            buffer: the array that holds all of them, if there is one.
            kinds: the kinds of the gradients of all processes.
        """
        dense = [None if isinstance(array, GivenRows) else array for array in arrays]
        chosen = self._layout.buckets_besides(kinds.sparse)
        self._means.collect(LineArrays(self._layout.line, dense, buffer), dtypes, chosen)
        if kinds.sparse:
            self._collected = self._rows.collect(arrays, kinds)

    def of_pieces(self, kinds: Kinds) -> list[Any]:
        """The gradient of each piece in this step, or None; without rows, if none were collected.

        Args:
            kinds: the kinds of the gradients of all processes.
        """
        partition = self._layout.partition
        partition.active, partition.sparse = any(kinds.active), kinds.sparse
        rows = self._rows.none_of(kinds) | self._collected
        pairs = enumerate(zip(partition.pieces, self.grads, strict=True))
        return [
            rows.get(place, grad) if kinds.active[piece.number] else None
            for place, (piece, grad) in pairs
        ]

    def forgotten(self) -> list[Operation]:
        """The operations that forget the rows that were collected."""
        return put(self, _collected={})

    def gather_params(self, kinds: Kinds = ALL, gradients: Sequence[Any] = ()) -> None:
        """Complete the parameters, of which each process has updated its pieces.

        Args:
            kinds: the kinds of the gradients of all processes.
            gradients: the row-sparse gradient of each piece, if there are any.
        """
        if kinds.sparse:
            self._rows.gather(kinds, gradients)
        chosen = self._layout.buckets_besides(kinds.sparse)
        self._param_parts.gather(self._layout.line_params, self._dtypes, chosen)

    def wait(self) -> None:
        """Wait for all processes, if some share memory with this one."""
        if self._gradients:
            self._gradients.wait()

    def gathered(self, own: Flat) -> Flat:
        """Whole arrays from the pieces that each process has: a new Flat."""
        layout, dtype = self._layout, own.buffer.dtype
        flat = layout.parameters.flat_like(HOST.zeros(layout.parameters.size, dtype))
        layout.fill_in(flat.leaves, own.leaves)
        arrays = LineArrays(layout.line, flat.leaves, flat.buffer)
        self._parts.gather(arrays, [dtype] * len(layout.buckets))
        return flat

    def mean_of(self, arrays: Sequence[Any]) -> list[Any]:
        """The means over all processes of whole arrays of the dtypes of the arithmetic."""
        layout = self._layout
        self.collect(arrays, layout.computes)
        pairs = zip(layout.shapes, layout.computes, strict=True)
        whole = [np.zeros(shape, dtype) for shape, dtype in pairs]
        layout.fill_in(whole, self.grads)
        self._parts.gather(LineArrays(layout.line, whole), layout.by_bucket(layout.computes))
        return whole
