"""How a step goes, up to its launch: gradients, hyperparameters, and the plan for them."""

from collections.abc import Sequence
from typing import Any

from ..kernels.factory import Kernel
from ..kernels.formats import Formats
from ..memory.dtypes import name_of
from ..memory.tree import listed
from .backend import backend_of
from .gradients import OtherDtypesError
from .membership import Membership
from .param_groups import Values, checked
from .plan import Plan


class Walk(Membership):
    """What [Optimizer.step][fastadam.Optimizer.step] does one thing after the other."""

    def _on(self, stream: Any) -> Any:
        """The lock, and a stream of a device that work goes to meanwhile."""
        return self._lock.on(stream)

    def _look_again(self, grads: Any) -> Any:
        """Look whether parameters are still what they were; returns the gradients, which may be
        iterated only once.

        Raises:
            ValueError: naming the array or the container that was changed.
        """
        watch, grads = self._parameters.watch, listed(grads)
        watch.check_containers()
        written = [grad is not None for grad in self._gradients(grads)]
        watch.check_arrays([True] * len(written) if self._accumulator else written)
        return grads

    def _gradients(self, grads: Any) -> Any:
        """The gradients, one per parameter."""
        if grads is not None:
            return self._parameters.matched(grads)
        if self._grads is None:
            raise ValueError(
                "step() without gradients uses opt.grads, which was never touched; "
                "fill opt.grads.tree, or pass the gradients"
            )
        return self._grads.views("opt.grads.tree")

    def _values(self, lr: Any, step: int | None = None) -> list[Values]:
        """The hyperparameters of a step, by default the next one, schedules evaluated."""
        if lr is not None:
            if "lr" not in self.defaults:
                raise TypeError(f"step() got lr={lr!r}, but {self._name} has no lr")
            lr = checked("lr", lr, 0.0, "step(): ")
        if self._state.pending and any(group.switched for group in self._groups):
            self._state.settle()  # what there is to compute depends on the count
        step = self._state.count + 1 if step is None else step
        values = [group.at(step, lr) for group in self._groups]
        if self._steady is None:
            self._follow(values)
        return values

    def _settle(self, plan: Plan, values: list[Values], lr: float | None) -> float | None:
        """The learning rate of a step that is known only now, if there were steps of which a
        device had to say whether they count; its constants are written."""
        if self._state.pending is not None:
            self._state.settle()
            values[:] = self._values(lr)
            plan.write_records(self, values, self._state.count + 1)
        return values[0].get("lr")

    def _follow(self, values: list[Values]) -> None:
        """Check hyperparameters that a schedule gave, and take the rules that follow from them."""
        for group, value in zip(self._groups, values, strict=True):
            rule = self._rule_for(value, group.options)
            if rule is not group.rule:
                self._plan, group.rule = None, rule
        object.__setattr__(self, "rule", self._groups[0].rule)

    def _plan_for(self, masked: bool, scaled: int) -> Plan:
        """The plan, or a new one if it is not for such steps."""
        plan = self._plan
        if plan and plan.masked is masked and plan.scaled >= scaled:
            return plan
        scaled = max(scaled, plan.scaled if plan else 0)
        parameters, dtypes, options = self._parameters, self._grad_dtypes, self._options
        arrays, called = parameters.arrays, parameters.called("grads")
        if self.uncounted:
            self._state.begin([group.rule for group in self._groups for _ in group.params])
        self._plan = Plan(
            self._groups,
            parameters,
            backend_of(arrays[0]).gradients(
                arrays, parameters.names, called, dtypes, options.zero_grads
            ),
            self._formats(),
            self._state,
            tuple(self.carried),
            options,
            self._copies.streams,
            self._accumulator,
            masked,
            scaled,
        )
        return self._plan

    def _formats(self) -> list[Formats]:
        """How each parameter, its gradient and its state are kept."""
        arrays, dtypes = self._parameters.arrays, self._grad_dtypes
        options = (group.options for group in self._groups for _ in group.params)
        formats = [
            own.formats(param, name_of(dtype))
            for own, param, dtype in zip(options, arrays, dtypes, strict=True)
        ]
        return [each.starting() for each in formats] if self._starts else formats

    def _looked(self, plan: Plan, arrays: Sequence[Any]) -> Plan:
        """The plan, or one for gradients of other dtypes, pointed at the gradients of a step."""
        try:
            plan.look(arrays)
        except OtherDtypesError as other:
            self._plan, self._grad_dtypes = None, list(other.dtypes)
            plan = self._plan_for(plan.masked, plan.scaled)
            plan.look(arrays)
        return plan

    def _kernels(self) -> list[Kernel]:
        """What the next step will launch."""
        with self._lock:
            self._refresh()
            return (self._plan or self._plan_for(False, False)).kernels
