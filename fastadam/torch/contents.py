"""Contents of a checkpoint, from an optimizer and a model of PyTorch and back."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from ..checkpoint.contents import (
    MODEL,
    PARAM,
    Contents,
    Source,
    about_source,
    check_param,
    contents_of,
    state_dict_of,
)
from ..checkpoint.validate import check_entry, numbers_of
from ..cuda.array import DeviceArray
from ..engine.options import OWN
from ..engine.param_groups import CARRIED
from ..kernels.commit import Operation, Write, commit
from ..kernels.formats import Formats, compute_of
from ..memory.dtypes import named
from ..rules.algorithm import Values
from . import devices
from .complex_numbers import check_conjugate, reals
from .shards import is_sharded, local
from .state import dtypes
from .tensors import OpaqueTensor


class StoredTensor(OpaqueTensor):
    """An array of a checkpoint, which is read when PyTorch's `load_state_dict` copies it.

    With `pairs`, it holds complex numbers as pairs of reals.
    """

    def __init__(self, array: Any, write: Write, pairs: bool = False) -> None:
        self._array, self._write, self._pairs = array, write, pairs

    def dim(self) -> int:
        """The number of dimensions."""
        return int(self._array.ndim) - self._pairs

    def copy_to(self, device: Any) -> Any:
        """A tensor with these numbers on a device."""
        dtype = getattr(torch, self._array.dtype.name)
        tensor = torch.empty(self._array.shape, dtype=dtype, device=device)
        commit([self._write(as_array(tensor, "state"), self._array)])
        return torch.view_as_complex(tensor) if self._pairs else tensor


class _Strided:
    """The memory of a tensor of any strides, for NumPy."""

    def __init__(self, tensor: Any, dtype: Any) -> None:
        size = tensor.element_size()
        self._tensor = tensor
        self.__array_interface__ = {
            "data": (tensor.data_ptr(), False),
            "shape": tuple(tensor.shape),
            "strides": tuple(size * stride for stride in tensor.stride()),
            "typestr": dtype.str if dtype.kind in "fiub" else f"|V{size}",
            "version": 3,
        }


def as_array(tensor: Any, name: str) -> Any:
    """A tensor as an array that shares its memory, or on a GPU has that of a contiguous copy;
    complex numbers are pairs of reals.

    Raises:
        TypeError: for a DTensor, and for what no checkpoint holds.
    """
    if is_sharded(tensor):
        raise TypeError(
            f"{name} is a DTensor, of which this process has a part; use "
            "torch.distributed.checkpoint, or save a full state_dict"
        )
    part = local(tensor).detach()
    if part.is_complex():
        check_conjugate(part, name)
        part = reals(part)
    try:
        dtype = named(str(part.dtype).removeprefix("torch."))
    except TypeError:
        raise TypeError(
            f"{name} is a tensor of {part.dtype}, which a checkpoint cannot hold"
        ) from None
    if part.layout != torch.strided or part.is_meta:
        raise TypeError(
            f"{name} is a {part.layout} tensor on {part.device}; a checkpoint needs a dense one"
        )
    if devices.on_gpu(part):
        part = part.contiguous()
        return DeviceArray(part.data_ptr(), tuple(part.shape), dtype, part)
    if not part.numel():
        return np.empty(tuple(part.shape), dtype)
    return np.asarray(_Strided(part, dtype)).view(dtype)


def contents_of_tensors(optimizer: Any, about: Values, model: Any = None) -> Contents:
    """The contents of an optimizer, and of a model, which share their memory."""
    saved = optimizer.state_dict()
    params = optimizer._params()
    names = optimizer._names()
    arrays = list(map(as_array, params, names))
    numbers = {"step", *optimizer._core.carried}
    state = {
        number: {key: _value(key, v, numbers) for key, v in entry.items() if v is not None}
        for number, entry in saved["state"].items()
    }
    for entry in state.values():
        for key in dtypes(optimizer._options):  # averages apart, copies can be made anew
            entry.pop(key, None)
    given = _names_of(optimizer, model)
    groups = [
        {**group, **({"param_names": own} if own else {})}
        for group, own in zip(saved["param_groups"], given, strict=True)
    ]
    layout: Values = {"state": state, "param_groups": groups}
    if optimizer._options.ema_decay is not None:
        layout["ema"] = dict(enumerate(map(as_array, optimizer.ema, names)))
    about = {"optimizer": type(optimizer).__name__, **about, "options": vars(optimizer._options)}
    contents = contents_of(layout, arrays, {*optimizer._core.carried}, about)
    if model is not None:
        known = {_memory(param) for param in params}
        for (key, *_), tensor in _others(model, known):
            contents.arrays[f"{MODEL}/{key}"] = as_array(tensor, key)
    return contents


def _value(key: str, value: Any, numbers: set[str]) -> Any:
    """The number or array that is saved of an entry of state."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.item() if key in numbers else as_array(value, f"state {key!r}")


