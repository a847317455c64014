"""Conversion of state to the dtypes, codes and memory order that an optimizer uses."""

from collections.abc import Callable, Mapping, Sequence, Set
from itertools import chain
from typing import Any

import numpy as np
import torch

from ..checkpoint.validate import check_compensation
from ..engine.columns import columns_for
from ..engine.convert import ORDER, SCALE, converted, is_order, same_order
from ..engine.convert import dequantized as numbers_of
from ..engine.convert import master as weights_of
from ..engine.options import Options
from ..kernels.formats import COMPENSATION, Formats, compute_of, floats
from ..kernels.storage.base import Column
from ..kernels.storage.int8 import Int8
from .complex_numbers import dtype_like
from .shards import block_shape, is_ragged, local, unwrapped
from .tensors import ParameterMemory, flat, in_numpy, name_of

MASTER = "master"  # the name of the float32 weights of 16-bit parameters in offloaded state

Entry = dict[str, Any]


def to_format(
    memory: ParameterMemory, entry: Entry, names: Sequence[str], formats: Formats
) -> None:
    """Convert the named state in an entry to the given formats: codes to floats, floats to codes.

    Raises:
        ValueError: for another shape, codes without their scales, and low bits of a parameter that
            the optimizer would discard.
    """
    kept = columns_for(tuple(names), formats)
    columns = {name: each.column for name, each in kept.items()}
    if (names and ORDER in entry) or any(name + SCALE in entry for name in names):
        _keep_order(memory, entry)
    for name in names:
        if name not in entry:
            continue
        check_codes(entry, name)
        if name in (*formats.row_state, *formats.column_state):
            memory.convert_rows(entry, name, columns[name], kept[name].line)
            continue
        coded = formats.state == "int8"
        if name + SCALE in entry and not (
            coded and _in_kernel_layout(memory, entry, name, columns)
        ):
            entry[name] = dequantized(memory.param, entry, name)
            del entry[name + SCALE]
        if name + SCALE not in entry:
            memory.convert(entry, name, memory.compute if coded else columns[name].outside)
            if coded:
                _quantize(memory, entry, name, formats, columns)
    if COMPENSATION in entry:
        codes = np.empty(0, in_numpy(entry[COMPENSATION].dtype))
        check_compensation({COMPENSATION: codes}, formats, f"state of {memory.name}")
        memory.convert(entry, COMPENSATION, columns[COMPENSATION].outside)


def check_codes(entry: Mapping[str, Any], name: str) -> None:
    """Check that codes have their scales, and that neither was cast to another dtype.

    Raises:
        ValueError: naming the entry.
    """
    scale = entry.get(name + SCALE)
    if scale is None:
        if entry[name].dtype == torch.int8:
            raise ValueError(
                f"state {name!r} has codes, but its scales {name + SCALE!r} are missing"
            )
        return
    if entry[name].dtype != torch.int8 or scale.dtype != torch.float32:
        raise ValueError(
            f"state {name!r} has {entry[name].dtype} and {scale.dtype}, expected codes of "
            "torch.int8 and scales of torch.float32; load the state without casting it"
        )


def _keep_order(memory: ParameterMemory, entry: Entry) -> None:
    """Convert codes to floats if their blocks have another memory order than the parameter.

    Raises:
        ValueError: if their order is unknown.
    """
    coded = [name for name in entry if name + SCALE in entry]
    for name in coded:
        check_codes(entry, name)
    orders = [order_in(entry, name, memory.dense_part) for name in coded]
    if orders and not same_order(orders[0], order_of(memory.dense_part), memory.part.shape):
        for name in coded:
            entry[name] = dequantized(memory.param, entry, name)
            del entry[name + SCALE]
        del entry[ORDER]
    elif orders:
        note_order(memory, entry)


def order_of(tensor: Any) -> list[int]:
    """The dimensions of a tensor, outermost in memory first."""
    if tensor.is_contiguous():
        return [*range(tensor.dim())]
    return sorted(range(tensor.dim()), key=lambda dim: (-tensor.stride(dim), dim))


def order_in(entry: Mapping[str, Any], name: str, part: Any) -> list[int]:
    """The order of dimensions of the blocks of codes.

    If the entry does not record it, codes and parameter must be contiguous.

    Raises:
        ValueError: if the order is unknown or invalid.
    """
    codes = local(entry[name])
    rows = [*range(codes.dim())]
    if ORDER not in entry:
        laid = order_of(part)
        if not codes.is_contiguous() or not same_order(laid, range(len(laid)), part.shape):
            raise ValueError(
                f"state {name!r} has codes, but {ORDER!r}, the memory order of their blocks, is "
                f"missing, and codes or parameter are not contiguous (strides {codes.stride()} and "
                f"{part.stride()}); save opt.dequantized_state() of the optimizer that trained them"
            )
        return rows
    order = entry[ORDER].tolist()
    if not is_order(order, rows):
        raise ValueError(f"state {ORDER!r} is {order}, not an order of the dimensions of {name!r}")
    return [int(dim) for dim in order]


