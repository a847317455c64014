"""Constants of the moments of a gradient, averages that start at zero, shared by Adam's relatives.

D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, sections 2 and 3.
Adam itself writes them out, so that its `hyper`, called at every step, is one call.
"""

import math
from typing import Any


def averaging(group: dict[str, Any]) -> dict[str, float]:
    """The weights of the averages of the gradient and of its square, and eps."""
    beta1, beta2 = group["betas"][:2]
    return {
        "beta1_comp": 1 - beta1,
        "beta2": beta2,
        "beta2_comp": 1 - beta2,
        "eps": group["eps"],
    }


def debiased_rate(group: dict[str, Any], step: int) -> float:
    """The learning rate over the bias of the first moment, `lr / (1 - beta1**t)`."""
    rate: float = group["lr"] / (1 - group["betas"][0] ** step)  # a DeviceRate stays one
    return rate


def debiased_root(beta: float, step: int) -> float:
    """The factor that corrects the bias of the root of an average, `1 / sqrt(1 - beta**t)`."""
    return 1 / math.sqrt(1 - beta**step)
