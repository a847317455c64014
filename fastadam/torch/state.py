"""What is kept of each parameter, in the entries of an optimizer's `state`, as PyTorch keeps it."""

from collections.abc import Iterator, MutableMapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from operator import is_
from typing import Any

import torch

from ..engine.columns import StateColumn, columns_for
from ..engine.options import Options
from ..engine.state import State
from ..kernels.commit import Operation, updated
from ..kernels.formats import Formats
from .state_formats import Entry, fit, note_order
from .tensors import Place, flat, name_of


class Entries:
    """The entries of some parameters in an optimizer's `state`, and drafts of them.

    What a step makes of them is written to the drafts; the operations of `publish`, committed with
    the step, bring the entries up to date.

    Attributes:
        drafts: a dict for each parameter.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries, self.drafts = entries, list(map(_draft, entries))

    def refresh(self) -> None:
        """Make the drafts what the entries are."""
        for draft, entry in zip(self.drafts, self._entries, strict=True):
            if not all(map(is_, draft.values(), entry.values())):
                draft.update(_draft(entry))

    def publish(self) -> list[Operation]:
        """The operations that make the entries what the drafts are."""
        operations = list[Operation]()
        for entry, draft in zip(self._entries, self.drafts, strict=True):
            if entry.keys() != draft.keys() or not all(map(is_, entry.values(), draft.values())):
                operations += [partial(dict.clear, entry), updated(entry, draft)]
        return operations


def _draft(entry: Any) -> Any:
    """A copy of an entry, without what is None: older versions of PyTorch save a momentum so that
    is not there."""
    if not isinstance(entry, dict):
        return entry
    return {name: value for name, value in entry.items() if value is not None}


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
        names = tuple(names)
        self.arrays = self.with_names(
            name for each in {*formats} for name in columns_for(names, each)
        )
        parts = zip(self._places, self._drafts, formats, strict=True)
        for i, (place, entry, each) in enumerate(parts):
            if self.arrays.keys().isdisjoint(entry):
                continue
            fit(place, entry, names, each)
            kept = columns_for(names, each)
            for name in kept.keys() & entry.keys():
                self.arrays[name][i] = place.seen(entry[name], kept[name].column.per)

    def follow(self) -> None:
        """See the tensors that are in the entries now, which are like those before."""
        for name, arrays in self.arrays.items():
            for i, array in enumerate(arrays):
                if array is not None:
                    arrays[i] = flat(self._drafts[i][name])

    def allocated(
        self, kept: StateColumn, params: Sequence[Any], numbers: Sequence[int]
    ) -> list[Any]:
        arrays = []
        for i in numbers:
            place, column = self._places[i], kept.column
            tensor = self._drafts[i][kept.name] = place.zeros(column)
            if column.per > 1:
                note_order(place, self._drafts[i])
            arrays.append(flat(tensor))
        return arrays


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
        self._entries = entries

    def follow(self) -> None:
        """See the tensors that are in the entries now, which are like those before."""
        for name, arrays in self.streams.items():
            arrays[:] = [flat(entry[name]) for entry in self._entries]


def check_entry(
    entry: Any, needed: Set[str], tensors: Set[str], numbers: Set[str], name: str
) -> None:
    """Refuse state of a parameter of which something is missing or of the wrong kind.

    Args:
        needed: the names that are there if there is any state.
        tensors, numbers: names that stand for tensors and for single numbers, if they are there.

    Raises:
        TypeError, ValueError: naming the parameter and the entry.
    """
    if not isinstance(entry, dict):
        raise TypeError(f"the state of {name} is {entry!r:.60}, not a dict of tensors")
    for key in tensors & entry.keys():
        _check_tensor(entry[key], f"state {key!r} of {name}")
    for key in numbers & entry.keys():
        _check_number(entry[key], f"state {key!r} of {name}")
    if entry and (missing := needed - entry.keys()):
        raise ValueError(
            f"the state of {name} lacks {sorted(missing)}, it has {list(entry)}; load all that was "
            "saved, or clear it"
        )


def check_step(entry: Entry, name: str) -> None:
    """Refuse steps that are no count.

    Raises:
        ValueError: naming the parameter.
    """
    step = float(entry.get("step", 0))
    if not step >= 0 or step % 1:
        raise ValueError(f"the state of {name} has step={step}, which is no count; write another")


def _check_tensor(value: Any, what: str) -> None:
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{what} is {value!r:.60} of type {type(value).__name__}, not a tensor; put one in "
            "its place, such as torch.zeros_like(param)"
        )
    if value.layout != torch.strided or value.dtype.is_complex or value.is_meta:
        raise TypeError(
            f"{what} is a {value.layout} tensor of {value.dtype} on {value.device}; put a dense "
            "tensor of real numbers in its place"
        )


def _check_number(value: Any, what: str) -> None:
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{what} is {value!r:.60}, not a number") from None


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
