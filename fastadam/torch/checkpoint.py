"""Loading of state_dicts: keeps the dtypes of state, and reads state_dicts of the core.

PyTorch's `load_state_dict` would cast state to the dtypes of the parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..checkpoint.validate import numbers_of
from ..engine.convert import ORDER, SCALE
from ..engine.options import OWN
from ..rules.algorithm import Values
from .counters import gather
from .misread_codes import check_numbers
from .packages import from_package
from .state import check_number
from .state_formats import MASTER
from .tensors import OpaqueTensor

if TYPE_CHECKING:
    from .owner import Owner


def wrap_tensors(optimizer: Owner, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """A state_dict with its tensors wrapped; a pre-hook of `load_state_dict`.

    Raises:
        TypeError, ValueError: if it is not a state_dict, or has codes instead of numbers.
    """
    check_structure(state_dict)
    if _of_core(state_dict):
        state_dict = _from_core(optimizer, state_dict)
    state_dict = from_package(optimizer.core.__name__, optimizer.core.defaults, state_dict)
    _check_buffers(optimizer.param_groups, state_dict)
    if not optimizer._core.uncounted:
        state_dict = _counted(state_dict, optimizer._core.count_optional)
    for number, entry in state_dict["state"].items():
        if isinstance(entry, Mapping):
            check_numbers(entry, f"state_dict: state[{number!r}]")
    state = {
        key: {name: _wrap(value) for name, value in entry.items() if name != MASTER}
        if isinstance(entry, dict)
        else entry
        for key, entry in state_dict["state"].items()
    }
    groups = with_own_options(optimizer.param_groups, state_dict["param_groups"])
    check_loaded(optimizer, groups)
    return {**state_dict, "state": state, "param_groups": groups}


def _counted(state_dict: Mapping[str, Any], optional: bool) -> Mapping[str, Any]:
    """A state_dict with a step count in every entry.

    Some packages (timm, apex, pytorch_optimizer) keep one count in each group, or none.

    Args:
        optional: if True, an entry without a count is taken to be after one step.

    Raises:
        TypeError: if the count of a group is not a number.
    """
    state, groups = dict(state_dict["state"]), []
    for place, group in enumerate(state_dict["param_groups"]):
        step = group.get("step", 1 if optional else None)
        check_number(step or 0, f"state_dict: 'step' of param_groups[{place}]")
        bare = [key for key in group["params"] if _uncounted(state.get(key))]
        if bare and step is not None:
            state |= {key: {**state[key], "step": torch.tensor(float(step))} for key in bare}
            group = {name: value for name, value in group.items() if name != "step"}
        groups.append(group)
    return {**state_dict, "state": state, "param_groups": groups}


def _uncounted(entry: Any) -> bool:
    return isinstance(entry, Mapping) and len(entry) > 0 and "step" not in entry


def with_own_options(groups: Sequence[Values], saved: Sequence[Values]) -> Sequence[Values]:
    """Saved groups, with their options replaced by those of the optimizer's groups."""
    if len(saved) != len(groups):
        return saved
    return [
        {name: value for name, value in theirs.items() if name not in OWN}
        | {name: mine[name] for name in OWN if name in mine}
        for theirs, mine in zip(saved, groups, strict=True)
    ]


def _check_buffers(groups: Sequence[Values], state_dict: Mapping[str, Any]) -> None:
    """Refuse buffers of momentum without the learning rate for groups whose buffers include it.

    Raises:
        ValueError: naming the group.
    """
    for place, (theirs, mine) in enumerate(zip(state_dict["param_groups"], groups, strict=False)):
        entries = [state_dict["state"].get(number) or () for number in theirs["params"]]
        included = theirs.get("lr_in_momentum", mine.get("lr_in_momentum"))
        if included and any("momentum_buffer" in entry for entry in entries):
            raise ValueError(
                f"state_dict: the state of param_groups[{place}] has 'momentum_buffer', which does "
                "not include lr; load it into an optimizer with lr_in_momentum=False"
            )


def check_loaded(optimizer: Owner, groups: Sequence[Values]) -> None:
    """Refuse saved groups whose hyperparameters a step would refuse.

    Raises:
        TypeError, ValueError: naming the group and the hyperparameter.
    """
    for place, group in enumerate(groups):
        own = {name: value for name, value in group.items() if name != "params"}
        loaded = {**optimizer.defaults, **own, **optimizer._fixed}
        optimizer._hyperparameters.check(loaded, f"state_dict: param_groups[{place}]: ")


