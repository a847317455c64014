"""Host numbers of parameters, such as step counts, stored as 0-dim tensors as in PyTorch."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch

from ..kernels.commit import Operation, write
from ..memory.array_headers import joined
from .change_detection import addresses
from .state_formats import Entry
from .tensors import on_host

Run = tuple[Any, slice]  # numbers adjacent in memory, and the indices of their parameters
FLOAT32_COUNTS = 1 << 24  # float32 cannot represent the next integer
COUNTS = {torch.float32, torch.float64, torch.int32, torch.int64}  # exact for all usual counts


class Counters:
    """Host numbers of all parameters, written to the 0-dim tensors in their entries.

    Existing tensors are kept, since others may share them: another process, a copy of the
    optimizer. New ones are views of one vector.

    Args:
        entries: the state of each parameter.
        starts: the initial value of each number, by name.
        most: the largest step count, which must be exact in the dtype of a new tensor.

    Attributes:
        tensors: the 0-dim tensors in the entries, by name.
        firsts: the tensors at the beginnings of runs of adjacent ones.
        last: the largest count that all of them can represent.
        increments: the operations of a step of all parameters, once there was one.
    """

    def __init__(self, entries: Sequence[Entry], starts: Mapping[str, float], most: int) -> None:
        self.last = FLOAT32_COUNTS if most < FLOAT32_COUNTS else math.inf
        self._size = len(entries)
        self.tensors: dict[str, list[Any]] = {}
        self._runs: list[tuple[Any, str, slice]] = []  # numbers, their name and their parameters
        self.firsts: list[Any] = []
        for name, start in starts.items():
            values = [float(entry.get(name, start)) for entry in entries]
            self._make(name, entries, values)
            tensors = self.tensors[name] = [entry[name] for entry in entries]
            for view, part in _runs(tensors):
                self._runs.append((view, name, part))
                self.firsts.append(tensors[part.start])
        self._addresses = addresses(self.firsts)
        self._expected = [view.copy() for view, _, _ in self._runs]
        self._bytes = [view.data for view, _, _ in self._runs]
        self._expected_bytes = [array.data for array in self._expected]
        self.increments: list[Operation] | None = None

    def _make(self, name: str, entries: Sequence[Entry], values: list[float]) -> None:
        """Add tensors to the entries that have none with a suitable dtype."""
        narrow = name == "step" and self.last == FLOAT32_COUNTS
        dtype = torch.float32 if narrow else torch.float64
        dtypes = COUNTS if narrow else COUNTS - {torch.float32} if name == "step" else {dtype}
        taken = {0}
        missing = list[int]()
        for number, entry in enumerate(entries):
            address = _address_of(entry.get(name), dtypes)
            if address in taken:
                missing.append(number)
            taken.add(address)
        made = torch.tensor([values[number] for number in missing], dtype=dtype, device="cpu")
        for number, tensor in zip(missing, made.unbind(), strict=True):
            entries[number][name] = tensor

    @property
    def touched(self) -> bool:
        """True if a tensor was written to from outside, or reallocated."""
        return self.moved or self.written

    @property
    def moved(self) -> bool:
        """True if a tensor was reallocated."""
        return addresses(self.firsts) != self._addresses

    @property
    def written(self) -> bool:
        """True if a tensor was written to from outside."""
        return joined(self._bytes) != joined(self._expected_bytes)

    def __getitem__(self, name: str) -> Any:
        """The numbers of a name, one for each parameter."""
        numbers = np.empty(self._size, np.int64 if name == "step" else np.float64)
        for (_, each, part), expected in zip(self._runs, self._expected, strict=True):
            if each == name:
                numbers[part] = expected
        return numbers

    def advance(
        self, active: Sequence[bool], carried: Mapping[str, Sequence[float]]
    ) -> list[Operation]:
        """The operations that update the numbers of the active parameters after a step."""
        if not carried and all(active):
            if self.increments is None:
                arrays = [*self._expected, *(view for view, _, _ in self._runs)]
                self.increments = list(map(_increment, arrays))
            return self.increments
        self.increments = None
        known = {name: self[name] for name in self.tensors}
        after = {**known, **{name: np.array(each) for name, each in carried.items()}}
        if "step" in after:
            after["step"] = after["step"] + (True if all(active) else np.array(active))
        views = [view for view, _, _ in self._runs]
        parts = [after[name][part].astype(view.dtype) for view, name, part in self._runs]
        writes = list(map(write, views, parts))
        return [*writes, *map(write, self._expected, parts)]


def _increment(array: Any) -> Operation:
    """The operation that adds one to all numbers of an array, which nothing else changes."""
    first = array.flat[0].item()
    if (array == first).all():  # in a fifth of the time
        return map(array.fill, count(first + 1)).__next__
    return partial(np.add, array, np.ones((), array.dtype), array)


def _address_of(tensor: Any, dtypes: Set[Any]) -> int:
    """The address of the number in a one-element tensor on the host; 0 for any other value."""
    if type(tensor) is not torch.Tensor or tensor.numel() != 1 or tensor.dtype not in dtypes:
        return 0
    plain = tensor.device.type == "cpu" and not tensor.requires_grad
    return tensor.data_ptr() if plain and tensor.layout == torch.strided else 0


def _runs(tensors: Sequence[Any]) -> Iterator[Run]:
    """Runs of one-element tensors that are adjacent in one storage, as arrays."""
    starts, size = addresses(tensors), tensors[0].element_size()
    kinds = [(tensor.untyped_storage().data_ptr(), tensor.dtype) for tensor in tensors]
    start = 0
    for stop in range(1, len(tensors) + 1):
        if (
            stop == len(tensors)
            or starts[stop] != starts[stop - 1] + size
            or kinds[stop] != kinds[stop - 1]
        ):
            yield on_host(tensors[start].as_strided((stop - start,), (1,))), slice(start, stop)
            start, size = stop, tensors[min(stop, len(tensors) - 1)].element_size()


def gather(entries: Sequence[Entry], name: str) -> None:
    """Replace one-element tensors, which nothing else may share, by views of one vector."""
    found = [e for e in entries if _address_of(e.get(name), {torch.float32}) and not e[name].shape]
    if found:
        made = torch.stack([entry[name] for entry in found]).unbind()
        for entry, tensor in zip(found, made, strict=True):
            entry[name] = tensor
