"""The table of optimizers: a row for each, and a case for each of its variants.

Every contract in test_optimizers.py is run for every case. A new optimizer adds a row.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import oracles

import fastadam as fa
from fastadam.kernels.formats import Formats


@dataclass(frozen=True)
class Case:
    """One optimizer with some hyperparameters.

    Attributes:
        torch: its class in torch.optim, None if there is none.
        torch_hyper: the keywords there; None if torch has no such variant.
        bad: hyperparameters that must be refused.
        quick: hyperparameters with which a small problem converges in 300 steps.
    """

    optimizer: type[fa.Optimizer]
    oracle: Callable[..., Any]
    hyper: dict[str, Any]
    torch: str | None
    bad: tuple[dict[str, Any], ...]
    quick: dict[str, Any]
    torch_hyper: dict[str, Any] | None = field(default_factory=dict)

    @property
    def id(self) -> str:
        flags = ",".join(f"{k}={v}" for k, v in self.hyper.items())
        return f"{self.optimizer.__name__}({flags})"


def row(
    optimizer: type[fa.Optimizer],
    oracle: Callable[..., Any],
    *variants: dict[str, Any],
    torch: str | None = None,
    not_in_torch: tuple[str, ...] = (),
    bad: tuple[dict[str, Any], ...] = (),
    quick: dict[str, Any] | None = None,
) -> list[Case]:
    """A case for the defaults and for each variant."""
    common = ({"lr": -1.0}, {"lr": float("nan")}, {"lr": "fast"}, {"unknown": 1})
    return [
        Case(
            optimizer,
            oracle,
            hyper,
            torch,
            (*common, *bad),
            quick or {"lr": 0.05},
            None if torch is None or any(name in hyper for name in not_in_torch) else hyper,
        )
        for hyper in ({}, *variants)
    ]


ADAM_VARIANTS = (
    {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3},
    {"weight_decay": 0.1},
    {"amsgrad": True},
    {"maximize": True},
    {"amsgrad": True, "maximize": True, "weight_decay": 0.1},
    {"betas": (0.0, 0.0)},
    {"bias_correction": False},
    {"eps_mode": "hat", "eps": 1e-7},
    {"l1": 0.1, "weight_decay": 0.1, "maximize": True},
    {"cautious": True, "weight_decay": 0.1, "amsgrad": True},
)
ADAM_BAD = (
    {"eps": -1e-8},
    {"eps": float("nan")},
    {"weight_decay": -0.1},
    {"weight_decay": float("inf")},
    {"betas": (1.0, 0.999)},
    {"betas": (0.9, -0.1)},
    {"betas": (0.9, float("nan"))},
    {"betas": 0.9},
    {"betas": (0.9, 0.99, 0.999)},
    {"amsgrad": 2},
    {"maximize": "yes"},
    {"eps_mode": "keras"},
    {"l1": -0.1},
    {"bias_correction": None},
)
ONLY_HERE = (
    "cautious",
    "bias_correction",
    "eps_mode",
    "l1",
    "cautious_weight_decay",
    "weight_decay_mode",
)
ADAMC = {"weight_decay_mode": "AdamC", "peak_lr": 0.2, "weight_decay": 0.1}
CAUTIOUS = {"cautious_weight_decay": True, **ADAMC}
DECAY_BAD = (
    {"cautious_weight_decay": "yes"},
    {"weight_decay_mode": "AdamZ"},
    {"weight_decay_mode": "AdamC", "peak_lr": 0.0},
    {"peak_lr": -1.0},
    {"weight_decay": -1.0},
)

CASES = [
    *row(
        fa.Adam,
        oracles.adam,
        *ADAM_VARIANTS,
        torch="Adam",
        not_in_torch=ONLY_HERE,
        bad=(*ADAM_BAD, {"cautious_weight_decay": True}, {"weight_decay_mode": "AdamC"}),
    ),
    *row(
        fa.AdamW,
        oracles.adamw,
        *ADAM_VARIANTS,
        CAUTIOUS,
        {"weight_decay_mode": "independent", "peak_lr": 0.2, "weight_decay": 0.01},
        torch="AdamW",
        not_in_torch=ONLY_HERE,
        bad=(*ADAM_BAD, *DECAY_BAD),
    ),
]
CASES += [
    *row(
        fa.NAdam,
        oracles.nadam,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "momentum_decay": 0.1},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
        {"decoupled_weight_decay": True, **CAUTIOUS},
        torch="NAdam",
        not_in_torch=ONLY_HERE,
        bad=({"momentum_decay": -1.0}, {"betas": (1.0, 0.9)}, {"eps": -1.0}),
    ),
    *row(
        fa.RAdam,
        oracles.radam,
        {"lr": 0.05, "betas": (0.5, 0.6), "eps": 1e-3},
        {"weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
        {"decoupled_weight_decay": True, **CAUTIOUS},
        torch="RAdam",
        not_in_torch=ONLY_HERE,
        bad=({"weight_decay": -1.0}, {"betas": (1.0, 0.9)}, {"eps": -1.0}),
    ),
    *row(
        fa.Adamax,
        oracles.adamax,
        {"lr": 0.05, "betas": (0.5, 0.6), "eps": 1e-3},
        {"weight_decay": 0.1, "maximize": True},
        torch="Adamax",
        bad=({"weight_decay": -1.0}, {"betas": (1.0, 0.9)}, {"eps": -1.0}),
    ),
    *row(
        fa.SGD,
        oracles.sgd,
        {"lr": 0.05, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.5, "maximize": True},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"l1": 0.1},
        {"l1": 0.1, "momentum": 0.9, "weight_decay": 0.1, "maximize": True},
        {"momentum": 0.9, "nesterov": True, "lr_in_momentum": True, "decoupled_weight_decay": True}
        | CAUTIOUS,
        torch="SGD",
        not_in_torch=(*ONLY_HERE, "lr_in_momentum", "decoupled_weight_decay"),
        bad=(
            {"lr_in_momentum": True, "dampening": 0.5},
            {"l1": -1.0},
            {"momentum": -1.0},
            {"nesterov": True},
            {"weight_decay": -1.0},
        ),
    ),
    *row(
        fa.RMSprop,
        oracles.rmsprop,
        {"lr": 0.05, "alpha": 0.5, "eps": 1e-3},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"centered": True, "eps": 1e-3},
        {"centered": True, "eps": 1e-3, "momentum": 0.9, "maximize": True},
        {"eps_in_sqrt": True, "lr_in_momentum": True, "momentum": 0.9, "eps": 1e-3}
        | {"decoupled_weight_decay": True, **CAUTIOUS},
        torch="RMSprop",
        not_in_torch=(*ONLY_HERE, "eps_in_sqrt"),
        bad=({"alpha": -1.0}, {"momentum": -1.0}, {"eps": -1.0}, {"centered": 2}),
    ),
    *row(
        fa.Adagrad,
        oracles.adagrad,
        {"lr": 0.05, "lr_decay": 0.1, "eps": 1e-3},
        {"initial_accumulator_value": 0.5, "weight_decay": 0.1, "maximize": True},
        {"initial_accumulator_value": 0.1, "eps": 1e-3, "eps_in_sqrt": True},
        torch="Adagrad",
        not_in_torch=("eps_in_sqrt",),
        quick={"lr": 0.5},
        bad=({"lr_decay": -1.0}, {"initial_accumulator_value": -1.0}, {"eps": -1.0}),
    ),
    *row(
        fa.Adadelta,
        oracles.adadelta,
        {"lr": 0.5, "rho": 0.5, "eps": 1e-3},
        {"weight_decay": 0.1, "maximize": True},
        torch="Adadelta",
        bad=({"rho": 1.5}, {"rho": -0.1}, {"eps": -1.0}),
        quick={"eps": 1e-2},
    ),
    *row(
        fa.Lion,
        oracles.lion,
        {"lr": 0.05, "betas": (0.5, 0.6)},
        {"weight_decay": 0.1, "maximize": True},
        CAUTIOUS,
        {"cautious": True, "weight_decay": 0.1},
        bad=({"betas": (1.0, 0.9)}, {"cautious": 2}, *DECAY_BAD),
    ),
]
SEVERAL = len(CASES)
CASES += [  # a variant has several flags at once, since each combination is a kernel
    *row(
        fa.AdEMAMix,
        oracles.ademamix,
        {"betas": (0.5, 0.9, 0.99), "alpha": 5.0, "beta3_warmup": 7, "alpha_warmup": 20},
        {"betas": (0.0, 0.9, 0.99), "beta3_warmup": 20, "maximize": True, **CAUTIOUS},
        bad=({"betas": (0.9, 0.9)}, {"alpha_warmup": -1.0}, {"beta3_warmup": "x"}, *DECAY_BAD),
    ),
    *row(
        fa.ADOPT,
        oracles.adopt,
        {"lr": 0.05, "betas": (0.5, 0.9), "clip_exp": 0.333, "weight_decay": 0.1},
        {"decoupled_weight_decay": True, "clip_exp": None, "maximize": True, **CAUTIOUS},
        bad=({"clip_exp": -1.0}, {"cautious_weight_decay": True}, {"eps": -1.0}, *DECAY_BAD),
    ),
    *row(
        fa.Adan,
        oracles.adan,
        {"lr": 0.05, "betas": (0.9, 0.8, 0.7), "weight_decay": 0.1},
        {"no_prox": True, "maximize": True, **CAUTIOUS},
        bad=({"betas": (0.9, 0.9)}, {"cautious_weight_decay": True}, *DECAY_BAD),
    ),
    *row(
        fa.Yogi,
        oracles.yogi,
        {"bias_correction": False, "initial_accumulator_value": 0.5},
        {"maximize": True, **CAUTIOUS},
        bad=({"initial_accumulator_value": -1.0}, *DECAY_BAD),
    ),
    *row(
        fa.AdaBelief,
        oracles.adabelief,
        {"lr": 0.05, "betas": (0.5, 0.6), "eps": 1e-8, "rectify": True},
        {"amsgrad": True, "maximize": True, **CAUTIOUS},
        bad=({"rectify": 2}, *DECAY_BAD),
    ),
    *row(
        fa.FTRL,
        oracles.ftrl,
        {"lr": 0.5, "beta": 0.0, "initial_accumulator_value": 0.1, "l2": 0.1},
        {"l1": 0.2, "maximize": True},
        bad=({"lr": 0.0}, {"beta": -1.0}, {"l1": -1.0}, {"l2": -1.0}),
        quick={"lr": 1.0},
    ),
    *row(
        fa.Signum,
        oracles.signum,
        {"momentum": 0.0, "weight_decay": 0.1},
        {"maximize": True, **CAUTIOUS},
        bad=({"momentum": 1.0}, *DECAY_BAD),
    ),
    *row(
        fa.Rprop,
        oracles.rprop,
        {"lr": 0.05, "etas": (0.3, 3.0), "step_sizes": (0.01, 0.5), "maximize": True},
        torch="Rprop",
        bad=({"etas": (1.2, 0.5)}, {"step_sizes": (1.0, 0.5)}, {"etas": 0.5}),
    ),
    *row(
        fa.LaProp,
        oracles.laprop,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-8},
        {"maximize": True, **CAUTIOUS},
        bad=DECAY_BAD,
    ),
    *row(
        fa.Grams,
        oracles.grams,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3},
        {"maximize": True, **CAUTIOUS},
        bad=DECAY_BAD,
    ),
    *row(
        fa.LAMB,
        oracles.lamb,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "trust_clip": True, "maximize": True},
        {"adapt": False, "bias_correction": False},
        bad=({"betas": (1.0, 0.9)}, {"eps": -1.0}, {"weight_decay": -1.0}, {"adapt": 2}),
    ),
    *row(
        fa.LARS,
        oracles.lars,
        {"lr": 0.5, "weight_decay": 0.1, "nesterov": True, "trust_clip": True, "maximize": True},
        {"momentum": 0.0, "trust_coefficient": 0.1, "eps": 0.1},
        {"adapt": False, "weight_decay": 0.1, "lr": 0.01},
        bad=({"momentum": -1.0}, {"nesterov": True, "momentum": 0.0}, {"trust_coefficient": -1.0}),
        quick={"lr": 1.0, "trust_coefficient": 0.02},
    ),
    *row(
        fa.StableAdamW,
        oracles.stableadamw,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "maximize": True, **CAUTIOUS},
        bad=({"betas": (1.0, 0.9)}, {"eps": -1.0}, *DECAY_BAD),
    ),
    *row(
        fa.Prodigy,
        oracles.prodigy,
        {"d0": 1e-3, "betas": (0.5, 0.9), "eps": 1e-3, "bias_correction": True, "d_coef": 2.0}
        | {"growth_rate": 1.5, "maximize": True, **CAUTIOUS},
        {"weight_decay": 0.1, "decoupled_weight_decay": False, "safeguard_warmup": True, "lr": 0.5},
        bad=({"betas": (1.0, 0.9)}, {"d0": 0.0}, {"growth_rate": -1.0}, *DECAY_BAD),
        quick={"lr": 1.0},
    ),
    *row(
        fa.MARS,
        oracles.mars,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "gamma": 0.5, "maximize": True, **CAUTIOUS},
        {"variance_reduction": False},
        bad=({"betas": (1.0, 0.9)}, {"eps": -1.0}, *DECAY_BAD),
    ),
    *row(
        fa.ScheduleFreeAdamW,
        oracles.schedulefreeadamw,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "warmup_steps": 7, "r": 0.5},
        {"maximize": True, **CAUTIOUS},
        bad=({"betas": (0.0, 0.9)}, {"warmup_steps": -1}, {"r": -1.0}, *DECAY_BAD),
    ),
    *row(
        fa.ScheduleFreeSGD,
        oracles.schedulefreesgd,
        {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.1, "warmup_steps": 7, "maximize": True},
        bad=({"momentum": 0.0}, {"momentum": 1.0}, {"weight_lr_power": -1.0}),
    ),
    *row(
        fa.RowwiseAdagrad,
        oracles.rowwiseadagrad,
        {"lr": 0.05, "lr_decay": 0.1, "eps": 1e-3, "weight_decay": 0.1},
        {"initial_accumulator_value": 0.5, "weight_decay": 0.1, "decoupled_weight_decay": True}
        | {"maximize": True},
        bad=({"lr_decay": -1.0}, {"initial_accumulator_value": -1.0}, {"eps": -1.0}),
        quick={"lr": 0.5},
    ),
    *row(
        fa.Adafactor,
        oracles.adafactor,
        {"lr": 0.05, "beta2_decay": -0.5, "eps": (1e-6, 1e-2), "d": 1.5, "weight_decay": 0.1},
        {"lr": 0.05, "maximize": True, "weight_decay": 0.1},
        torch="Adafactor",
        bad=({"beta2_decay": 0.1}, {"eps": (-1.0, 0.1)}, {"eps": (None, None)}, {"d": 0.5}),
    ),
    *row(
        fa.AdamMini,
        oracles.adammini,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "maximize": True, **CAUTIOUS},
        bad=({"betas": (1.0, 0.9)}, {"eps": -1.0}, {"blocks": -1}, {"blocks": 1.5}, *DECAY_BAD),
    ),
    *row(
        fa.SparseAdam,  # that of torch refuses gradients of all elements
        oracles.sparseadam,
        {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "maximize": True},
        bad=({"betas": (1.0, 0.9)}, {"eps": -1.0}),
    ),
]
EVERY = [case for case in CASES if not case.hyper]  # each optimizer, with its defaults
DEFAULTS = [case for case in CASES[:SEVERAL] if not case.hyper]  # enough for any option and format
SHELF = [case for case in EVERY if case not in DEFAULTS]
SUMMED = [case for case in EVERY if case.optimizer.rule.over in ("tensor", "all")]
BY_ROW = [case for case in EVERY if case.optimizer.rule.over == "row"]
REPRESENTATIVES = (fa.AdamW, fa.SGD, fa.LAMB, fa.RowwiseAdagrad)  # of each kind of kernel
DOUBLE = [case for case in EVERY if case.optimizer in REPRESENTATIVES]  # also compiled in float64
TWO = [case for case in DEFAULTS if case.optimizer in REPRESENTATIVES]  # with each of the options


def flags_of(case: Case) -> set[str]:
    """The hyperparameters of a case that choose another kernel, each of them alone."""
    author, defaults = case.optimizer.without_arrays(), case.optimizer.defaults
    plain = author.variant(defaults)
    return {
        name
        for name, value in case.hyper.items()
        if author.variant({**defaults, name: value}) is not plain
    }


def with_each_flag_twice(cases: list[Case]) -> list[Case]:
    """The defaults of every optimizer, and of the variants those with most flags, until each flag
    is that of two optimizers."""
    chosen, seen = [case for case in cases if not case.hyper], Counter[str]()
    for case in sorted(cases, key=lambda case: -len(flags_of(case))):
        new = [name for name in flags_of(case) if seen[name] < 2]
        if new:
            seen.update(flags_of(case))
            chosen.append(case)
    return [case for case in cases if case in chosen]


COMPILED = with_each_flag_twice(CASES)  # others run in plain Python, with the same bits


def gradients(shape: Any, steps: int, dtype: Any = np.float64, seed: int = 0) -> list[Any]:
    """Gradients over six decades, some exactly zero."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-4, 2, shape)
    some = rng.random((steps, *np.shape(scale))) > 0.1
    noise = rng.standard_normal((steps, *np.shape(scale)))
    return [np.asarray(step, dtype) for step in noise * scale * some]


