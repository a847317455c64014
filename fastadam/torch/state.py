"""What is kept of each parameter, in the entries of an optimizer's `state`, as PyTorch keeps it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..launch import Kept
from ..options import Options
from ..state import State
from .tensors import Place

Entry = dict[str, Any]


class TensorState(State):
    """State in tensors like the parameters; the core sees them as NumPy arrays.

    Args:
        places: where the parameters are.
        entries: the dict of each of them in `state`.
    """

    def __init__(self, places: Sequence[Place], entries: Sequence[Entry]) -> None:
        super().__init__()
        self._places, self._entries = places, entries

    def adopt(self, names: Iterable[str]) -> None:
        """Take over the tensors of these names that there are."""
        self.know(names)
        for name, arrays in self.arrays.items():
            for i, (place, entry) in enumerate(zip(self._places, self._entries, strict=True)):
                if name in entry:
                    place.settle(entry, name, place.part.dtype)
                    arrays[i] = place.seen(entry[name])

    def allocate(self, kept: Kept, params: Sequence[Any], numbers: Sequence[int]) -> None:
        for i in numbers:
            place = self._places[i]
            tensor = self._entries[i][kept.name] = torch.zeros_like(place.param)
            self.arrays[kept.name][i] = place.seen(tensor)


class Counters:
    """Host numbers of all parameters, such as their steps: a vector each, seen as 0-dim tensors.

    Args:
        starts: what each begins at, by name.

    Attributes:
        tensors: the 0-dim tensors by name, which stand in the entries.
    """

    def __init__(self, entries: Sequence[Entry], starts: Mapping[str, float]) -> None:
        self._vectors: dict[str, Any] = {}
        self.tensors: dict[str, list[Any]] = {}
        for name, start in starts.items():
            values = [float(entry.get(name, start)) for entry in entries]
            dtype = torch.float32 if name == "step" else torch.float64
            vector = torch.tensor(values, dtype=dtype)
            self.tensors[name] = list(vector.unbind())
            for entry, number in zip(entries, self.tensors[name], strict=True):
                entry[name] = number
            self._vectors[name] = vector.numpy()
        self._note()

    def _note(self) -> None:
        self._known = [vector.tobytes() for vector in self._vectors.values()]

    @property
    def touched(self) -> bool:
        """Whether somebody else wrote to them."""
        return self._known != [vector.tobytes() for vector in self._vectors.values()]

    def __getitem__(self, name: str) -> Any:
        """The numbers of a name, one for each parameter."""
        return self._vectors[name]

    def follow(self, state: State, active: Sequence[bool], carried: Sequence[str]) -> None:
        """Take over what a step did to the parameters that had a gradient."""
        if "step" in self._vectors:
            self._vectors["step"] += True if all(active) else np.array(active)
        for position, name in enumerate(carried):
            self._vectors[name][:] = [numbers[position] for numbers in state.carried]
        self._note()


class TensorCopies:
    """Averages of the parameters, and copies in low precision, in tensors like them.

    Attributes:
        streams: NumPy arrays over these tensors, by the streams of a kernel.
    """

    def __init__(self, options: Options, places: Sequence[Place], entries: Sequence[Entry]) -> None:
        self.streams: dict[str, list[Any]] = {}
        for name, dtype in dtypes(options).items():
            if name == "shadow" and any(p.part.dtype != torch.float32 for p in places):
                raise TypeError(
                    f"shadow_dtype={options.shadow_dtype!r} is for float32 parameters; convert "
                    "the model with .float()"
                )
            for place, entry in zip(places, entries, strict=True):
                if name not in entry:
                    entry[name] = place.param.detach().to(dtype or place.part.dtype, copy=True)
                place.settle(entry, name, dtype or place.part.dtype)
            self.streams[name] = [
                place.seen(entry[name]) for place, entry in zip(places, entries, strict=True)
            ]


def dtypes(options: Options) -> dict[str, Any]:
    """The copies that options ask for, with their dtypes, None for that of the parameter."""
    wanted = {} if options.ema_decay is None else {"ema": None}
    if options.shadow_dtype is not None:
        wanted["shadow"] = getattr(torch, options.shadow_dtype)
    return wanted
