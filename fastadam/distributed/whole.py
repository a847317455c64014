"""The whole parameters in this process: checks of gradients, sums of micro-batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.accumulation import Accumulator
from ..engine.backend import HOST
from ..engine.flat import Flat
from ..engine.gradients import Inputs, OtherDtypesError
from ..engine.options import Options, reach_of, unscale_of
from ..engine.parameters import Parameters
from ..kernels.commit import commit
from ..kernels.formats import Formats, compute_of
from ..memory import checks
from ..memory.dtypes import name_of
from ..memory.tree import listed


class WholeParameters:
    """The parameters that every process has, and the gradients given for them.

    Args:
        parameters: the parameters.
        options: those of the optimizer; gradients are accumulated and cleared here.

    Attributes:
        dtypes: the dtype of the gradient of each parameter.
        batches: the micro-batches added up since the last update.
    """

    def __init__(self, parameters: Parameters, options: Options) -> None:
        self._parameters, self._options = parameters, options
        self.dtypes = [array.dtype for array in parameters.arrays]
        self._grads: Flat | None = None
        self._sums: Accumulator | None = None
        self._inputs = self._inputs_of(self.dtypes)
        self._masks = HOST.masks(parameters.arrays, parameters.names, parameters.called("mask"))
        self._masks.protect(self._spans())

    @property
    def batches(self) -> int:
        return self._sums.count if self._sums else 0

    def _spans(self) -> list[checks.Span]:
        names = self._parameters.names
        return sorted(map(checks.span, self._parameters.arrays, names))

    def _inputs_of(self, dtypes: Sequence[Any]) -> Inputs:
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
            arrays = self._parameters.arrays
            dtypes = sorted({str(array.dtype) for array in arrays})
            if len(dtypes) > 1:
                raise TypeError(
                    f"grads is one buffer of one dtype, but the parameters have {dtypes}; "
                    "pass the gradients to step() instead"
                )
            buffer = HOST.zeros(self._parameters.size, arrays[0].dtype)
            self._grads = self._parameters.flat_like(buffer)
        return self._grads

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
            raise ValueError(
                "step() without gradients uses opt.grads, which was never touched; "
                "fill opt.grads.tree, or pass the gradients"
            )
        given = self._grads if grads is None else grads
        arrays = list(self._parameters.matched(given))
        watch = self._parameters.watch
        if not watch.hold():
            watch.check_containers()
            watch.check_arrays([True] * len(arrays))
        try:
            self._inputs.look(arrays)
        except OtherDtypesError as other:
            self.dtypes = list(other.dtypes)
            self._inputs, self._sums = self._inputs_of(self.dtypes), self._sums
            self._inputs.look(arrays)
            self._expect_other()
        return arrays, self._buffer(given)

    def _buffer(self, given: Any) -> Any:
        if isinstance(given, Flat):
            return given.buffer
        one = isinstance(given, np.ndarray) and given.ndim == 1
        return given if one and (self._parameters.flat or self._parameters.single) else None

    def masks(self, mask: Any) -> list[Any]:
        """The masks of a step, one for each parameter.

        Raises:
            TypeError, ValueError: for arrays that are no masks of the parameters.
        """
        arrays = list(self._parameters.matched(mask, "mask"))
        self._masks.look(arrays)
        return arrays

    # Micro-batches

    def add(self, grad_scale: Any) -> None:
        """Add the gradients that were checked last to the sums."""
        unscale, power = unscale_of(grad_scale, {*map(name_of, self.dtypes)})
        if self._sums is None:
            self._sums = Accumulator(self._options)
            commit(self._sums.extended(self._parameters.arrays))
            self._reach = 0
        reach = max(1, reach_of(grad_scale), self._reach)
        if reach != self._reach:
            self._reach = reach
            self._expect_other()
        self._sums.look(self._inputs.addresses, self._inputs.active)
        self._sums.add(unscale, power)

    def _expect_other(self) -> None:
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

    def restart(self, used: Sequence[Any]) -> None:
        """Begin anew after an update, or a skipped one, that used these gradients."""
        if self._sums and self._sums.count:
            commit(self._sums.restored(0, []))
        elif self._options.zero_grads:
            for array in used:
                if array is not None:
                    array[...] = 0

    def restored(self, count: int, sums: Sequence[Any]) -> None:
        """Take over sums that were saved."""
        if count and self._sums is None:
            self._sums = Accumulator(self._options)
            commit(self._sums.extended(self._parameters.arrays))
            self._reach = 1
            self._expect_other()
        if self._sums:
            commit(self._sums.restored(count, sums))
