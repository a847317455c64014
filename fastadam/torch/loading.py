"""Saved state as it was saved: PyTorch would cast it to the dtypes of the parameters."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch


class Sealed:
    """A tensor that PyTorch hands on without a look at it."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def opened(self, device: Any) -> Any:
        """A copy of the tensor on a device."""
        return self._tensor.detach().to(device or self._tensor.device, copy=True)


def sealed(optimizer: Any, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """A state_dict with its tensors sealed; a hook of `load_state_dict`.

    Raises:
        TypeError, ValueError: if it is none.
    """
    _check(state_dict)
    state = {
        key: {name: _seal(value) for name, value in entry.items()}
        if isinstance(entry, dict)
        else entry
        for key, entry in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


def _check(state_dict: Mapping[str, Any]) -> None:
    for key, kind in (("state", Mapping), ("param_groups", list | tuple)):
        if key not in state_dict:
            raise ValueError(f"state_dict has no {key!r}; it has {list(state_dict)}")
        if not isinstance(state_dict[key], kind):
            raise TypeError(f"state_dict: {key}={state_dict[key]!r} must be a dict or a list")
    for group in state_dict["param_groups"]:
        if not isinstance(group, Mapping) or not isinstance(group.get("params"), list | tuple):
            raise ValueError(f"state_dict: the group {group!r} has no list 'params'")


def _seal(value: Any) -> Any:
    return Sealed(value) if isinstance(value, torch.Tensor) else value


def open_all(state: MutableMapping[Any, Any]) -> None:
    """Put copies of the tensors where they were sealed in."""
    for param, entry in state.items():
        device = getattr(param, "device", None)
        for name, value in entry.items() if isinstance(entry, dict) else ():
            if isinstance(value, Sealed):
                entry[name] = value.opened(device)
