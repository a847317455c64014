"""Parts of several oracles."""

import math

import numpy as np


def decoupled(
    theta, update, lr, weight_decay, *, cautious_weight_decay, weight_decay_mode, peak_lr
):
    """Loshchilov and Hutter 2019, algorithm 2: the decay beside an update. Cautious: Chen et al.
    2026, equation 2. AdamC: Defazio 2025, algorithm 1. Independent: Loshchilov and Hutter 2019,
    algorithm 2, where a multiplier of the schedule alone precedes it."""
    rate = {"AdamC": lr**2 / peak_lr, "independent": lr / peak_lr} if peak_lr else {}
    rate = rate.get(weight_decay_mode, lr)
    decay = rate * weight_decay * theta
    return np.where(update * theta >= 0, decay, 0) if cautious_weight_decay else decay


def decay_options(cautious_weight_decay=False, weight_decay_mode="AdamW", peak_lr=None):
    return {
        "cautious_weight_decay": cautious_weight_decay,
        "weight_decay_mode": weight_decay_mode,
        "peak_lr": peak_lr,
    }


def cautiously(update, direction, gradient):
    """Liang et al. 2024, algorithm 1, with the share of at least 1e-3 of the authors' AdamW."""
    agree = direction * gradient > 0
    return np.where(agree, update, 0) / max(np.mean(agree), 1e-3) if agree.size else update


def l2(param, gradient, weight_decay, maximize):
    return np.asarray(gradient, np.float64) * (-1 if maximize else 1) + weight_decay * param


def signed(gradients, maximize):
    for t, gradient in enumerate(gradients, start=1):
        yield t, np.asarray(gradient, np.float64) * (-1 if maximize else 1)


def norm(values):
    return math.sqrt(np.sum(values**2))
