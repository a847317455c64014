"""Trials of a code for optimizer state: its errors, its drift, learning with it, and the largest
step after gradients of very different size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from codes_blocks import BLOCK, Code, bytes_of, replace
from threadpoolctl import threadpool_limits

import fastadam as fa
from fastadam.bench import digits

DECADES = 7


@dataclass(frozen=True)
class Score:
    """Result of one trial with one code."""

    code: str
    trial: str
    case: str
    value: float


Found = Iterator[tuple[str, str, float]]  # trial, case, value


class Effort(NamedTuple):
    """Size of the trials."""

    steps: int = 400
    epochs: int = 10
    seeds: int = 3
    elements: int = 4096
    draws: int = 100


QUICK = Effort(steps=10, epochs=1, seeds=1, elements=256, draws=3)


def memory(code: Code, effort: Effort) -> Found:
    """Bytes per value of an array of state."""
    yield "bytes", "state", bytes_of(code)


def errors(code: Code, effort: Effort) -> Found:
    """Relative errors by decade below the block's largest value, and the bias of the mean of
    many draws, for values with signs and without."""
    rng = np.random.default_rng(0)
    for kind, signs in (("m", (-1, 1)), ("v", (1, 1))):
        size = 10 ** -rng.uniform(0, DECADES, (128, BLOCK))
        size[:, 0] = 1
        values = (size * rng.choice(signs, size.shape)).astype(np.float32)
        coded = [decoded(code, values, step) for step in range(effort.draws)]
        error, bias = abs(coded[0] / values - 1), abs(np.mean(coded, axis=0) / values - 1)
        decade = np.floor(-np.log10(np.maximum(abs(values), 10.0**-DECADES * 1.0001)))
        for k in range(DECADES):
            chosen = decade == k
            yield f"error of {kind}", f"mean {k}", float(error[chosen].mean())
            yield f"error of {kind}", f"max {k}", float(error[chosen].max())
            yield f"error of {kind}", f"bias {k}", float(bias[chosen].mean())


def decoded(code: Code, values: Any, step: int) -> Any:
    """Values after encoding and decoding."""
    copy = values.copy()
    replace(code, copy, step)
    return copy


def drift(code: Code, effort: Effort) -> Found:
    """A second moment over four decades after 2000 steps, relative to float32's: the geometric mean
    and the worst factor either way. All gradients are zero, constant, or every second is zero."""
    rng = np.random.default_rng(0)
    start = (10 ** -rng.uniform(0, 4, (8, BLOCK))).astype(np.float32)
    other = start * (10 ** rng.uniform(-0.5, 0.5, start.shape)).astype(np.float32)
    cases = {
        "zero": 0 * start,
        "constant": other,
        "mixed": np.where(np.arange(BLOCK) % 2, start, 0),
    }
    beta2 = np.float32(0.999)
    for case, square in cases.items():
        exact, coded = start.copy(), start.copy()
        for step in range(1, 5 * effort.steps + 1):
            exact = beta2 * exact + (1 - beta2) * square
            coded = beta2 * coded + (1 - beta2) * square
            replace(code, coded, step)
        factor = np.log(np.maximum(coded / exact, 1e-9))
        yield "drift", f"{case} mean", float(np.exp(factor.mean()))
        yield "drift", f"{case} worst", float(np.exp(abs(factor).max()))


def kept(opt: fa.Optimizer, code: Code, step: int) -> None:
    """Encode and decode the state after a step."""
    for arrays in opt.state.values():
        for array in arrays:
            replace(code, array, step)


class Setting(NamedTuple):
    """An optimizer on the quadratic, with a learning rate and noise relative to the gradient."""

    optimizer: str
    lr: float
    decays: bool
    noise: float


ADAM = [Setting("Adam", *rest) for rest in product((0.01, 0.03, 0.1), (False, True), (0.1, 1))]
RATES = {"Lion": 0.01, "SGD": 1e-3, "RMSprop": 0.01, "Adagrad": 0.1}
SETTINGS = [
    *ADAM,
    *(Setting(n, r, *c) for n, r in RATES.items() for c in product((0, 1), (0.1, 1))),
]
OPTIONS: dict[str, dict[str, Any]] = {"SGD": {"momentum": 0.9}}


def quadratic(code: Code, effort: Effort) -> Found:
    """The mean of h x^2 / 2 and of x^2 over the last steps, h over four decades: in random order
    within the blocks, and ascending. The gradient is h (x + noise)."""
    for setting in SETTINGS:
        ends = descended(setting, code, effort)
        for (order, row), measure in product(enumerate(ends), (0, 1)):
            name = f"{setting.optimizer} {('random', 'sorted')[order]}"
            case = f"{setting.lr:g} {('constant', 'decaying')[setting.decays]} {setting.noise:g}"
            yield name, f"{case} {('loss', 'distance')[measure]}", float(row[measure])


def descended(setting: Setting, code: Code, effort: Effort) -> Any:
    """Loss and distance at the end, for each order, in the mean over the seeds."""
    steps, rng = effort.steps, np.random.default_rng(0)
    ascending = np.logspace(-2, 2, effort.elements).astype(np.float32)
    shuffled = rng.permuted(np.tile(ascending, (effort.seeds, 1)), axis=1)
    h = np.stack([shuffled, np.tile(ascending, (effort.seeds, 1))])
    x = rng.standard_normal(h.shape, np.float32)

    def lr(step: int) -> float:
        return setting.lr * (1 - setting.decays * (step - 1) / steps)

    opt = getattr(fa, setting.optimizer)(x, lr=lr, threads=1, **OPTIONS.get(setting.optimizer, {}))
    last = []
    for step in range(1, steps + 1):
        noise = np.float32(setting.noise) * rng.standard_normal(h.shape, np.float32)
        opt.step(h * (x + noise))
        kept(opt, code, step)
        if step > steps - 20:
            square = x.astype(float) ** 2
            last.append([(h * square / 2).mean(axis=(1, 2)), square.mean(axis=(1, 2))])
    return np.mean(last, axis=0).T


NETWORKS = {"Adam": (1e-3, 1e-2), "Lion": (1e-3,), "SGD": (0.1,)}


def training(code: Code, effort: Effort) -> Found:
    """The network of `fastadam demo`: training loss and validation accuracy after the last epoch.
    All state is coded, that of short arrays too."""
    data = digits.load()
    for name, rates in NETWORKS.items():
        for lr, seed in product(rates, range(effort.seeds)):
            epoch = trained(name, lr, seed, code, effort.epochs, data)
            yield f"digits {name}", f"{lr:g} {seed} loss", epoch.train.loss
            yield f"digits {name}", f"{lr:g} {seed} accuracy", epoch.valid.accuracy


def trained(name: str, lr: float, seed: int, code: Code, epochs: int, data: Any) -> digits.Epoch:
    """The last epoch of a run."""
    rng = np.random.default_rng(seed)
    flat = fa.flatten(digits.layers(rng))
    opt, step = getattr(fa, name)(flat, lr=lr, threads=1, **OPTIONS.get(name, {})), 0

    def after_batch() -> None:
        nonlocal step
        step += 1
        kept(opt, code, step)

    run = digits.train(opt, data, rng, epochs=epochs, batch=32, after_batch=after_batch)
    return [*run][-1]


def hazard(code: Code, effort: Effort) -> Found:
    """The largest step of Adam and of Adamax, in units of lr, in 50 steps with one huge gradient
    and 255 tiny ones, and 50 without gradients."""
    for rule, huge, decades in product((fa.Adam, fa.Adamax), (1e3, 1e6), range(1, 13)):
        rng, x, largest = np.random.default_rng(0), np.zeros(BLOCK, np.float32), 0.0
        opt = rule(x, lr=1.0)
        for step in range(1, 101):
            grads = (rng.standard_normal(BLOCK) * huge * 10.0**-decades).astype(np.float32)
            grads[0] = huge * rng.standard_normal()
            before = x.copy()
            opt.step(grads if step <= 50 else 0 * grads)
            kept(opt, code, step)
            largest = max(largest, float(abs(x - before).max()))
        yield "hazard", f"{rule.__name__} {huge:g} {huge * 10.0**-decades:g}", largest


TRIALS: tuple[Callable[[Code, Effort], Found], ...] = (
    memory,
    errors,
    drift,
    quadratic,
    training,
    hazard,
)


def tried(name: str, code: Code, effort: Effort) -> list[Score]:
    """All trials of a code. BLAS uses one thread: with several, the last bits would depend on how
    many there are."""
    with threadpool_limits(1), np.errstate(all="ignore"):  # some codes make optimizers diverge
        return [Score(name, *found) for trial in TRIALS for found in trial(code, effort)]
