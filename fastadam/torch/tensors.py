"""Memory of tensors, as kernels access it: contiguous, in the order of storage."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from ..cuda.array import DeviceArray
from ..engine.columns import line_shape
from ..kernels.commit import Operation, write
from ..kernels.formats import compute_of
from ..kernels.storage.base import Column
from ..memory.checks import SUPPORTED
from ..memory.dtypes import named
from . import devices
from .complex_numbers import COMPLEX, check_conjugate, dtype_like, reals
from .shards import block_zeros, inner_names, local, row_zeros, unwrapped

TYPES = {
    "float32": "=f4",
    "float64": "=f8",
    "bfloat16": "=u2",  # NumPy has no bfloat16
    "float16": "=f2",
    "bool": "|b1",
    "int8": "|i1",
    "int16": "=i2",
    "int32": "=i4",
    "int64": "=i8",
}


def name_of(tensor: Any) -> str:
    """The name of the dtype of a tensor's numbers; complex ones are two reals each."""
    return _name(tensor.dtype)


@cache
def _name(dtype: Any) -> str:
    return str(COMPLEX.get(dtype, dtype)).removeprefix("torch.")


@cache
def in_numpy(dtype: Any) -> Any:
    """The NumPy dtype of the numbers in tensors of a PyTorch dtype.

    Raises:
        ImportError: if it is bfloat16, and ml_dtypes is missing.
    """
    return named(_name(dtype))


class OpaqueTensor:
    """A wrapper of a tensor, which PyTorch's `load_state_dict` passes on unchanged."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor

    def copy_to(self, device: Any) -> Any:
        """A copy of the tensor on a device."""
        return self._tensor.detach().to(device or self._tensor.device, copy=True)


class _Memory:
    """The memory of a dense tensor, for NumPy. (`Tensor.numpy()` would make it non-resizable.)"""

    __slots__ = ("_tensor",)  # keeps the memory alive

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
    """The numbers of a dense tensor in the order of storage: a NumPy array, or a DeviceArray.

    It keeps the memory alive. Complex numbers are pairs of reals.

    Raises:
        ImportError: for a bfloat16 tensor, if ml_dtypes is missing.
    """
    return _flat(reals(local(tensor).detach()))


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
    """Check that kernels can access the memory of a tensor.

    Raises:
        RuntimeError: for a meta or fake tensor, another device, or a freed storage.
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
    """Check that kernels can update a parameter.

    Raises:
        RuntimeError: for another dtype or device, and for elements that share memory.
    """
    if not part.dtype.is_floating_point:
        raise RuntimeError(
            f"{name} has dtype {part.dtype}, but parameters must be floating point tensors: "
            f"{', '.join(SUPPORTED)}, or complex64 and complex128"
        )
    if name_of(part) not in SUPPORTED:
        raise RuntimeError(
            f"{name} has dtype {part.dtype}; {', '.join(SUPPORTED)} are supported: "
            "convert the model with .float() or .bfloat16()"
        )
    check_memory(part, name)
    if not (part.is_contiguous() or _apart(part)):
        kind = "expanded" if 0 in part.stride() else "as_strided"
        raise RuntimeError(
            f"{name} with shape {tuple(part.shape)} and strides {part.stride()} is {kind}: several "
            "of its elements share memory; give the optimizer the tensor that it is a view of"
        )


def _apart(tensor: Any) -> bool:
    """True if no two elements share memory."""
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
    memories = torch.zeros(1, dtype=torch.int64)  # interleaved dims, which are unusual
    for stride, length in dims:
        memories = (memories[:, None] + stride * torch.arange(length)).reshape(-1)
    return len(memories.unique()) == len(memories)


def is_supported(tensor: Any) -> bool:
    """True if kernels can update a parameter in its current dtype and memory."""
    part = local(tensor)
    there = _reachable(part) and name_of(part) in SUPPORTED
    return bool(there and (part.data_ptr() or not part.numel()))


def in_order(tensor: Any, strides: Sequence[int]) -> bool:
    """True if the strides are these, except for dimensions of length 1."""
    if tensor.stride() == strides:
        return True
    parts = zip(tensor.shape, tensor.stride(), strides, strict=True)
    return all(mine == other for length, mine, other in parts if length > 1)


dense = torch.ops.aten.is_non_overlapping_and_dense


def _part(param: Any, name: str) -> Any:
    """The numbers of a parameter in this process.

    Raises:
        RuntimeError: for a lazy conjugate.
    """
    part = local(param).detach()
    check_conjugate(part, name)
    return reals(part)


