"""What the constructor of an optimizer takes."""

from typing import Any

import numpy as np
import torch

from .. import optimizers
from ..groups import Values
from ..optimizer import Optimizer

FLAGS = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}


def twin_of(core: type[Optimizer]) -> Any:
    """The optimizer of PyTorch that one of fastadam's takes the place of, or None."""
    name = core.__name__
    return getattr(torch.optim, name, None) if vars(optimizers).get(name) is core else None


def plain(name: str, value: Any) -> Any:
    """A hyperparameter as a Python value: tensors of one element as numbers.

    Raises:
        TypeError: for an array of several elements.
        ValueError: for a tensor of several elements.
    """
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element, not of shape {tuple(value.shape)}")
        return value.item()
    if isinstance(value, np.ndarray):
        if value.ndim:
            raise TypeError(f"{name}={value!r} is an array; give a number, or a tuple of numbers")
        return value.item()
    if isinstance(value, tuple | list):
        return tuple(plain(name, each) for each in value)
    return value


def check_flags(flags: Values) -> None:
    """Refuse what PyTorch's fused optimizers refuse."""
    if flags.get("fused") and flags.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if flags.get("differentiable"):
        name = "`fused`" if flags.get("fused") else "fastadam.torch"
        raise RuntimeError(f"{name} does not support `differentiable`; leave it out")
    if flags.get("capturable"):
        raise ValueError(
            "If capturable=True, params and state_steps must be on supported devices: "
            "['cuda', 'xpu', 'hpu']; leave it out, on a GPU too: steps of fastadam.torch are not "
            "captured in CUDA graphs"
        )
    if isinstance(flags.get("lr"), torch.Tensor) and flags.get("foreach"):
        raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
