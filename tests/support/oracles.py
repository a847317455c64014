"""The oracles: each optimizer in float64 NumPy, written from its paper.

Nothing here is imported from fastadam. An oracle takes the parameter, its gradients step by step
and the hyperparameters by name, and returns the last parameter and the last state by name.
"""

import math

import numpy as np
from oracle_parts import cautiously, decay_options, decoupled, signed
from sum_oracles import *  # noqa: F403
from torch_oracles import *  # noqa: F403


def lion(
    param,
    grads,
    *,
    lr=1e-4,
    betas=(0.9, 0.99),
    weight_decay=0.0,
    maximize=False,
    cautious=False,
    **decay_mode,
):
    """Chen et al. 2023, algorithm 2."""
    theta, m = np.asarray(param, np.float64), np.zeros_like(param, np.float64)
    options = decay_options(**decay_mode)
    for gradient in grads:
        g = np.asarray(gradient, np.float64) * (-1 if maximize else 1)
        c = betas[0] * m + (1 - betas[0]) * g
        update = lr * np.sign(c)
        if cautious:
            update = cautiously(update, c, g)
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
        m = betas[1] * m + (1 - betas[1]) * g
    return theta, {"exp_avg": m}


def ademamix(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.999, 0.9999),
    alpha=2.0,
    beta3_warmup=None,
    alpha_warmup=None,
    eps=1e-8,
    weight_decay=0.0,
    maximize=False,
    **decay_mode,
):
    """Pagliardini et al. 2025, algorithm 1, with the schedules of their equations in section 3."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    fast, slow, v = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2, last = betas
    for t, g in signed(grads, maximize):
        a = alpha if alpha_warmup is None else alpha * min(t / alpha_warmup, 1)
        beta3 = last
        if beta3_warmup is not None and beta1 == 0:  # the half-life of beta 0 is 0, so f is -1
            share = t / beta3_warmup
            life = (1 - share) * -1 + share * (math.log(0.5) / math.log(last) - 1)
            beta3 = min(0.5 ** (1 / (life + 1)), last)
        elif beta3_warmup is not None:
            one, other, share = math.log(beta1), math.log(last), t / beta3_warmup
            beta3 = min(math.exp(one * other / ((1 - share) * other + share * one)), last)
            beta3 = last if share >= 1 else beta3
        fast = beta1 * fast + (1 - beta1) * g
        slow = beta3 * slow + (1 - beta3) * g
        v = beta2 * v + (1 - beta2) * g**2
        root = np.sqrt(v / (1 - beta2**t)) + eps
        update = lr * (fast / (1 - beta1**t) + a * slow) / root
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
    state = {"exp_avg_slow": slow, "exp_avg_sq": v}
    return theta, state | ({"exp_avg_fast": fast} if beta1 else {})


def adopt(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.9999),
    eps=1e-6,
    clip_exp=0.25,
    weight_decay=0.0,
    decoupled_weight_decay=False,
    maximize=False,
    **decay_mode,
):
    """Taniguchi et al. 2024, algorithm 2, with the bound of its section 4 on the quotient."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in signed(grads, maximize):
        g = g if decoupled_weight_decay else g + weight_decay * theta
        if t == 1:
            v = g**2
            continue
        n = g / np.maximum(np.sqrt(v), eps)
        if clip_exp is not None:
            n = np.clip(n, -((t - 1) ** clip_exp), (t - 1) ** clip_exp)
        m = betas[0] * m + (1 - betas[0]) * n
        v = betas[1] * v + (1 - betas[1]) * g**2
        update = lr * m
        if decoupled_weight_decay:
            update = update + decoupled(theta, update, lr, weight_decay, **options)
        theta = theta - update
    return theta, {"exp_avg": m, "exp_avg_sq": v}


