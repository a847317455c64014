"""Optimizers at the ends of the ranges of their hyperparameters, beside the package they come from.

Betas, momentum, eps, weight decay and learning rate of 0, schedules that begin at 0, and what is
special in a first step. tests/optimizers/test_official.py compares.
"""

from official_cases import (
    CONVENTION,
    DECAY,
    DECOUPLED,
    EPS,
    FLOAT32,
    MAX,
    MOMENTUM,
    NESTEROV,
    NO_DECAY,
    TABLE,
    Official,
    cases,
    equal,
)

NO_BETA1, NO_BETA2 = {"betas": (0.0, 0.99)}, {"betas": (0.9, 0.0)}
NO_EPS = {"eps": 0.0}  # NaN where the second moment is 0, everywhere
NO_LR = {"lr": 0.0, **DECAY}
WARMED = {"each": ("warmed up",)}
MOMENTS = (NO_BETA1, NO_BETA2, NO_EPS, NO_LR)
MU = 1e-8  # torch keeps the product of mu in float32
TORCH = [
    *equal("Adam", "torch.optim.Adam", *MOMENTS, {"betas": (0.0, 0.0)}),
    *equal("Adam", "torch.optim.Adam", {"amsgrad": True, **NO_BETA1, **DECAY}),
    *equal("AdamW", "torch.optim.AdamW", *MOMENTS, {"betas": (0.0, 0.0)}),
    *equal("AdamW", "torch.optim.AdamW", {"amsgrad": True, **MAX, **NO_BETA2}, **WARMED),
    *equal("NAdam", "torch.optim.NAdam", *MOMENTS, apart=MU),
    *equal("NAdam", "torch.optim.NAdam", {"momentum_decay": 0.0, **DECAY, **MAX}, apart=MU),
    *equal("RAdam", "torch.optim.RAdam", *MOMENTS),
    *equal("RAdam", "torch.optim.RAdam", {"betas": (0.9, 0.5), **DECAY, **MAX}),
    *equal("Adamax", "torch.optim.Adamax", *MOMENTS, MAX),
    *equal("SGD", "torch.optim.SGD", {"momentum": 0.0}, {"momentum": 1.5}, {**NESTEROV, **MAX}),
    *equal("SGD", "torch.optim.SGD", {**MOMENTUM, "dampening": 1.0}, {**NESTEROV, **NO_LR}),
    *equal("SGD", "torch.optim.SGD", {**NESTEROV, **DECAY}, **WARMED),
    *equal("RMSprop", "torch.optim.RMSprop", {"alpha": 0.0}, NO_EPS, NO_LR),
    *equal("RMSprop", "torch.optim.RMSprop", {**MOMENTUM, **MAX, **DECAY}, **WARMED),
    *equal("Adagrad", "torch.optim.Adagrad", NO_EPS, {"lr_decay": 1.0}, NO_LR, MAX),
    *equal("Adadelta", "torch.optim.Adadelta", {"rho": 0.0}, NO_EPS, NO_LR),
    *equal("Rprop", "torch.optim.Rprop", {"lr": 0.0}, {"step_sizes": (0.0, 0.1), **MAX}),
    *equal("SparseAdam", "torch.optim.SparseAdam", NO_BETA1, MAX, shapes=TABLE, **WARMED),
    # torch adds g**2 - v to v, with the roundings of a v that is up to 1e6 times as large as g**2
    *equal("SparseAdam", "torch.optim.SparseAdam", NO_BETA2, shapes=TABLE, apart=1e-9),
    *equal("Adafactor", "torch.optim.Adafactor", {"d": 1.0, **DECAY}, {**NO_LR}),
    *equal("Adafactor", "torch.optim.Adafactor", {"beta2_decay": 0.0, **MAX}, {"eps": (0.0, 0.0)}),
]
DEFAULT_ALPHA = {"alpha": 2.0}
NO_CLIPPED_NORM = {"max_grad_norm": None}
ALWAYS = {"always_adapt": True}
CLIP = {"clip_exp": 0.333}
ADOPT = "timm.optim.Adopt"


def beside(hyper, *each):
    """Pairs of the same keywords, with some that only fastadam needs."""
    return [({**hyper, **one}, one) for one in each]


def named_otherwise(keywords, *each):
    """Pairs of the same keywords, with some that only the other package needs."""
    return [(one, {**keywords, **one}) for one in each]


