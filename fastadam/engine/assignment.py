"""Attributes of optimizers whose assignment would have no effect, and is refused."""

from collections.abc import Container, Mapping
from typing import Any

from .options import NAMES

ALIASES = {"learning_rate": "lr"}

PROPERTIES = {
    "param_groups": "edit the dicts in it, or use add_param_group",
    "params": "write into the arrays, or make a new optimizer",
    "grads": "write into its arrays, or give the gradients to step()",
    "ema": "write into its arrays",
    "shadow": "it follows the parameters",
    "state": "write into its arrays, or use load_state_dict",
    "steps": "load_state_dict sets it",
    "info": "it is what the last step returned",
    "rule": "it is that of the class and its hyperparameters; make a subclass with another",
}


def check_assigned(
    owner: Any, name: str, defaults: Container[str], others: Mapping[str, str]
) -> None:
    """Refuse the assignment of an attribute that would have no effect.

    Args:
        owner: the optimizer.
        name: the attribute.
        defaults: the hyperparameters.
        others: further names, with a fix for each.

    Raises:
        AttributeError: names what has an effect instead.
    """
    kind = type(owner).__name__
    known = ALIASES.get(name, name)
    if known in defaults:
        raise AttributeError(
            f"{kind}.{name} has no effect; set opt.param_groups[0][{known!r}], in each group"
        )
    if name in NAMES:
        raise AttributeError(
            f"{kind}.{name} has no effect; {name} is an argument of the constructor: make a new "
            f"optimizer, {kind}(..., {name}=...), and load the state_dict of this one"
        )
    if name in others:
        raise AttributeError(f"{kind}.{name} cannot be set; {others[name]}")