def adan(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.98, 0.92, 0.99),
    eps=1e-8,
    weight_decay=0.0,
    no_prox=False,
    maximize=False,
    **decay_mode,
):
    """Xie et al. 2024, algorithm 1, with the complements of its betas and bias corrections."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m, n, v, before = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta), None
    beta1, beta2, beta3 = betas
    for t, g in signed(grads, maximize):
        difference = np.zeros_like(g) if before is None else g - before
        m = beta1 * m + (1 - beta1) * g
        n = beta2 * n + (1 - beta2) * difference
        v = beta3 * v + (1 - beta3) * (g + beta2 * difference) ** 2
        root = np.sqrt(v / (1 - beta3**t)) + eps
        update = lr * (m / (1 - beta1**t) + beta2 * n / (1 - beta2**t)) / root
        decay = decoupled(theta, update, lr, weight_decay, **options)
        if no_prox:
            theta = theta - update - decay
        else:
            rate = lr**2 / options["peak_lr"] if options["weight_decay_mode"] == "AdamC" else lr
            theta = (theta - update) / (1 + rate * weight_decay)
        before = g
    return theta, {"exp_avg": m, "exp_avg_sq": v, "exp_avg_diff": n, "neg_pre_grad": -before}


def _averaged(theta, z, update, t, step_size, share):
    """Defazio et al. 2024, algorithm 1, in the form of section 4.7: theta is y."""
    lr, beta = step_size
    x = theta + (1 - 1 / beta) * (z - theta)
    z = z - lr * update
    x = (1 - share) * x + share * z
    return (1 - beta) * z + beta * x, z


def _shares(steps, lr, warmup_steps, r, weight_lr_power):
    """For each step its number, learning rate and share in the average."""
    total, largest = 0.0, 0.0
    for t in range(1, steps + 1):
        rate = lr * min(1.0, t / warmup_steps) if warmup_steps else lr
        largest = max(largest, rate)
        weight = t**r * largest**weight_lr_power
        total += weight
        yield t, rate, weight / total if total else 0.0


def schedulefreeadamw(
    param,
    grads,
    *,
    lr=2.5e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    warmup_steps=0,
    r=0.0,
    weight_lr_power=2.0,
    maximize=False,
    cautious_weight_decay=False,
    weight_decay_mode="AdamW",
    peak_lr=None,
):
    """Defazio et al. 2024, algorithm 1."""
    theta = np.asarray(param, np.float64)
    z, v = theta, np.zeros_like(theta)
    shares = _shares(len(grads), lr, warmup_steps, r, weight_lr_power)
    for (t, g), (_, rate, share) in zip(signed(grads, maximize), shares, strict=True):
        v = betas[1] * v + (1 - betas[1]) * g**2
        update = g / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        decay = weight_decay * (rate / peak_lr if weight_decay_mode == "AdamC" else 1)
        agree = update * theta >= 0 if cautious_weight_decay else True
        update = update + np.where(agree, decay * theta, 0)
        theta, z = _averaged(theta, z, update, t, (rate, betas[0]), share)
    return theta, {"z": z, "exp_avg_sq": v}


def schedulefreesgd(
    param,
    grads,
    *,
    lr=1.0,
    momentum=0.9,
    weight_decay=0.0,
    warmup_steps=0,
    r=0.0,
    weight_lr_power=2.0,
    maximize=False,
):
    """Defazio et al. 2024, algorithm 1, with the gradient as the update."""
    theta = np.asarray(param, np.float64)
    z = theta
    shares = _shares(len(grads), lr, warmup_steps, r, weight_lr_power)
    for (t, g), (_, rate, share) in zip(signed(grads, maximize), shares, strict=True):
        theta, z = _averaged(theta, z, g + weight_decay * theta, t, (rate, momentum), share)
    return theta, {"z": z}


def yogi(
    param,
    grads,
    *,
    lr=1e-2,
    betas=(0.9, 0.999),
    eps=1e-3,
    initial_accumulator_value=1e-6,
    weight_decay=0.0,
    bias_correction=True,
    maximize=False,
    **decay_mode,
):
    """Zaheer et al. 2018, algorithm 2; the initial values and corrections are those of optax."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m = np.full_like(theta, initial_accumulator_value)
    v = np.full_like(theta, initial_accumulator_value)
    for t, g in signed(grads, maximize):
        m = betas[0] * m + (1 - betas[0]) * g
        v = v - (1 - betas[1]) * np.sign(v - g**2) * g**2
        bias1, bias2 = (1 - betas[0] ** t, 1 - betas[1] ** t) if bias_correction else (1, 1)
        update = lr * (m / bias1) / (np.sqrt(v / bias2) + eps)
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
    return theta, {"exp_avg": m, "exp_avg_sq": v}


