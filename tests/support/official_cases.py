"""Optimizers of other packages, and the keywords that make those of fastadam compute the same.

`python tests/support/official.py` runs the packages; tests/optimizers/test_official.py compares.
Each line of the tables in docs/coming-from.md that promises equal results has a case here; the ends
of the ranges of hyperparameters are in official_edges.py.
"""

from dataclasses import dataclass, field, replace
from typing import Any

Keywords = dict[str, Any]


@dataclass(frozen=True)
class Official:
    """An optimizer of another package, with the keywords for the same computation here.

    Attributes:
        ours: the class in fastadam.
        theirs: its module and name there; a keyword whose value is a dict is a part of its own.
        hyper: our keywords.
        keywords: their keywords.
        rates: how the learning rate changes, a name in `RATES`.
        apart: the largest difference of a parameter.
        named: hyperparameters by the name of a parameter, as for `fa.by_name`.
        shapes: the parameters.
        nonfinite: steps, counted from 0, with a NaN in the gradient.
    """

    ours: str
    theirs: str
    hyper: Keywords
    keywords: Keywords
    rates: str = "constant"
    apart: float = 1e-12  # roundings of 20 steps in float64
    named: Keywords = field(default_factory=dict)
    shapes: Keywords = field(default_factory=lambda: {"weight": (2, 3), "bias": (4,)})
    nonfinite: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """The name of the test."""
        flags = [f"{name}={value}" for name, value in self.hyper.items()]
        more = [self.rates] * (self.rates != "constant") + [f"{self.named}"] * bool(self.named)
        return f"{self.ours}-{self.theirs}({','.join(flags + more)})".replace(" ", "")


RATES = {  # the factor of the learning rate in a step, counted from 0
    "constant": lambda step: 1.0,
    "halved": lambda step: 1.0 if step < 10 else 0.5,
    "warmed up": lambda step: min(1.0, step / 5),  # from 0, as PyTorch's schedulers do
}
TABLE = {"mlp.weight": (6, 4)}
LR = {"lr": 0.05}
EPS = {"eps": 1e-3}
DECAY, NO_DECAY = {"weight_decay": 0.1}, {"weight_decay": 0.0}
DECOUPLED = {"decoupled_weight_decay": True}
MOMENTUM, NESTEROV = {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}
MAX = {"maximize": True}
CONVENTION = 1e-6  # fastadam follows PyTorch, and eps, or that of a norm, is in another place
FLOAT32 = 1e-6  # the package keeps a number in float32


Pair = tuple[Keywords, Keywords]


def cases(
    ours: str, theirs: str, *pairs: Pair, rate: str = "lr", each: tuple[str, ...] = (), **more: Any
) -> list[Official]:
    """Cases of one class: our keywords beside theirs, with the same learning rate.

    The last pair is taken again with each of the rates in `each`.
    """
    made = []
    for hyper, keywords in pairs:
        hyper = {**LR, **hyper}
        made.append(Official(ours, theirs, hyper, {rate: hyper["lr"], **keywords}, **more))
    return made + [replace(made[-1], rates=rates) for rates in each]


def in_keras(ours: str, theirs: str, *pairs: Pair, **more: Any) -> list[Official]:
    """Cases of Keras, the last also with a learning rate that is halved."""
    more = {"rate": "learning_rate", "each": ("halved",), **more}
    return cases(ours, f"keras.optimizers.{theirs}", *pairs, **more)


def in_optax(ours: str, theirs: str, *pairs: Pair, **more: Any) -> list[Official]:
    """The same for optax."""
    more = {"rate": "learning_rate", "each": ("halved",), **more}
    return cases(ours, f"optax.{theirs}", *pairs, **more)


def equal(ours: str, theirs: str, *each: Keywords, **more: Any) -> list[Official]:
    """Cases whose keywords are the same in both packages."""
    return cases(ours, theirs, *((one, one) for one in each), **more)


