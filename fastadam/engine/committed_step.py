"""Steps of all parameters together with other changes: all or nothing."""

from collections.abc import Sequence
from typing import Any

from ..kernels.commit import Operation
from .binding import bound
from .engine import Engine
from .step_info import StepInfo


def step_with(
    others: Sequence[Operation],
    engine: Engine,
    grads: Any,
    lr: float | None = None,
    mask: Any = None,
    grad_scale: Any = None,
    found_inf: Any = False,
) -> StepInfo:
    """Take a step like `fa.Optimizer.step`, and commit other operations together with its update.

    They are not run if the step does not update.

    Args:
        others: the operations.
        engine: the engine of the optimizer.
        grads, lr, mask, grad_scale, found_inf: as for `fa.Optimizer.step`.

    Raises:
        TypeError, ValueError: before any element changes.
    """
    with engine.lock:
        try:
            engine.refresh()
            values = engine.values(lr)
            plan, arrays = bound(engine, engine.gradients(grads), mask, grad_scale)
            given = plan, arrays, values, lr, grad_scale, found_inf, None, others
            engine.info = engine.stepped(engine.algorithm, *given)
            return engine.info
        except BaseException:  # an interrupt among them
            engine.invalidate()
            raise