def note_order(memory: ParameterMemory, entry: Entry) -> None:
    """Record the memory order of the parameter, which its codes follow, in an entry with codes."""
    if ORDER not in entry:
        entry[ORDER] = torch.tensor(order_of(memory.dense_part), dtype=torch.int64, device="cpu")


def _in_kernel_layout(
    memory: ParameterMemory, entry: Entry, name: str, columns: Mapping[str, Column]
) -> bool:
    """True if codes and scales have, after a copy if needed, the layout that kernels use."""
    codes, scales = entry[name], entry[name + SCALE]
    shape = block_shape(memory.param, columns[name + SCALE].per).shape
    if not (
        scales.shape == shape
        and local(scales).is_contiguous()
        and local(scales).device == memory.part.device
        and local(codes).shape == memory.part.shape
    ):
        return False
    memory.convert(entry, name, "int8")
    return True


def _quantize(
    memory: ParameterMemory,
    entry: Entry,
    name: str,
    formats: Formats,
    columns: Mapping[str, Column],
) -> None:
    source = floats(formats.compute, formats.compute)
    values = flat(entry[name])
    parts = converted((values,), source, formats.state_storage, values.size)
    for part, array in zip((name, name + SCALE), parts, strict=True):
        entry[part] = memory.zeros(columns[part])
        flat(entry[part])[: array.size] = array
    note_order(memory, entry)


def dequantized(param: Any, entry: Mapping[str, Any], name: str) -> Any:
    """The numbers that codes and the scales of their blocks represent.

    Raises:
        ValueError: if their shapes are not those of the parameter in this process.
    """
    codes, scales = entry[name], entry[name + SCALE]
    shape = block_shape(param, Int8.block).shape
    if codes.shape != param.shape or local(codes).shape != local(param).shape:
        raise ValueError(
            f"codes have shape {tuple(local(codes).shape)}, but the parameter has "
            f"{tuple(local(param).shape)} in this process"
        )
    if scales.shape != shape:
        raise ValueError(
            f"codes have scales of shape {tuple(scales.shape)}, expected {shape}: their blocks are "
            "those of other shards; save opt.dequantized_state() of the optimizer that trained them"
        )
    order, compute = order_in(entry, name, local(param)), compute_of(name_of(param))
    laid = local(codes).detach().permute(order).contiguous()
    numbers = torch.empty_like(laid, dtype=getattr(torch, compute))
    flat(numbers)[...] = numbers_of(flat(laid), flat(scales.contiguous()), compute)
    values = torch.empty_like(codes, dtype=numbers.dtype)
    back = sorted(range(len(order)), key=order.__getitem__)
    local(values).copy_(numbers.permute(back))
    return values


def for_any_shards(param: Any, entry: Entry) -> Entry:
    """An entry that loads with any number of shards: with floats in place of codes whose blocks
    depend on it. They become the same codes again."""
    coded = [name for name in entry if name + SCALE in entry]
    if not coded or not is_ragged(param, Int8.block):
        return entry
    rest = entry.keys() - {ORDER, *(name + SCALE for name in coded)}
    return {
        name: dequantized(param, entry, name) if name in coded else value
        for name, value in entry.items()
        if name in rest
    }


def floats_of(param: Any, entry: Mapping[str, Any], names: Set[str]) -> Entry:
    """The named state as floats of the arithmetic, other state unchanged; no `compensation`."""
    wanted = dtype_like(param, compute_of(name_of(param)))
    left_out = {COMPENSATION, ORDER, *(name + SCALE for name in names)}
    result = {name: value for name, value in entry.items() if name not in left_out}
    for name in names & result.keys():
        check_codes(entry, name)
        scales = entry.get(name + SCALE)
        floats = entry[name] if scales is None else dequantized(param, entry, name)
        result[name] = floats.to(wanted)
    return result


def master(param: Any, name: str, entry: Entry, options: Options) -> Any:
    """A parameter in the dtype of the arithmetic, including its stored low bits."""
    param, compute = unwrapped(param), dtype_like(param, compute_of(name_of(param)))
    if COMPENSATION not in entry:
        return param.detach().to(compute, copy=True)
    memory = ParameterMemory(param, name)
    formats = options.formats(memory.array)
    to_format(memory, entry, (), formats)
    memory.pack()
    weights = torch.zeros_like(param, dtype=compute)
    flat(weights)[...] = weights_of(memory.array, flat(entry[COMPENSATION]), formats)
    return weights


@torch.no_grad()
def by_param(
    optimizer: Any, saved: dict[str, Any], change: Callable[[Any, Entry], Entry]
) -> dict[int, Entry]:
    """The state in a state_dict of an optimizer, each entry after a change."""
    numbers = chain.from_iterable(group["params"] for group in saved["param_groups"])
    by_number = dict(zip(numbers, optimizer._params(), strict=True))
    with optimizer._lock, optimizer._scope():
        return {
            number: change(by_number[number], entry) for number, entry in saved["state"].items()
        }