def check_structure(state_dict: Mapping[str, Any]) -> None:
    """Refuse what is not a state_dict.

    Raises:
        TypeError, ValueError: naming the part.
    """
    for key, kind in (("state", Mapping), ("param_groups", list | tuple)):
        if key not in state_dict:
            raise ValueError(f"state_dict has no {key!r}; it has {list(state_dict)}")
        if not isinstance(state_dict[key], kind):
            raise TypeError(f"state_dict: {key}={state_dict[key]!r} must be a dict or a list")
    for group in state_dict["param_groups"]:
        if not isinstance(group, Mapping) or not isinstance(group.get("params"), list | tuple):
            raise ValueError(f"state_dict: the group {group!r} has no list 'params'")
        for number in group["params"]:
            entry = state_dict["state"].get(number, {})
            if not isinstance(entry, Mapping):
                raise TypeError(
                    f"state_dict: state[{number!r}]={entry!r} must be a dict; leave it out for a "
                    "parameter without state"
                )


def _wrap(value: Any) -> Any:
    return OpaqueTensor(value) if isinstance(value, torch.Tensor) else value


def unwrap_tensors(state: MutableMapping[Any, Any]) -> None:
    """Replace the wrapped tensors in a state by copies of the tensors."""
    copy_to: dict[int, Any] = {}
    for param, entry in state.items():
        device = getattr(param, "device", None)
        for name, value in entry.items() if isinstance(entry, dict) else ():
            if isinstance(value, OpaqueTensor):
                entry[name] = value.copy_to("cpu" if name in ("step", ORDER) else device)
                copy_to[id(entry)] = entry
    gather([*copy_to.values()], "step")


# State of the core


def _of_core(state_dict: Mapping[str, Any]) -> bool:
    """True if a state_dict comes from fastadam's NumPy optimizers."""
    entries = (entry for entry in state_dict["state"].values() if isinstance(entry, Mapping))
    values = (value for entry in entries for value in entry.values())
    arrays = any(isinstance(value, np.ndarray | np.generic) for value in values)
    return arrays or bool({"ema", "accumulated"} & state_dict.keys())


def _from_core(optimizer: Owner, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a state_dict of the core to tensors in PyTorch's layout.

    Raises:
        ValueError: for accumulated gradients, averages without `ema_decay`, or other names.
    """
    if "accumulated" in state_dict:
        raise ValueError(
            "state_dict has accumulated gradients, which fastadam.torch cannot load; save after a "
            "step that updates, or delete the entry: del state_dict['accumulated']"
        )
    averages = state_dict.get("ema") or {}
    if averages and optimizer._options.ema_decay is None:
        raise ValueError(
            "state_dict has an 'ema', but the optimizer has no ema_decay; give it one, or delete "
            "the entry: del state_dict['ema']"
        )
    state = {}
    for number, saved in state_dict["state"].items():
        entry = state[number] = {name: _tensor(value) for name, value in saved.items()}
        if number in averages:  # without steps, a parameter equals its average
            entry["ema"] = _tensor(averages[number])
        coded = [name for name in entry if name + SCALE in entry]
        if coded:
            entry.setdefault(ORDER, torch.arange(entry[coded[0]].dim()))
    groups = state_dict["param_groups"]
    if len(groups) == len(optimizer.param_groups):
        groups = [
            _in_order(live, saved, f"param_groups[{number}]: " if len(groups) > 1 else "")
            for number, (live, saved) in enumerate(zip(optimizer.param_groups, groups, strict=True))
        ]
    return {**state_dict, "state": state, "param_groups": groups}


def _in_order(live: Values, saved: Values, where: str) -> Values:
    """A saved group with the parameter order of a live one; matched by name if both have names."""
    group = {**saved, "params": numbers_of(live, saved, where)}
    if "param_names" in live:
        group["param_names"] = live["param_names"]
    return group


def _tensor(value: Any) -> Any:
    """Convert an array to a tensor of the same dtype; other values are returned unchanged."""
    if not isinstance(value, np.ndarray | np.generic):
        return value
    array = np.ascontiguousarray(value).reshape(np.shape(value))
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # bfloat16, also from an npz file
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=True))
