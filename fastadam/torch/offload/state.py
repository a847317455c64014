"""State on the host in PyTorch's layout, and back."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ...checkpoint.load import loading as loading_of_core
from ...checkpoint.validate import numbers_of
from ...engine.convert import ORDER, SCALE
from ...kernels.commit import Operation
from ...kernels.storage.int8 import Int8
from ...rules.algorithm import Values
from ..checkpoint import check_loaded, check_structure, with_own_options
from ..contents import as_array
from ..misread_codes import check_numbers
from ..optimizer import Optimizer
from ..shards import block_zeros, is_sharded, local, whole_of
from ..state_formats import MASTER, for_any_shards
from .host import HostSide
from .parameters import HostParameter

BESIDE = (MASTER, "shadow")  # entries that are no state of the core


def saved(side: HostSide) -> dict[Any, Values]:
    """The state of each parameter that has taken a step: tensors that share the host's memory."""
    with side.core._engine.lock:
        whole = side.core.state_dict(copy=False)
    averages, numbers = whole.get("ema", {}), {"step", *side.core.carried}
    return {
        host.param: _entry(host, whole["state"][number], averages.get(number), numbers)
        for number, host in enumerate(side.hosts)
        if number in whole["state"]
    }


def for_any_number_of_shards(side: HostSide, state: Mapping[int, Values]) -> dict[int, Values]:
    """The state of a state_dict, with floats in place of codes that depend on the shards."""
    params = dict(zip(side.numbers, (host.param for host in side.hosts), strict=True))
    return {number: for_any_shards(params[number], entry) for number, entry in state.items()}


def _entry(
    host: HostParameter, state: Mapping[str, Any], average: Any, numbers: set[str]
) -> Values:
    entry: Values = {}
    for name, value in state.items():
        if name in numbers:
            entry[name] = torch.tensor(float(value))
        else:
            place = _in_blocks if name.endswith(SCALE) else _placed
            entry[name] = place(host, _tensor(value))
    if average is not None:
        entry["ema"] = _placed(host, _tensor(average))
    if any(name + SCALE in entry for name in state):
        entry[ORDER] = torch.arange(host.part.dim())
    if host.copied:
        entry[MASTER] = _placed(host, host.weights)
    return entry


def _tensor(array: Any) -> Any:
    """An array as a tensor that shares its memory."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _placed(host: HostParameter, tensor: Any) -> Any:
    """The part of this process as a tensor like the parameter: a DTensor for one."""
    return whole_of(tensor, host.param, host.param.shape) if is_sharded(host.param) else tensor


@torch.no_grad()
def _in_blocks(host: HostParameter, tensor: Any) -> Any:
    """The numbers of blocks in this process, for a DTensor in a DTensor."""
    if not is_sharded(host.param):
        return tensor
    blocks = block_zeros(host.param, Int8.block, tensor.dtype)
    local(blocks).reshape(-1)[: tensor.numel()].copy_(tensor)
    return blocks


def loading(side: HostSide, front: Optimizer, state_dict: Mapping[str, Any]) -> list[Operation]:
    """The operations that load a saved state into the host's optimizer.

    Weights that the state does not have become those of the parameters before.

    Args:
        front: the optimizer with the groups of PyTorch.

    Raises:
        TypeError, ValueError: if it does not match; nothing is changed then.
    """
    check_structure(state_dict)
    groups = state_dict["param_groups"]
    if [len(group["params"]) for group in groups] != front._sizes():
        raise ValueError(
            f"state_dict has groups of {[len(group['params']) for group in groups]} parameters, "
            f"the optimizer of {front._sizes()}; create the optimizer with the same groups"
        )
    known = {number for group in groups for number in group["params"]}
    if others := [key for key in state_dict["state"] if key not in known]:
        raise ValueError(
            f"state_dict: state has the keys {others!r:.100}, which are in no group; remove them"
        )
    check_loaded(front, with_own_options(front.param_groups, groups))
    order = [
        number
        for live, group in zip(front.param_groups, groups, strict=True)
        for number in numbers_of(live, group, "")
    ]
    chosen = [order[number] for number in side.numbers]
    entries = [state_dict["state"].get(number, {}) for number in chosen]
    masters = [_checked_master(host, e) for host, e in zip(side.hosts, entries, strict=True)]
    of_core = _for_core(side, entries)
    for host in side.hosts:
        host.follow(unseen=True)
    engine = side.core._engine
    with engine.lock, np.errstate(all="ignore"):  # overflow becomes infinite
        engine.refresh()
        operations = loading_of_core(engine, of_core)
    for host, master in zip(side.hosts, masters, strict=True):
        if master is not None:
            operations.append(partial(host.weights.copy_, master.reshape(host.weights.shape)))
            operations.append(partial(host.copy.copy_, host.weights))
    return [*operations, *side.all_sent(), *side.forget_settings()]


def _checked_master(host: HostParameter, entry: Mapping[str, Any]) -> Any:
    """The saved weights of a parameter, None if there are none, or if it has their dtype.

    Weights of 16 bits went through an optimizer of `torch.optim`, which converts state to the dtype
    of parameters, and does not update them: those of the parameter are the present ones.

    Raises:
        TypeError: for anything else than a tensor of float32.
        ValueError: for another shape.
    """
    master = entry.get(MASTER)
    if master is None or not host.copied:
        return None
    dtype = getattr(master, "dtype", None)
    if dtype in (torch.bfloat16, torch.float16):
        return None
    if dtype != torch.float32:
        raise TypeError(
            f"state_dict: master of {host.name} has dtype {dtype}, but weights are float32; remove "
            "it to keep the values of the parameter"
        )
    part = local(master).detach()
    if part.numel() != host.weights.numel():
        raise ValueError(
            f"state_dict: master of {host.name} has shape {tuple(part.shape)}, but the parameter "
            f"{tuple(host.part.shape)}"
        )
    return part.to("cpu")


def _for_core(side: HostSide, entries: Sequence[Mapping[str, Any]]) -> Values:
    """A state_dict of the core."""
    numbers = {"step", *side.core.carried}
    state, averages = dict[int, Values](), dict[int, Any]()
    for number, (host, entry) in enumerate(zip(side.hosts, entries, strict=True)):
        check_numbers(entry, f"state_dict: state of {host.name}")
        given = {k: v for k, v in entry.items() if v is not None and k not in BESIDE}
        if "ema" in given:
            averages[number] = _array(given.pop("ema"), "ema")
        if given:
            state[number] = {
                name: _number(value) if name in numbers else _own(host, name, value)
                for name, value in given.items()
            }
    saved: Values = {"state": state, "param_groups": side.saved_groups()}
    if averages and len(averages) == len(side.hosts):
        saved["ema"] = averages
    return saved


def _number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _own(host: HostParameter, name: str, value: Any) -> Any:
    """The part of an entry in this process, as an array."""
    array = _array(value, name)
    if name.endswith(SCALE) and is_sharded(value):  # as many blocks as the largest shard has
        return array.reshape(-1)[: -(-host.part.numel() // Int8.block)]
    return array


def _array(value: Any, name: str) -> Any:
    """A tensor as an array on the host."""
    if not isinstance(value, torch.Tensor):
        return value
    return as_array(local(value).detach().to("cpu").contiguous(), name)
