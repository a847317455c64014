"""What is kept of each parameter, in the entries of an optimizer's `state`, as PyTorch keeps it."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence, Set
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
import torch

from ..kernels.formats import Formats
from ..launch import Kept, kept_for
from ..options import Options
from ..state import State
from .fit import Entry, fit
from .layouts import addresses
from .tensors import Place, name_of


@contextmanager
def undone_if_refused(state: MutableMapping[Any, Any]) -> Iterator[None]:
    """Put the entries of an optimizer's `state` back as they were if a step raises."""
    before = {key: copy(entry) for key, entry in state.items()}
    try:
        yield
    except Exception:
        for key, entry in [*state.items()]:
            if key not in before:
                del state[key]
            elif isinstance(entry, dict):
                entry.clear()
                entry.update(before[key])
        raise


class TensorState(State):
    """State in tensors like the parameters; the core sees them as NumPy arrays.

    Args:
        places: where the parameters are.
        entries: the dict of each of them in `state`.
    """

    def __init__(self, places: Sequence[Place], entries: Sequence[Entry]) -> None:
        super().__init__()
        self._places, self._entries = places, entries

    def adopt(self, names: Sequence[str], formats: Sequence[Formats]) -> None:
        """Take over what there is of state of these names, in the formats of each parameter."""
        names = tuple(names)
        self.know(name for each in {*formats} for name in kept_for(names, each))
        parts = zip(self._places, self._entries, formats, strict=True)
        for i, (place, entry, each) in enumerate(parts):
            fit(place, entry, names, each)
            kept = kept_for(names, each)
            for name in kept.keys() & entry.keys():
                self.arrays[name][i] = place.seen(entry[name], kept[name].column.per)

    def allocate(self, kept: Kept, params: Sequence[Any], numbers: Sequence[int]) -> None:
        for i in numbers:
            place, column = self._places[i], kept.column
            tensor = self._entries[i][kept.name] = place.zeros(column)
            self.arrays[kept.name][i] = place.seen(tensor, column.per)


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
            vector = torch.tensor(values, dtype=dtype, device="cpu")
            self.tensors[name] = list(vector.unbind())
            for entry, number in zip(entries, self.tensors[name], strict=True):
                entry[name] = number
            self._vectors[name] = vector.numpy()
        self._places = addresses([each[0] for each in self.tensors.values()])
        self._note()

    def _note(self) -> None:
        self._known = [vector.tobytes() for vector in self._vectors.values()]

    @property
    def touched(self) -> bool:
        """Whether somebody else wrote to them, or moved them."""
        moved = addresses([each[0] for each in self.tensors.values()]) != self._places
        return moved or self._known != [vector.tobytes() for vector in self._vectors.values()]

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
            for place, entry in zip(places, entries, strict=True):
                wanted = dtype or place.compute
                if name not in entry:
                    entry[name] = place.param.detach().to(getattr(torch, wanted), copy=True)
                place.settle(entry, name, wanted)
            self.streams[name] = [
                place.seen(entry[name]) for place, entry in zip(places, entries, strict=True)
            ]


def check_entry(entry: Entry, needed: Set[str], name: str) -> None:
    """Refuse state of a parameter of which something is missing, and steps that are no count.

    Raises:
        ValueError: naming the parameter.
    """
    if entry and (missing := needed - entry.keys()):
        raise ValueError(
            f"the state of {name} lacks {sorted(missing)}, it has {list(entry)}; load all that was "
            "saved, or clear it"
        )
    step = float(entry.get("step", 0))
    if not step >= 0 or step % 1:
        raise ValueError(f"the state of {name} has step={step}, which is no count; write another")


def check_copies(options: Options, places: Sequence[Place]) -> None:
    """Refuse a copy in low precision of parameters that are not float32.

    Raises:
        TypeError: naming the option.
    """
    if options.shadow_dtype and any(name_of(place.part) != "float32" for place in places):
        raise TypeError(
            f"shadow_dtype={options.shadow_dtype!r} is for float32 parameters; convert the model "
            "with .float()"
        )


def dtypes(options: Options) -> dict[str, str | None]:
    """The copies that options ask for, with their dtypes, None for that of the arithmetic."""
    wanted: dict[str, str | None] = {} if options.ema_decay is None else {"ema": None}
    if options.shadow_dtype is not None:
        wanted["shadow"] = options.shadow_dtype
    return wanted
