"""A fused step against the same step in plain NumPy: validated first, then timed in turns."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ... import optimizers
from ...engine.flat import Flat, flatten
from ...optimizer import Optimizer

VALIDATED, TIMED = 10, 1000  # steps

Step = Callable[[int], object]


class Seconds(NamedTuple):
    """Median duration of a step."""

    fused: float
    unfused: float


def compare(opt: Optimizer, params: Flat) -> Seconds | None:
    """Time steps on copies of an optimizer's parameters and gradients.

    Returns:
        None if there is no unfused step for this optimizer, or not in its precision.

    Raises:
        RuntimeError: if the two ways do not lead to the same parameters.
    """
    known = type(opt) in (optimizers.Adam, optimizers.AdamW)
    if not known or {*opt.memory().dtypes.values()} != {"float32"}:
        return None
    fused_params, fused = _fused(opt, params)
    unfused_params, unfused = _unfused(opt, params)
    for step in range(1, VALIDATED + 1):
        fused(step)
        unfused(step)
    if not _alike(fused_params.buffer, unfused_params, _present(opt)["lr"]):
        difference = np.abs(fused_params.buffer - unfused_params).max()
        raise RuntimeError(f"fused and unfused parameters differ by {difference}")
    return _timed(fused, unfused)


def _alike(fused: np.ndarray, unfused: np.ndarray, lr: float) -> bool:
    """Test if they differ by rounding only.

    Each step rounds some ten times, in another order, a parameter of about 1 and an update of
    about lr; 1e-6 is a unit in the last place of a float32 for each of ten steps.
    """
    tolerance = 1e-6 * (1 + VALIDATED * lr)
    return np.allclose(fused, unfused, rtol=1e-5, atol=tolerance, equal_nan=True)


def _present(opt: Optimizer) -> dict[str, Any]:
    """The hyperparameters, schedules as their present values."""
    group: dict[str, Any] = opt.state_dict(copy=False)["param_groups"][0]
    return {name: group[name] for name in opt.defaults}


def _fused(opt: Optimizer, params: Flat) -> tuple[Flat, Step]:
    """Parameters, and the step that updates them."""
    copied = flatten(params.tree)
    twin = type(opt)(copied, **_present(opt))
    twin.grads.buffer[...] = opt.grads.buffer
    return copied, lambda _: twin.step()


def _unfused(opt: Optimizer, params: Flat) -> tuple[np.ndarray, Step]:
    """Parameters, and the step that updates them."""
    from ...bench.numpy_adam import numpy_adam

    param, grad = params.buffer.copy(), opt.grads.buffer.copy()
    state = np.zeros_like(param), np.zeros_like(param)
    group = _present(opt)
    hyper = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
    hyper["decoupled"] = group["decoupled_weight_decay"]
    return param, lambda step: numpy_adam(param, grad, *state, step=step, **hyper)


def _timed(fused: Step, unfused: Step) -> Seconds:
    """Medians over many steps, in turns, so that both see the same state of the machine."""
    times: dict[Step, list[float]] = {fused: [], unfused: []}
    for step in range(VALIDATED + 1, VALIDATED + TIMED + 1):
        for run, durations in times.items():
            start = perf_counter()
            run(step)
            durations.append(perf_counter() - start)
    return Seconds(median(times[fused]), median(times[unfused]))
