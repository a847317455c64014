"""Host numbers of parameters, such as their steps, as PyTorch keeps them: 0-dim tensors."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch

from ..kernels.commit import Operation, put, write
from .layouts import addresses
from .state_formats import Entry
from .tensors import on_host

Run = tuple[Any, slice]  # numbers that follow each other in memory, and whose they are
FLOAT32_COUNTS = 1 << 24  # adding one to it changes nothing in float32
COUNTS = {torch.float32, torch.float64, torch.int32, torch.int64}  # tell all usual counts exactly


class Counters:
    """Host numbers of all parameters, written where the 0-dim tensors of the entries have them.

    Tensors that are there stay, since others may hold them: another process, a copy of the
    optimizer. Those that are made lie in one vector.

    Args:
        starts: what each begins at, by name.
        count: the largest of the steps, for which float32 has to be exact.

    Attributes:
        tensors: the 0-dim tensors by name, which stand in the entries.
        last: the count beyond which some of them would have to be wider.
    """

    def __init__(self, entries: Sequence[Entry], starts: Mapping[str, float], count: int) -> None:
        self.last = FLOAT32_COUNTS if count < FLOAT32_COUNTS else math.inf
        self._vectors: dict[str, Any] = {}
        self.tensors: dict[str, list[Any]] = {}
        self._runs: list[tuple[Any, str, slice]] = []  # numbers in tensors, and whose they are
        self._firsts: list[Any] = []
        for name, start in starts.items():
            values = [float(entry.get(name, start)) for entry in entries]
            self._make(name, entries, values)
            tensors = self.tensors[name] = [entry[name] for entry in entries]
            vector = np.array(values, np.int64 if name == "step" else np.float64)
            for view, part in _runs(tensors):
                self._runs.append((view, name, part))
                self._firsts.append(tensors[part.start])
            self._vectors[name] = vector
        self._places = addresses(self._firsts)
        self._known = self._seen()

    def _make(self, name: str, entries: Sequence[Entry], values: list[float]) -> None:
        """Put tensors into those entries that have none of their own in which to count."""
        narrow = name == "step" and self.last == FLOAT32_COUNTS
        dtype = torch.float32 if narrow else torch.float64
        dtypes = COUNTS if narrow else COUNTS - {torch.float32} if name == "step" else {dtype}
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
        return [view.tobytes() for view, _, _ in self._runs]

    @property
    def touched(self) -> bool:
        """Whether somebody else wrote to them, or moved them."""
        return addresses(self._firsts) != self._places or self._known != self._seen()

    def __getitem__(self, name: str) -> Any:
        """The numbers of a name, one for each parameter."""
        return self._vectors[name]

    def followed(
        self, active: Sequence[bool], carried: Mapping[str, Sequence[float]]
    ) -> list[Operation]:
        """The operations that take over what a step does to the parameters that have a gradient."""
        after = {**self._vectors, **{name: np.array(each) for name, each in carried.items()}}
        if "step" in after:
            after["step"] = after["step"] + (True if all(active) else np.array(active))
        views = [view for view, _, _ in self._runs]
        parts = [after[name][part].astype(view.dtype) for view, name, part in self._runs]
        writes = list(map(write, views, parts))
        return writes + put(self, _vectors=after, _known=[part.tobytes() for part in parts])


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
            yield on_host(tensors[start].as_strided((stop - start,), (1,))), slice(start, stop)
            start, size = stop, tensors[min(stop, len(tensors) - 1)].element_size()


def gather(entries: Sequence[Entry], name: str) -> None:
    """Let single numbers of a name, in tensors that nobody else holds, lie in one vector."""
    found = [e for e in entries if _place(e.get(name), {torch.float32}) and not e[name].shape]
    if found:
        made = torch.stack([entry[name] for entry in found]).unbind()
        for entry, tensor in zip(found, made, strict=True):
            entry[name] = tensor
