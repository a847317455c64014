"""The oracles: each optimizer in float64 NumPy, written from its paper.

Nothing here is imported from fastadam. An oracle takes the parameter, its gradients step by step
and the hyperparameters by name, and returns the last parameter and the last state by name.
"""

import math

import numpy as np


def decoupled(
    theta, update, lr, weight_decay, *, cautious_weight_decay, weight_decay_mode, peak_lr
):
    """Loshchilov and Hutter 2019, algorithm 2: the decay beside an update. Cautious: Chen et al.
    2026, equation 2. AdamC: Defazio 2025, algorithm 1."""
    rate = lr**2 / peak_lr if weight_decay_mode == "AdamC" else lr
    decay = rate * weight_decay * theta
    return np.where(update * theta >= 0, decay, 0) if cautious_weight_decay else decay


def decay_options(cautious_weight_decay=False, weight_decay_mode="AdamW", peak_lr=None):
    return {
        "cautious_weight_decay": cautious_weight_decay,
        "weight_decay_mode": weight_decay_mode,
        "peak_lr": peak_lr,
    }


def adam(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    l1=0.0,
    amsgrad=False,
    maximize=False,
    decoupled_weight_decay=False,
    bias_correction=True,
    eps_mode="torch",
    cautious=False,
    **decay_mode,
):
    """Kingma and Ba 2015, algorithm 1; Reddi et al. 2018, algorithm 2; Loshchilov and Hutter
    2019, algorithm 2. "hat" is the variant at the end of Kingma and Ba's section 2."""
    theta = np.asarray(param, np.float64)
    m, v, v_max = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = betas
    for t, gradient in enumerate(grads, start=1):
        g = np.asarray(gradient, np.float64) * (-1 if maximize else 1)
        if not decoupled_weight_decay:
            g = g + weight_decay * theta
        g = g + l1 * np.sign(theta)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_max = np.maximum(v_max, v)
        second = v_max if amsgrad else v
        bias1, bias2 = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1, 1)
        if eps_mode == "hat":
            update = lr * np.sqrt(bias2) / bias1 * m / (np.sqrt(second) + eps)
        else:
            update = lr * (m / bias1) / (np.sqrt(second / bias2) + eps)
        if cautious:
            update = cautiously(update, m, g)
        if decoupled_weight_decay:
            options = decay_options(**decay_mode)
            update = update + decoupled(theta, update, lr, weight_decay, **options)
        theta = theta - update
    state = {"exp_avg": m, "exp_avg_sq": v}
    return theta, state | ({"max_exp_avg_sq": v_max} if amsgrad else {})


def adamw(param, grads, *, weight_decay=1e-2, **hyper):
    """Loshchilov and Hutter 2019, algorithm 2, with PyTorch's default decay."""
    return adam(param, grads, weight_decay=weight_decay, decoupled_weight_decay=True, **hyper)


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
        g = _l2(lines, np.reshape(gradient, lines.shape), 0.0, maximize)
        if not decoupled_weight_decay:
            g = g + weight_decay * lines
        total = total + np.mean(g**2, axis=1)
        kept = 1 - rate * weight_decay if decoupled_weight_decay else 1.0
        lines = kept * lines - rate / (np.sqrt(total) + eps)[:, None] * g
    return lines.reshape(theta.shape), {"sum": total}


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
        g = _l2(lines, np.reshape(gradient, lines.shape), 0.0, maximize)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * np.mean(g**2, axis=1)
        root = np.sqrt(v / (1 - betas[1] ** t)) + eps
        update = lr * m / (1 - betas[0] ** t) / root[:, None]
        options = decay_options(**decay_mode)
        lines = lines - update - decoupled(lines, update, lr, weight_decay, **options)
    return lines.reshape(theta.shape), {"exp_avg": m.reshape(theta.shape), "vmean": v}


def sparseadam(param, grads, **hyper):
    """The variant at the end of Kingma and Ba's section 2, of rows that have a gradient."""
    return adam(param, grads, eps_mode="hat", **hyper)


def _l2(param, gradient, weight_decay, maximize):
    return np.asarray(gradient, np.float64) * (-1 if maximize else 1) + weight_decay * param


