"""The masks of a step, which select the elements that it updates."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .shards import is_sharded, local
from .tensors import ParameterMemory, check_memory, flat, in_order

FORMS = "a list of a mask or None for each parameter, in order, or a dict {parameter: mask}"


def masks_of(mask: Any, params: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """One mask for each parameter of an optimizer; None for those that are updated as a whole.

    Args:
        mask: the masks as given to a step.
        params: all parameters of the optimizer, in order.
        names: their names in messages.

    Raises:
        TypeError: for anything but tensors of bool.
        ValueError: for another shape or number, and for keys that are not parameters.
        RuntimeError: for another device, and for DTensors.
    """
    masks = _in_order(mask, params)
    for each, param, name in zip(masks, params, names, strict=True):
        if each is not None:
            _check(each, param, name)
    return masks


def _in_order(mask: Any, params: Sequence[Any]) -> list[Any]:
    if isinstance(mask, torch.Tensor):
        if len(params) > 1:
            raise ValueError(
                f"mask is one tensor, but the optimizer has {len(params)} parameters; give {FORMS}"
            )
        return [mask]
    if isinstance(mask, Mapping):
        by_id = {id(param): each for param, each in mask.items()}
        known = {id(param) for param in params}
        for key in mask:
            if id(key) not in known:
                shown = f"a tensor of shape {tuple(key.shape)}" if _is_tensor(key) else repr(key)
                raise ValueError(
                    f"mask has a key, {shown}, that is not a parameter of the optimizer; its keys "
                    "must be tensors in param_groups"
                )
        return [by_id.get(id(param)) for param in params]
    if not isinstance(mask, list | tuple):
        raise TypeError(
            f"mask is of type {type(mask).__name__}; give a tensor of bool for the only parameter, "
            f"{FORMS}"
        )
    if len(mask) != len(params):
        raise ValueError(
            f"mask has length {len(mask)}, but the optimizer has {len(params)} parameters; "
            f"give {FORMS}"
        )
    return [*mask]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _check(mask: Any, param: Any, name: str) -> None:
    called = f"the mask of {name}"
    if not _is_tensor(mask):
        raise TypeError(
            f"{called} is of type {type(mask).__name__}; give a tensor of bool, or None"
        )
    if mask.dtype != torch.bool or mask.layout != torch.strided:
        raise TypeError(
            f"{called} is of {mask.dtype} and layout {mask.layout}; give a dense tensor of bool, "
            "such as mask != 0"
        )
    if is_sharded(param) or is_sharded(mask):
        raise RuntimeError(f"{called}: DTensors have no masks; give None for this parameter")
    if mask.shape != param.shape:
        rows = param.dim() > 1 and mask.shape == param.shape[:1]
        one = (len(mask), *[1] * (param.dim() - 1)) if rows else ()
        hint = f"expand it: mask.reshape{one}.expand_as(param)" if rows else "they must be the same"
        raise ValueError(
            f"{called} has shape {tuple(mask.shape)}, but its parameter "
            f"{tuple(param.shape)}; {hint}"
        )
    if mask.device != param.device:
        raise RuntimeError(
            f"{called} is on {mask.device}, but its parameter on {param.device}; move it there"
        )
    check_memory(local(mask), called)


@torch.no_grad()
def arrays_of(masks: Sequence[Any], memories: Sequence[ParameterMemory]) -> list[Any]:
    """The masks of parameters as arrays of the core, in the order of storage of the parameters.

    A mask in another order, such as an expanded one, is copied.
    """
    whole = [m.part.numel() for each, m in zip(masks, memories, strict=True) if each is None]
    device = memories[0].part.device
    ones = torch.ones(max(whole, default=0), dtype=torch.bool, device=device)
    return [
        flat(ones[: memory.part.numel()] if mask is None else _like(local(mask), memory))
        for mask, memory in zip(masks, memories, strict=True)
    ]


def _like(mask: Any, memory: ParameterMemory) -> Any:
    if memory.param.is_complex():
        mask = mask[..., None].expand(memory.part.shape)
    if in_order(mask, memory.dense_part.stride()):
        return mask
    return torch.empty_like(memory.dense_part, dtype=torch.bool).copy_(mask)
