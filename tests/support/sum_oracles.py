"""The oracles of optimizers with sums over a tensor, a row or a block; see `oracles`."""

import math

import numpy as np
from oracle_parts import decay_options, decoupled, l2, norm, signed

__all__ = ["adafactor", "adammini", "lamb", "lars", "mars", "muon", "prodigy", "rowwiseadagrad"]
__all__ += ["stableadamw"]


def lamb(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-6,
    weight_decay=1e-2,
    adapt=True,
    trust_clip=False,
    bias_correction=True,
    maximize=False,
):
    """You et al. 2020, algorithm 2, with phi(z) = z; ratios of 1 and their bound as in timm."""
    theta = np.asarray(param, np.float64)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in signed(grads, maximize):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        c1, c2 = (1 - betas[0] ** t, 1 - betas[1] ** t) if bias_correction else (1, 1)
        r = m / c1 / (np.sqrt(v / c2) + eps) + weight_decay * theta
        ratio = norm(theta) / norm(r) if adapt and norm(theta) and norm(r) else 1.0
        theta = theta - lr * (min(ratio, 1) if trust_clip else ratio) * r
    return theta, {"exp_avg": m, "exp_avg_sq": v}


def adafactor(
    param,
    grads,
    *,
    lr=1e-2,
    beta2_decay=-0.8,
    eps=(None, 1e-3),
    d=1.0,
    weight_decay=0.0,
    maximize=False,
    **decay,
):
    """Shazeer and Stern 2018, algorithms 4 and 5, with the means, the bounds and the use of lr of
    torch.optim.Adafactor."""
    theta = np.asarray(param, np.float64)
    eps1 = float(np.finfo(np.asarray(param).dtype).eps) if eps[0] is None else eps[0]
    row, column, v = 0.0, 0.0, 0.0
    for t, g in signed(grads, maximize):
        new = t**beta2_decay
        if theta.ndim > 1:
            row = (1 - new) * row + new * np.mean(g**2, axis=-1, keepdims=True)
            column = (1 - new) * column + new * np.mean(g**2, axis=-2, keepdims=True)
            v = row * column / np.maximum(np.mean(row, axis=-2, keepdims=True), eps1)
        else:
            v = (1 - new) * v + new * g**2
        u = g / np.maximum(np.sqrt(v), eps1)
        count = max(1, theta.size)
        alpha = max(eps[1], norm(theta) / math.sqrt(count)) * min(lr, 1 / math.sqrt(t))
        update = alpha * u / max(1.0, norm(u) / math.sqrt(count) / d)
        rest = decoupled(theta, update, lr, weight_decay, **decay_options(**decay))
        theta = theta - rest - update
    return theta, {"row_var": row, "col_var": column} if theta.ndim > 1 else {"variance": v}


def lars(
    param,
    grads,
    *,
    lr=1.0,
    momentum=0.9,
    weight_decay=0.0,
    trust_coefficient=1e-3,
    eps=1e-8,
    adapt=True,
    trust_clip=False,
    nesterov=False,
    maximize=False,
):
    """You, Gitman and Ginsburg 2017, equation 6; lr outside of the momentum, eps and LARC's bound
    as in timm."""
    theta = np.asarray(param, np.float64)
    b = np.zeros_like(theta)
    for _, g in signed(grads, maximize):
        ratio, size = 1.0, norm(g)
        if adapt and size and norm(theta):
            whole = size + weight_decay * norm(theta) + eps
            ratio = trust_coefficient * norm(theta) / whole
        if adapt and trust_clip:
            ratio = min(ratio / lr, 1) if lr else 1.0
        scaled = ratio * (g + weight_decay * theta)
        b = momentum * b + scaled
        theta = theta - lr * (scaled + momentum * b if nesterov else b)
    return theta, {"momentum_buffer": b} if momentum else {}


def stableadamw(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.99),
    eps=1e-8,
    weight_decay=1e-2,
    maximize=False,
    **decay_mode,
):
    """Wortsman et al. 2023, algorithm 2."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in signed(grads, maximize):
        b1, b2 = (b * (1 - b ** (t - 1)) / (1 - b**t) for b in betas)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        rms = math.sqrt(np.mean(g**2 / np.maximum(v, eps**2))) if g.size else 0.0
        share = 1 / max(1.0, rms)
        update = share * lr * m / (np.sqrt(v) + eps)
        theta = theta - update - share * decoupled(theta, update, lr, weight_decay, **options)
    return theta, {"exp_avg": m, "exp_avg_sq": v}


def prodigy(
    param,
    grads,
    *,
    lr=1.0,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    decoupled_weight_decay=True,
    bias_correction=False,
    safeguard_warmup=False,
    d0=1e-6,
    d_coef=1.0,
    growth_rate=None,
    maximize=False,
    **decay_mode,
):
    """Mishchenko and Defazio 2024, algorithm 4, with beta3 and the bounds of d as in prodigyopt."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    start, beta3 = theta.copy(), math.sqrt(betas[1])
    m, v, s = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    d = d_max = d0
    r = 0.0
    for t, g in signed(grads, maximize):
        if not decoupled_weight_decay:
            g = g + weight_decay * theta
        share = math.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t) if bias_correction else 1.0
        size, before = d * share * lr, d
        m = betas[0] * m + d * (1 - betas[0]) * g
        v = betas[1] * v + d**2 * (1 - betas[1]) * g**2
        s = beta3 * s + d / d0 * (d if safeguard_warmup else size) * g
        r = beta3 * r + d / d0 * size * np.sum(g * (start - theta))
        d_hat = d_coef * r / np.sum(np.abs(s))
        d = max(d, d_hat) if d == d0 else d
        d_max = max(d_max, d_hat)
        d = min(d_max, d * (growth_rate or math.inf))
        root = np.sqrt(v) + d * eps
        update = size * np.divide(m, root, out=np.zeros_like(m), where=root > 0)
        decay = before * share * decoupled(theta, update, lr, weight_decay, **options)
        theta = theta - update - (decay if decoupled_weight_decay else 0)
    return theta, {"exp_avg": m, "exp_avg_sq": v, "s": s, "p0": start}


