"""Binding of a step: its gradients or inputs are checked, and their addresses set in a plan.

The functions use the plan of an engine, and make a new one where that is not valid for the step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .engine_parts import EngineParts
from .gradients import OtherDtypesError
from .launch_plan import StepPlan
from .norm_measure import NormMeasure
from .row_inputs import check_rows, gradients_for
from .scales import reach_of
from .state import spans
from .step_context import StepContext, StepKind
from .step_inputs import MOST_INPUTS, PLAIN, TARGET, Kind, LongSum, StepInputs, inputs_of


def bound(
    engine: EngineParts, arrays: Any, mask: Any, grad_scale: Any, inputs: StepInputs | None = None
) -> tuple[StepPlan, Sequence[Any]]:
    """A plan with the addresses of the gradients of a step, and the gradients.

    Raises:
        TypeError, ValueError: for invalid gradients, and for parameters that were changed.
    """
    parameters, accumulator = engine.parameters, engine.accumulator
    if not parameters.changes.unchanged():
        _check_parameters(engine, arrays)
    if mask is not None and parameters.has_pairs:
        raise TypeError("step() got a mask, which is for parameters of real numbers only")
    plan = plan_for(engine, mask is not None, reach_of(grad_scale), inputs)
    if accumulator and accumulator.last:
        arrays = accumulator.completed(arrays, engine.grad_dtypes)
    if not plan.gradients.same(arrays):
        plan = _pointed_at(engine, plan, arrays, inputs)
    if inputs:
        plan.bind_inputs(inputs)
        arrays = inputs.seen(parameters.arrays)
    if mask is not None:
        plan.bind_masks(parameters.matched(mask, "mask"))
    elif not accumulator and not inputs:
        plan.same = plan.gradients.comparison(parameters.changes)
    return plan, arrays


def bound_inputs(
    engine: EngineParts, grads: Any, target: Any, inputs: Any, mask: Any, grad_scale: Any
) -> tuple[StepPlan, Sequence[Any]]:
    """As `bound`, for a step with a target or with inputs in place of gradients.

    Raises:
        TypeError, ValueError: as `bound`, and for arguments that exclude each other.
    """
    parameters = engine.parameters
    found = inputs_of(parameters, engine.options, grads, target, inputs, grad_scale)
    if len(found.weights) > MOST_INPUTS:
        if not parameters.changes.unchanged():
            _check_parameters(engine, found.arrays[0])
        if engine.long_sum is None:
            engine.long_sum = LongSum(parameters, engine.options)
        written = spans(engine.state.arrays) + parameters.spans
        total = engine.long_sum.take(found, sorted(written))
        if not found.kind.transforms:
            return bound(engine, total, mask, grad_scale)
        found = StepInputs(Kind((TARGET,)), (), (total,), (TARGET,))
    return bound(engine, found.arrays[0], mask, grad_scale, found)


def _check_parameters(engine: EngineParts, arrays: Sequence[Any]) -> None:
    """Check that the parameters are unchanged.

    Raises:
        ValueError: naming the array or the container that was changed.
    """
    changes = engine.parameters.changes
    changes.check_containers()
    written = [array is not None for array in arrays]
    changes.check_arrays([True] * len(written) if engine.accumulator else written)


def _pointed_at(
    engine: EngineParts, plan: StepPlan, arrays: Sequence[Any], inputs: StepInputs | None
) -> StepPlan:
    """The plan, or one for gradients of other dtypes, with the addresses of the gradients."""
    try:
        plan.look(arrays)
    except OtherDtypesError as other:
        check_rows(other.dtypes, engine.options, engine.parameters.arrays[0])
        engine.invalidate()
        before, engine.grad_dtypes = engine.grad_dtypes, list(other.dtypes)
        try:
            plan = plan_for(engine, plan.kind.masked, plan.kind.scaled, inputs)
        except BaseException:
            engine.grad_dtypes = before
            raise
        return _pointed_at(
            engine, plan, arrays, inputs
        )  # rows are detected first, other dtypes next
    if engine.files:
        engine.files.residency.register(arrays)
    return plan


def plan_for(
    engine: EngineParts, masked: bool, scaled: int, inputs: StepInputs | None = None
) -> StepPlan:
    """The plan of the engine, or a new one if it is not for such steps.

    Args:
        engine: the engine; a new plan becomes its plan.
        masked: True for steps with masks.
        scaled: the range of a scale of the gradients: 0 without one, NEAR or FAR.
        inputs: the inputs in place of gradients, or None.
    """
    plan, sources = engine.plan, inputs.kind if inputs else PLAIN
    if plan:
        kind = plan.kind
        if kind.masked is masked and kind.scaled >= scaled and kind.sources == sources:
            return plan
        scaled = max(scaled, kind.scaled)
    if engine.algorithm.uncounted:
        engine.state.begin(
            [group.rule.of(param.shape) for group in engine.groups for param in group.params]
        )
    context = _context(engine, inputs.labels[0] if inputs else "grads")
    plan = engine.plan = StepPlan(context, StepKind(masked, scaled, sources), inputs)
    if engine.files:
        plan.stream(engine.files)
    if engine.subset is not None:
        numbers = np.array(engine.subset, np.uint32)
        plan.draw(numbers, np.zeros(len(numbers), np.int64))
    return plan


def _context(engine: EngineParts, label: str) -> StepContext:
    """The context of a new plan; `label` is the name of gradients in messages."""
    parameters, options = engine.parameters, engine.options
    arrays, names, called = parameters.arrays, parameters.names, parameters.called(label)
    dtypes, clears = engine.grad_dtypes, options.zero_grads
    return StepContext(
        groups=engine.groups,
        parameters=parameters,
        gradients=gradients_for(arrays, names, called, dtypes, clears),
        formats=engine.formats(),
        state=engine.state,
        carried=tuple(engine.algorithm.carried),
        options=options,
        copies=engine.copies.streams,
        accumulator=engine.accumulator,
        partition=engine.partition,
        shards=engine.shards,
    )


def norm_of(engine: EngineParts, arrays: Sequence[Any]) -> float:
    """The norm of gradients, one or None per parameter, as clipping measures it.

    Raises:
        TypeError, ValueError: for invalid gradients.
    """
    if engine.measure is None or engine.measure.parameters is not engine.parameters:
        engine.measure = _measure(engine, engine.grad_dtypes)
    try:
        return engine.measure.of(arrays)
    except OtherDtypesError as other:
        engine.measure = _measure(engine, other.dtypes)
        return norm_of(engine, arrays)


def _measure(engine: EngineParts, dtypes: Sequence[Any]) -> NormMeasure:
    return NormMeasure(engine.parameters, dtypes, engine.options.team, engine.shards)
