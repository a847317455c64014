"""The result of a step."""

from functools import partial
from typing import Any, NamedTuple


class StepInfo(NamedTuple):
    """The result of one step.

    On a device, some fields are fetched when they are first read; the step does not wait for them.

    Attributes:
        step: the number of steps that the optimizer has counted, including this one.
        lr: the learning rate of this step, that of the first group; None if there is no `lr`.
        grad_norm: the norm of all gradients before clipping; None when nothing asked for it, when
            gradients were only added up, and when a step was skipped for `found_inf`.
        skipped: True if the step was skipped because of gradients that are not finite.
        updated: True if any parameter was updated; False while gradients accumulate.
    """

    step: int
    lr: float | None
    grad_norm: float | None = None
    skipped: bool = False
    updated: bool = True


def _late(position: int) -> Any:
    """A field whose value may be a function that fetches it."""
    return property(lambda info: _value(tuple.__getitem__(info, position)))


def _value(field: Any) -> Any:
    return field() if callable(field) else field


class LateStepInfo(StepInfo):
    """A StepInfo whose fields may be functions, called when a field is first read."""

    step, lr, grad_norm, skipped, updated = map(_late, range(5))

    @property
    def known(self) -> StepInfo:
        """The StepInfo with all fields fetched."""
        return StepInfo(*map(_value, tuple.__iter__(self)))

    def __getitem__(self, part: Any) -> Any:
        return self.known[part]

    def __iter__(self) -> Any:
        return iter(self.known)

    def __contains__(self, value: object) -> bool:
        return value in tuple(self.known)

    def __add__(self, other: Any) -> Any:
        return tuple(self.known) + other

    def __eq__(self, other: object) -> bool:
        return tuple(self.known) == other

    def __ne__(self, other: object) -> bool:
        return tuple(self.known) != other

    def __hash__(self) -> int:
        return hash(self.known)

    def __repr__(self) -> str:
        return repr(self.known)

    def __reduce__(self) -> Any:
        return StepInfo, tuple(self.known)


new_info = partial(tuple.__new__, StepInfo)  # half the time of StepInfo(...)
late_info = partial(tuple.__new__, LateStepInfo)