PACKAGES = [
    *cases(
        "AdEMAMix",
        "pytorch_optimizer.AdEMAMix",
        *named_otherwise(
            DEFAULT_ALPHA,
            {"betas": (0.0, 0.99, 0.999)},
            {"betas": (0.9, 0.0, 0.999)},
            {"betas": (0.9, 0.99, 0.0)},
            {"alpha": 0.0},
            NO_EPS,
        ),
        *(
            ({"alpha_warmup": t, "beta3_warmup": t}, {**DEFAULT_ALPHA, "t_alpha_beta3": t})
            for t in (1, 10, 30)
        ),
        (DECAY, {**DEFAULT_ALPHA, **DECAY, "weight_decouple": True}),
        **WARMED,
    ),
    *cases(
        "Yogi",
        "pytorch_optimizer.Yogi",
        ({"initial_accumulator_value": 0.0}, {"initial_accumulator": 0.0}),
    ),
    *equal("Yogi", "pytorch_optimizer.Yogi", *MOMENTS, MAX, DECAY, **WARMED),
    *equal("AdaBelief", "pytorch_optimizer.AdaBelief", NO_BETA2, NO_EPS, NO_LR, MAX),
    # without beta1 the root is that of eps, 1e-8, which divides the roundings of 1e-16
    *equal("AdaBelief", "pytorch_optimizer.AdaBelief", NO_BETA1, apart=1e-8),
    *cases(
        "AdaBelief",
        "adabelief_pytorch.AdaBelief",
        *named_otherwise({"rectify": False}, {"amsgrad": True}, NO_LR, DECAY),
        ({"rectify": True, **DECAY}, DECAY),
        **WARMED,
    ),
    *cases(
        "FTRL",
        "pytorch_optimizer.FTRL",
        ({"beta": 0.0}, {"beta": 0.0}),
        ({"l1": 0.1}, {"beta": 1.0, "lambda_1": 0.1}),
        ({"l2": 0.5, **MAX}, {"beta": 1.0, "lambda_2": 0.5, **MAX}),
    ),
    *equal("Signum", "pytorch_optimizer.SignSGD", {"momentum": 0.0, **DECAY}, NO_LR, MAX),
    *equal("Signum", "pytorch_optimizer.SignSGD", DECAY, **WARMED),
    *equal("Grams", "pytorch_optimizer.Grams", *MOMENTS, MAX, DECAY, **WARMED),
    *equal(
        "Adan",
        "timm.optim.Adan",
        {"betas": (0.0, 0.92, 0.99)},
        {"betas": (0.98, 0.0, 0.99)},
        {"betas": (0.98, 0.92, 0.0)},
        NO_EPS,
        NO_LR,
        {"no_prox": True, **DECAY},
        DECAY,
        **WARMED,
    ),
    *cases("ADOPT", ADOPT, *beside(CLIP, NO_BETA1, NO_BETA2, NO_EPS, NO_LR, MAX, DECAY), **WARMED),
    *cases(
        "ADOPT",
        ADOPT,
        ({**DECOUPLED, **DECAY, **CLIP}, {"decoupled": True, **DECAY}),
        (
            {**DECOUPLED, "weight_decay_mode": "AdamC", "peak_lr": 0.05, **DECAY, **CLIP},
            {"decoupled": True, "corrected_weight_decay": True, **DECAY},
        ),
        **WARMED,
    ),
    *equal("ADOPT", ADOPT, {"clip_exp": 0.0}),
    # an element is divided by eps and then 1e6 large, and rounded so
    *equal("ADOPT", ADOPT, {"clip_exp": None}, apart=1e-9),
    *equal("LaProp", "timm.optim.LaProp", {}, NO_BETA1, NO_BETA2, NO_EPS, apart=FLOAT32, **WARMED),
    # timm decays the new parameter, 20 times 5e-6 of it
    *equal("LaProp", "timm.optim.LaProp", {"lr": 1e-3, "weight_decay": 5e-3}, apart=1e-4),
    *equal("StableAdamW", "pytorch_optimizer.StableAdamW", NO_BETA1, NO_BETA2, NO_LR, MAX),
    *equal("StableAdamW", "pytorch_optimizer.StableAdamW", DECAY, **WARMED),
    *cases(
        "MARS",
        "pytorch_optimizer.MARS",
        *named_otherwise({"optimize_1d": True}, {"gamma": 0.0}, NO_BETA1, NO_BETA2, DECAY),
        apart=CONVENTION,
        **WARMED,
    ),
    *cases(
        "MARS",
        "timm.optim.Mars",
        ({"betas": (0.9, 0.99), "gamma": 0.0}, {"gamma": 0.0, "optimize_1d": True}),
    ),
    *cases(
        "MARS",
        "timm.optim.Mars",
        ({"betas": (0.9, 0.99), "variance_reduction": False, **DECAY}, DECAY),
        shapes={"bias": (4,)},
    ),
    *cases(
        "LAMB",
        "timm.optim.Lamb",
        *named_otherwise(NO_CLIPPED_NORM, NO_BETA1, NO_BETA2, NO_LR, {"bias_correction": False}),
        ({"trust_clip": True}, {**NO_CLIPPED_NORM, "trust_clip": True}),
        ({"adapt": False, **NO_DECAY}, {**NO_CLIPPED_NORM, **NO_DECAY}),
        (NO_DECAY, {**NO_CLIPPED_NORM, **ALWAYS, **NO_DECAY}),
        (DECAY, {**NO_CLIPPED_NORM, **DECAY}),
        **WARMED,
    ),
    *cases("LAMB", "timm.optim.Lamb", ({"clip_norm": 1.0}, {}), apart=CONVENTION),
    *cases(
        "LARS",
        "timm.optim.Lars",
        ({"momentum": 0.0}, ALWAYS),
        ({"adapt": False, **MOMENTUM}, MOMENTUM),
        ({"lr": 2.0, "trust_clip": True, **DECAY}, {"trust_clip": True, **MOMENTUM, **DECAY}),
        *named_otherwise({**ALWAYS, **MOMENTUM}, NO_EPS, NO_LR),
        ({"lr": 0.5, **NESTEROV, **DECAY}, {**NESTEROV, **DECAY}),
        **WARMED,
    ),
    *equal("Lion", "timm.optim.Lion", NO_BETA1, NO_BETA2, NO_LR, MAX, DECAY, **WARMED),
    *equal(
        "ScheduleFreeAdamW",
        "schedulefree.AdamWScheduleFree",
        {"warmup_steps": 1},
        {"warmup_steps": 5, "weight_lr_power": 0.0},
        NO_BETA2,
        NO_EPS,
        NO_LR,
        {"r": 1.0, **DECAY},
        **WARMED,
    ),
    *equal(
        "ScheduleFreeSGD",
        "schedulefree.SGDScheduleFree",
        {"warmup_steps": 1},
        {"warmup_steps": 5, "weight_lr_power": 0.0},
        {"momentum": 0.1},
        NO_LR,
        {"r": 1.0, **DECAY},
        **WARMED,
    ),
]
D0 = {"lr": 1.0, "d0": 1e-3}
BOTH_RATES = {"each": ("halved", "warmed up")}
PRODIGY = [
    *equal("Prodigy", "prodigyopt.Prodigy", {**D0, **NO_BETA2}, {**D0, "d_coef": 2.0}),
    *equal("Prodigy", "prodigyopt.Prodigy", {**D0, "growth_rate": 1.02, **EPS}, **BOTH_RATES),
    *equal("Prodigy", "prodigyopt.Prodigy", {**D0, "safeguard_warmup": True}, **BOTH_RATES),
    *equal("Prodigy", "prodigyopt.Prodigy", {**D0, **DECAY}, **BOTH_RATES),
    *cases(
        "Prodigy",
        "prodigyopt.Prodigy",
        ({**D0, "bias_correction": True}, {**D0, "use_bias_correction": True}),
        (
            {**D0, **DECAY, "decoupled_weight_decay": False},
            {**D0, **DECAY, "decouple": False},
        ),
        **BOTH_RATES,
    ),
]
MINI_CLASS = "adam_mini.Adam_mini"
MINI = {"dim": 4, "n_heads": 2, "verbose": False}
ROWS = [
    *cases(
        "AdamMini",
        MINI_CLASS,
        *named_otherwise(MINI, NO_BETA1, NO_BETA2, NO_LR, DECAY),
        shapes=TABLE,
        **WARMED,
    ),
    *cases("AdamMini", MINI_CLASS, ({"blocks": 2}, MINI), shapes={"q_proj.weight": (4, 4)}),
    *cases("AdamMini", MINI_CLASS, ({"blocks": 1}, MINI), shapes={"unknown.weight": (4, 4)}),
    *cases("AdamMini", MINI_CLASS, ({}, MINI), shapes={"norm.weight": (4,)}),
    *cases("AdamW", MINI_CLASS, (NO_DECAY, MINI), shapes={"mlp.bias": (4,)}),
    *cases(
        "RowwiseAdagrad",
        "fbgemm_gpu.EXACT_ROWWISE_ADAGRAD",
        ({}, {"eps": 1e-8}),
        rate="learning_rate",
        apart=FLOAT32,
        shapes=TABLE,
    ),
]
EDGES: list[Official] = [*TORCH, *PACKAGES, *PRODIGY, *ROWS]