HAT = {"eps_mode": "hat", "eps": 1e-7}
TF = {"alpha": 0.9, "eps_in_sqrt": True}  # RMSprop of TensorFlow
VELOCITY = {**MOMENTUM, "lr_in_momentum": True}
STARTED = {"initial_accumulator_value": 0.1}
ONE = {"learning_rate": 0.05}
ONLY_WEIGHT = {"*bias": NO_DECAY}
KERAS = [
    *in_keras("Adam", "Adam", (HAT, {}), ({**HAT, "amsgrad": True}, {"amsgrad": True})),
    *in_keras("Adam", "Adam", ({**HAT, "betas": (0.5, 0.9)}, {"beta_1": 0.5, "beta_2": 0.9})),
    *in_keras("Adam", "Adam", ({**HAT, **EPS}, {"epsilon": 1e-3})),
    *in_keras("Adam", "Adam", ({**HAT, **DECAY, **DECOUPLED}, DECAY)),
    *in_keras("AdamW", "AdamW", ({**HAT, "weight_decay": 0.004}, {}), ({**HAT, **DECAY}, DECAY)),
    *in_keras("AdamW", "AdamW", ({**HAT, **DECAY}, DECAY), named=ONLY_WEIGHT),
    *in_keras("SGD", "SGD", ({}, {}), (VELOCITY, MOMENTUM)),
    *in_keras("SGD", "SGD", ({**VELOCITY, **NESTEROV}, NESTEROV)),
    *in_keras("SGD", "SGD", ({**VELOCITY, **DECAY, **DECOUPLED}, {**MOMENTUM, **DECAY})),
    *in_keras("RMSprop", "RMSprop", ({**TF, "eps": 1e-7}, {})),
    *in_keras(
        "RMSprop",
        "RMSprop",
        ({**TF, **EPS, **VELOCITY}, {"epsilon": 1e-3, **MOMENTUM}),
        (
            {**TF, **EPS, **VELOCITY, "centered": True, **DECAY, **DECOUPLED},
            {"epsilon": 1e-3, **MOMENTUM, "centered": True, **DECAY},
        ),
    ),
    *in_keras("Adagrad", "Adagrad", ({**STARTED, "eps": 1e-7, "eps_in_sqrt": True}, {})),
    *in_keras(
        "Adagrad",
        "Adagrad",
        (
            {"initial_accumulator_value": 0.5, **EPS, "eps_in_sqrt": True},
            {"initial_accumulator_value": 0.5, "epsilon": 1e-3},
        ),
    ),
    *in_keras("Adadelta", "Adadelta", ({"rho": 0.95, "eps": 1e-7}, {})),
    *in_keras("Adamax", "Adamax", ({"eps": 1e-7}, {}), apart=CONVENTION),
    *in_keras("NAdam", "Nadam", ({"eps": 1e-7, "momentum_decay": 1.0}, {})),
    *in_keras(
        "FTRL", "Ftrl", ({**STARTED, "beta": 0.0}, {}), ({**STARTED, "beta": 1.0}, {"beta": 1.0})
    ),
    *in_keras(
        "FTRL",
        "Ftrl",
        (
            {**STARTED, "beta": 0.0, "l1": 0.1, "l2": 0.4},
            {"l1_regularization_strength": 0.1, "l2_regularization_strength": 0.2},
        ),
    ),
    *in_keras("Lion", "Lion", ({}, {}), (DECAY, DECAY)),
    *in_keras("LAMB", "Lamb", ({**NO_DECAY, "eps": 1e-7}, {})),
    *in_keras("Adafactor", "Adafactor", ({}, {}), apart=CONVENTION),
    *in_keras("ScheduleFreeAdamW", "ScheduleFreeAdamW", ({}, {})),
    *in_keras(
        "Adam",
        "Adam",
        ({**HAT, "clip_norm": 1.0, "clip_norm_per": "tensor"}, {"clipnorm": 1.0}),
        ({**HAT, "clip_norm": 1.0}, {"global_clipnorm": 1.0}),
        apart=CONVENTION,
    ),
    *in_keras("Adam", "Adam", ({**HAT, "clip_value": 0.5}, {"clipvalue": 0.5})),
    *in_keras("Adam", "Adam", ({**HAT, "accumulate_steps": 4}, {"gradient_accumulation_steps": 4})),
]
OPTAX = [
    *in_optax("AdamW", "adamw", ({"weight_decay": 1e-4}, {}), (DECAY, DECAY)),
    *in_optax(
        "AdamW",
        "adamw",
        ({"betas": (0.5, 0.9), **EPS, **DECAY}, {"b1": 0.5, "b2": 0.9, **EPS, **DECAY}),
    ),
    *in_optax(
        "AdamW",
        "adamw",
        (DECAY, {**DECAY, "mask": {"weight": True, "bias": False}}),
        named=ONLY_WEIGHT,
    ),
    *in_optax("Adam", "adam", ({}, {})),
    *in_optax("SGD", "sgd", ({}, {}), (MOMENTUM, MOMENTUM), (NESTEROV, NESTEROV)),
    *in_optax("Lion", "lion", (NO_DECAY, NO_DECAY), ({"weight_decay": 1e-3}, {})),
    *in_optax("RAdam", "radam", ({"betas": (0.9, 0.6)}, {"b2": 0.6})),
    *in_optax("RAdam", "radam", ({}, {}), apart=CONVENTION),
    *in_optax("RMSprop", "rmsprop", ({"alpha": 0.9}, {"eps_in_sqrt": False}), ({**TF, **EPS}, EPS)),
    *in_optax(
        "RMSprop",
        "rmsprop",
        ({**TF, **EPS, **VELOCITY, "centered": True}, {**EPS, **MOMENTUM, "centered": True}),
    ),
    *in_optax("Adagrad", "adagrad", ({**STARTED, "eps": 1e-7, "eps_in_sqrt": True}, {})),
    *in_optax(
        "Adadelta", "adadelta", ({"rho": 0.9}, {}), ({"rho": 0.5, **DECAY}, {"rho": 0.5, **DECAY})
    ),
    *in_optax("Adamax", "adamax", ({}, {})),
    *in_optax("AdaBelief", "adabelief", ({}, {}), (EPS, {**EPS, "eps_root": 1e-3})),
    *in_optax("Yogi", "yogi", ({}, {})),
    *in_optax("LAMB", "lamb", (NO_DECAY, {}), (DECAY, DECAY)),
    *in_optax("LARS", "lars", ({"eps": 0.0}, {}), each=()),  # has lr in the buffer
    *in_optax("Signum", "sign_sgd", ({"momentum": 0.0}, {})),
    *in_optax("ADOPT", "contrib.adopt", ({}, {})),
    *in_optax("AdEMAMix", "contrib.ademamix", ({"alpha": 5.0, **DECAY}, DECAY)),
    *in_optax("ScheduleFreeAdamW", "contrib.schedule_free_adamw", ({}, {})),
    *in_optax("ScheduleFreeSGD", "contrib.schedule_free_sgd", ({}, {})),
    *in_optax(
        "Prodigy",
        "contrib.prodigy",
        ({"lr": 1.0, "d0": 1e-3, "bias_correction": True}, {"estim_lr0": 1e-3}),
    ),
    Official(
        "AdamW",
        "optax.chain",
        {**LR, "weight_decay": 1e-4, "clip_norm": 1.0},
        {"clip_by_global_norm": {"max_norm": 1.0}, "adamw": ONE},
        apart=CONVENTION,
    ),
    Official(
        "AdamW",
        "optax.chain",
        {**LR, "weight_decay": 1e-4, "clip_value": 0.5},
        {"clip": {"max_delta": 0.5}, "adamw": ONE},
    ),
    Official(
        "Adam",
        "optax.MultiSteps",
        {**LR, "accumulate_steps": 4},
        {"adam": ONE, "every_k_schedule": 4},
        apart=FLOAT32,
    ),
    Official(
        "Adam",
        "optax.apply_if_finite",
        {**LR, "skip_nonfinite": True},
        {"adam": ONE, "max_consecutive_errors": 4},
        nonfinite=(0, 7, 8),
    ),
    Official("Adam", "optax.adam", {**LR, "ema_decay": 0.9}, {**ONE, "average": 0.9}),
]
OPTIMI = {"betas": (0.9, 0.99), "eps": 1e-6}
INDEPENDENT = {"weight_decay": 1e-3, "weight_decay_mode": "independent"}
HALVED = {"each": ("halved",)}
OTHERS = [
    *cases("AdamW", "optimi.AdamW", ({**OPTIMI, **DECAY}, DECAY), **HALVED),
    *cases(
        "AdamW",
        "optimi.AdamW",
        ({**OPTIMI, **INDEPENDENT}, {"decouple_lr": True, "weight_decay": 1e-3}),
        (
            {**OPTIMI, **INDEPENDENT, "peak_lr": 0.1},
            {"decouple_lr": True, "weight_decay": 1e-3, "max_lr": 0.1},
        ),
        **HALVED,
    ),
    *cases(
        "SGD",
        "optimi.SGD",
        ({**MOMENTUM, **DECAY, **DECOUPLED}, {**MOMENTUM, **DECAY, "decouple_wd": True}),
        **HALVED,
    ),
    *cases("StableAdamW", "optimi.StableAdamW", ({"eps": 1e-6, **DECAY}, DECAY), **HALVED),
    *cases("SGD", "timm.optim.SGDW", ({**NESTEROV, **DECAY, **DECOUPLED}, {**NESTEROV, **DECAY})),
    *cases("Lion", "timm.optim.Lion", ({"cautious": True, **DECAY}, {"caution": True, **DECAY})),
    *cases(
        "AdamW",
        "timm.optim.AdamWLegacy",
        ({"cautious": True, **DECAY}, {"caution": True, **DECAY}),
        (
            {"weight_decay_mode": "AdamC", "peak_lr": 0.05, **DECAY},
            {"corrected_weight_decay": True, **DECAY},
        ),
        **HALVED,
    ),
    *equal("AdamW", "bitsandbytes.optim.Adam", DECAY, apart=FLOAT32),
    *equal("AdamW", "bitsandbytes.optim.AdamW", DECAY, apart=FLOAT32),
    *equal("Lion", "bitsandbytes.optim.Lion", DECAY, apart=FLOAT32),
    *equal("RMSprop", "bitsandbytes.optim.RMSprop", {}, apart=FLOAT32),
    *equal("Adagrad", "bitsandbytes.optim.Adagrad", {}, apart=FLOAT32),
    *equal("SGD", "bitsandbytes.optim.SGD", MOMENTUM, apart=FLOAT32),
    *cases(
        "AdEMAMix",
        "bitsandbytes.optim.AdEMAMix",
        ({"alpha": 5.0, **DECAY}, DECAY),
        apart=FLOAT32,
    ),
    *cases("AdamW", "torch.optim.AdamW", ({"ema_decay": 0.9}, {"average": 0.9})),
]
TABLES = [*KERAS, *OPTAX, *OTHERS]
