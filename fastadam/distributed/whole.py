"""The whole parameters in this process: checks of gradients, sums of micro-batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.accumulation import Accumulator
from ..engine.backend import HOST
from ..engine.flat import Flat
from ..engine.gradients import OtherDtypesError, StepArrays
from ..engine.options import Options
from ..engine.parameters import NO_GRADS, Parameters
from ..engine.row_gradient import refuse_repeated
from ..engine.row_inputs import check_rows
from ..engine.scales import NEAR, reach_of, unscale_of
from ..kernels.commit import Operation, commit, put, write
from ..kernels.formats import Formats, compute_of
from ..memory import checks
from ..memory.dtypes import name_of
from ..memory.rows import Rows, RowsDtype, flat_indices
from ..memory.tree import listed
from .row_exchange import GivenRows
from .whole_rows import Division


class WholeParameters:
    """The parameters that every process has, and the gradients given for them.

    Args:
        parameters: the parameters.
        options: those of the optimizer; gradients are accumulated and cleared here.
        divisions: where the parameters may be divided.

    Attributes:
        dtypes: the dtype of the gradient of each parameter.
        batches: the micro-batches added up since the last update.
        found: whether one of them is known not to be finite.
    """

    found = False

    def __init__(
        self, parameters: Parameters, options: Options, divisions: Sequence[Division]
    ) -> None:
        self._parameters, self._options, self._divisions = parameters, options, divisions
        self.dtypes = [array.dtype for array in parameters.arrays]
        self._grads: Flat | None = None
        self._room: Any = None
        self._sums: Accumulator | None = None
        self._reach = 0  # of the loss scales for which the sums are prepared
        self._inputs = self._inputs_of(self.dtypes)
        self._masks = HOST.masks(parameters.arrays, parameters.names, parameters.called("mask"))
        self._masks.protect(self._spans())

    @property
    def batches(self) -> int:
        return self._sums.count if self._sums else 0

    def settings(self) -> dict[str, Any]:
        """Settings of a step that must be equal in all processes, by their names in messages."""
        return {
            "the number of micro-batches": self.batches,
            "the dtypes of the gradients": list(map(str, self.dtypes)),
        }

    def _spans(self) -> list[checks.Span]:
        names = self._parameters.names
        return sorted(map(checks.span, self._parameters.arrays, names))

    def _inputs_of(self, dtypes: Sequence[Any]) -> StepArrays:
        parameters, cleared = self._parameters, self._options.zero_grads
        names = parameters.called("grads")
        inputs = HOST.gradients(parameters.arrays, parameters.names, names, dtypes, cleared)
        inputs.protect(self._spans())
        return inputs

    def own_grads(self) -> Flat:
        """The gradients that a step without arguments uses, made at the first call.

        Raises:
            TypeError: if the parameters have several dtypes.
        """
        if self._grads is None:
            parameters, room = self._parameters, self._room
            self._grads = parameters.own_grads() if room is None else parameters.flat_like(room)
        return self._grads

    def put_grads_into(self, room: Any) -> None:
        """Let `own_grads` be in an array of zeros."""
        self._room = room

    def clear_own_grads(self) -> None:
        """Set the gradients of `own_grads` to zero, if there are any."""
        if self._grads is not None:
            self._grads.buffer.fill(0)

    def checked(self, grads: Any) -> tuple[list[Any], Any]:
        """The gradients of a step, one or None for each parameter; and the array that holds all.

        Raises:
            TypeError, ValueError: for arrays that are no gradients of the parameters, and for
                parameters that were exchanged.
        """
        grads = listed(grads)
        if grads is None and self._grads is None:
            raise ValueError(NO_GRADS)
        given = self._grads if grads is None else grads
        arrays = list(self._parameters.matched(given))
        changes = self._parameters.changes
        if not changes.unchanged():
            changes.check_containers()
            changes.check_arrays([True] * len(arrays))
        dense = [None if isinstance(array, Rows) else array for array in arrays]
        try:
            self._inputs.bind(dense)
        except OtherDtypesError as other:
            self.dtypes = list(other.dtypes)
            self._inputs = self._inputs_of(self.dtypes)
            self._inputs.bind(dense)
            self._expect_other()
        arrays = [
            self._rows(number, array) if isinstance(array, Rows) else array
            for number, array in enumerate(arrays)
        ]
        return arrays, self._buffer(given)

    def _rows(self, number: int, rows: Rows) -> Any:
        """A row-sparse gradient as it is exchanged; an array for a parameter without elements.

        Raises:
            TypeError, ValueError, IndexError: if it does not match the parameter or the options.
        """
        param, param_name = self._parameters.arrays[number], self._parameters.names[number]
        name = self._parameters.called("grads")[number]
        indices = flat_indices(rows, name, param, param_name)
        self._inputs.check_free(checks.span(rows.values, f"{name}.values"))
        check_rows([RowsDtype.of(param)], self._options, param)
        if self.batches:
            raise ValueError(
                f"{name} is Rows, but arrays were added up inside no_sync(); give the rows of all "
                "micro-batches to one step"
            )
        if rows.unique:
            numbers, counts = np.unique(indices, return_counts=True)
            if len(numbers) < len(indices):
                refuse_repeated(name, numbers, counts)
        if not param.size:
            return np.zeros(param.shape, param.dtype)
        width = self._divisions[number].width
        if not self._divisions[number].whole:
            raise ValueError(
                f"{name} is Rows, but {param_name} of shape {param.shape} is divided inside of "
                "rows, so that all processes have shares; give Sharded(..., whole_rows=True)"
            )
        return GivenRows(indices, rows.values.reshape(len(indices), width))

    def _buffer(self, given: Any) -> Any:
        if isinstance(given, Flat):
            return given.buffer
        one = isinstance(given, np.ndarray) and given.ndim == 1
        return given if one and (self._parameters.flat or self._parameters.single) else None

    def masks(self, mask: Any) -> list[Any]:
        """The masks of a step, one for each parameter.

        Raises:
            TypeError, ValueError: for invalid masks.
        """
        arrays = list(self._parameters.matched(mask, "mask"))
        self._masks.bind(arrays)
        return arrays

    # Micro-batches

    def add(self, grad_scale: Any, others: Sequence[Operation] = ()) -> None:
        """Add the gradients that were checked last to the sums, and commit other operations.

        Args:
            grad_scale: the factor of the loss, or None.
            others: the operations.
        """
        unscale, power = unscale_of(grad_scale, {*map(name_of, self.dtypes)})
        sums = self._prepared(max(NEAR, reach_of(grad_scale)))
        sums.place(self._inputs.addresses, self._inputs.active)
        sums.add(unscale, power, others)

    def _prepared(self, reach: int) -> Accumulator:
        """The sums, made at the first call, for loss scales of a range."""
        if self._sums is None:
            self._sums = Accumulator(self._options)
            commit(self._sums.extended(self._parameters.arrays))
        if reach > self._reach:
            self._reach = reach
            self._expect_other()
        return self._sums

    def _expect_other(self) -> None:
        """Prepare the sums for the dtypes and the range there are now."""
        if self._sums:
            arrays = zip(self._parameters.arrays, self.dtypes, strict=True)
            formats = [Formats(compute_of(p.dtype.name), name_of(d)) for p, d in arrays]
            self._sums.expect(formats, self._reach)

    @property
    def sums(self) -> list[Any]:
        """The sums of micro-batches, None for parameters that had no gradient."""
        assert self._sums
        pairs = zip(self._sums.sums, self._sums.seen, strict=True)
        return [total if seen else None for total, seen in pairs]

    def restarted(self, used: Sequence[Any]) -> list[Operation]:
        """The operations that restart after an update, or a skipped one, that used these
        gradients."""
        begun = put(self, found=False)
        if self._sums and self._sums.count:
            return [*self._sums.restored(0, []), *begun]
        cleared = used if self._options.zero_grads else ()
        return [*(write(array, 0) for array in cleared if array is not None), *begun]

    def restored(self, count: int, sums: Sequence[Any]) -> list[Operation]:
        """The operations that restore saved sums."""
        begun = put(self, found=False)
        if count or self._sums:
            return [*self._prepared(NEAR).restored(count, sums), *begun]
        return begun
