"""What each optimizer computes, in float64 NumPy, written from its paper.

Nothing here is imported from fastadam. An oracle takes the parameter, its gradients step by step
and the hyperparameters by name, and returns the last parameter and the last state by name.
"""

import numpy as np


def adam(
    param,
    grads,
    *,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    amsgrad=False,
    maximize=False,
    decoupled_weight_decay=False,
    bias_correction=True,
    eps_mode="torch",
):
    """Kingma and Ba 2015, algorithm 1; Reddi et al. 2018, algorithm 2; Loshchilov and Hutter
    2019, algorithm 2. "hat" is the variant at the end of Kingma and Ba's section 2."""
    theta = np.asarray(param, np.float64)
    m, v, v_max = np.zeros_like(theta), np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = betas
    for t, gradient in enumerate(grads, start=1):
        g = np.asarray(gradient, np.float64) * (-1 if maximize else 1)
        decay = np.zeros_like(theta)
        if decoupled_weight_decay:
            decay = lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_max = np.maximum(v_max, v)
        second = v_max if amsgrad else v
        bias1, bias2 = (1 - beta1**t, 1 - beta2**t) if bias_correction else (1, 1)
        if eps_mode == "hat":
            update = lr * np.sqrt(bias2) / bias1 * m / (np.sqrt(second) + eps)
        else:
            update = lr * (m / bias1) / (np.sqrt(second / bias2) + eps)
        theta = theta - decay - update
    state = {"exp_avg": m, "exp_avg_sq": v}
    return theta, state | ({"max_exp_avg_sq": v_max} if amsgrad else {})


def adamw(param, grads, *, weight_decay=1e-2, **hyper):
    """Loshchilov and Hutter 2019, algorithm 2, with PyTorch's default decay."""
    return adam(param, grads, weight_decay=weight_decay, decoupled_weight_decay=True, **hyper)
