"""The oracles of optimizers that PyTorch has; see `oracles`."""

import numpy as np
from oracle_parts import cautiously, decay_options, decoupled, l2

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "nadam",
    "radam",
    "rmsprop",
    "sgd",
    "sparseadam",
]


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


def sparseadam(param, grads, **hyper):
    """The variant at the end of Kingma and Ba's section 2, of rows that have a gradient."""
    return adam(param, grads, eps_mode="hat", **hyper)


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
        g = l2(theta, gradient, 0 if decoupled_weight_decay else weight_decay, maximize)
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
        g = l2(theta, gradient, 0 if decoupled_weight_decay else weight_decay, maximize)
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
        g = l2(theta, gradient, weight_decay, maximize)
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
    decoupled_weight_decay=False,
    lr_in_momentum=False,
    **decay_mode,
):
    """Polyak 1964 and Sutskever et al. 2013, with lr outside the buffer, or as Sutskever has it."""
    theta, buffer = np.asarray(param, np.float64), None
    options, velocity = decay_options(**decay_mode), np.zeros_like(theta)
    for gradient in grads:
        coupled = 0 if decoupled_weight_decay else weight_decay
        g = l2(theta, gradient, coupled, maximize) + l1 * np.sign(theta)
        velocity = momentum * velocity - lr * g
        step = momentum * velocity - lr * g if nesterov else velocity
        if momentum and not lr_in_momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
            step = -lr * g
        decay = decoupled(theta, -step, lr, weight_decay, **options)
        theta = theta + step - (decay if decoupled_weight_decay else 0)
    if lr_in_momentum:
        return theta, {"velocity": -velocity} if momentum else {}
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
    eps_in_sqrt=False,
    lr_in_momentum=False,
    decoupled_weight_decay=False,
    **decay_mode,
):
    """Tieleman and Hinton 2012, slide 29; Graves 2013, equations 38 to 41."""
    theta, options = np.asarray(param, np.float64), decay_options(**decay_mode)
    v, mean, buffer = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    for gradient in grads:
        g = l2(theta, gradient, 0 if decoupled_weight_decay else weight_decay, maximize)
        v = alpha * v + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        variance = v - mean**2 if centered else v
        update = g / (np.sqrt(variance + eps) if eps_in_sqrt else np.sqrt(variance) + eps)
        buffer = momentum * buffer + update * (lr if lr_in_momentum else 1)
        step = (buffer if momentum else update) * (1 if momentum and lr_in_momentum else lr)
        decay = decoupled(theta, step, lr, weight_decay, **options)
        theta = theta - step - (decay if decoupled_weight_decay else 0)
    state = {"square_avg": v}
    state |= {"grad_avg": mean} if centered else {}
    name = "velocity" if lr_in_momentum else "momentum_buffer"
    return theta, state | ({name: buffer} if momentum else {})


def adagrad(
    param,
    grads,
    *,
    lr=1e-2,
    lr_decay=0.0,
    weight_decay=0.0,
    initial_accumulator_value=0.0,
    eps=1e-10,
    eps_in_sqrt=False,
    maximize=False,
):
    """Duchi et al. 2011, equation 1 with a diagonal matrix."""
    theta = np.asarray(param, np.float64)
    total = np.full_like(theta, initial_accumulator_value)
    for t, gradient in enumerate(grads):
        g = l2(theta, gradient, weight_decay, maximize)
        total = total + g**2
        root = np.sqrt(total + eps) if eps_in_sqrt else np.sqrt(total) + eps
        theta = theta - lr / (1 + t * lr_decay) * g / root
    return theta, {"sum": total}


def adadelta(param, grads, *, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    """Zeiler 2012, algorithm 1."""
    theta = np.asarray(param, np.float64)
    v, u = np.zeros_like(theta), np.zeros_like(theta)
    for gradient in grads:
        g = l2(theta, gradient, weight_decay, maximize)
        v = rho * v + (1 - rho) * g**2
        delta = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * delta**2
        theta = theta - lr * delta
    return theta, {"square_avg": v, "acc_delta": u}