def adabelief(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-16,
    weight_decay=0.0,
    amsgrad=False,
    rectify=False,
    maximize=False,
    **decay_mode,
):
    """Zhuang et al. 2020, algorithm 2; rectified as Liu et al. 2020, algorithm 2."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m, s, s_max = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = betas
    rho_inf = 2 / (1 - beta2) - 1
    for t, g in signed(grads, maximize):
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m) ** 2 + eps
        s_max = np.maximum(s_max, s)
        second = s_max if amsgrad else s
        m_hat = m / (1 - beta1**t)
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        if not rectify:
            update = lr * m_hat / (np.sqrt(second / (1 - beta2**t)) + eps)
        elif rho > 5:
            r2 = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
            scale = np.sqrt(r2) * np.sqrt(1 - beta2**t)
            update = lr * m_hat * scale / (np.sqrt(second) + eps)
        else:
            update = lr * m_hat
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
    state = {"exp_avg": m, "exp_avg_var": s}
    return theta, state | ({"max_exp_avg_var": s_max} if amsgrad else {})


def ftrl(
    param,
    grads,
    *,
    lr=0.1,
    beta=1.0,
    l1=0.0,
    l2=0.0,
    initial_accumulator_value=0.0,
    maximize=False,
):
    """McMahan et al. 2013, algorithm 1."""
    theta = np.asarray(param, np.float64)
    z, n = np.zeros_like(theta), np.full_like(theta, initial_accumulator_value)
    for _, g in signed(grads, maximize):
        sigma = (np.sqrt(n + g**2) - np.sqrt(n)) / lr
        z = z + g - sigma * theta
        n = n + g**2
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing was seen and beta is 0
            inner = -(z - np.sign(z) * l1) / ((beta + np.sqrt(n)) / lr + l2)
        theta = np.where(np.abs(z) <= l1, 0.0, inner)
    return theta, {"z": z, "n": n}


def signum(param, grads, *, lr=1e-3, momentum=0.9, weight_decay=0.0, maximize=False, **decay_mode):
    """Bernstein et al. 2018, algorithms 1 and 2, with a decoupled decay."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m = np.zeros_like(theta)
    for _, g in signed(grads, maximize):
        m = momentum * m + (1 - momentum) * g
        update = lr * np.sign(m)
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
    return theta, {"momentum_buffer": m} if momentum else {}


def rprop(param, grads, *, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0), maximize=False):
    """Igel and Huesken 2000, table 4 (iRprop-), a variant of Riedmiller and Braun 1993."""
    theta = np.asarray(param, np.float64)
    before, size = np.zeros_like(theta), np.full_like(theta, lr)
    for _, g in signed(grads, maximize):
        product = g * before
        size = size * np.where(product > 0, etas[1], np.where(product < 0, etas[0], 1))
        size = np.clip(size, *step_sizes)
        before = np.where(product < 0, 0, g)
        theta = theta - np.sign(before) * size
    return theta, {"prev": before, "step_size": size}


def laprop(
    param,
    grads,
    *,
    lr=4e-4,
    betas=(0.9, 0.999),
    eps=1e-15,
    weight_decay=0.0,
    maximize=False,
    **decay_mode,
):
    """Ziyin et al. 2020, algorithm 1, with lr inside the average."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in signed(grads, maximize):
        v = betas[1] * v + (1 - betas[1]) * g**2
        m = betas[0] * m + (1 - betas[0]) * lr * g / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        update = m / (1 - betas[0] ** t) if lr else 0 * m
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
    return theta, {"exp_avg": m, "exp_avg_sq": v}


def grams(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-6,
    weight_decay=0.0,
    maximize=False,
    **decay_mode,
):
    """Cao et al. 2024, definition 4.1."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in signed(grads, maximize):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        u = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        update = lr * np.sign(g) * np.abs(u)
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
    return theta, {"exp_avg": m, "exp_avg_sq": v}