def parameters(shape: Any, dtype: Any = np.float64, seed: int = 1) -> Any:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


HALF, SINGLE = "bfloat16", "float32"
FORMATS = {  # in which parameters, gradients and state may be kept
    "bfloat16": Formats(HALF, HALF),
    "bfloat16, rounded": Formats(HALF, HALF, rounding="stochastic"),
    "bfloat16, single gradients": Formats(HALF, SINGLE),
    "float16": Formats("float16", "float16"),
    "float16, rounded": Formats("float16", "float16", rounding="stochastic"),
    "half gradients": Formats(SINGLE, HALF),
    "float16 gradients": Formats(SINGLE, "float16"),
    "single gradients": Formats("float64", SINGLE),
    "double, half gradients": Formats("float64", HALF),
    "bfloat16 state": Formats(SINGLE, SINGLE, HALF),
    "int8 state": Formats(SINGLE, SINGLE, "int8"),
    "double, int8 state": Formats("float64", "float64", "int8"),
    "double, single state": Formats("float64", "float64", SINGLE),
    "kahan": Formats(HALF, HALF, compensation="kahan"),
    "split16": Formats(HALF, HALF, compensation="split16"),
    "split8, int8": Formats(HALF, HALF, "int8", "split8"),
    "split8, int8, rounded": Formats(HALF, HALF, "int8", "split8", "stochastic"),
}
