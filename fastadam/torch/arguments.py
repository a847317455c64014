"""What the constructor of an optimizer takes."""

from typing import Any

import numpy as np
import torch

from .. import optimizers
from ..optimizer import Optimizer
from ..rules.algorithm import Values
from ..validation import parts_of

FLAGS = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}


def twin_of(core: type[Optimizer]) -> Any:
    """The optimizer of PyTorch that one of fastadam's takes the place of, or None."""
    name = core.__name__
    return getattr(torch.optim, name, None) if vars(optimizers).get(name) is core else None


def plain(name: str, value: Any, default: Any) -> Any:
    """A hyperparameter as a Python value: tensors of one element as numbers, any sequence in place
    of a tuple as a tuple.

    Raises:
        TypeError: for an array of several elements.
        ValueError: for a tensor of several elements.
    """
    if isinstance(default, tuple):
        parts = parts_of(value)
        if parts is None:
            return value
        return tuple(plain(f"{name}[{k}]", part, None) for k, part in enumerate(parts))
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element, not of shape {tuple(value.shape)}")
        return value.item()
    if isinstance(value, np.ndarray):
        if value.ndim:
            raise TypeError(f"{name}={value!r} is an array; give a number")
        return value.item()
    return value


def in_words_of_torch(name: str, value: Any) -> str:
    """What PyTorch says of a hyperparameter that is out of range."""
    if isinstance(value, tuple):
        k, wrong = next((k, part) for k, part in enumerate(value) if not 0 <= part < 1)
        return f"Invalid beta parameter at index {k}: {wrong}"
    named = {"lr": "learning rate", "eps": "epsilon value"}.get(name, f"{name} value")
    return f"Invalid {named}: {value}"


def check_flags(flags: Values, owner: str) -> None:
    """Refuse what PyTorch refuses, in its words; `owner` is the name of the optimizer."""
    if flags.get("fused") and flags.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if flags.get("differentiable"):
        subject = "`fused`" if flags.get("fused") else owner
        raise RuntimeError(f"{subject} does not support `differentiable`")
    if flags.get("capturable"):
        raise ValueError(
            "If capturable=True, params and state_steps must be on supported devices: "
            "['cuda', 'xpu', 'hpu']; leave it out, on a GPU too: steps of fastadam.torch are not "
            "captured in CUDA graphs"
        )
    if isinstance(flags.get("lr"), torch.Tensor) and flags.get("foreach"):
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
    tensors = [isinstance(each, torch.Tensor) for each in parts_of(flags.get("betas")) or ()]
    if any(tensors) and "fused" in flags:  # PyTorch's other optimizers take both
        if not all(tensors):
            raise ValueError("betas must be either both floats or both Tensors")
        if flags.get("foreach"):
            raise ValueError(
                "betas[0] as a Tensor is not supported for capturable=False and foreach=True"
            )
