"""Steps whose skip decision and step count live on the GPU, so that the host never synchronises.

The constants of a step depend on the number of steps that have counted. While the host does not
know it, several numbers are possible: constants are prepared for all of them, and the prologue
kernel chooses (see prologue_kernel.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..engine.backend import backend_of
from ..engine.columns import alike
from ..engine.launch import Launch
from ..engine.options import Options
from ..engine.scales import unscale_of
from ..engine.state import Carried
from ..engine.step_context import StepContext
from ..engine.step_info import StepInfo
from ..kernels.factory import Kernel, kernel
from ..kernels.formats import Formats
from ..kernels.storage.elementwise import Single
from ..kernels.stream import Stream
from ..memory.arrays import is_device
from ..memory.launch_table import SKIPPED
from ..rules import rule
from .array import zeros
from .command_buffer import CommandBuffer, Flag, Run, flag_for, page_of
from .device_constants import DeviceConstants, Tracing, rates_of
from .device_rate import DeviceRate
from .loss_scale import DeviceScale
from .pending_steps import MAX_IN_FLIGHT, PendingStep, PendingSteps, info_of
from .streams import orders_of

if TYPE_CHECKING:
    from ..engine.launch_plan import StepPlan
    from ..rules.algorithm import Values


@rule()
def blank(param, grad, state, h):  # type: ignore[no-untyped-def]
    """Zero, which is what a parameter reads as that is only written."""
    return param, state


class Prepared(NamedTuple):
    """The possible outcomes of a step, one for each possible step count.

    Attributes:
        pages: the constants.
        carried: the numbers that cohorts carry after the step.
        rates: the learning rates.
        constants: the constants that the device computes, or None.
    """

    pages: list[Any]
    carried: list[Sequence[Carried]]
    rates: list[Any]
    constants: DeviceConstants | None


class ConditionalStep:
    """Takes the steps of a plan that the device may skip.

    Args:
        plan: the plan.
        launches: the launches of the update.
        context: the arrays and settings of the steps.

    Attributes:
        runs_of: returns the runs of the step counters of active parameters on the device; None if
            only the host counts steps.
    """

    runs_of: Callable[[Sequence[bool]], Sequence[Run]] | None = None
    _program: CommandBuffer | None = None
    _made_for: DeviceConstants | None = None
    _scale: DeviceScale | None = None
    _unscale = 0  # the address of the inverse loss scale, if the device computes it
    _constants: DeviceConstants | None = None
    _active: Sequence[bool] = ()

    def __init__(
        self,
        plan: StepPlan,
        launches: Sequence[Launch],
        context: StepContext,
    ) -> None:
        from .context import driver, work
        from .prologue_kernel import warm

        params, formats, options = context.arrays, context.formats, context.options
        self._plan, self._launches, self._state = plan, launches, context.state
        self._preprocessor, self._options = plan.preprocessor, options
        self._driver, self._work = driver, work
        self._dtypes = {each.compute for each in formats}
        self._clearing = [
            Launch(blank, _blank_kernel(each, params[0]), params, members)
            for each, members in (alike(formats).items() if options.zero_grads else ())
        ]
        warm()
        for made in self.kernels:
            made.target.warm(made.run)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels launched besides those of the update."""
        return [launch.kernel for launch in self._clearing]

    @staticmethod
    def serves(formats: Sequence[Formats], options: Options) -> bool:
        """True if the device alone can decide about steps.

        It cannot while micro-batches accumulate, nor if the norm of finite gradients can overflow.

        Raises:
            RuntimeError: while such a step is captured in a CUDA graph.
        """
        wide = any("float64" in (each.param, each.grad) for each in formats)
        served = not options.accumulates and not (options.skip_nonfinite and wide)
        if not served and capturing():
            raise RuntimeError(
                "accumulate_steps, and skip_nonfinite with float64, ask the host; such a step "
                "cannot be captured in a CUDA graph"
            )
        return served

    def place(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Set the addresses of the gradients; None where there is no gradient."""
        self._active = active
        for launch in self._clearing:
            launch.place("param", addresses)
            launch.choose([0 if there else SKIPPED for there in active])

    def takes(self, found_inf: Any, grad_scale: Any, lr: Any = None) -> bool:
        """True if the device decides about the next step; not about the first, which creates the
        state."""
        wanted = (
            self._options.skip_nonfinite
            or self.runs_of is not None
            or is_device(found_inf)
            or is_device(grad_scale)
            or is_device(lr)
        )
        return self._plan.active and not self._plan.stale and (wanted or bool(self._state.pending))

    def step(self, engine: Any, lr: float | None, grad_scale: Any, found_inf: Any) -> StepInfo:
        """Take a step, without waiting for its result.

        Args:
            engine: the engine, or an object with `plan`, `algorithm` and `values(lr, step)`.
        """
        flag = flag_for(found_inf)
        unscale, power = self._undone(grad_scale)
        pending, norm = self._pending(), self._preprocessor.norm
        with pending.lock:
            pending.poll()
            pending.make_room()
            if not flag.forced:
                self._preprocessor.measure(norm, unscale, unscale * power)
                self._preprocessor.set_number("grad_power", power)
            prepared = self._prepare(engine, lr)
            known = self._program is None or prepared.constants is self._made_for
            if not (known and pending.agrees(self._state.count, prepared.carried)):
                pending.resolve()
                prepared = self._prepare(engine, lr)
            base, count = self._state.count, len(pending) + 1
            program = self._program_for(prepared)
            program.pages[:count] = prepared.pages
            place = self._run(program, base, count, count == 1, flag)
            event = self._events[place]
            self._driver.record(event, self._work.stream)
            words, scale = program.outcomes[place], unscale * power if norm else None
            carried, rates = prepared.carried, prepared.rates
            outcome = PendingStep(pending, words, event, base, carried, rates, scale)
            pending.add(outcome)
        return info_of(outcome)

    def _undone(self, grad_scale: Any) -> tuple[float, float]:
        """The factor and the power of two that undo a loss scale of the host; 1 and 1 for a scale
        on the device."""
        if not is_device(grad_scale):
            if self._scale:
                self._scale.release()
            self._unscale = 0
            return unscale_of(grad_scale, self._dtypes)
        self._scale = self._scale or DeviceScale(self._launches, self._preprocessor.clip)
        self._scale.follow(grad_scale)
        self._unscale = self._scale.address
        return 1.0, 1.0

    def _pending(self) -> PendingSteps:
        """The steps in flight; an empty list of them is created for the first step."""
        if self._state.pending is None:
            self._state.pending = PendingSteps(self._state)
        pending: PendingSteps = self._state.pending
        return pending

    def _run(self, program: CommandBuffer, base: int, pages: int, certain: bool, flag: Flag) -> int:
        if self.runs_of:
            program.count_in(self.runs_of(self._active))
        return program.run(base, pages, certain, flag, self._unscale)

    def _program_for(self, prepared: Prepared) -> CommandBuffer:
        """The command buffer for steps like this one."""
        if self._program is None or prepared.constants is not self._made_for:
            self._preprocessor.needed = True
            self._events = [self._driver.event() for _ in range(MAX_IN_FLIGHT)]
            self._program = self._set_up(MAX_IN_FLIGHT, zeros(1, "int64"), prepared)
            self._made_for = prepared.constants
        return self._program

    def _set_up(self, pages: int, count: Any, prepared: Prepared) -> CommandBuffer:
        """Create the command buffer for a number of pages; `count` is the step count on the
        device."""
        rates = [rate for rate in prepared.rates if isinstance(rate, DeviceRate)]
        constants = prepared.constants
        return CommandBuffer(
            self._launches,
            self._clearing,
            self._preprocessor.norm,
            self._options.skip_nonfinite,
            pages,
            count,
            constants.entries if constants else (),
            rates[0].rate if rates else None,
            len(self._active) if self.runs_of else 0,
        )

    def _prepare(self, engine: Any, lr: float | None) -> Prepared:
        """Prepare a page for each possible count, with carried numbers and learning rate."""
        plan, state = self._plan, self._state
        made = Prepared([], [], [], None)
        numbers = state.grouping.carried
        for step in range(state.count + 1, state.count + 2 + len(state.pending)):
            values = engine.values(lr, step)
            if engine.plan is not plan:
                raise RuntimeError("a learning rate on the GPU must not change which rule is used")
            page, numbers, constants = self._page(engine.algorithm, values, step, numbers)
            made.pages.append(page)
            made.carried.append(numbers)
            made.rates.append(values[0].get("lr"))
            made = made._replace(constants=constants)
        return made

    def _page(
        self, algorithm: Any, values: Sequence[Values], step: int, numbers: Any = None
    ) -> tuple[Any, Sequence[Carried], DeviceConstants | None]:
        """The page of a step; also the numbers that cohorts carry after it, and the constants that
        the kernel computes."""
        plan, rates = self._plan, rates_of(values)
        self._work.turn.join(orders_of([rate.rate for rate in rates]))
        author: Any = Tracing(algorithm) if rates else algorithm
        numbers = plan.write_records(author, values, step, numbers)
        self._preprocessor.set_step(step)
        page = page_of(self._launches)
        if not rates:
            return page, numbers, None
        known = self._constants
        if known is None or not known.serves(plan, rates):
            known = self._constants = DeviceConstants(plan, rates, author.constants)
        return np.concatenate([page, known.page(author.constants)]), numbers, known


def capturing() -> bool:
    """True if the current step is captured in a CUDA graph."""
    from .context import work

    captures: bool = work.turn.captures
    return captures


def _blank_kernel(formats: Formats, like: Any) -> Kernel:
    """The kernel that writes zeros to gradients, on the device of `like`."""
    streams = (Stream("param", formats.grad_storage, "w"), Stream("grad", Single("float32"), "r"))
    return kernel(blank, streams, backend_of(like).target)
