"""Exceptions, and handlers that save, at every line of the package that an operation executes.

An operation interrupted anywhere must leave an optimizer as it was before or as it is after it:
parameters, state, averages and counts of one moment, and able to go on from there.

    python tests/support/interruptions.py            # every line of every scenario
    python tests/support/interruptions.py steady     # of those whose names hold these words
"""

import copy
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

import fastadam as fa
from fastadam.kernels import factory

PACKAGE = str(Path(fa.__file__).parent)
F = np.float32


class Interrupt(BaseException):
    """Raised where a signal could arrive."""


class Scenario(NamedTuple):
    """An operation on a new optimizer.

    Attributes:
        make: returns an object with `opt`, `params` (arrays or tensors), `act` (the operation) and
            `step` (a step afterwards).
    """

    name: str
    make: Callable[[], Any]


def interrupted_at(point: int, act: Callable[[], Any], react: Callable[[], Any]) -> int:
    """Run an operation and call `react` before its line of that number; how many lines there were.

    Lines are those of the package, in the calling thread.
    """
    seen = 0

    def line(frame: Any, event: str, argument: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == point:
                sys.settrace(None)
                react()
                return None
        return line

    def call(frame: Any, event: str, argument: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(PACKAGE) else None

    before, torch = sys.gettrace(), sys.modules.get("torch")
    sys.settrace(call)
    try:
        act()
    finally:
        sys.settrace(before)
        # A trace raises where no signal does: as a `with` ends, before it has ended.
        if torch:
            torch.set_grad_enabled(True)
        while factory._making._is_owned():
            factory._making.release()
    return seen


def _plain(value: Any) -> Any:
    """Something of a state_dict that can be compared, whatever library its arrays are from."""
    if hasattr(value, "detach"):
        value = value.detach().float().numpy()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        plain = {key: _plain(each) for key, each in value.items()}
        return {key: each for key, each in plain.items() if each != {}}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def moment(case: Any) -> Any:
    """Parameters, state and counts, as bytes."""
    own = case.opt.state if isinstance(case.opt, fa.Optimizer) else {}
    saved = case.opt.state_dict()  # first, since it completes an interrupted step
    return _plain({"params": case.params, "saved": saved, "state": dict(own), "ok": True})


def failures(scenario: Scenario, samples: int | None = None) -> Iterator[str]:
    """Check all points of a scenario, or so many that are spread over it; what went wrong."""
    for _ in range(2):  # the second time nothing is compiled or imported any more
        case = scenario.make()
        before = moment(case)
        lines = interrupted_at(0, case.act, lambda: None)
        after = moment(case)
        case.step()
        then = moment(case)
    every = 1 if samples is None else max(1, lines // samples)
    for point in range(every, lines + 1, every):
        for kind in (_raised, _saved):
            if fault := kind(scenario.make(), point, before, after, then):
                yield f"{scenario.name}, line {point} of {lines}, {fault}"


def points(scenario: Scenario) -> int:
    """The number of lines where a scenario can be interrupted."""
    scenario.make().act()
    return interrupted_at(0, scenario.make().act, lambda: None)


def _raised(case: Any, point: int, before: Any, after: Any, then: Any) -> str:
    def react() -> None:
        raise Interrupt

    try:
        interrupted_at(point, case.act, react)
    except Interrupt:
        pass
    else:
        return "" if moment(case) == after else "interrupt swallowed"
    now = moment(case)
    if now not in (before, after):
        return "raised: neither as before nor as after"
    if now == before and before != after:
        case.act()
        if moment(case) != after:
            return "raised: the operation does something else the second time"
    case.step()
    return "" if moment(case) == then else "raised: the next step goes wrong"


NOT_THERE = "swap_ema", "swap_average", "opt.train()", "in the middle of a step"


def _saved(case: Any, point: int, before: Any, after: Any, then: Any) -> str:
    seen: list[Any] = []

    def react() -> None:
        try:
            seen.append(moment(case))
        except RuntimeError as error:
            if not any(words in str(error) for words in NOT_THERE):
                raise

    interrupted_at(point, case.act, react)
    if any(each not in (before, after) for each in seen):
        return "saved: neither as before nor as after"
    return "" if moment(case) == after else "saved: what follows goes wrong"


# Scenarios of the core


def arrays(
    size: int = 60, seed: int = 0, dtypes: tuple[Any, ...] = (F, F), columns: int = 0
) -> list[Any]:
    rng = np.random.default_rng(seed)
    found = [rng.standard_normal(size + k).astype(dtype) for k, dtype in enumerate(dtypes)]
    return [each[:size].reshape(-1, columns) for each in found] if columns else found


def core(
    optimizer: Any = fa.AdamW,
    steps: int = 2,
    operation: Callable[[Any], None] | None = None,
    size: int = 60,
    dtypes: tuple[Any, ...] = (F, F),
    files: bool = False,
    columns: int = 0,
    **options: Any,
) -> Callable[[], Any]:
    """A factory of cases: an optimizer after some steps, and an operation, or one more step."""

    def make() -> Any:
        params = arrays(size, 0, dtypes, columns)
        if files:  # new ones, while cases before this one may have theirs open
            folder = tempfile.mkdtemp(dir=FOLDER.name)
            params = fa.flatten(params, file=f"{folder}/weights.bin").leaves
            options["state_file"] = f"{folder}/state.bin"
        opt = optimizer(params, lr=0.1, **options)
        grads = [arrays(size, 1 + k, dtypes, columns) for k in range(steps + 2)]
        for each in grads[:steps]:
            opt.step(each)
        case = SimpleNamespace(opt=opt, params=params)
        case.act = (lambda: operation(case)) if operation else lambda: opt.step(grads[steps])
        more = [np.ones(9, F)]
        case.step = lambda: opt.step(grads[-1] + more * (len(opt.param_groups) - 1))
        return case

    return make


def edited() -> Any:
    """A case whose groups were edited just before the step."""
    case = core()()
    case.opt.param_groups[0]["weight_decay"] = 0.25
    return case


def loaded(case: Any) -> None:
    case.opt.load_state_dict(SAVED["core"])


def loaded_file(case: Any) -> None:
    fa.load(SAVED["file"], case.opt)


def extended(case: Any) -> None:
    case.opt.add_param_group({"params": [np.ones(9, F)], "lr": 0.01})


def swapped(case: Any) -> None:
    with case.opt.swap_ema():
        pass


def in_subsets() -> Any:
    """A case of a step of one subset, after which the other one takes it, too."""
    opt = fa.AdamW(params := arrays(dtypes=(F, F, F)), lr=0.1)
    parts = [opt.subset([0, 2]), opt.subset([1])]

    def step(seed: int, *chosen: int) -> None:
        grads = arrays(seed=seed, dtypes=(F, F, F))
        for number in chosen:
            parts[number].step([grads[k] for k in parts[number].numbers])

    step(1, 0, 1)
    step(2, 0, 1)
    case = SimpleNamespace(opt=opt, params=params, act=lambda: step(3, 0))
    case.step = lambda: (step(3, 1), step(4, 0, 1))
    return case


class Alone:
    """The communicator of one process."""

    rank, size = 0, 1

    def exchange(self, send: Any, receive: Any) -> Any:
        return lambda: None


def sharded() -> Any:
    """A case of an update after a micro-batch."""
    from fastadam.distributed import Sharded

    opt = Sharded(fa.AdamW, params := arrays(), Alone(), lr=0.1, accumulate_steps=2)
    for seed in range(3):
        opt.step(arrays(seed=seed))
    case = SimpleNamespace(opt=opt, params=params, act=lambda: opt.step(arrays(seed=8)))
    case.step = lambda: opt.step(arrays(seed=9))
    return case


def saved_core() -> dict[str, Any]:
    opt = fa.AdamW(arrays(seed=5), lr=0.2, ema_decay=0.5, accumulate_steps=2)
    for seed in range(3):
        opt.step(arrays(seed=seed))
    file = Path(FOLDER.name) / "core.safetensors"
    fa.save(file, opt)
    return {"core": opt.state_dict(), "file": file}


FOLDER = tempfile.TemporaryDirectory()
SAVED = saved_core()
TAIL = {"clip_norm": 1.0, "skip_nonfinite": True, "ema_decay": 0.5, "shadow_dtype": "float16"}
TAIL["zero_grads"] = True
SUMS = {"accumulate_steps": 2, "ema_decay": 0.5}
INT8 = {"state_dtype": "int8", "min_quantized_size": 0}

CORE = [
    Scenario("core: first step", core(steps=0)),
    Scenario("core: steady step", core()),
    Scenario("core: step in threads", core(size=30_000)),
    Scenario("core: sums in threads", core(fa.Adafactor, size=30_000, columns=100)),
    Scenario("core: step with options", core(**TAIL, **INT8)),
    Scenario("core: first step with options", core(steps=0, **TAIL, **INT8)),
    Scenario("core: micro-batch", core(**SUMS)),
    Scenario("core: update after a micro-batch", core(steps=3, **SUMS)),
    Scenario("core: numbers that are carried, two launches", core(fa.NAdam, dtypes=(F, float))),
    Scenario("core: first step over files", core(steps=0, files=True)),
    Scenario("core: step over files", core(files=True, clip_norm=1.0, **SUMS)),
    Scenario("core: load into files", core(operation=loaded, files=True, **SUMS)),
    Scenario("core: swap_ema in files", core(operation=swapped, files=True, ema_decay=0.5)),
    Scenario("core: step after an edit", edited),
    Scenario("core: load", core(operation=loaded, **SUMS)),
    Scenario("core: load into a new one", core(steps=0, operation=loaded, **SUMS)),
    Scenario("core: load a file", core(operation=loaded_file, **SUMS)),
    Scenario("core: new group", core(operation=extended, **SUMS)),
    Scenario("core: step of a subset", in_subsets),
    Scenario("core: update after a micro-batch, sharded", sharded),
    Scenario("core: swap_ema", core(operation=swapped, ema_decay=0.5, shadow_dtype="float16")),
    Scenario(
        "core: swap_ema of sixteen bits",
        core(operation=swapped, ema_decay=0.5, dtypes=(np.float16, np.float16)),
    ),
]


def torch_scenarios() -> list[Scenario]:
    """Scenarios of the PyTorch adapter."""
    import torch

    import fastadam.torch as ft

    def adapter(
        optimizer: Any = ft.AdamW,
        steps: int = 2,
        operation: Callable[[Any], None] | None = None,
        dtype: Any = torch.float32,
        **options: Any,
    ) -> Callable[[], Any]:
        def make() -> Any:
            params = [torch.from_numpy(p).to(dtype).requires_grad_() for p in arrays()]
            opt = optimizer(params, lr=0.1, **options)
            case = SimpleNamespace(opt=opt, params=params)

            def step(seed: int, names: str = "ab") -> None:
                for name, param, grad in zip("ab", params, arrays(seed=seed), strict=True):
                    param.grad = torch.from_numpy(grad).to(dtype) if name in names else None
                for group in opt.param_groups[1:]:
                    group["params"][0].grad = torch.ones(9)
                opt.step()

            case.some = lambda: step(7, "a")
            for seed in range(steps):
                step(seed)
            case.act = (lambda: operation(case)) if operation else lambda: step(8)
            case.step = lambda: step(9)
            return case

        return make

    def loaded(case: Any) -> None:
        case.opt.load_state_dict(SAVED["torch"])

    def loaded_file(case: Any) -> None:
        ft.load(SAVED["torch file"], case.opt)

    def extended(case: Any) -> None:
        case.opt.add_param_group({"params": [torch.ones(9, requires_grad=True)], "lr": 0.01})

    def modes(evaluating: bool) -> Callable[[], Any]:
        def make() -> Any:
            case = adapter(ft.ScheduleFreeAdamW)()
            opt, step = case.opt, case.step

            def state_dict() -> Any:  # there is none in evaluation
                return {} if opt._averages.swapped else opt.state_dict()

            if evaluating:
                opt.eval()
            case.act = opt.train if evaluating else opt.eval
            case.step = lambda: (opt.train(), step())
            case.opt = SimpleNamespace(state_dict=state_dict)
            return case

        return make

    other = adapter(steps=3, ema_decay=0.5)()
    with torch.no_grad():
        other.params[0].add_(1)
    SAVED["torch"] = other.opt.state_dict()
    SAVED["torch file"] = Path(FOLDER.name) / "torch.safetensors"
    ft.save(SAVED["torch file"], other.opt)
    return [
        Scenario("torch: first step", adapter(steps=0)),
        Scenario("torch: steady step", adapter()),
        Scenario("torch: step with options", adapter(**TAIL, **INT8)),
        Scenario("torch: first step with options", adapter(steps=0, **TAIL, **INT8)),
        Scenario("torch: numbers that are carried", adapter(ft.NAdam)),
        Scenario("torch: fewer gradients", adapter(operation=lambda case: case.some())),
        Scenario("torch: load", adapter(operation=loaded, ema_decay=0.5)),
        Scenario("torch: load into a new one", adapter(steps=0, operation=loaded, ema_decay=0.5)),
        Scenario("torch: load a file", adapter(operation=loaded_file, ema_decay=0.5)),
        Scenario("torch: new group", adapter(operation=extended)),
        Scenario("torch: eval()", modes(False)),
        Scenario("torch: train()", modes(True)),
        Scenario("torch: swap_ema", adapter(operation=swapped, ema_decay=0.5)),
        Scenario(
            "torch: swap_ema of sixteen bits",
            adapter(operation=swapped, ema_decay=0.5, dtype=torch.bfloat16),
        ),
    ]


def offload_scenarios() -> list[Scenario]:
    """Scenarios of the optimizer on the host, whose step updates one bucket after the other."""
    import torch

    import fastadam.torch as ft
    from fastadam.torch.offload import CPUAdam, CPUOffload

    def subgroups(steps: int, operation: str = "step") -> Callable[[], Any]:
        def make() -> Any:
            params = [torch.from_numpy(p).requires_grad_() for p in arrays(6)]
            params.append(torch.ones(6, dtype=torch.bfloat16, requires_grad=True))
            opt = CPUAdam(params if operation == "step" else params[:1], lr=0.1)
            case = SimpleNamespace(opt=opt, params=params)

            def step(seed: int, name: str = operation) -> None:
                for param, grad in zip(params, [*arrays(6, seed), np.ones(6, F)], strict=True):
                    param.grad = torch.from_numpy(grad).to(param.dtype).reshape(param.shape)
                getattr(opt, name)(*(() if name == "step" else (7,)))

            forward = operation.replace("rollback", "step")
            for seed in range(steps):
                step(seed, forward)
            case.act = lambda: step(steps - 1 if operation != forward else 8)
            case.step = lambda: step(9, forward)
            return case

        return make

    def offloaded(
        operation: Callable[[Any], None] | None = None,
        dtype: Any = torch.float32,
        micro_batches: int = 1,
        scale: float | None = None,
        **options: Any,
    ) -> Callable[[], Any]:
        def make() -> Any:
            params = [torch.from_numpy(p).to(dtype).requires_grad_() for p in arrays(6)]
            params += [p.detach().clone().requires_grad_() for p in params]
            opt = CPUOffload(params, ft.AdamW, lr=0.1, bucket_bytes=1, **options)
            case = SimpleNamespace(opt=opt, params=params)

            def step(seed: int) -> None:
                opt.zero_grad()
                for k in range(micro_batches):
                    grads = [*arrays(6, seed + k), *arrays(6, seed + k + 20)]
                    pairs = zip(params, map(torch.from_numpy, grads), strict=False)
                    total = sum((p * g.to(dtype)).sum() for p, g in pairs)
                    for group in opt.param_groups[1:]:
                        total = total + group["params"][0].sum()
                    total.backward()
                if scale:
                    opt.grad_scale, opt.found_inf = torch.tensor(scale), torch.tensor(0.0)
                opt.step()

            for seed in range(2):
                step(seed)
            case.act = released(opt, (lambda: operation(case)) if operation else lambda: step(8))
            case.step = lambda: step(9)
            return case

        return make

    def released(opt: Any, act: Callable[[], None]) -> Callable[[], None]:
        def acts() -> None:
            try:
                act()
            finally:  # see `interrupted_at`
                while opt._steps.lock._is_owned():
                    opt._steps.lock.release()
                if opt._steps.stepping.locked():
                    opt._steps.stepping.release()

        return acts

    def loaded(case: Any) -> None:
        case.opt.load_state_dict(SAVED["offload"])

    def extended(case: Any) -> None:
        case.opt.add_param_group({"params": [torch.ones(9, requires_grad=True)], "lr": 0.01})

    narrow = {"dtype": torch.bfloat16}
    other = offloaded(**narrow)()
    other.step()
    SAVED["offload"] = copy.deepcopy(other.opt.state_dict())
    clipped = {"clip_norm": 0.1}
    return [
        Scenario("offload: step", offloaded(**clipped)),
        Scenario("offload: step with a scale", offloaded(scale=4.0, fused=True, **clipped)),
        Scenario(
            "offload: gradients added on the host",
            offloaded(micro_batches=2, offload_gradients=True, **narrow, **clipped),
        ),
        Scenario("offload: all parameters together", offloaded(clip_norm_per="tensor", **clipped)),
        Scenario("offload: load", offloaded(operation=loaded, **narrow)),
        Scenario("offload: new group", offloaded(operation=extended, **narrow)),
        Scenario("CPUAdam: first step", subgroups(0)),
        Scenario("CPUAdam: step", subgroups(2)),
        Scenario("CPUAdam: step of a subgroup reversed", subgroups(2, "rollback_subgroup")),
    ]


def main(words: list[str]) -> int:
    """Check every point of the scenarios whose names hold all words; how many failed."""
    total = wrong = 0
    for scenario in [*CORE, *torch_scenarios(), *offload_scenarios()]:
        if all(word in scenario.name for word in words):
            found = list(failures(scenario))
            count = points(scenario)
            total, wrong = total + count, wrong + len(found)
            print(f"{scenario.name}: {count} points, {len(found)} wrong", flush=True)
            print(*found[:5], sep="\n", end="\n" if found else "")
    print(f"{total} points, each with an exception and with a handler that saves; {wrong} wrong")
    return wrong


if __name__ == "__main__":
    assert threading.current_thread() is threading.main_thread()
    sys.exit(bool(main(sys.argv[1:])))
