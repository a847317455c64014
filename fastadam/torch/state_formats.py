"""State in the formats that an optimizer wants, whatever was loaded or written."""

from collections.abc import Mapping, Sequence, Set
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
from .shards import block_shape, local, unwrapped
from .tensors import Place, flat, in_numpy, name_of

Entry = dict[str, Any]


def fit(place: Place, entry: Entry, names: Sequence[str], formats: Formats) -> None:
    """Bring the state of these names into its formats: codes into floats, floats into codes.

    Raises:
        ValueError: for another shape, codes without their scales, and low bits of a parameter that
            the optimizer would lose.
    """
    columns = {name: kept.column for name, kept in columns_for(tuple(names), formats).items()}
    if (names and ORDER in entry) or any(name + SCALE in entry for name in names):
        _keep_order(place, entry)
    for name in names:
        if name not in entry:
            continue
        check_codes(entry, name)
        coded = formats.state == "int8"
        if name + SCALE in entry and not (coded and _in_place(place, entry, name, columns)):
            entry[name] = dequantized(place.param, entry, name)
            del entry[name + SCALE]
        if name + SCALE not in entry:
            place.settle(entry, name, place.compute if coded else columns[name].outside)
            if coded:
                _quantize(place, entry, name, formats, columns)
    if COMPENSATION in entry:
        codes = np.empty(0, in_numpy(entry[COMPENSATION].dtype))
        check_compensation({COMPENSATION: codes}, formats, f"state of {place.name}")
        place.settle(entry, COMPENSATION, columns[COMPENSATION].outside)


def check_codes(entry: Mapping[str, Any], name: str) -> None:
    """Refuse codes without their scales, and scales that somebody has cast.

    Raises:
        ValueError: naming the entry.
    """
    scale = entry.get(name + SCALE)
    if scale is None:
        if entry[name].dtype == torch.int8:
            raise ValueError(f"state {name!r} has codes, but there is no {name + SCALE!r}")
        return
    if entry[name].dtype != torch.int8 or scale.dtype != torch.float32:
        raise ValueError(
            f"state {name!r} has {entry[name].dtype} and {scale.dtype}, expected codes of "
            "torch.int8 and scales of torch.float32; something cast them, which spoils both"
        )


def _keep_order(place: Place, entry: Entry) -> None:
    """Make floats of codes whose blocks follow another order than that of the parameter.

    Raises:
        ValueError: if it is not known which order they follow.
    """
    coded = [name for name in entry if name + SCALE in entry]
    for name in coded:
        check_codes(entry, name)
    orders = [order_in(entry, name, place.part) for name in coded]
    if orders and not same_order(orders[0], order_of(place.part), place.part.shape):
        for name in coded:
            entry[name] = dequantized(place.param, entry, name)
            del entry[name + SCALE]
        del entry[ORDER]
    elif orders:
        note_order(place, entry)


def order_of(tensor: Any) -> list[int]:
    """The dims of a tensor, outermost in memory first."""
    if tensor.is_contiguous():
        return [*range(tensor.dim())]
    return sorted(range(tensor.dim()), key=lambda dim: (-tensor.stride(dim), dim))


def order_in(entry: Mapping[str, Any], name: str, part: Any) -> list[int]:
    """The order of dims that codes follow; that of rows, if they do not say and all is so.

    Raises:
        ValueError: if that is not known, or is no order.
    """
    codes = local(entry[name])
    rows = [*range(codes.dim())]
    if ORDER not in entry:
        laid = order_of(part)
        if not codes.is_contiguous() or not same_order(laid, range(len(laid)), part.shape):
            raise ValueError(
                f"state {name!r} has codes, but there is no {ORDER!r} to say which order of memory "
                f"their blocks follow, and codes or parameter are not contiguous (strides "
                f"{codes.stride()} and {part.stride()}); where they were trained, save "
                "opt.dequantized_state()"
            )
        return rows
    order = entry[ORDER].tolist()
    if not is_order(order, rows):
        raise ValueError(f"state {ORDER!r} is {order}, which is no order of the dims of {name!r}")
    return [int(dim) for dim in order]


def note_order(place: Place, entry: Entry) -> None:
    """Keep with the codes in an entry which order of dims they follow: that of the parameter."""
    if ORDER not in entry:
        entry[ORDER] = torch.tensor(order_of(place.part), dtype=torch.int64, device="cpu")


def _in_place(place: Place, entry: Entry, name: str, columns: Mapping[str, Column]) -> bool:
    """Whether codes and scales are where the kernel would have put them, or were brought there."""
    codes, scales = entry[name], entry[name + SCALE]
    shape = block_shape(place.param, columns[name + SCALE].per).shape
    if not (
        scales.shape == shape
        and local(scales).is_contiguous()
        and local(scales).device == place.part.device
        and local(codes).shape == place.part.shape
    ):
        return False
    place.settle(entry, name, "int8")
    return True


def _quantize(
    place: Place, entry: Entry, name: str, formats: Formats, columns: Mapping[str, Column]
) -> None:
    source = floats(formats.compute, formats.compute)
    values = flat(entry[name])
    parts = converted((values,), source, formats.state_storage, values.size)
    for part, array in zip((name, name + SCALE), parts, strict=True):
        entry[part] = place.zeros(columns[part])
        flat(entry[part])[: array.size] = array
    note_order(place, entry)


def dequantized(param: Any, entry: Mapping[str, Any], name: str) -> Any:
    """The numbers that codes and the scales of their blocks stand for.

    Raises:
        ValueError: if they are not those of a parameter, or of other shards.
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
            f"codes come with scales of shape {tuple(scales.shape)}, expected {shape}; those of "
            "other shards do not fit: save opt.dequantized_state()"
        )
    order, compute = order_in(entry, name, local(param)), compute_of(name_of(param))
    laid = local(codes).detach().permute(order).contiguous()
    numbers = torch.empty_like(laid, dtype=getattr(torch, compute))
    flat(numbers)[...] = numbers_of(flat(laid), flat(scales.contiguous()), compute)
    values = torch.empty_like(codes, dtype=numbers.dtype)
    back = sorted(range(len(order)), key=order.__getitem__)
    local(values).copy_(numbers.permute(back))
    return values


def floats_of(param: Any, entry: Mapping[str, Any], names: Set[str]) -> Entry:
    """The state of these names as floats of the arithmetic, all else as it is but for what
    `compensation` keeps."""
    wanted = getattr(torch, compute_of(name_of(param)))
    left_out = {COMPENSATION, ORDER, *(name + SCALE for name in names)}
    result = {name: value for name, value in entry.items() if name not in left_out}
    for name in names & result.keys():
        check_codes(entry, name)
        scales = entry.get(name + SCALE)
        floats = entry[name] if scales is None else dequantized(param, entry, name)
        result[name] = floats.to(wanted)
    return result


def master(param: Any, name: str, entry: Entry, options: Options) -> Any:
    """A parameter in the dtype of the arithmetic, with what was kept of it besides."""
    param, compute = unwrapped(param), getattr(torch, compute_of(name_of(param)))
    if COMPENSATION not in entry:
        return param.detach().to(compute, copy=True)
    place = Place(param, name)
    formats = options.formats(place.array)
    fit(place, entry, (), formats)
    place.fetch()
    weights = torch.zeros_like(param, dtype=compute)
    flat(weights)[...] = weights_of(place.array, flat(entry[COMPENSATION]), formats)
    return weights