def nadam(
    param,
    grads,
    *,
    lr=2e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    momentum_decay=4e-3,
    decoupled_weight_decay=False,
    maximize=False,
    **decay_mode,
):
    """Dozat 2016, algorithm 2, with the schedule of its section 3 and a momentum_decay in it."""
    theta = np.asarray(param, np.float64)
    m, v, product = np.zeros_like(theta), np.zeros_like(theta), 1.0
    for t, gradient in enumerate(grads, start=1):
        mu, mu_next = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
        product *= mu
        g = _l2(theta, gradient, 0 if decoupled_weight_decay else weight_decay, maximize)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_bar = (1 - mu) * g / (1 - product) + mu_next * m / (1 - product * mu_next)
        update = lr * m_bar / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        if decoupled_weight_decay:
            options = decay_options(**decay_mode)
            update = update + decoupled(theta, update, lr, weight_decay, **options)
        theta = theta - update
    return theta, {"exp_avg": m, "exp_avg_sq": v}


def radam(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    decoupled_weight_decay=False,
    maximize=False,
    **decay_mode,
):
    """Liu et al. 2020, algorithm 2, rectified from rho > 5 as PyTorch does."""
    theta = np.asarray(param, np.float64)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = betas
    rho_inf = 2 / (1 - beta2) - 1
    for t, gradient in enumerate(grads, start=1):
        g = _l2(theta, gradient, 0 if decoupled_weight_decay else weight_decay, maximize)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 5:
            r2 = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
            m_hat = m_hat * np.sqrt(r2) * np.sqrt(1 - beta2**t) / (np.sqrt(v) + eps)
        update = lr * m_hat
        if decoupled_weight_decay:
            options = decay_options(**decay_mode)
            update = update + decoupled(theta, update, lr, weight_decay, **options)
        theta = theta - update
    return theta, {"exp_avg": m, "exp_avg_sq": v}


def adamax(
    param, grads, *, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False
):
    """Kingma and Ba 2015, algorithm 2, with eps beside the gradient."""
    theta = np.asarray(param, np.float64)
    m, u = np.zeros_like(theta), np.zeros_like(theta)
    for t, gradient in enumerate(grads, start=1):
        g = _l2(theta, gradient, weight_decay, maximize)
        m = betas[0] * m + (1 - betas[0]) * g
        u = np.maximum(betas[1] * u, np.abs(g) + eps)
        theta = theta - lr / (1 - betas[0] ** t) * m / u
    return theta, {"exp_avg": m, "exp_inf": u}


def sgd(
    param,
    grads,
    *,
    lr=1e-3,
    momentum=0.0,
    dampening=0.0,
    weight_decay=0.0,
    l1=0.0,
    nesterov=False,
    maximize=False,
):
    """Polyak 1964 and Sutskever et al. 2013, with lr outside the buffer."""
    theta, buffer = np.asarray(param, np.float64), None
    for gradient in grads:
        g = _l2(theta, gradient, weight_decay, maximize) + l1 * np.sign(theta)
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        theta = theta - lr * g
    return theta, {"momentum_buffer": buffer} if momentum else {}


def rmsprop(
    param,
    grads,
    *,
    lr=1e-2,
    alpha=0.99,
    eps=1e-8,
    weight_decay=0.0,
    momentum=0.0,
    centered=False,
    maximize=False,
):
    """Tieleman and Hinton 2012, slide 29; Graves 2013, equations 38 to 41."""
    theta = np.asarray(param, np.float64)
    v, mean, buffer = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    for gradient in grads:
        g = _l2(theta, gradient, weight_decay, maximize)
        v = alpha * v + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        update = g / (np.sqrt(v - mean**2 if centered else v) + eps)
        buffer = momentum * buffer + update
        theta = theta - lr * (buffer if momentum else update)
    state = {"square_avg": v}
    state |= {"grad_avg": mean} if centered else {}
    return theta, state | ({"momentum_buffer": buffer} if momentum else {})


