"""Optimizers to embed, one row for each, and their steps by `Optimizer.step` as a reference."""

from typing import Any

import numpy as np
from cases import gradients, parameters

import fastadam as fa

N, STEPS = 77, 20  # no multiple of a vector
CASES: dict[type[fa.Optimizer], dict[str, Any]] = {
    fa.Adadelta: {"weight_decay": 0.1},
    fa.Adagrad: {"lr_decay": 0.1},
    fa.Adam: {"amsgrad": True, "lr": 0.05},
    fa.AdamW: {"lr": 0.05},
    fa.Adamax: {},
    fa.Lion: {"weight_decay": 0.1},
    fa.NAdam: {},
    fa.RAdam: {"betas": (0.5, 0.9)},
    fa.RMSprop: {"momentum": 0.9, "centered": True, "eps": 1e-3},
    fa.SGD: {"momentum": 0.9, "nesterov": True},
}
DTYPES = ("float32", "float64")


def inputs(dtype: str) -> tuple[Any, Any]:
    """The parameters, and the gradients of each step."""
    return parameters(N, dtype), np.stack(gradients(N, STEPS, dtype))


def expected(cls: type[fa.Optimizer], dtype: str) -> list[Any]:
    """The parameters and the state after all steps."""
    param, grads = inputs(dtype)
    opt = cls(param, **CASES[cls])
    for grad in grads:
        opt.step(grad)
    return [param, *(arrays[0] for arrays in opt.state.values())]