def restore_tensors(optimizer: Any, source: Source, model: Any = None) -> None:
    """Load contents into an optimizer and a model, all or nothing.

    Raises:
        TypeError, ValueError: naming the source, if it does not fit or is damaged; raised before
            anything changes.
    """
    params = optimizer._params()
    try:
        saved, state_dict = state_dict_of(source.contents)
        groups = _matched(optimizer, state_dict["param_groups"], model)
        _check_kind(optimizer, groups, source.contents.metadata.get("optimizer"))
        numbers = {*source.contents.metadata["carried"]}
        order = [*chain.from_iterable(group["params"] for group in groups)]
        writes = list[Operation]()
        owners = (group for group in optimizer.param_groups for _ in group["params"])
        for param, number, name, group in zip(
            params, order, optimizer._names(), owners, strict=True
        ):
            array = _target(param, name)
            check_param(array, saved[number], name)
            entry = {k: v for k, v in state_dict["state"].get(number, {}).items() if k != "step"}
            core, plain = optimizer._core, Formats.alike(compute_of(array.dtype.name))
            formats = plain.ruled(core.variant({**core.defaults, **group}), array.shape)
            check_entry(entry, set(), numbers, array, f"state of {name}", formats)
            writes.append(source.write(array, saved[number]))
        if model is not None:
            known = {_memory(param) for param in params}
            writes += _model_writes(model, source, known)
        pairs = {n for n, param in zip(order, params, strict=True) if param.is_complex()}
        state_dict = _stored({**state_dict, "param_groups": groups}, source.write, pairs)
    except (TypeError, ValueError) as error:
        raise about_source(error, source.label) from None
    source.verify()
    try:
        optimizer._loaded = writes
        optimizer.load_state_dict(state_dict)
    except (TypeError, ValueError) as error:
        raise about_source(error, source.label) from None
    finally:
        optimizer._loaded = ()
        optimizer._written()


def _stored(state_dict: Values, write: Write, pairs: set[Any]) -> Values:
    """A state_dict whose arrays are read when they are copied; numbers stay.

    Args:
        state_dict: the state_dict.
        write: how an array is read.
        pairs: the numbers of complex parameters.
    """

    def deferred(entry: Mapping[str, Any], number: Any) -> Values:
        return {
            name: value
            if value.base is None and not value.ndim
            else StoredTensor(value, write, number in pairs)
            for name, value in entry.items()
        }

    state = {number: deferred(entry, number) for number, entry in state_dict["state"].items()}
    stored = {**state_dict, "state": state}
    if "ema" in state_dict:
        averages = state_dict["ema"].items()
        stored["ema"] = {n: StoredTensor(value, write, n in pairs) for n, value in averages}
    return stored


def restore_model(model: Any, source: Source) -> None:
    """Load the parameters and buffers of a model, all or nothing.

    Raises:
        TypeError, ValueError: naming the source, as `restore_tensors`.
    """
    try:
        writes = _model_writes(model, source, set())
    except (TypeError, ValueError) as error:
        raise about_source(error, source.label) from None
    source.verify()
    commit(writes)


def _model_writes(model: Any, source: Source, known: set[Any]) -> list[Operation]:
    """The operations that write the tensors of a model that are not in known memory."""
    arrays, writes = source.contents.arrays, list[Operation]()
    for keys, tensor in _others(model, known):
        key = keys[0]
        places = [f"{kind}/{each}" for kind in (MODEL, PARAM) for each in keys]
        saved = next((arrays[place] for place in places if place in arrays), None)
        if saved is None:
            raise ValueError(
                f"it has no {key!r} of the model; save with the model: fastadam.torch.save(path, "
                "opt, model)"
            )
        target = _target(tensor, key)
        check_param(target, saved, key)
        writes.append(source.write(target, saved))
    return writes


