"""Direct steps over tensors: the fast path if only gradients and hyperparameters have changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any

from torch.autograd.graph import increment_version

from ..engine.gradients import OtherDtypesError
from ..engine.step_info import new_info
from .change_detection import Snapshot

if TYPE_CHECKING:
    from .hyperparameters import CheckedGroup
    from .owner import Owner
    from .step import TensorStep


PATIENCE = 4  # steps with gradients at the same addresses after which these are expected


def taken(
    step: TensorStep,
    owner: Owner,
    groups: Sequence[CheckedGroup],
    params: Sequence[Any],
    grads: Sequence[Any],
    threads: int,
) -> bool:
    """Update all parameters, if the launches of the last step can be reused.

    For steps of all parameters of an optimizer on the CPU, without gradient scale and masks. The
    results are those of `TensorStep.step`, with fewer calls.

    Args:
        step: the tensor step, which has taken a step of this kind.
        owner: the optimizer.
        groups: a checked group for each of the optimizer's `param_groups`.
        params: all parameters, in order.
        grads: their gradients.
        threads: the number of threads that a step may use.

    Returns:
        False if `TensorStep.step` has to be called; nothing has changed then.

    Raises:
        RuntimeError, TypeError, ValueError: for invalid gradients.
    """
    plan, detector, active = step.plan, step.detector, step.active
    counters, increments = step.counters, step.counters.increments
    if (
        detector is None
        or increments is None
        or not plan.direct
        or not (groups is step.groups or step.follow(groups))
        or not step.serves(owner)
        or step.needs.threads != threads
        or len(params) != len(active.params)
        or not all(map(is_, params, active.params))
        or (len(groups) > 1 and owner._sizes() != active.sizes)
        or (owner._handed_out and not detector.state_unchanged())
        or counters.written
        or (count := step.state.count + 1) > counters.last
    ):
        return False
    known, tensors = step.known, [*params, *grads, *counters.firsts]
    same = known is not None and known.unchanged(tensors)
    if not same and (counters.moved or not detector.params_unchanged()):
        return False
    step.detector = None  # if the step is interrupted, the plan is not used again
    if not same and not _bound(step, grads, tensors):
        step.detector = detector
        return False
    values = step.values
    plan.write_constants(step.core, values, count)
    norm = plan.norm and plan.norm.measured()
    info = new_info((count, values[0].get("lr"), norm, False, True))
    plan.again([*increments, partial(object.__setattr__, owner, "info", info)])
    increment_version(params)
    step.detector = detector
    return True


def _bound(step: TensorStep, grads: Sequence[Any], tensors: Sequence[Any]) -> bool:
    """Check gradients and set their addresses; returns False if the step is not a direct one."""
    gradients = step.gradients
    before = gradients.addresses
    try:
        step.plan.look(grads)
    except OtherDtypesError:
        return False
    step.known, step.alike = None, step.alike + 1 if gradients.addresses is before else 0
    if step.alike > PATIENCE:
        step.known = Snapshot(tensors)
    return bool(step.plan.direct)
