"""Steps whose skip decision and step count live on the GPU, so that the host never synchronises.

The constants of a step depend on how many have counted before it. While the host does not know
that number, several are possible: constants are prepared for all of them, and the prologue kernel
chooses (see prologue_kernel.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..engine.backend import backend_of
from ..engine.columns import alike
from ..engine.launch import Launch
from ..engine.options import Options, unscale_of
from ..engine.preprocess import GradientPreprocessor
from ..engine.state import Carried, State
from ..engine.step_info import StepInfo
from ..kernels.compose import Stream
from ..kernels.factory import Kernel, kernel
from ..kernels.formats import Formats
from ..kernels.storage.elementwise import Single
from ..memory.arrays import is_device
from ..memory.launch_table import SKIPPED
from ..rules import rule
from .array import zeros
from .command_buffer import CommandBuffer, flag_for, page_of
from .pending_steps import MAX_IN_FLIGHT, PendingStep, PendingSteps, info_of

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..engine.launch_plan import StepPlan


@rule()
def blank(param, grad, state, h):  # type: ignore[no-untyped-def]
    """Zero, which is what a parameter reads as that is only written."""
    return param, state


class ConditionalStep:
    """Takes the steps of a plan whose verdict is the device's.

    Args:
        plan: whose constants are prepared.
        launches: those of the update.
        params: all parameters.
    """

    _program: CommandBuffer | None = None

    def __init__(
        self,
        plan: StepPlan,
        launches: Sequence[Launch],
        ahead: GradientPreprocessor,
        state: State,
        params: Sequence[Any],
        formats: Sequence[Formats],
        options: Options,
    ) -> None:
        from .context import driver, work
        from .prologue_kernel import warm

        self._plan, self._launches, self._ahead, self._state = plan, launches, ahead, state
        self._options, self._driver, self._work = options, driver, work
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
        """True where steps may be skipped by the device alone.

        Not while micro-batches are counted, nor where finite gradients may have no finite norm.

        Raises:
            RuntimeError: if such a step would be captured.
        """
        wide = any("float64" in (each.param, each.grad) for each in formats)
        served = not options.accumulates and not (options.skip_nonfinite and wide)
        if not served and capturing():
            raise RuntimeError(
                "accumulate_steps, and skip_nonfinite with float64, ask the host; such a step "
                "cannot be captured in a CUDA graph"
            )
        return served

    def look(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Say where the gradients are, and which there are."""
        for launch in self._clearing:
            launch.place("param", addresses)
            launch.choose([0 if there else SKIPPED for there in active])

    def takes(self, found_inf: Any) -> bool:
        """True if the device decides about the next step; not the first one, as there is no state
        yet."""
        wanted = self._options.skip_nonfinite or is_device(found_inf)
        return self._plan.active and not self._plan.stale and (wanted or bool(self._state.pending))

    def step(self, engine: Engine, lr: float | None, grad_scale: Any, found_inf: Any) -> StepInfo:
        """Take a step, without waiting for what it comes to."""
        (unscale, power), flag = unscale_of(grad_scale, self._dtypes), flag_for(found_inf)
        program = self._program or self._begin()
        pending, norm = self._state.pending, self._ahead.norm
        with pending.lock:
            pending.look()
            pending.make_room()
            if not flag.forced:
                self._ahead.measure(norm, unscale, unscale * power)
                self._ahead.tell("grad_power", power)
            carried, rates = self._prepare(program, engine, lr)
            if not pending.agrees(self._state.count, carried):
                pending.settle()
                carried, rates = self._prepare(program, engine, lr)
            base, pages = self._state.count, len(pending) + 1
            place = program.run(base, pages, pages == 1, flag)
            event = self._events[place]
            self._driver.record(event, self._work.stream)
            words, scale = program.outcomes[place], unscale * power if norm else None
            outcome = PendingStep(pending, words, event, base, carried, rates, scale)
            pending.add(outcome)
        return info_of(outcome)

    def _begin(self) -> CommandBuffer:
        """From now on all steps come here, and a few may be under way."""
        self._ahead.needed = True
        self._events = [self._driver.event() for _ in range(MAX_IN_FLIGHT)]
        if self._state.pending is None:
            self._state.pending = PendingSteps(self._state)
        return self._set_up(MAX_IN_FLIGHT, zeros(1, "int64"))

    def _set_up(self, pages: int, count: Any) -> CommandBuffer:
        """Make room on the device for so many pages; `count` is where it counts."""
        judged, norm = self._options.skip_nonfinite, self._ahead.norm
        made = CommandBuffer(self._launches, self._clearing, norm, judged, pages, count)
        self._program = made
        return made

    def _prepare(
        self, program: CommandBuffer, engine: Engine, lr: float | None
    ) -> tuple[list[Sequence[Carried]], list[float | None]]:
        """Write a page for each count that is possible; what is carried after it, and its rate."""
        plan, state = self._plan, self._state
        numbers, rates = [state.grouping.carried], list[float | None]()
        first = state.count + 1
        for step, page in enumerate(program.pages[: len(state.pending) + 1], first):
            values = engine.values(lr, step)
            if engine.plan is not plan:
                raise RuntimeError("the learning rate may not switch what a rule computes")
            rates.append(values[0].get("lr"))
            numbers.append(plan.write_records(engine.algorithm, values, step, numbers[-1]))
            self._ahead.tell_step(step)
            page[:] = page_of(self._launches)
        return numbers[1:], rates


def capturing() -> bool:
    """True if the current step is captured in a CUDA graph."""
    from .context import work

    captures: bool = work.turn.captures
    return captures


def _blank_kernel(formats: Formats, like: Any) -> Kernel:
    """The kernel that writes zeros to gradients, which lie where `like` does."""
    streams = (Stream("param", formats.grad_storage, "w"), Stream("grad", Single("float32"), "r"))
    return kernel(blank, streams, backend_of(like).target)
