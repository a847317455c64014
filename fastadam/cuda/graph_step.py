"""A step that goes into a CUDA graph, with the constants of all that replays may come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..engine.launch import Launch
from ..engine.preprocess import GradientPreprocessor
from ..engine.step_info import StepInfo
from .command_buffer import flag_for, page_of
from .conditional_step import ConditionalStep
from .pending_steps import ReplayedStep, info_of

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..engine.launch_plan import StepPlan

PAGES, SURE, FAR = 1 << 18, 1000, 1 << 50  # steps: prepared at most, all the same, beyond all


class GraphStep(ConditionalStep):
    """The one step of a plan, which is captured; graph_capture.py counts its replays."""

    def __init__(
        self, plan: StepPlan, launches: Sequence[Launch], ahead: GradientPreprocessor, *others: Any
    ) -> None:
        super().__init__(plan, launches, ahead, *others)
        ahead.needed = True

    def takes(self, found_inf: Any) -> bool:
        return True

    def step(self, engine: Engine, lr: float | None, grad_scale: Any, found_inf: Any) -> StepInfo:
        """Put a step into the graph that is being captured."""
        flag = flag_for(found_inf)
        if self._ahead.noise:
            raise RuntimeError("random rounding takes new keys at each step; it is not captured")
        if grad_scale is not None or flag.forced:
            raise RuntimeError(
                "grad_scale, and found_inf=True, would be the same whenever the step is replayed: "
                "unscale the gradients in the graph, and give found_inf as an array of the device"
            )
        self._place_state()
        self._ahead.measure(self._ahead.norm, 1.0, 1.0)
        rate, pages = self._settled_pages(engine, lr)
        program = self._set_up(len(pages), self._work.turn.captured.count())
        program.pages[:], program.outcomes[:] = pages, -1
        place = program.run(self._state.count, len(pages), False, flag)
        self._plan.captured = list(self._state.active)
        scale, words = 1.0 if self._ahead.norm else None, program.outcomes[place]
        return info_of(ReplayedStep(self._driver, words, self._state.count, rate, scale))

    def _place_state(self) -> None:
        """Point the launches at the state, all of which is there once a step was taken."""
        state, missing = self._state, False
        for launch in self._launches:
            arrays = state.with_names(kept.name for kept in launch.kept)
            moving = [number for number in launch.members if state.active[number]]
            missing |= any(arrays[one.name][k] is None for one in launch.kept for k in moving)
        if missing or not self._plan.active:
            raise RuntimeError("take a step with these gradients before you capture one")
        self._plan.write_rows([{}] * len(state.cohorts))

    def _settled_pages(self, engine: Engine, lr: float | None) -> tuple[float | None, list[Any]]:
        """The learning rate, and a page for each count to come, up to where they stay the same."""
        plan, first = self._plan, self._state.count + 1
        values = engine.values(lr, first)

        def page(later: int) -> Any:
            plan.write_records(engine.algorithm, values, first + later)
            self._ahead.tell_step(first + later)
            return page_of(self._launches)

        try:
            limit, pages, same = page(FAR).tobytes(), list[Any](), 0
            while len(pages) < PAGES:
                pages.append(page(len(pages)))
                same = same + 1 if pages[-1].tobytes() == limit else 0
                settled = len(pages) - same  # pages before the first of those that are the same
                if same > settled + SURE:
                    return values[0].get("lr"), pages[: settled + 1]
        finally:
            page(0)
        raise RuntimeError(
            f"the constants of a step still change after {PAGES} steps; such a step cannot be "
            "captured in a CUDA graph"
        )
