"""Tensors as the kernels see them: one stretch of memory each, in the order of storage."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from ..cuda.array import DeviceArray
from ..kernels.commit import Operation, write
from ..kernels.formats import compute_of
from ..kernels.storage.base import Column
from ..memory.checks import SUPPORTED
from ..memory.dtypes import named
from . import devices
from .shards import block_zeros, inner_names, local, unwrapped

TYPES = {
    "float32": "=f4",
    "float64": "=f8",
    "bfloat16": "=u2",  # NumPy knows only its codes
    "float16": "=f2",
    "int8": "|i1",
    "int16": "=i2",
    "int32": "=i4",
    "int64": "=i8",
}


def name_of(tensor: Any) -> str:
    """The name of a tensor's dtype."""
    return _name(tensor.dtype)


@cache
def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


@cache
def in_numpy(dtype: Any) -> Any:
    """The dtype of NumPy for one of PyTorch.

    Raises:
        ImportError: if it is bfloat16, and ml_dtypes is missing.
    """
    return named(_name(dtype))


class _Memory:
    """The memory of a dense tensor, for NumPy. (`Tensor.numpy()` would forbid its resizing.)"""

    __slots__ = ("_tensor",)  # kept alive

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    @property
    def __array_interface__(self) -> dict[str, Any]:
        tensor = self._tensor
        return {
            "data": (tensor.data_ptr(), False),
            "shape": (tensor.numel(),),
            "typestr": TYPES[name_of(tensor)],
            "version": 3,
        }


def flat(tensor: Any) -> Any:
    """The elements of a dense tensor in the order of storage: a NumPy array, or a DeviceArray.

    It keeps the memory alive.

    Raises:
        ImportError: for a bfloat16 tensor, if ml_dtypes is missing.
    """
    return _flat(local(tensor).detach())


def _flat(part: Any) -> Any:
    dtype = in_numpy(part.dtype)
    if devices.on_gpu(part):
        return DeviceArray(part.data_ptr(), (part.numel(),), dtype, part)
    array = on_host(part)
    return array if array.dtype is dtype else array.view(dtype)


def on_host(tensor: Any) -> Any:
    """The elements of a dense tensor on the host, in the order of storage."""
    return np.asarray(_Memory(tensor))


def check_memory(tensor: Any, name: str) -> None:
    """Refuse a tensor that has no elements in memory that kernels reach.

    Raises:
        RuntimeError: for a meta or fake tensor, another device, or a storage set free.
    """
    if names := inner_names(tensor):
        raise RuntimeError(
            f"{name} is a {type(tensor).__name__}, a tensor subclass made of {names}; subclasses "
            "must have one inner tensor, of the same shape and dtype: leave the parameter to an "
            "optimizer of torch.optim"
        )
    if not _reachable(tensor) or (tensor.numel() and not tensor.data_ptr()):
        raise RuntimeError(
            f"{name} is a {type(tensor).__name__} on {tensor.device} without memory on the CPU or "
            "an NVIDIA GPU; move it with .to('cpu'), or materialize it, before the first step"
        )


def _reachable(tensor: Any) -> bool:
    return tensor.device.type == "cpu" or devices.on_gpu(tensor)


def check_param(part: Any, name: str) -> None:
    """Refuse a parameter that no kernel moves.

    Raises:
        RuntimeError: for another dtype or device, and for elements that share memory.
    """
    if not part.dtype.is_floating_point:
        raise RuntimeError(
            f"{name} has dtype {part.dtype}, but parameters must be floating point tensors: "
            f"{', '.join(SUPPORTED)}"
        )
    if name_of(part) not in SUPPORTED:
        way_out = (
            "convert the model with .float() or .bfloat16()"
            if part.dtype.is_floating_point
            else "leave it out"
        )
        raise RuntimeError(
            f"{name} has dtype {part.dtype}; {', '.join(SUPPORTED)} are supported: {way_out}"
        )
    check_memory(part, name)
    if not (part.is_contiguous() or _apart(part)):
        kind = "expanded" if 0 in part.stride() else "as_strided"
        raise RuntimeError(
            f"{name} with shape {tuple(part.shape)} and strides {part.stride()} is {kind}: several "
            "of its elements share memory; give the optimizer the tensor that it is a view of"
        )


