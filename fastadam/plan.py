"""What stays the same from step to step: the launches, and where their numbers lie."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .accumulator import Accumulator
from .groups import Group, Values
from .kernels.factory import Kernel
from .launch import Launch, kernel_for
from .memory import checks
from .memory.device import as_array
from .memory.inputs import Inputs, masks
from .memory.parameters import Parameters
from .norm import Clip, Norm
from .options import Options, flag_of, unscale_of
from .rules import Rule
from .state import State

Verdict = Literal["update", "skip", "wait"]


class Plan:
    """A launch for each rule variant and dtype, looked over again only where something changed.

    Args:
        gradients: finds and checks the gradients of the parameters.
        kept: what is written besides parameters and state: arrays, by the streams of kernels.
        carried: the names of host numbers that parameters carry from step to step.
        masked: whether steps come with masks.
        scaled: whether steps may come with a scale of their gradients.

    Attributes:
        around: whether something besides the launches is to be done at every step.
        active: whether any parameter has a gradient.
        stale: whether the launches do not know yet where the state is.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        parameters: Parameters,
        gradients: Inputs,
        state: State,
        carried: Sequence[str],
        options: Options,
        kept: Mapping[str, list[Any]],
        accumulator: Accumulator | None,
        masked: bool,
        scaled: bool,
    ) -> None:
        self._carried, self._options, self.masked, self.scaled = carried, options, masked, scaled
        self._parameters, self._state, self.stale = parameters, state, True
        self._kept, self._accumulator = dict(kept), accumulator
        arrays, names = parameters.arrays, options.in_kernel(masked, scaled)
        rules = [group.rule for group in groups for _ in group.params]
        members: dict[tuple[Rule, Any], list[int]] = {}
        for number, (rule, array) in enumerate(zip(rules, arrays, strict=True)):
            members.setdefault((rule, array.dtype), []).append(number)
        self._launches = [
            Launch(rule, kernel_for(rule, arrays[numbers[0]], names), arrays, numbers)
            for (rule, _), numbers in members.items()
        ]
        self._runs = [launch.table.runner(options.threads) for launch in self._launches]
        self._launches_of = [
            [launch for launch in self._launches if launch.rule is group.rule] for group in groups
        ]
        self.gradients = gradients
        self._masks = masks(arrays, parameters.names, parameters.called("mask")) if masked else None
        self._set_up_options(arrays)
        self._protect()
        self._pair()

    def _set_up_options(self, arrays: Sequence[Any]) -> None:
        """What options need besides the kernels: norms, their arrays, their constants."""
        options, accumulator = self._options, self._accumulator
        threads, measures = options.threads, options.measures
        self._norm = self._finite = Norm(arrays, threads) if measures else None
        if accumulator:
            self._kept["grad_sum"] = accumulator.sums
            self._finite = self._norm if options.skip_nonfinite else None
            self._norm = Norm(arrays, threads, ("grad_sum",)) if measures else None
        ahead = dict.fromkeys((self._norm, self._finite, accumulator))
        self._ahead = [part for part in ahead if part]
        wide = [*self._launches, *(self._norm.launches if self._norm else ())]
        for launch in wide:
            for name in self._kept.keys() & launch.table.streams:
                launch.place(name, [checks.address(array) for array in self._kept[name]])
        self._dtypes = {array.dtype for array in arrays}
        with np.errstate(over="ignore"):  # a bound beyond all numbers of the dtype is none
            self._tell("clip_value", options.clip_value)
        self._clip = self._clipping() if options.clips else None
        self.around = self.scaled or measures or bool(accumulator) or options.ema_warmup
        if options.ema_decay is not None:
            self._tell("ema_comp", options.ema_comp(0))

    def _clipping(self) -> Clip:
        """What takes the factors of a clip, which the launches then read."""
        assert self._norm
        arrays = self._parameters.arrays
        clip = Clip(self._norm, self._options, self._dtypes)
        for launch in self._launches:
            factors = clip.factors[arrays[launch.members[0]].dtype]
            first, step = checks.address(factors), factors.itemsize * (factors.size > 1)
            launch.place("grad_scale", [first + k * step for k in range(len(arrays))])
        return clip

    @property
    def kernels(self) -> list[Kernel]:
        """What a step launches."""
        parts = [*self._ahead, *([self._clip] if self._clip else [])]
        ahead = [kernel for part in parts for kernel in part.kernels]
        return [launch.kernel for launch in self._launches] + ahead

    def look(self, arrays: Sequence[Any]) -> None:
        """Check the gradients of a step, and point the launches at them."""
        state, gradients = self._state, self.gradients
        gradients.look(arrays)
        if gradients.active != state.active:
            state.regroup(state.steps, state.carried, gradients.active)
            self.stale = True
            self._pair()
        for launch in self._launches:
            launch.place("grad", gradients.addresses)
        for part in self._ahead:
            part.look(gradients.addresses, gradients.active)

    def look_at_masks(self, arrays: Sequence[Any]) -> None:
        """Check the masks of a step, and point the launches at them."""
        assert self._masks
        if self._options.zero_grads:  # what clears gradients may not clear masks
            self._masks.protect(sorted([*self._written, *self.gradients.spans()]))
        if self._options.zero_grads or not self._masks.same(arrays):
            self._masks.look(arrays)
            for launch in self._launches:
                launch.place("mask", self._masks.addresses)

    def prepare(
        self, arrays: Sequence[Any], grad_scale: Any, found_inf: Any
    ) -> tuple[float | None, Verdict]:
        """Do what goes ahead of an update: the norm, if it is taken, and whether to update.

        Args:
            arrays: the gradients.
            grad_scale: what the loss was multiplied by, or None.
            found_inf: whether they are known to be of no use.

        Raises:
            TypeError, ValueError: for a bad scale or flag.
        """
        unscale = unscale_of(grad_scale, self._dtypes)
        skip = found_inf is not False and flag_of(found_inf)
        accumulator, norm = self._accumulator, None
        last = not accumulator or accumulator.last
        if not skip:
            norm = self._measured(unscale, last)
            skip = self._options.skip_nonfinite and not self._all_finite(
                norm, arrays, unscale, last
            )
        if skip:
            if self._options.zero_grads:
                for array in arrays:
                    if array is not None:
                        as_array(array)[...] = 0
            return norm, "skip"
        if accumulator and not last:
            accumulator.add(unscale)
            return None, "wait"
        self._tell("unscale", unscale)
        if self._options.ema_warmup:
            self._tell("ema_comp", self._options.ema_comp(self._state.count + 1))
        return norm, "update"

    def _measured(self, unscale: float, last: bool) -> Any:
        """The norm of all gradients, if it is taken; tells kernels what to multiply them by."""
        taken, scale = self._norm if last else self._finite, unscale
        if self._accumulator and last:
            scale = 1 / self._options.accumulate_steps
            if taken:
                taken.tell("unscale", unscale)
        if not taken:
            self._tell("grad_scale", scale)
            return None
        taken.run()
        if self._clip and last:
            self._clip.run(scale)
        else:
            self._tell("grad_scale", scale)
        return taken.norm(scale, wait=self._options.skip_nonfinite)

    def _all_finite(self, norm: Any, arrays: Sequence[Any], unscale: float, last: bool) -> bool:
        """Whether all gradients are finite: if their norm is, or else on a second look at those of
        float64, whose squares may overflow."""
        if math.isfinite(norm):
            return True
        taken, accumulator = (self._norm if last else self._finite), self._accumulator
        assert taken
        for number in np.flatnonzero(~np.isfinite(np.asarray(taken.squares))).tolist():
            grad = np.asarray(as_array(arrays[number]))
            if accumulator and last:
                with np.errstate(over="ignore", invalid="ignore"):
                    grad = np.asarray(accumulator.sums[number]) + grad * unscale
            if grad.dtype != np.float64 or not np.isfinite(grad).all():
                return False
        return True

    def _tell(self, option: str, number: Any) -> None:
        """Give an option its number, where kernels have it."""
        for launch in self._launches:
            if option in launch.numbers:
                launch.tell(option, number)

    def _pair(self) -> None:
        """Which cohorts take the step, and which launches want their constants."""
        self._active = [cohort for cohort in self._state.cohorts if cohort.active]
        self.active = bool(self._active)
        self._pairs = [
            (cohort, number if self._carried else cohort.group, launch.writer(number))
            for number, cohort in enumerate(self._state.cohorts)
            for launch in self._launches_of[cohort.group]
            if cohort.active
        ]

    def write_records(
        self, hyper: Callable[[Values, int], Mapping[str, float]], values: Sequence[Values]
    ) -> None:
        """Keep the constants of each cohort that takes the step.

        `values` are the hyperparameters of each group, or of each cohort if it carries numbers.

        Raises:
            TypeError, ValueError: if `hyper` does not return a number for each name.
        """
        for cohort, place, write in self._pairs:
            write(hyper(values[place], cohort.step + 1))

    def carry(
        self, carry: Callable[[Values, int], Mapping[str, float]], values: Sequence[Values]
    ) -> list[Values]:
        """The hyperparameters of each cohort, with what it carries after the step among them."""
        carried = []
        for cohort in self._state.cohorts:
            group = values[cohort.group] | dict(zip(self._carried, cohort.carried, strict=True))
            after = carry(group, cohort.step + 1)
            cohort.next = tuple(after[name] for name in self._carried)
            carried.append({**group, **after})
        return carried

    def run(self) -> None:
        """Count the step and launch, if there is anything to move."""
        if self._accumulator:
            self._accumulator.restart()
        if not self.active:
            return
        self._state.count += 1
        for cohort in self._active:
            cohort.step += 1
        if self._carried:
            for cohort in self._active:
                cohort.carried = cohort.next
        for run in self._runs:
            run()

    def write_rows(self, initial: Sequence[Mapping[str, float]]) -> None:
        """Create the state that is missing, and point the launches at it."""
        self._state.know(name for launch in self._launches for name in launch.rule.state)
        created = [
            self._state.create(name, self._parameters.arrays, launch.members, initial)
            for launch in self._launches
            for name in launch.rule.state
        ]
        for launch in self._launches:
            launch.write_rows(self._state)
        if any(created):
            self._protect()
        self.stale = False

    def _protect(self) -> None:
        """Nothing that a step writes may be its gradient."""
        written = list(map(checks.span, self._parameters.arrays, self._parameters.names))
        for name, arrays in self._kept.items():
            written += [checks.span(array, f"{name}[{k}]") for k, array in enumerate(arrays)]
        self._written = checks.check_apart([*written, *self._state.spans()])
        self.gradients.protect(self._written)
        if self._masks:
            self._masks.protect(self._written)
