"""The usual step over tensors: nothing changed since the last one but gradients and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import is_
from typing import TYPE_CHECKING, Any

from torch.autograd.graph import increment_version

from ..engine.step_info import new_info

if TYPE_CHECKING:
    from .hyperparameters import CheckedGroup
    from .owner import Owner
    from .step import TensorStep


def taken(
    step: TensorStep,
    owner: Owner,
    groups: Sequence[CheckedGroup],
    params: Sequence[Any],
    grads: Sequence[Any],
    threads: int,
) -> bool:
    """Update all parameters, if that takes no more than the launches of the step before.

    It is a step of all parameters of an optimizer on the CPU, without a scale of the gradients and
    masks. It does what the step itself does, in fewer calls.

    Args:
        step: the tensor step, which has taken such a step.
        owner: the optimizer.
        groups: a checked group for each of the optimizer's `param_groups`.
        params: all parameters, in order.
        grads: their gradients.
        threads: the number of threads that a step may use.

    Returns:
        False if more is to be done. Nothing has changed then.

    Raises:
        RuntimeError, TypeError, ValueError: for gradients that are wrong.
    """
    plan, detector, counters, known = step.plan, step.detector, step.counters, step.active
    if (
        detector is None
        or not plan.direct
        or not (groups is step.groups or groups == step.groups)
        or not step.serves(owner, threads)
        or len(params) != len(known.params)
        or not all(map(is_, params, known.params))
        or owner._sizes() != known.sizes
        or not detector.params_unchanged()
        or (owner._handed_out and not detector.state_unchanged())
        or counters.touched
        or (places := step.gradients.swift(grads)) is None
        or (count := step.state.count + 1) > counters.last
    ):
        return False
    values, increments = step.values, counters.advance(step.gradients.active, {})
    step.detector = None  # if the step is interrupted, the plan is not used again
    if places is not step.gradients.addresses:
        plan.look(grads)
    plan.write_constants(step.core, values, count)
    info = new_info((count, values[0].get("lr"), None, False, True))
    plan.run(*increments, partial(object.__setattr__, owner, "info", info))
    increment_version(params)
    step.detector = detector
    return True
