"""What is kept of each parameter, in the entries of an optimizer's `state`, as PyTorch keeps it."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from operator import is_
from typing import Any

import numpy as np
import torch

from ..copies import Exchange
from ..kernels.commit import Operation, put, updated, write
from ..kernels.formats import Formats
from ..launch import Kept, kept_for
from ..options import Options
from ..state import State
from .fit import Entry, fit
from .layouts import addresses
from .shards import local
from .tensors import Place, name_of


class Entries:
    """The entries of some parameters in an optimizer's `state`, and drafts of them.

    What a step makes of them is written to the drafts; the operations of `publish`, committed with
    the step, bring the entries up to date.

    Attributes:
        drafts: a dict for each parameter.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self.drafts = [
            {name: value for name, value in entry.items() if value is not None} for entry in entries
        ]  # older versions of PyTorch save None for a momentum that is not there

    def publish(self) -> list[Operation]:
        """The operations that make the entries what the drafts are."""
        operations = list[Operation]()
        for entry, draft in zip(self._entries, self.drafts, strict=True):
            if entry.keys() != draft.keys() or not all(map(is_, entry.values(), draft.values())):
                operations += [partial(dict.clear, entry), updated(entry, draft)]
        return operations


@contextmanager
def without_leftovers(state: MutableMapping[Any, Any]) -> Iterator[None]:
    """Delete the empty entries that a step has made of a `state` if it raises."""
    before = {*state}
    try:
        yield
    except BaseException:
        for key in state.keys() - before:
            if not state[key]:
                del state[key]
        raise


class TensorState(State):
    """State in tensors like the parameters; the core sees them as NumPy arrays.

    Args:
        places: where the parameters are.
        drafts: of the entry of each of them in `state`.
    """

    def __init__(self, places: Sequence[Place], drafts: Sequence[Entry]) -> None:
        super().__init__()
        self._places, self._drafts = places, drafts

    def adopt(self, names: Sequence[str], formats: Sequence[Formats]) -> None:
        """Take over what there is of state of these names, in the formats of each parameter."""
        kept_of = [kept_for(tuple(names), each) for each in formats]
        self.arrays = self.with_names(name for kept in kept_of for name in kept)
        parts = zip(self._places, self._drafts, formats, kept_of, strict=True)
        for i, (place, entry, each, kept) in enumerate(parts):
            fit(place, entry, names, each)
            for name in kept.keys() & entry.keys():
                self.arrays[name][i] = place.seen(entry[name], kept[name].column.per)

    def allocated(self, kept: Kept, params: Sequence[Any], numbers: Sequence[int]) -> list[Any]:
        arrays = []
        for i in numbers:
            place, column = self._places[i], kept.column
            tensor = self._drafts[i][kept.name] = place.zeros(column)
            arrays.append(place.seen(tensor, column.per))
        return arrays


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

    def followed(
        self, active: Sequence[bool], carried: Mapping[str, Sequence[float]]
    ) -> list[Operation]:
        """The operations that take over what a step does to the parameters that have a gradient."""
        after = dict[str, Any](carried)
        if "step" in self._vectors:
            after["step"] = self._vectors["step"] + (True if all(active) else np.array(active))
        after = {
            name: np.asarray(value, self._vectors[name].dtype) for name, value in after.items()
        }
        known = [after.get(name, vector).tobytes() for name, vector in self._vectors.items()]
        writes = [write(self._vectors[name], values) for name, values in after.items()]
        return writes + put(self, _known=known)


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


class Averages:
    """Where the averages of an optimizer are: in its state, or in the place of its parameters."""

    swapped: Exchange | None = None


@torch.no_grad()
def exchange_of(
    holder: Averages, params: Sequence[Any], averages: Sequence[Any], shadows: Sequence[Any]
) -> Exchange:
    """An exchange of parameters and their averages, ready to be made; shadows follow."""
    there, back = list[Operation](), list[Operation]()
    for param, average in zip(map(_part, params), map(_part, averages), strict=True):
        if average is param or (param.numel() and param.data_ptr() == average.data_ptr()):
            continue  # one that has taken no step stands for its own average
        if average.dtype == param.dtype:
            aside = torch.empty_like(param)
            swaps = [write(aside, param), write(param, average), write(average, aside)]
            there += swaps
            back += swaps
        else:  # sixteen bits could not give the average back
            there.append(write(param, average))
            back.append(write(param, param.clone()))
    pairs = zip(map(_part, shadows), map(_part, params), strict=False)
    refreshed = [write(shadow, param) for shadow, param in pairs]
    return Exchange(holder, [*there, *refreshed], [*back, *refreshed])


def _part(tensor: Any) -> Any:
    return local(tensor).detach()


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