class ParameterMemory:
    """The dense memory of a parameter: its own, or that of a packed copy if it has gaps.

    Args:
        param: the parameter.
        name: its name in messages.
        in_rows: True if its rows must be contiguous, so that a parameter in another memory order
            is packed, too.

    Attributes:
        param: the parameter without wrappers.
        part: the part of it in this process; that of a complex parameter as pairs of reals.
        dense: True if kernels update that part itself, and no packed copy.
        dense_part: the dense tensor that kernels update.
        array: the same as an array of the core.
        compute: the name of the dtype of the arithmetic.
    """

    def __init__(self, param: Any, name: str, in_rows: bool = False) -> None:
        self._order = torch.contiguous_format if in_rows else torch.preserve_format
        self._outer, self.param, self.name = param, unwrapped(param), name
        self.part = _part(self.param, name)
        check_param(self.part, name)
        self.dense = self.part.is_contiguous() or (not in_rows and dense(self.part))
        self.dense_part = self.part
        if not self.dense:
            self.dense_part = torch.empty_like(self.part, memory_format=self._order)
        self.array = _flat(self.dense_part)
        self.compute = compute_of(name_of(self.part))

    def rebind(self) -> None:
        """Use the current memory of the parameter, which has the same dense layout as before."""
        self.param = unwrapped(self._outer)
        self.part = self.dense_part = _part(self.param, self.name)
        self.array = _flat(self.part)

    def zeros(self, column: Column, of_rows: bool = False, line: int = 0) -> Any:
        """A tensor of zeros for a column of state of the parameter, with a number for each row or
        for each block of elements, or the shape of the parameter with a dimension of length one."""
        dtype = getattr(torch, column.outside)
        if line:
            shape = line_shape(self.part.shape, line)
            return torch.zeros(shape, dtype=dtype, device=self.part.device)
        if of_rows:
            return row_zeros(self.param, column.per, dtype)
        if column.per == 1:
            return self._zeros(column.outside)
        return block_zeros(self.param, column.per, dtype)

    def _zeros(self, dtype: str) -> Any:
        """Zeros in the shape of the parameter and the memory order of its dense part."""
        return torch.zeros_like(self.param, dtype=self.dtype(dtype), memory_format=self._order)

    def dtype(self, name: str) -> Any:
        """The dtype of a tensor like the parameter whose numbers have the named dtype."""
        return dtype_like(self.param, name)

    def has_order_of(self, tensor: Any) -> bool:
        """True if the elements of a tensor are in the memory order of those of the parameter."""
        part = reals(local(tensor).resolve_conj())
        return (
            part.device == self.part.device
            and part.shape == self.part.shape
            and in_order(part, self.dense_part.stride())
        )

    def convert_rows(self, entry: dict[str, Any], name: str, column: Column, line: int = 0) -> None:
        """Convert a state tensor with a number for each row to the dtype of a column; `line` as for
        `zeros`.

        Raises:
            ValueError: if it has another shape.
        """
        tensor, wanted = entry[name], self.zeros(column, True, line)
        if tensor.shape != wanted.shape:
            raise ValueError(
                f"state {name!r} has shape {tuple(tensor.shape)}, but {tuple(wanted.shape)} is "
                f"that of the rows of {self.name}"
            )
        if tensor.dtype != wanted.dtype or local(tensor).device != local(wanted).device:
            entry[name] = wanted.copy_(tensor)
        elif not local(tensor).is_contiguous():
            entry[name] = tensor.contiguous()

    def convert(self, entry: dict[str, Any], name: str, dtype: str) -> None:
        """Convert a state tensor to a dtype, and to the memory order of the parameter.

        Raises:
            TypeError: if one of both is complex, the other real.
            ValueError: if it has another shape.
        """
        tensor = entry[name]
        if tensor.is_complex() != self.param.is_complex():
            raise TypeError(
                f"state {name!r} of {self.name} has dtype {tensor.dtype}, but the parameter "
                f"{self.param.dtype}; both must be real, or both complex"
            )
        if tensor.shape != self.param.shape:
            raise ValueError(
                f"state {name!r} has shape {tuple(tensor.shape)}, but its parameter "
                f"{self.name} has {tuple(self.param.shape)}"
            )
        if name_of(tensor) != dtype or tensor.is_conj() or not self.has_order_of(tensor):
            entry[name] = self._zeros(dtype).copy_(tensor)

    def seen(self, tensor: Any, per: int = 1) -> Any:
        """A state tensor as an array of the core; `per` elements share one of its numbers, or 0 for
        those of rows.

        Raises:
            RuntimeError: if its elements are not in the order of those of the parameter.
        """
        if per == 1 and not self.has_order_of(tensor):
            raise RuntimeError(
                f"state with strides {local(tensor).stride()} does not match a parameter with "
                f"strides {self.part.stride()}; make the parameter contiguous"
            )
        return flat(tensor)

    def pack(self) -> None:
        """Copy a parameter with gaps into its dense copy."""
        if not self.dense:
            self.dense_part.copy_(self.part)

    def unpack(self) -> list[Operation]:
        """The operations that copy the dense copy back to a parameter with gaps."""
        return [] if self.dense else [write(self.part, self.dense_part)]