def adagrad(
    param,
    grads,
    *,
    lr=1e-2,
    lr_decay=0.0,
    weight_decay=0.0,
    initial_accumulator_value=0.0,
    eps=1e-10,
    maximize=False,
):
    """Duchi et al. 2011, equation 1 with a diagonal matrix."""
    theta = np.asarray(param, np.float64)
    total = np.full_like(theta, initial_accumulator_value)
    for t, gradient in enumerate(grads):
        g = _l2(theta, gradient, weight_decay, maximize)
        total = total + g**2
        theta = theta - lr / (1 + t * lr_decay) * g / (np.sqrt(total) + eps)
    return theta, {"sum": total}


def adadelta(param, grads, *, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    """Zeiler 2012, algorithm 1."""
    theta = np.asarray(param, np.float64)
    v, u = np.zeros_like(theta), np.zeros_like(theta)
    for gradient in grads:
        g = _l2(theta, gradient, weight_decay, maximize)
        v = rho * v + (1 - rho) * g**2
        delta = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * delta**2
        theta = theta - lr * delta
    return theta, {"square_avg": v, "acc_delta": u}


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


def _signed(gradients, maximize):
    for t, gradient in enumerate(gradients, start=1):
        yield t, np.asarray(gradient, np.float64) * (-1 if maximize else 1)


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
    for t, g in _signed(grads, maximize):
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
    for t, g in _signed(grads, maximize):
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
    for t, g in _signed(grads, maximize):
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
    for (t, g), (_, rate, share) in zip(_signed(grads, maximize), shares, strict=True):
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
    for (t, g), (_, rate, share) in zip(_signed(grads, maximize), shares, strict=True):
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
    for t, g in _signed(grads, maximize):
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
    for t, g in _signed(grads, maximize):
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
    for _, g in _signed(grads, maximize):
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
    for _, g in _signed(grads, maximize):
        m = momentum * m + (1 - momentum) * g
        update = lr * np.sign(m)
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
    return theta, {"momentum_buffer": m} if momentum else {}


def rprop(param, grads, *, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0), maximize=False):
    """Igel and Huesken 2000, table 4 (iRprop-), a variant of Riedmiller and Braun 1993."""
    theta = np.asarray(param, np.float64)
    before, size = np.zeros_like(theta), np.full_like(theta, lr)
    for _, g in _signed(grads, maximize):
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
    for t, g in _signed(grads, maximize):
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
    for t, g in _signed(grads, maximize):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        u = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        update = lr * np.sign(g) * np.abs(u)
        theta = theta - update - decoupled(theta, update, lr, weight_decay, **options)
    return theta, {"exp_avg": m, "exp_avg_sq": v}


def _norm(values):
    return math.sqrt(np.sum(values**2))


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
    for t, g in _signed(grads, maximize):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        c1, c2 = (1 - betas[0] ** t, 1 - betas[1] ** t) if bias_correction else (1, 1)
        r = m / c1 / (np.sqrt(v / c2) + eps) + weight_decay * theta
        ratio = _norm(theta) / _norm(r) if adapt and _norm(theta) and _norm(r) else 1.0
        theta = theta - lr * (min(ratio, 1) if trust_clip else ratio) * r
    return theta, {"exp_avg": m, "exp_avg_sq": v}


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
    for _, g in _signed(grads, maximize):
        ratio, size = 1.0, _norm(g)
        if adapt and size and _norm(theta):
            whole = size + weight_decay * _norm(theta) + eps
            ratio = trust_coefficient * _norm(theta) / whole
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
    for t, g in _signed(grads, maximize):
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
    for t, g in _signed(grads, maximize):
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
    for t, g in _signed(grads, maximize):
        c = g
        if variance_reduction:
            c = g + gamma * betas[0] / (1 - betas[0]) * (g - last)
            c, last = c / max(1.0, _norm(c)), g
        m = betas[0] * m + (1 - betas[0]) * c
        v = betas[1] * v + (1 - betas[1]) * c**2
        u = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        theta = theta - lr * u - decoupled(theta, u, lr, weight_decay, **options)
    state = {"exp_avg": m, "exp_avg_sq": v}
    return theta, state | ({"last_grad": last} if variance_reduction else {})


def cautiously(update, direction, gradient):
    """Liang et al. 2024, algorithm 1, with the share of at least 1e-3 of the authors' AdamW."""
    agree = direction * gradient > 0
    return np.where(agree, update, 0) / max(np.mean(agree), 1e-3) if agree.size else update