def mars(
    param,
    grads,
    *,
    lr=3e-3,
    betas=(0.95, 0.99),
    gamma=0.025,
    eps=1e-8,
    weight_decay=0.0,
    variance_reduction=True,
    maximize=False,
    **decay_mode,
):
    """Yuan et al. 2025, algorithm 2, with the approximate gradient difference."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    m, v, last = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    for t, g in signed(grads, maximize):
        c = g
        if variance_reduction:
            c = g + gamma * betas[0] / (1 - betas[0]) * (g - last)
            c, last = c / max(1.0, norm(c)), g
        m = betas[0] * m + (1 - betas[0]) * c
        v = betas[1] * v + (1 - betas[1]) * c**2
        u = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        theta = theta - lr * u - decoupled(theta, u, lr, weight_decay, **options)
    state = {"exp_avg": m, "exp_avg_sq": v}
    return theta, state | ({"last_grad": last} if variance_reduction else {})


def adammini(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    blocks=0,
    maximize=False,
    **decay_mode,
):
    """Zhang et al. 2025, algorithm 2, with the blocks of its algorithm 3."""
    theta = np.asarray(param, np.float64)
    count = blocks or (theta.shape[0] if theta.ndim > 1 else 1)
    lines = theta.reshape(count, -1)
    m, v = np.zeros_like(lines), np.zeros(count)
    for t, gradient in enumerate(grads, start=1):
        g = l2(lines, np.reshape(gradient, lines.shape), 0.0, maximize)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * np.mean(g**2, axis=1)
        root = np.sqrt(v / (1 - betas[1] ** t)) + eps
        update = lr * m / (1 - betas[0] ** t) / root[:, None]
        options = decay_options(**decay_mode)
        lines = lines - update - decoupled(lines, update, lr, weight_decay, **options)
    return lines.reshape(theta.shape), {"exp_avg": m.reshape(theta.shape), "vmean": v}


def rowwiseadagrad(
    param,
    grads,
    *,
    lr=1e-2,
    lr_decay=0.0,
    weight_decay=0.0,
    decoupled_weight_decay=False,
    initial_accumulator_value=0.0,
    eps=1e-8,
    maximize=False,
):
    """EXACT_ROWWISE_ADAGRAD of FBGEMM, with its two modes of weight decay."""
    theta = np.asarray(param, np.float64)
    lines = theta.reshape(theta.shape[0], -1)
    total = np.full(len(lines), initial_accumulator_value)
    for t, gradient in enumerate(grads):
        rate = lr / (1 + t * lr_decay)
        g = l2(lines, np.reshape(gradient, lines.shape), 0.0, maximize)
        if not decoupled_weight_decay:
            g = g + weight_decay * lines
        total = total + np.mean(g**2, axis=1)
        kept = 1 - rate * weight_decay if decoupled_weight_decay else 1.0
        lines = kept * lines - rate / (np.sqrt(total) + eps)[:, None] * g
    return lines.reshape(theta.shape), {"sum": total}


def muon(
    param,
    grads,
    *,
    lr=1e-3,
    weight_decay=0.1,
    momentum=0.95,
    nesterov=True,
    ns_coefficients=(3.4445, -4.775, 2.0315),
    eps=1e-7,
    ns_steps=5,
    adjust_lr_fn=None,
    maximize=False,
    **decay_mode,
):
    """Jordan et al. 2024: the quintic iteration acts on singular values. Liu et al. 2025, equation
    4: the factor 0.2 of the larger dimension."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    rows, columns = theta.shape
    m = np.zeros_like(theta)
    ratio = math.sqrt(max(1, rows / columns))
    if adjust_lr_fn == "match_rms_adamw":
        ratio = 0.2 * math.sqrt(max(rows, columns))
    a, b, c = ns_coefficients
    for _, g in signed(grads, maximize):
        m = momentum * m + (1 - momentum) * g
        n = momentum * m + (1 - momentum) * g if nesterov else m
        left, singular, right = np.linalg.svd(n, full_matrices=False)
        singular = singular / max(norm(n), eps)
        for _ in range(ns_steps):
            singular = a * singular + b * singular**3 + c * singular**5
        u = ratio * (left * singular) @ right
        theta = theta - lr * u - decoupled(theta, u, lr, weight_decay, **options)
    return theta, {"momentum_buffer": m}