def _target(tensor: Any, name: str) -> Any:
    """A tensor as an array that can be written to.

    Raises:
        TypeError: for a tensor of a GPU that is not contiguous.
    """
    if devices.on_gpu(local(tensor)) and not local(tensor).is_contiguous():
        raise TypeError(
            f"{name} with strides {tensor.stride()} on a GPU is not contiguous; load into a "
            "contiguous tensor"
        )
    return as_array(tensor, name)


def _others(model: Any, known: set[Any]) -> Iterable[tuple[list[str], Any]]:
    """The tensors of a model that are not in known memory; several names may share one.

    Raises:
        TypeError: for extra state that is not a tensor.
    """
    found: dict[Any, tuple[list[str], Any]] = {}
    for key, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"the model's {key!r} is a {type(value).__name__}, not a tensor; a checkpoint "
                "cannot hold it"
            )
        if (memory := _memory(value)) not in known:
            found.setdefault(memory, ([], value))[0].append(key)
    return found.values()


def _memory(tensor: Any) -> Any:
    """The address of a tensor; tensors without elements are told apart by identity."""
    part = local(tensor)
    where = part.data_ptr() if part.numel() else id(tensor)
    return where, tuple(part.shape), part.stride(), part.dtype


def _names_of(optimizer: Any, model: Any) -> list[list[str] | None]:
    """The names of the parameters of each group: those in a model, or the group's own.

    Raises:
        ValueError: if a parameter is not in the model.
    """
    if model is None:
        return [group.get("param_names") for group in optimizer.param_groups]
    names = {id(param): name for name, param in model.named_parameters()}
    found = list[list[str] | None]()
    for k, group in enumerate(optimizer.param_groups):
        lost = [i for i, param in enumerate(group["params"]) if id(param) not in names]
        if lost:
            raise ValueError(
                f"model has no param_groups[{k}]['params'][{lost[0]}]; give the model whose "
                "parameters the optimizer has"
            )
        found.append([names[id(param)] for param in group["params"]])
    return found


def _matched(optimizer: Any, saved: Sequence[Values], model: Any) -> list[Values]:
    """Saved groups in the order of the live parameters, with values of the live kinds.

    Raises:
        ValueError: if groups or names are others.
    """
    live = optimizer.param_groups
    if len(saved) != len(live):
        raise ValueError(
            f"it has {len(saved)} param_groups, the optimizer {len(live)}; create the optimizer "
            "with the same groups"
        )
    groups = []
    names = _names_of(optimizer, model)
    for k, (mine, theirs, own) in enumerate(zip(live, saved, names, strict=True)):
        where = f"param_groups[{k}]: " if len(live) > 1 else ""
        numbers = numbers_of({**mine, "param_names": own}, theirs, where)
        values = {
            key: _like(mine.get(key), value)
            for key, value in theirs.items()
            if key != "param_names"
        }
        kept = {"param_names": mine["param_names"]} if "param_names" in mine else {}
        groups.append({**values, **kept, "params": numbers})
    return groups


def _check_kind(optimizer: Any, groups: Sequence[Values], kind: str | None) -> None:
    """Refuse hyperparameters of another optimizer, which PyTorch would add to the groups.

    Raises:
        ValueError: naming them.
    """
    known = {*optimizer._known, *OWN, *CARRIED}
    for mine, theirs in zip(optimizer.param_groups, groups, strict=True):
        strange = theirs.keys() - known - mine.keys()
        if strange and kind != type(optimizer).__name__:
            raise ValueError(
                f"it is of {kind}, whose hyperparameters {sorted(strange)} "
                f"{type(optimizer).__name__} does not have"
            )


def _like(live: Any, value: Any) -> Any:
    """A saved value as a tensor or a tuple, where the live one is."""
    if isinstance(live, torch.Tensor) and isinstance(value, int | float):
        return torch.full_like(live, value)
    return tuple(value) if isinstance(value, list) and isinstance(live, tuple) else value