def _apart(tensor: Any) -> bool:
    """Whether each element has memory of its own."""
    pairs = zip(tensor.stride(), tensor.shape, strict=True)
    dims = sorted((stride, length) for stride, length in pairs if length > 1)
    if not tensor.numel():
        return True
    last = 0
    for stride, length in dims:
        if stride <= last:
            break
        last += stride * (length - 1)
    else:
        return True
    places = torch.zeros(1, dtype=torch.int64)  # dims interleave, as of no usual view
    for stride, length in dims:
        places = (places[:, None] + stride * torch.arange(length)).reshape(-1)
    return len(places.unique()) == len(places)


def walkable(tensor: Any) -> bool:
    """Whether a kernel could move a parameter as it is now."""
    part = local(tensor)
    there = _reachable(part) and name_of(part) in SUPPORTED
    return bool(there and (part.data_ptr() or not part.numel()))


def in_order(tensor: Any, strides: Sequence[int]) -> bool:
    """Whether the elements lie in the order of these strides; those of length 1 have none."""
    if tensor.stride() == strides:
        return True
    parts = zip(tensor.shape, tensor.stride(), strides, strict=True)
    return all(mine == other for length, mine, other in parts if length > 1)


_dense = torch.ops.aten.is_non_overlapping_and_dense


class Place:
    """Where the elements of a parameter are: its own memory, or a copy of what has gaps.

    Attributes:
        walked: the dense tensor whose memory the kernel walks through.
        array: the same as an array of the core.
        compute: the name of the dtype of the arithmetic.
    """

    def __init__(self, param: Any, name: str) -> None:
        self._outer, self.param, self.name = param, unwrapped(param), name
        self.part = local(param).detach()
        check_param(self.part, name)
        self.dense = self.part.is_contiguous() or _dense(self.part)
        self.walked = self.part if self.dense else torch.empty_like(self.part)
        self.array = _flat(self.walked)
        self.compute = compute_of(name_of(self.part))

    def follow(self) -> None:
        """See the parameter where it is now, dense and like that before."""
        self.param = unwrapped(self._outer)
        self.part = self.walked = local(self.param).detach()
        self.array = _flat(self.part)

    def zeros(self, column: Column) -> Any:
        """A tensor of zeros for what is kept of the parameter in a column."""
        dtype = getattr(torch, column.outside)
        if column.per == 1:
            return torch.zeros_like(self.param, dtype=dtype)
        return block_zeros(self.param, column.per, dtype)

    def holds(self, tensor: Any) -> bool:
        """Whether the elements of a tensor lie in the order of those of the parameter."""
        part = local(tensor)
        return (
            part.device == self.part.device
            and part.shape == self.part.shape
            and in_order(part, self.walked.stride())
        )

    def settle(self, entry: dict[str, Any], name: str, dtype: str) -> None:
        """Bring the state tensor of a name into the dtype and the order of the parameter.

        Raises:
            ValueError: if it has another shape.
        """
        tensor = entry[name]
        if tensor.shape != self.param.shape:
            raise ValueError(
                f"state {name!r} has shape {tuple(tensor.shape)}, but its parameter "
                f"{self.name} has {tuple(self.param.shape)}"
            )
        if name_of(tensor) != dtype or not self.holds(tensor):
            wanted = getattr(torch, dtype)
            entry[name] = torch.zeros_like(self.param, dtype=wanted).copy_(tensor)

    def seen(self, tensor: Any, per: int = 1) -> Any:
        """A state tensor with a number for so many elements as an array of the core.

        Raises:
            RuntimeError: if its elements are not in the order of those of the parameter.
        """
        if per == 1 and not self.holds(tensor):
            raise RuntimeError(
                f"state with strides {local(tensor).stride()} does not go with a parameter with "
                f"strides {self.part.stride()}; make the parameter contiguous"
            )
        return flat(tensor)

    def fetch(self) -> None:
        """Copy the elements of a parameter with gaps together."""
        if not self.dense:
            self.walked.copy_(self.part)

    def put_back(self) -> list[Operation]:
        """The operations that copy them back where they belong."""
        return [] if self.dense else [write(self.part, self.walked)]
