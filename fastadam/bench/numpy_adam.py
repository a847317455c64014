"""Adam and AdamW in plain NumPy, one operation per line, as a textbook has them."""

from functools import partial
from itertools import count

import numpy as np

from .workload import HYPER, Array, Contender, Memory


def numpy_adam(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """Take one step of Adam, or of AdamW if `decoupled`.

    `param`, `exp_avg` and `exp_avg_sq` are updated in place; every line makes a pass over memory,
    and most of them a temporary array.
    """
    beta1, beta2 = betas
    if decoupled:
        param *= 1 - lr * weight_decay
    else:
        decay = weight_decay * param
        grad = grad + decay
    exp_avg *= beta1
    fresh = (1 - beta1) * grad
    exp_avg += fresh
    exp_avg_sq *= beta2
    fresh = grad * grad
    fresh = (1 - beta2) * fresh
    exp_avg_sq += fresh
    denominator = exp_avg_sq / (1 - beta2**step)
    denominator = np.sqrt(denominator)
    denominator = denominator + eps
    update = exp_avg / (1 - beta1**step)
    update = lr * update
    update = update / denominator
    param -= update


def contender(name: str, memory: Memory) -> Contender:
    """A step of AdamW over all arrays of a case."""
    arrays = list(zip(memory.params, memory.grads, *memory.states, strict=True))
    steps = count(1)
    adamw = partial(numpy_adam, decoupled=True, **HYPER)

    def step() -> None:
        number = next(steps)
        for each in arrays:
            adamw(*each, step=number)

    return Contender(name, step, memory.params, memory.grads)
