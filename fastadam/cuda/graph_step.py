"""A step captured in a CUDA graph, with the constants of all step counts of its replays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..engine.launch import Launch
from ..engine.step_context import StepContext
from ..engine.step_info import StepInfo
from ..memory.arrays import is_device
from .command_buffer import flag_for
from .conditional_step import ConditionalStep, Prepared
from .pending_steps import ReplayedStep, info_of

if TYPE_CHECKING:
    from ..engine.launch_plan import StepPlan

PAGES, SURE, FAR = 1 << 18, 1000, 1 << 50  # steps: prepared at most, all the same, beyond all


class GraphStep(ConditionalStep):
    """The captured step of a plan; graph_capture.py counts its replays."""

    def __init__(self, plan: StepPlan, launches: Sequence[Launch], context: StepContext) -> None:
        super().__init__(plan, launches, context)
        plan.preprocessor.needed = True

    def takes(self, found_inf: Any, grad_scale: Any, lr: Any = None) -> bool:
        return True

    def step(self, engine: Any, lr: float | None, grad_scale: Any, found_inf: Any) -> StepInfo:
        """Add a step to the graph that is being captured."""
        flag = flag_for(found_inf)
        if self._preprocessor.noise:
            raise RuntimeError("random rounding takes new keys at each step; it is not captured")
        if (grad_scale is not None and not is_device(grad_scale)) or flag.forced:
            raise RuntimeError(
                "grad_scale as a number, and found_inf=True, would be the same whenever the step "
                "is replayed: give them as arrays of the device"
            )
        self._place_state()
        self._undone(grad_scale)
        prepared = self._prepared(engine, lr)
        self._preprocessor.measure(self._preprocessor.norm, 1.0, 1.0)
        pages = len(prepared.pages)
        program = self._set_up(pages, self._work.turn.captured.count(), prepared)
        program.pages[:], program.outcomes[:] = prepared.pages, -1
        self._program = program
        place = self._run(program, self._state.count, pages, False, flag)
        self._plan.captured = list(self._state.active)
        scale, words = 1.0 if self._preprocessor.norm else None, program.outcomes[place]
        rate = prepared.rates[0]
        return info_of(ReplayedStep(self._driver, words, self._state.count, rate, scale))

    def _place_state(self) -> None:
        """Set the addresses of the state, which the step before the capture has created."""
        state, missing = self._state, False
        for launch in self._launches:
            arrays = state.with_names(kept.name for kept in launch.kept)
            moving = [number for number in launch.members if state.active[number]]
            missing |= any(arrays[one.name][k] is None for one in launch.kept for k in moving)
        if missing or not self._plan.active:
            raise RuntimeError("take a step with these gradients before you capture one")
        self._plan.write_rows([{}] * len(state.cohorts))

    def _prepared(self, engine: Any, lr: float | None) -> Prepared:
        """A page for each further step count, up to the last at which constants change."""
        first = self._state.count + 1
        values = engine.values(lr, first)

        def page(later: int) -> tuple[Any, Any]:
            found, _, constants = self._page(engine.algorithm, values, first + later)
            return found, constants

        try:
            (limit, constants), pages, same = page(FAR), list[Any](), 0
            last = limit.tobytes()
            while len(pages) < PAGES:
                pages.append(page(len(pages))[0])
                same = same + 1 if pages[-1].tobytes() == last else 0
                known = len(pages) - same  # pages before the first of the equal ones
                if same > known + SURE:
                    rates = [values[0].get("lr")]
                    return Prepared(pages[: known + 1], [], rates, constants)
        finally:
            page(0)
        raise RuntimeError(
            f"the constants of a step still change after {PAGES} steps; such a step cannot be "
            "captured in a CUDA graph"
        )
