"""The norm of gradients without a step."""

from collections.abc import Sequence
from typing import Any

from ..kernels.cpu.threads import Limit
from ..kernels.formats import Formats
from ..memory.dtypes import name_of
from .grad_norm import GradNorm
from .parameters import Parameters
from .partition import Shards
from .preprocess import measured_as
from .row_inputs import gradients_for


class NormMeasure:
    """Computes the norm of gradients of given dtypes.

    Args:
        parameters: the parameters.
        dtypes: the dtypes of their gradients.
        threads: the threads of a launch.
        shards: completes the norm, if other processes have other elements of the parameters.

    Attributes:
        parameters: the parameters.
    """

    def __init__(
        self,
        parameters: Parameters,
        dtypes: Sequence[Any],
        threads: Limit,
        shards: Shards | None = None,
    ) -> None:
        self.parameters = parameters
        arrays, called = parameters.arrays, parameters.called("grads")
        self._gradients = gradients_for(arrays, parameters.names, called, dtypes, False)
        self._gradients.protect([])
        for rows in filter(None, self._gradients.rows):
            rows.measured = True
        formats = [
            Formats(name_of(array.dtype), name_of(dtype))
            for array, dtype in zip(arrays, dtypes, strict=True)
        ]
        measured = measured_as(arrays, formats, self._gradients.rows)
        self._norm = GradNorm(*measured, threads, shards=shards)

    def of(self, arrays: Sequence[Any]) -> float:
        """The norm of these gradients, one or None per parameter.

        Raises:
            TypeError, ValueError: for invalid gradients.
            OtherDtypesError: for gradients of other dtypes.
        """
        self._gradients.bind(arrays)
        self._norm.place(self._gradients.addresses, self._gradients.active)
        self._norm.run()
        norm: float = self._norm.norm(1.0, wait=True)
        return norm
