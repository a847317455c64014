"""Parameters that are interpolated towards other arrays for evaluation, and restored afterwards."""

from collections.abc import Sequence
from typing import Any

from ..kernels.commit import Operation, write
from ..kernels.formats import Formats
from ..memory.checks import address
from ..memory.dtypes import name_of
from ..rules import rule
from .averages import Exchange, ParameterCopies
from .launch import Launch, kernel_for


@rule(hyper=("weight",))
def between(param, grad, state, h):  # type: ignore[no-untyped-def]
    """The interpolation between a parameter and another number; the weight may be negative."""
    return param + h.weight * (grad - param), state


class Blend(Exchange):
    """A prepared exchange of each parameter p with `p + weight * (other - p)`.

    Args:
        copies: the copies of the parameters.
        others: an array for each parameter; None leaves it unchanged.
        weights: a number for each parameter.
        name: the name of the `with` block, for messages.

    Raises:
        ValueError: if a parameter is read-only.
    """

    def __init__(
        self,
        copies: ParameterCopies,
        others: Sequence[Any],
        weights: Sequence[float],
        name: str,
    ) -> None:
        copies.check_writeable(name)
        there, back = list[Operation](), list[Operation]()
        self._launches = list[Launch]()  # kept alive; operations have addresses only
        for param, other, weight in zip(copies.params, others, weights, strict=True):
            if other is not None and param.size:
                writable = param.reshape(param.shape)
                there.append(self._moved(writable, other, weight))
                back.append(write(writable, param.copy()))
        refreshed = copies.refreshed()
        super().__init__(copies, [*there, *refreshed], [*back, *refreshed], f"leave {name}")

    def _moved(self, param: Any, other: Any, weight: float) -> Operation:
        formats = Formats(name_of(param.dtype), name_of(other.dtype))
        launch = Launch(between, kernel_for(between, formats, like=param), [param], [0])
        launch.place("grad", [address(other)])
        launch.writer(0)({"weight": weight})
        launch.choose([0])
        self._launches.append(launch)
        return launch.table.chosen(None, False)
