"""Tensors as the kernels see them: one stretch of memory each, in the order of storage."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import compress
from operator import not_
from typing import Any

import numpy as np
import torch

from ..memory import checks
from ..memory.inputs import Inputs
from .layouts import Layouts, addresses

SUPPORTED = (torch.float32, torch.float64)
TYPES = {torch.float32: "=f4", torch.float64: "=f8", torch.float16: "=f2", torch.bfloat16: "=u2"}


def local(tensor: Any) -> Any:
    """The part of a tensor that is in this process: of a DTensor its shard."""
    return getattr(tensor, "_local_tensor", tensor)


class _Memory:
    """The memory of a dense tensor, for NumPy. (`Tensor.numpy()` would forbid its resizing.)"""

    def __init__(self, tensor: Any) -> None:
        self.kept_alive = tensor
        self.__array_interface__ = {
            "data": (tensor.data_ptr(), False),
            "shape": (tensor.numel(),),
            "typestr": TYPES[tensor.dtype],
            "version": 3,
        }


def flat(tensor: Any) -> Any:
    """A NumPy array over the elements of a dense tensor, in the order of storage.

    It keeps the memory alive. Of a bfloat16 tensor it holds the codes.
    """
    return np.asarray(_Memory(local(tensor).detach()))


def check_memory(tensor: Any, name: str) -> None:
    """Refuse a tensor that has no elements in the memory of this process.

    Raises:
        RuntimeError: for a meta or fake tensor, another device, or a storage set free.
    """
    if tensor.device.type != "cpu" or (tensor.numel() and not tensor.data_ptr()):
        raise RuntimeError(
            f"{name} is a {type(tensor).__name__} on {tensor.device} without memory on the CPU; "
            "move it with .to('cpu'), or materialize it, before the first step"
        )


def check_param(part: Any, name: str) -> None:
    """Refuse a parameter that no kernel moves.

    Raises:
        RuntimeError: for another dtype or device; what PyTorch's fused kernels refuse, in its
            words.
    """
    if not part.dtype.is_floating_point:
        raise RuntimeError(
            "`fused=True` requires all the params to be floating point Tensors of supported "
            f"devices: ['cpu'] but {part.dtype} and {part.device.type}"
        )
    if part.dtype not in SUPPORTED:
        raise RuntimeError(
            f"{name} has dtype {part.dtype}; float32 and float64 are supported: convert the model "
            "with .float(), and compute in low precision under torch.autocast"
        )
    check_memory(part, name)
    if any(
        stride == 0 < length - 1 for length, stride in zip(part.shape, part.stride(), strict=True)
    ):
        raise RuntimeError(f"{name} is expanded: elements share memory; clone() it")


def walkable(tensor: Any) -> bool:
    """Whether a kernel could move a parameter as it is now."""
    part = local(tensor)
    there = part.device.type == "cpu" and part.dtype in SUPPORTED
    return bool(there and (part.data_ptr() or not part.numel()))


def in_order(tensor: Any, strides: Sequence[int]) -> bool:
    """Whether the elements lie in the order of these strides; those of length 1 have none."""
    parts = zip(tensor.shape, tensor.stride(), strides, strict=True)
    return all(mine == other for length, mine, other in parts if length > 1)


class Place:
    """Where the elements of a parameter are: its own memory, or a copy of what has gaps.

    Attributes:
        walked: the dense tensor whose memory the kernel walks through.
        array: the same as a NumPy array.
    """

    def __init__(self, param: Any, name: str) -> None:
        self.param, self.part = param, local(param).detach()
        check_param(self.part, name)
        self.dense = torch.ops.aten.is_non_overlapping_and_dense(self.part)
        self.walked = self.part if self.dense else torch.empty_like(self.part)
        self.array = flat(self.walked)

    def settle(self, entry: dict[str, Any], name: str, dtype: Any) -> None:
        """Bring the state tensor of a name into the dtype and the order of the parameter.

        Raises:
            ValueError: if it has another shape.
        """
        tensor = entry[name]
        if tensor.shape != self.param.shape:
            raise ValueError(
                f"state {name!r} has shape {tuple(tensor.shape)}, but its parameter has "
                f"{tuple(self.param.shape)}"
            )
        part = local(tensor)
        like = part.device == self.part.device and part.dtype == dtype
        if not like or not in_order(part, self.walked.stride()):
            entry[name] = torch.zeros_like(self.param, dtype=dtype).copy_(tensor)

    def seen(self, tensor: Any) -> Any:
        """A state tensor as a NumPy array.

        Raises:
            RuntimeError: if its elements are not in the order of those of the parameter.
        """
        part = local(tensor)
        if part.shape != self.part.shape or not in_order(part, self.walked.stride()):
            raise RuntimeError(
                f"state with strides {part.stride()} does not go with a parameter with strides "
                f"{self.part.stride()}; make the parameter contiguous"
            )
        return flat(part)

    def fetch(self) -> None:
        """Copy the elements of a parameter with gaps together."""
        if not self.dense:
            self.walked.copy_(self.part)

    def put_back(self) -> None:
        """Copy them back where they belong."""
        if not self.dense:
            self.part.copy_(self.walked)


class Views(Sequence[Any]):
    """Dense tensors, or None, as NumPy arrays; each is made when it is asked for."""

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._tensors = tensors

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, number: Any) -> Any:
        tensor = self._tensors[number]
        return None if tensor is None else flat(tensor)


class Gradients(Inputs):
    """The gradients of a step: addresses by `data_ptr`, copies of those in another order.

    Attributes:
        copies: pairs of a gradient and the tensor that stands in for it.
    """

    def __init__(
        self, places: Sequence[Place], names: Sequence[str], owner: str, cleared: bool
    ) -> None:
        arrays = [place.array for place in places]
        called = [f"the gradient of {name}" for name in names]
        dtypes = [array.dtype for array in arrays]
        super().__init__(arrays, names, called, dtypes, checks.check_gradient, True, cleared)
        self._places, self._owner = places, owner
        self._layouts: Layouts | None = None  # of those that needed no copy
        self._every = [True] * len(places)
        self.copies: list[tuple[Any, Any]] = []

    def check(self, tensors: Sequence[Any]) -> None:
        """Refuse gradients as `look` does, and do nothing else."""
        for tensor, place, name in zip(tensors, self._places, self._names, strict=True):
            if tensor is not None:
                self._check_tensor(tensor, place, name)

    def look(self, tensors: Sequence[Any]) -> None:
        """Check the gradients, one or None per parameter, then note their addresses.

        Raises:
            RuntimeError: for a sparse one, another dtype, or one without memory.
        """
        self.active, self.copies = self._every, []
        self.addresses = self._swift(tensors) or self._careful(tensors)
        if self._cleared:
            checks.check_apart(self.spans())

    def seen(self, tensors: Sequence[Any]) -> Views:
        """The gradients for NumPy, copies in place of those that were copied."""
        copies = {id(tensor): copy for tensor, copy in self.copies}
        return Views([copies.get(id(tensor), tensor) for tensor in tensors] if copies else tensors)

    def clear_copied(self) -> None:
        """Write zeros to those that were copied."""
        for tensor, _ in self.copies:
            tensor.zero_()

    def _swift(self, tensors: Sequence[Any]) -> list[int] | None:
        """The addresses if all gradients are there, and laid out as those looked at before."""
        if self._layouts is None or not self._layouts.fit(tensors):
            return None
        found = addresses(tensors)
        if not all(found) and any(compress(self._sizes, map(not_, found))):
            return None  # one that has elements, but no memory
        if found == self.addresses:
            return self.addresses
        return found if self._apart(found) else None

    def _careful(self, tensors: Sequence[Any]) -> list[int]:
        self.active = [tensor is not None for tensor in tensors]
        found = [0] * len(tensors)
        for number in compress(range(len(tensors)), self.active):
            tensor, name = tensors[number], self._names[number]
            place = self._places[number]
            self._check_tensor(tensor, place, name)
            if tensor.is_neg() or not (
                in_order(tensor, place.walked.stride()) and self._free(tensor, number)
            ):
                copy = torch.empty_like(place.walked).copy_(tensor)
                self.copies.append((tensor, copy))
                tensor = copy
            found[number] = tensor.data_ptr()
        if all(self.active) and not self.copies:
            self._layouts = Layouts(tensors)
        return found

    def _free(self, tensor: Any, number: int) -> bool:
        """Whether a gradient lies in no memory that the step writes."""
        start = tensor.data_ptr()
        before = bisect_left(self._starts, start + self._sizes[number]) - 1
        return not tensor.numel() or bool(self._stops[before] <= start)

    def _check_tensor(self, tensor: Any, place: Place, name: str) -> None:
        if tensor.layout != torch.strided:
            name = "Adam" if self._owner == "AdamW" else self._owner  # the words of PyTorch
            hint = ", please consider SparseAdam instead" if name == "Adam" else ""
            raise RuntimeError(f"{name} does not support sparse gradients{hint}")
        if tensor.dtype != place.part.dtype or tensor.shape != place.part.shape:
            raise RuntimeError(
                f"{name} is of {tensor.dtype} and shape {tuple(tensor.shape)}, but its parameter "
                f"of {place.part.dtype} and {tuple(place.part.shape)}"
            )
        check_memory(tensor, name)
