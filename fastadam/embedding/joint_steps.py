"""Bare steps of several parameters, each with a count of its own: all of them or none."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..engine.columns import columns_for
from ..engine.edits import ParamGroup
from ..engine.launch import Launch, kernel_for
from ..engine.param_groups import Group
from ..kernels.commit import Operation
from ..kernels.cpu import threads
from ..kernels.formats import Formats
from ..memory import checks
from ..memory.dtypes import name_of
from ..rules import Rule
from ..rules.algorithm import Algorithm, Values
from .bare_step import checked_state, state_dtype


class JointStep(NamedTuple):
    """The step of one parameter.

    Attributes:
        name: that of the parameter in messages.
        rule: an element-wise one.
        arrays: the parameter, its gradient and its state, in the order of the rule, all of one
            dimension.
        constants: those of the step, by the names of the rule.
    """

    name: str
    rule: Rule
    arrays: Sequence[Any]
    constants: Values


def rule_and_constants(
    where: str, author: Algorithm, given: Values, step: int
) -> tuple[Rule, Values]:
    """The rule and the constants of a step with these hyperparameters.

    Raises:
        TypeError, ValueError: for bad ones; the message begins with `where`.
    """
    raw = ParamGroup(author.defaults | given, params=())
    group = Group(raw, (), author.defaults, where)
    group.follow(author, step)
    return group.rule, author.hyper(group.at(step), step)


def take_together(steps: Sequence[JointStep], others: Sequence[Operation]) -> None:
    """Take steps, one launch for each rule and dtype, and commit other operations with them.

    Raises:
        TypeError, ValueError: before any element changes.
    """
    spans, alike = list[checks.Span](), dict[tuple[Rule, Formats], list[JointStep]]()
    for step in steps:
        names = [step.name, f"the gradient of {step.name}"]
        names += [f"state {name!r} of {step.name}" for name in step.rule.state]
        spans += map(checks.span, step.arrays, names)
        alike.setdefault((step.rule, _formats(names, step)), []).append(step)
    checks.check_apart(spans)
    tables = [_launch(*kind, mine).table for kind, mine in alike.items()]

    def operations(threaded: bool) -> Iterator[Operation]:
        for table in tables:
            yield from table.operations(None, threaded)
        yield from others

    threads.run(lambda threaded: [*operations(threaded)])


def _formats(names: Sequence[str], step: JointStep) -> Formats:
    """The formats of the arrays of a parameter.

    Raises:
        TypeError, ValueError: for arrays that a kernel cannot access, or do not go together.
    """
    (param, grad, *state), (name, called, *_) = step.arrays, names
    checks.check_array(param, name, written=True, updated=True)
    checks.check_gradient(grad, called, param, name)
    formats = Formats(name_of(param.dtype), name_of(grad.dtype), state_dtype(step.arrays))
    checked_state(f"{name}: ", step.rule, formats, param, state)
    return formats


def _launch(rule: Rule, formats: Formats, steps: Sequence[JointStep]) -> Launch:
    """The launch for parameters of one kind, a record for each."""
    arrays = [step.arrays for step in steps]
    params = [each[0] for each in arrays]
    launch = Launch(rule, kernel_for(rule, formats), params, range(len(params)))
    kept = columns_for(rule.state, formats).values()
    places = [("param", 0), ("grad", 0), *((each.stream.name, each.part) for each in kept)]
    for (stream, part), of_each in zip(places, zip(*arrays, strict=True), strict=True):
        launch.place(stream, checks.addresses(of_each), part)
    launch.choose(range(len(params)))
    for number, step in enumerate(steps):
        launch.writer(number)(step.constants)
    return launch
