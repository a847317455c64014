"""Steps that a device skips by itself, and counts: the host neither waits nor knows, until later.

The constants of a step depend on how many have counted before it. While the device has not said
so, several counts are possible: all are prepared, and the gate chooses (see `kernels/gate.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from .ahead import Ahead
from .kernels.compose import Stream
from .kernels.factory import Kernel, kernel
from .kernels.formats import Formats
from .kernels.storage import Single
from .launch import Launch, alike, target_of
from .memory.device import DeviceArray, as_array, integers, is_device, ring, zeros
from .memory.device_table import DeviceTable
from .memory.table import SKIPPED
from .options import Options, flag_of, unscale_of
from .rules import rule
from .state import Cohort, State
from .step_info import StepInfo, late_info

if TYPE_CHECKING:
    from .launch_plan import Plan
    from .optimizer import Optimizer

PAGES, SURE, FAR = 1 << 18, 1000, 1 << 50  # steps: prepared at most, all the same, beyond all
MOST = 8  # steps that may be under way with nobody knowing whether they count
Carried = list[tuple[float, ...]]


@rule()
def blank(param, grad, state, h):  # type: ignore[no-untyped-def]
    """Zero, which is what a parameter reads as that is only written."""
    return param, state


class Outcome:
    """What a step came to, once the device has said so.

    Args:
        words: where the device writes it.
        event: what it reaches then.
        base: how many steps had counted for certain when the step was taken.
        cohorts: who moves, if it counts.
        carried: what they carry afterwards, for each count that was possible.
        rates: the learning rates, likewise.
        norm_scale: what the norm is to be multiplied by, None without any.
    """

    known: StepInfo | None = None

    def __init__(
        self,
        pending: Pending,
        words: Any,
        event: Any,
        base: int,
        cohorts: Sequence[Cohort],
        carried: Sequence[Carried],
        rates: Sequence[float | None],
        norm_scale: float | None,
    ) -> None:
        self._pending, self._words, self.event = pending, words, event
        self.base, self.cohorts, self.carried = base, cohorts, carried
        self._rates, self._norm_scale = rates, norm_scale

    @property
    def info(self) -> StepInfo:
        """A StepInfo that waits when it is looked at."""
        return late_info(partial(self._field, number) for number in range(5))

    def _field(self, number: int) -> Any:
        self._pending.settle(self)
        assert self.known
        return self.known[number]

    def conclude(self, state: State) -> None:
        """Take over what the device has written."""
        count, skipped, useless = self._words[:3].tolist()
        place = count - self.base - (not skipped)
        norm = _norm(self._words, useless, self._norm_scale)
        if not skipped:
            state.count = count
            for cohort, carried in zip(self.cohorts, self.carried[place], strict=True):
                cohort.step += 1
                cohort.carried = carried
        self.known = StepInfo(count, self._rates[place], norm, bool(skipped), not skipped)


class Replayed:
    """What a captured step came to when it was last replayed."""

    def __init__(
        self, driver: Any, words: Any, count: int, rate: float | None, norm_scale: float | None
    ) -> None:
        self._driver, self._words, self._count = driver, words, count
        self._rate, self._norm_scale = rate, norm_scale

    @property
    def info(self) -> StepInfo:
        """A StepInfo that waits, each time that it is looked at."""
        return late_info(partial(self._field, number) for number in range(5))

    def _field(self, number: int) -> Any:
        self._driver.finish_all()
        count, skipped, useless = self._words[:3].tolist()
        if count < 0:
            return StepInfo(self._count, self._rate, None, False, False)[number]
        norm = _norm(self._words, useless, self._norm_scale)
        return StepInfo(count, self._rate, norm, bool(skipped), not skipped)[number]


def _norm(words: Any, useless: int, scale: float | None) -> float | None:
    if scale is None or useless:
        return None
    return math.sqrt(words[3:].view(np.float64)[0]) * scale


class Pending:
    """The steps of which the host does not know yet whether they count, in order."""

    def __init__(self, state: State) -> None:
        from .kernels.cuda_queue import driver

        self._state, self._driver = state, driver
        self._outcomes: list[Outcome] = []
        self.lock = RLock()

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)

    def look(self) -> None:
        """Conclude what the device is done with."""
        with self.lock:
            while self._outcomes and self._driver.reached(self._outcomes[0].event):
                self._outcomes.pop(0).conclude(self._state)

    def settle(self, last: Outcome | None = None) -> None:
        """Wait for a step and those before it; for all of them without one."""
        with self.lock:
            self._driver.bind()
            while self._outcomes and (last is None or last.known is None):
                self._driver.reach(self._outcomes[0].event)
                self._outcomes.pop(0).conclude(self._state)

    def make_room(self) -> None:
        """Wait until another step may be under way."""
        while len(self._outcomes) >= MOST:
            self.settle(self._outcomes[0])

    def agrees(self, base: int, carried: Sequence[Carried]) -> bool:
        """Whether the steps under way leave behind what is assumed now, for each count."""
        if not self._outcomes:
            return True
        last = self._outcomes[-1]
        return list(last.carried[base - last.base :]) == list(carried[: len(self._outcomes)])


class Gate:
    """Takes the steps of a plan whose verdict is the device's.

    Args:
        plan: whose constants are prepared.
        launches: those of the update.
        params: all parameters.
    """

    def __init__(
        self,
        plan: Plan,
        launches: Sequence[Launch],
        ahead: Ahead,
        state: State,
        params: Sequence[Any],
        formats: Sequence[Formats],
        options: Options,
    ) -> None:
        self._plan, self._launches, self._ahead, self._state = plan, launches, ahead, state
        from .kernels.cuda_queue import driver, work
        from .kernels.gate import warm

        self._params, self._options, self._set_up = params, options, False
        self._driver, self._work = driver, work
        self._dtypes = {each.compute for each in formats}
        self._place, self._captures = 0, work.turn.captures
        ahead.needed |= self._captures
        self._clearing = [
            Launch(blank, _blank_kernel(each, params[0]), params, members)
            for each, members in (alike(formats).items() if options.zero_grads else ())
        ]
        warm()
        for made in self.kernels:
            made.target.warm(made.run)

    @property
    def kernels(self) -> list[Kernel]:
        """What is launched besides the update."""
        return [launch.kernel for launch in self._clearing]

    @staticmethod
    def serves(params: Sequence[Any], formats: Sequence[Formats], options: Options) -> bool:
        """Whether steps over these parameters may be skipped by the device alone.

        Not while micro-batches are counted, nor where finite gradients may have no finite norm.
        """
        wide = any("float64" in (each.param, each.grad) for each in formats)
        if not isinstance(params[0], DeviceArray):
            return False
        served = not options.accumulates and not (options.skip_nonfinite and wide)
        if not served:
            _check_not_captured()
        return served

    def look(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Say where the gradients are, and which there are."""
        for launch in self._clearing:
            launch.place("param", addresses)
            launch.choose([0 if there else SKIPPED for there in active])

    def takes(self, found_inf: Any) -> bool:
        """Whether a step is the device's affair; a first one is not, as there is no state yet."""
        if self._captures:
            return True
        wanted = self._options.skip_nonfinite or is_device(found_inf)
        return self._plan.active and not self._plan.stale and (wanted or bool(self._state.pending))

    def step(self, walk: Optimizer, lr: float | None, grad_scale: Any, found_inf: Any) -> StepInfo:
        """Take a step, without waiting for what it comes to."""
        unscale = unscale_of(grad_scale, self._dtypes)
        flag, kind, forced = _flag(found_inf)
        if self._captures:
            return self._capture(walk, lr, grad_scale, flag, kind, forced)
        if not self._set_up:
            self._begin(MOST)
            self._ahead.needed = True
            self._events = [self._driver.event() for _ in range(MOST)]
            if self._state.pending is None:
                self._state.pending = Pending(self._state)
        pending = self._state.pending
        with pending.lock:
            pending.look()
            pending.make_room()
            if not forced:
                self._ahead.measure(self._ahead.norm, unscale)
            carried, rates = self._prepare(walk, lr)
            if not pending.agrees(self._state.count, carried):
                pending.settle()
                carried, rates = self._prepare(walk, lr)
            place = self._send(forced, flag, kind)
            for run in self._runs:
                run()
            event = self._events[place]
            self._driver.record(event, self._work.stream)
            scale = unscale if self._ahead.norm else None
            words, active = self._words[place], self._plan.moving
            outcome = Outcome(
                pending, words, event, self._state.count, active, carried, rates, scale
            )
            pending.add(outcome)
        return outcome.info

    def _begin(self, pages: int) -> None:
        """Make room on the device for so many pages, and load what is launched."""
        from .kernels.gate import HEADER, OUTCOME_WORDS, launcher

        self._set_up = True
        launches = [*self._launches, *self._clearing]
        tasks, runs = zip(*(self._table(launch).gated() for launch in launches), strict=True)
        entries = [
            (
                task.address,
                len(launch.table.chunks),
                launch in self._clearing,
                self._table(launch).home,
                0 if launch in self._clearing else len(self._table(launch).head),
            )
            for launch, task in zip(launches, tasks, strict=True)
        ]
        words = sum(entry[-1] for entry in entries)
        fixed = HEADER + sum(map(len, entries))
        self._program = np.zeros(fixed + pages * words, np.int64)
        self._program[HEADER:fixed] = np.ravel(entries)
        self._pages = self._program[fixed:].reshape(pages, words)
        self._there = zeros(self._program.size, np.int64)
        self._count = zeros(1, np.int64)
        self._ring = ring(self._program.nbytes)
        self._outcomes = self._driver.pinned(8 * OUTCOME_WORDS * MOST)
        self._words = integers(self._outcomes, MOST * OUTCOME_WORDS).reshape(MOST, -1)
        self._runs = [launcher(self._there.address), *runs]
        self._kept = tasks

    def _capture(
        self,
        walk: Optimizer,
        lr: float | None,
        grad_scale: Any,
        flag: int,
        kind: int,
        forced: bool,
    ) -> StepInfo:
        """Put a step into the graph that is being captured."""
        if self._ahead.noise:
            raise RuntimeError("random rounding takes new keys at each step; it is not captured")
        if grad_scale is not None or forced:
            raise RuntimeError(
                "grad_scale, and found_inf=True, would be the same whenever the step is replayed: "
                "unscale the gradients in the graph, and give found_inf as an array of the device"
            )
        self._place_state()
        self._ahead.measure(self._ahead.norm, 1.0)
        rate, pages = self._settled_pages(walk, lr)
        self._begin(len(pages))
        self._pages[:] = pages
        self._words[:] = -1
        self._count = self._work.turn.captured.count()
        place = self._send(False, flag, kind)
        for run in self._runs:
            run()
        self._plan.captured = list(self._state.active)
        scale = 1.0 if self._ahead.norm else None
        return Replayed(self._driver, self._words[place], self._state.count, rate, scale).info

    def _place_state(self) -> None:
        """Point the launches at the state, all of which is there once a step was taken."""
        state, missing = self._state, False
        for launch in self._launches:
            state.know(kept.name for kept in launch.kept)
            moving = [number for number in launch.members if state.active[number]]
            missing |= any(state.arrays[one.name][k] is None for one in launch.kept for k in moving)
        if missing or not self._plan.active:
            raise RuntimeError("take a step with these gradients before you capture one")
        self._plan.write_rows([{}] * len(state.cohorts))

    def _settled_pages(self, walk: Optimizer, lr: float | None) -> tuple[float | None, list[Any]]:
        """The learning rate, and a page for each count to come, up to where they stay the same."""
        plan, state, values = self._plan, self._state, walk._values(lr)
        count, before = state.count, [(cohort, cohort.step) for cohort in plan.moving]

        def page(later: int) -> Any:
            state.count = count + later
            for cohort, step in before:
                cohort.step = step + later
            plan.write_records(walk.hyper, values)
            self._ahead.tell_step(state.count + 1)
            return self._heads()

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

    @staticmethod
    def _table(launch: Launch) -> DeviceTable:
        assert isinstance(launch.table, DeviceTable)
        return launch.table

    def _prepare(
        self, walk: Optimizer, lr: float | None
    ) -> tuple[list[Carried], list[float | None]]:
        """Write a page for each count that is possible; what is carried after it, and its rate."""
        plan, state = self._plan, self._state
        count, before = state.count, [(c, c.step, c.carried) for c in plan.moving]
        carried, rates = [], []
        try:
            for page in self._pages[: len(state.pending) + 1]:
                values = walk._values(lr)
                if walk._plan is not plan:
                    raise RuntimeError("the learning rate may not switch what a rule computes")
                rates.append(values[0].get("lr"))
                if walk.carried:
                    values = plan.carry(walk.carry, values)
                plan.write_records(walk.hyper, values)
                self._ahead.tell_step(state.count + 1)
                page[:] = self._heads()
                carried.append([cohort.next for cohort in plan.moving])
                state.count += 1
                for cohort in plan.moving:
                    cohort.step, cohort.carried = cohort.step + 1, cohort.next
        finally:
            state.count = count
            for cohort, step, numbers in before:
                cohort.step, cohort.carried = step, numbers
        return carried, rates

    def _heads(self) -> Any:
        """A page."""
        return np.concatenate([self._table(launch).head for launch in self._launches])

    def _send(self, forced: bool, flag: int, kind: int) -> int:
        """Tell the device about a step; the number of its outcome."""
        from .kernels import gate

        program, norm, pages = self._program, self._ahead.norm, len(self._pages)
        place, self._place = self._place, (self._place + 1) % MOST
        if not self._captures:
            pages = len(self._state.pending) + 1
        program[gate.KNOWN] = self._state.count if pages == 1 and not self._captures else -1
        program[gate.BASE] = self._state.count
        program[gate.LAST_PAGE] = pages - 1
        program[gate.FORCED] = forced
        program[gate.TOTAL] = norm.total.address if norm and not forced else 0
        program[gate.JUDGED] = self._options.skip_nonfinite
        program[gate.FLAG], program[gate.KIND] = flag, kind
        program[gate.OUTCOME] = self._words[place].ctypes.data
        program[gate.COUNT] = self._count.address
        program[gate.ENTRIES] = len(self._launches) + len(self._clearing)
        unused = self._pages[pages:].nbytes
        self._ring.send(self._there.address, program.ctypes.data, program.nbytes - unused)
        for launch in (*self._launches, *self._clearing):
            self._table(launch).send_rows()
        return place


def _check_not_captured() -> None:
    from .kernels.cuda_queue import work

    if work.turn.captures:
        raise RuntimeError(
            "accumulate_steps, and skip_nonfinite with float64, ask the host; such a step cannot "
            "be captured in a CUDA graph"
        )


def _blank_kernel(formats: Formats, like: Any) -> Kernel:
    """The kernel that writes zeros to gradients, which lie where `like` does."""
    streams = (Stream("param", formats.grad_storage, "w"), Stream("grad", Single("float32"), "r"))
    return kernel(blank, streams, target_of(like))


def _flag(found_inf: Any) -> tuple[int, int, bool]:
    """Where a flag is on the device, of which kind, and whether it is up for certain."""
    from .kernels.cuda_queue import work
    from .kernels.gate import KINDS
    from .memory.streams import orders_of

    if not is_device(found_inf):
        return 0, 0, flag_of(found_inf)
    array = as_array(found_inf)
    if array.size != 1 or array.dtype.name not in KINDS:
        raise TypeError(
            f"step(): found_inf is an array of {array.dtype} and shape {array.shape}; give one "
            "number"
        )
    work.turn.join(orders_of([found_inf]))
    return array.address, KINDS[array.dtype.name], False
