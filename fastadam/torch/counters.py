"""Host numbers of parameters, such as their steps, as PyTorch keeps them: 0-dim tensors."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch

from ..state import State
from .fit import Entry
from .layouts import addresses
from .tensors import flat

Run = tuple[Any, slice]  # numbers that follow each other in memory, and whose they are
COUNTS = {torch.float32, torch.float64, torch.int32, torch.int64}  # tell all usual counts exactly


class Counters:
    """Host numbers of all parameters, written where the 0-dim tensors of the entries have them.

    Tensors that are there stay, since others may hold them: another process, a copy of the
    optimizer. Those that are made lie in one vector.

    Args:
        starts: what each begins at, by name.

    Attributes:
        tensors: the 0-dim tensors by name, which stand in the entries.
    """

    def __init__(self, entries: Sequence[Entry], starts: Mapping[str, float]) -> None:
        self._vectors: dict[str, Any] = {}
        self.tensors: dict[str, list[Any]] = {}
        self._pairs: list[tuple[Any, Any]] = []  # numbers in tensors, and what they are to be
        self._firsts: list[Any] = []
        for name, start in starts.items():
            values = [float(entry.get(name, start)) for entry in entries]
            self._make(name, entries, values)
            tensors = self.tensors[name] = [entry[name] for entry in entries]
            vector = np.array(values, np.int64 if name == "step" else np.float64)
            for view, part in _runs(tensors):
                self._pairs.append((view, vector[part]))
                self._firsts.append(tensors[part.start])
            self._vectors[name] = vector
        self._places = addresses(self._firsts)
        self._known = self._seen()

    def _make(self, name: str, entries: Sequence[Entry], values: list[float]) -> None:
        """Put tensors into those entries that have none of their own in which to count."""
        dtype = torch.float32 if name == "step" else torch.float64
        dtypes = COUNTS if name == "step" else {dtype}
        taken = {0}
        missing = list[int]()
        for number, entry in enumerate(entries):
            place = _place(entry.get(name), dtypes)
            if place in taken:
                missing.append(number)
            taken.add(place)
        made = torch.tensor([values[number] for number in missing], dtype=dtype, device="cpu")
        for number, tensor in zip(missing, made.unbind(), strict=True):
            entries[number][name] = tensor

    def _seen(self) -> list[bytes]:
        return [view.tobytes() for view, _ in self._pairs]

    @property
    def touched(self) -> bool:
        """Whether somebody else wrote to them, or moved them."""
        return addresses(self._firsts) != self._places or self._known != self._seen()

    def __getitem__(self, name: str) -> Any:
        """The numbers of a name, one for each parameter."""
        return self._vectors[name]

    def follow(self, state: State, active: Sequence[bool], carried: Sequence[str]) -> None:
        """Take over what a step did to the parameters that had a gradient."""
        if "step" in self._vectors:
            self._vectors["step"] += True if all(active) else np.array(active)
        for position, name in enumerate(carried):
            self._vectors[name][:] = [numbers[position] for numbers in state.carried]
        for view, numbers in self._pairs:
            view[...] = numbers
        self._known = self._seen()


def _place(tensor: Any, dtypes: Set[Any]) -> int:
    """Where a number is kept in a tensor of one element on the host; 0 for what is none."""
    if type(tensor) is not torch.Tensor or tensor.numel() != 1 or tensor.dtype not in dtypes:
        return 0
    plain = tensor.device.type == "cpu" and not tensor.requires_grad
    return tensor.data_ptr() if plain and tensor.layout == torch.strided else 0


def _runs(tensors: Sequence[Any]) -> Iterator[Run]:
    """Stretches of single numbers that follow each other in one storage, as arrays."""
    places, size = addresses(tensors), tensors[0].element_size()
    kinds = [(tensor.untyped_storage().data_ptr(), tensor.dtype) for tensor in tensors]
    start = 0
    for stop in range(1, len(tensors) + 1):
        if (
            stop == len(tensors)
            or places[stop] != places[stop - 1] + size
            or kinds[stop] != kinds[stop - 1]
        ):
            yield flat(tensors[start].as_strided((stop - start,), (1,))), slice(start, stop)
            start, size = stop, tensors[min(stop, len(tensors) - 1)].element_size()


def gather(entries: Sequence[Entry], name: str) -> None:
    """Let single numbers of a name, in tensors that nobody else holds, lie in one vector."""
    found = [e for e in entries if _place(e.get(name), {torch.float32}) and not e[name].shape]
    if found:
        made = torch.stack([entry[name] for entry in found]).unbind()
        for entry, tensor in zip(found, made, strict=True):
            entry[name] = tensor
