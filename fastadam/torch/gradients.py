"""The gradients of a step: found where they are, copied only where they lie in another order."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import compress
from operator import not_
from typing import Any

import torch

from ..engine.backend import as_array
from ..engine.gradients import Inputs, OtherDtypesError
from ..kernels.commit import Operation, called
from ..memory import checks
from ..memory.checks import SUPPORTED
from .layouts import Layouts, addresses
from .tensors import Place, check_memory, flat, in_numpy, in_order, name_of


class Views(Sequence[Any]):
    """Dense tensors, or None, as arrays of the core; each is made when it is asked for."""

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
        self, places: Sequence[Place], owner: str, tensors: Sequence[Any], cleared: bool
    ) -> None:
        for tensor, place in zip(tensors, places, strict=True):
            if tensor is not None:
                check_tensor(tensor, place, owner)
        arrays, names = [place.array for place in places], [place.name for place in places]
        called = [f"the gradient of {name}" for name in names]
        dtypes = _dtypes(tensors, [array.dtype for array in arrays])
        check = checks.check_gradient
        super().__init__(arrays, names, called, dtypes, check, as_array, True, cleared)
        self._places, self._owner = places, owner
        self._layouts: Layouts | None = None  # of those that needed no copy
        self._every = [True] * len(places)
        self._checked: Any = tensors  # until they were looked at
        self.copies: list[tuple[Any, Any]] = []

    def follow(self) -> None:
        """See the parameters where they are now, which are like those before."""
        self._params = [place.array for place in self._places]
        self.addresses = []  # any of which may be a parameter's now

    @property
    def dtypes(self) -> list[Any]:
        """Those that gradients are expected to have, as of NumPy."""
        return self._dtypes

    def look(self, tensors: Sequence[Any]) -> None:
        """Check the gradients, one or None per parameter, then note their addresses.

        Raises:
            RuntimeError: for a sparse one, another dtype, or one without memory.
            OtherDtypesError: if all is well but dtypes that gradients may have.
        """
        self.active, self.copies = self._every, []
        self.addresses = self._swift(tensors) or self._careful(tensors)
        if self._cleared:
            checks.check_apart(self.spans())

    def seen(self, tensors: Sequence[Any]) -> Views:
        """The gradients for the core, copies in place of those that were copied."""
        copies = {id(tensor): copy for tensor, copy in self.copies}
        return Views([copies.get(id(tensor), tensor) for tensor in tensors] if copies else tensors)

    def cleared(self) -> list[Operation]:
        """The operations that write zeros to those that were copied."""
        return [called(torch.Tensor.zero_, tensor.detach()) for tensor, _ in self.copies]

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

    @torch.no_grad()
    def _careful(self, tensors: Sequence[Any]) -> list[int]:
        self.active = [tensor is not None for tensor in tensors]
        there = [*compress(range(len(tensors)), self.active)]
        if tensors is not self._checked:
            for number in there:
                check_tensor(tensors[number], self._places[number], self._owner)
        self._checked = None
        if (dtypes := _dtypes(tensors, self._dtypes)) != self._dtypes:
            raise OtherDtypesError(dtypes)
        found = [0] * len(tensors)
        for number in there:
            tensor, place = tensors[number], self._places[number]
            if tensor.is_neg() or not (
                in_order(tensor, place.walked.stride()) and self._free(tensor, number)
            ):
                copy = torch.empty_like(place.walked, dtype=tensor.dtype).copy_(tensor)
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


def _dtypes(tensors: Sequence[Any], missing: Sequence[Any]) -> list[Any]:
    """The dtypes of gradients, as of NumPy, and what stands for those that are missing."""
    pairs = zip(tensors, missing, strict=True)
    return [dtype if tensor is None else in_numpy(tensor.dtype) for tensor, dtype in pairs]


def check_tensor(tensor: Any, place: Place, owner: str) -> None:
    """Refuse a gradient that does not go with its parameter.

    Raises:
        RuntimeError: for a sparse one, another shape, another dtype than those that gradients may
            have, or one without memory.
    """
    name = f"the gradient of {place.name}"
    if tensor.layout != torch.strided:
        hint = ", please consider SparseAdam instead" if owner in ("Adam", "AdamW") else ""
        raise RuntimeError(f"{owner} does not support sparse gradients{hint}")
    part, dtype = place.part, name_of(tensor)
    fits = dtype in SUPPORTED and (dtype != "float64" or place.compute == dtype)
    if not fits or tensor.shape != part.shape:
        raise RuntimeError(
            f"{name} is of {tensor.dtype} and shape {tuple(tensor.shape)}, but its parameter "
            f"of {part.dtype} and {tuple(part.shape)}"
        )
    check_memory(tensor, name)
    if tensor.device != part.device:
        raise RuntimeError(
            f"{name} lies on {tensor.device}, but its parameter on {part.device}; move it there"
        )
