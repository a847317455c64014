"""The gradients of a step: used in place, copied only if their memory order differs."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import compress
from operator import not_
from typing import Any

import torch

from ..engine.backend import as_array
from ..engine.gradients import OtherDtypesError, StepArrays
from ..engine.row_gradient import RowGradient
from ..kernels.commit import Operation, called
from ..memory import checks
from ..memory.checks import SUPPORTED
from ..memory.rows import RowsDtype
from .change_detection import TensorLayouts, addresses
from .complex_numbers import reals
from .shards import local
from .sparse import by_rows, check_layout, is_sparse, rows_of
from .tensors import ParameterMemory, check_memory, flat, in_numpy, in_order, name_of


class Views(Sequence[Any]):
    """Dense tensors, or None, as arrays of the core; each is created on access."""

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._tensors = tensors

    def __len__(self) -> int:
        return len(self._tensors)

    def __getitem__(self, number: Any) -> Any:
        tensor = self._tensors[number]
        if is_sparse(tensor):
            return flat(tensor._values().contiguous())
        return None if tensor is None else flat(tensor)


class Gradients(StepArrays):
    """The gradients of a step: addresses by `data_ptr`, copies of those in another memory order.

    Attributes:
        copies: pairs of a gradient and its copy.
        by_row: True if any of them is sparse.
    """

    def __init__(
        self,
        memories: Sequence[ParameterMemory],
        owner: tuple[str, str],
        tensors: Sequence[Any],
        cleared: bool,
    ) -> None:
        for tensor, memory in zip(tensors, memories, strict=True):
            if tensor is not None:
                check_tensor(tensor, memory, *owner)
        arrays, names = [memory.array for memory in memories], [memory.name for memory in memories]
        called = [f"the gradient of {name}" for name in names]
        dtypes = _dtypes(tensors, [array.dtype for array in arrays], arrays)
        check = checks.check_gradient
        super().__init__(arrays, names, called, dtypes, check, as_array, True, cleared)
        self._places, self._owner = memories, owner
        self._seen_layouts: TensorLayouts | None = None  # of gradients that need no copies
        self._every = [True] * len(memories)
        self._checked: Any = tensors  # until the first check
        self.copies: list[tuple[Any, Any]] = []
        self.rows = [
            RowGradient(by_rows(memory), *each) if isinstance(dtype, RowsDtype) else None
            for memory, dtype, *each in zip(memories, dtypes, called, names, strict=True)
        ]
        self.by_row = any(self.rows)

    def rebind(self) -> None:
        """Use the current memory of the parameters, which have the same layouts as before."""
        self._params = [memory.array for memory in self._places]
        for rows, memory in zip(self.rows, self._places, strict=True):
            if rows:
                rows.param = by_rows(memory)
        self.addresses = []  # any of which may be a parameter's now

    @property
    def dtypes(self) -> list[Any]:
        """The NumPy dtypes that gradients are expected to have."""
        return self._dtypes

    def bind(self, tensors: Sequence[Any]) -> None:
        """Check the gradients, one or None per parameter, then note their addresses.

        Raises:
            RuntimeError: for a sparse gradient, an unsupported dtype, or one without memory.
            OtherDtypesError: if only the dtypes differ from those expected, and are supported.
        """
        self.active, self.copies = self._every, []
        self.addresses = self.swift(tensors) or self._careful(tensors)
        if self._cleared:
            checks.check_apart(self.spans())

    def seen(self, tensors: Sequence[Any]) -> Views:
        """The gradients as arrays of the core, or their copies."""
        copies = {id(tensor): copy for tensor, copy in self.copies}
        return Views([copies.get(id(tensor), tensor) for tensor in tensors] if copies else tensors)

    def cleared(self) -> list[Operation]:
        """The operations that write zeros to the gradients that were copied."""
        return [called(torch.Tensor.zero_, tensor.detach()) for tensor, _ in self.copies]

    def swift(self, tensors: Sequence[Any]) -> list[int] | None:
        """The addresses, if no gradient is missing and all have the layouts of the last step."""
        if self._seen_layouts is None or not self._seen_layouts.match(tensors):
            return None
        found = addresses(tensors)
        if not all(found) and any(compress(self._sizes, map(not_, found))):
            return None  # a gradient with elements, but without memory
        if found == self.addresses:
            return self.addresses
        return found if self._apart(found) else None

    @torch.no_grad()
    def _careful(self, tensors: Sequence[Any]) -> list[int]:
        self.active = [tensor is not None for tensor in tensors]
        there = [*compress(range(len(tensors)), self.active)]
        if tensors is not self._checked:
            for number in there:
                check_tensor(tensors[number], self._places[number], *self._owner)
        self._checked = None
        if (dtypes := _dtypes(tensors, self._dtypes, self._params)) != self._dtypes:
            raise OtherDtypesError(dtypes)
        found = [0] * len(tensors)
        for number in there:
            tensor, memory = tensors[number], self._places[number]
            if rows := self.rows[number]:
                given = rows_of(tensor)
                self.check_free(checks.span(given.values, f"the gradient of {memory.name}"))
                rows.take(given)
                found[number] = checks.address(rows.root)
                continue
            seen = reals(tensor.resolve_conj())
            if not (in_memory_order(tensor, memory) and self._free(seen, number)):
                copy = copied(tensor, memory)
                self.copies.append((tensor, copy))
                tensor = copy
            found[number] = tensor.data_ptr()
        if all(self.active) and not self.copies and not self.by_row:
            self._seen_layouts = TensorLayouts(tensors)
        return found

    def _free(self, tensor: Any, number: int) -> bool:
        """True if a gradient does not overlap memory that the step writes."""
        start = tensor.data_ptr()
        before = bisect_left(self._starts, start + self._sizes[number]) - 1
        return not tensor.numel() or bool(self._stops[before] <= start)


def _dtypes(tensors: Sequence[Any], missing: Sequence[Any], params: Sequence[Any]) -> list[Any]:
    """The NumPy dtypes of gradients; those in `missing` where there is no gradient."""
    return [
        dtype
        if tensor is None
        else RowsDtype.of(param)
        if is_sparse(tensor)
        else in_numpy(tensor.dtype)
        for tensor, dtype, param in zip(tensors, missing, params, strict=True)
    ]


def in_memory_order(tensor: Any, memory: ParameterMemory) -> bool:
    """True if kernels can read a gradient as it is, with the elements of its parameter."""
    as_it_is = not (tensor.is_neg() or tensor.is_conj())
    return as_it_is and in_order(reals(tensor), memory.dense_part.stride())


def copied(tensor: Any, memory: ParameterMemory) -> Any:
    """A copy of a gradient in the memory order of its parameter."""
    seen = reals(tensor.resolve_conj())
    return torch.empty_like(memory.dense_part, dtype=seen.dtype).copy_(seen)


def check_tensor(tensor: Any, memory: ParameterMemory, owner: str, core: str) -> None:
    """Check a gradient against its parameter.

    Raises:
        RuntimeError: for another layout or shape, an unsupported dtype, or one without memory.
    """
    name = f"the gradient of {memory.name}"
    check_layout(tensor, memory, owner, core)
    part, dtype = memory.part, name_of(tensor)
    fits = dtype in SUPPORTED and (dtype != "float64" or memory.compute == dtype)
    fits &= tensor.is_complex() == memory.param.is_complex()
    if not fits or tensor.shape != local(memory.param).shape:
        raise RuntimeError(
            f"{name} is of {tensor.dtype} and shape {tuple(tensor.shape)}, but its parameter "
            f"of {memory.param.dtype} and {tuple(local(memory.param).shape)}"
        )
    check_memory(tensor._values() if is_sparse(tensor) else tensor, name)
    if tensor.device != part.device:
        raise RuntimeError(
            f"{name} is on {tensor.device}, but its parameter on {part.device}; move it there"
        )
