"""State of the parameters, in the entries of an optimizer's `state`, with PyTorch's layout."""

from collections.abc import Iterator, MutableMapping, Sequence, Set
from contextlib import contextmanager
from functools import partial
from operator import is_
from typing import Any

import torch

from ..engine.columns import StateColumn, columns_for
from ..engine.options import LOW, Options
from ..engine.state import State
from ..kernels.commit import Operation, updated
from ..kernels.formats import Formats
from ..rules import Rule
from .complex_numbers import check_complex
from .state_formats import Entry, note_order, to_format
from .tensors import ParameterMemory, flat, name_of


class Entries:
    """The entries of some parameters in an optimizer's `state`, and drafts of them.

    A step writes changes to the drafts; the operations of `publish`, committed with the step, copy
    them to the entries.

    Attributes:
        drafts: a dict for each parameter.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries, self.drafts = entries, list(map(_draft, entries))

    def refresh(self) -> None:
        """Copy the entries to the drafts."""
        for draft, entry in zip(self.drafts, self._entries, strict=True):
            if not all(map(is_, draft.values(), entry.values())):
                draft.update(_draft(entry))

    def publish(self) -> list[Operation]:
        """The operations that copy the drafts to the entries."""
        operations = list[Operation]()
        for entry, draft in zip(self._entries, self.drafts, strict=True):
            if entry.keys() != draft.keys() or not all(map(is_, entry.values(), draft.values())):
                operations += [partial(dict.clear, entry), updated(entry, draft)]
        return operations


def _draft(entry: Any) -> Any:
    """A copy of an entry without None values, which older versions of PyTorch save for momentum."""
    if not isinstance(entry, dict):
        return entry
    return {name: value for name, value in entry.items() if value is not None}


@contextmanager
def without_leftovers(state: MutableMapping[Any, Any]) -> Iterator[None]:
    """Delete the empty entries that a step has added to a `state`, if it raises an exception."""
    before = {*state}
    try:
        yield
    except BaseException:
        for key in state.keys() - before:
            if not state[key]:
                del state[key]
        raise


class TensorState(State):
    """State in tensors, accessed by the core as NumPy arrays.

    Args:
        memories: the memory of each parameter.
        drafts: the draft of each parameter's entry in `state`.
    """

    def __init__(self, memories: Sequence[ParameterMemory], drafts: Sequence[Entry]) -> None:
        super().__init__()
        self._places, self._drafts = memories, drafts

    def adopt(self, names: Sequence[str], formats: Sequence[Formats]) -> None:
        """Use the existing state of these names, converted to the formats of each parameter."""
        names = tuple(names)
        self.arrays = self.with_names(
            name for each in {*formats} for name in columns_for(names, each)
        )
        parts = zip(self._places, self._drafts, formats, strict=True)
        for i, (memory, entry, each) in enumerate(parts):
            if self.arrays.keys().isdisjoint(entry):
                continue
            to_format(memory, entry, names, each)
            kept = columns_for(names, each)
            for name in kept.keys() & entry.keys():
                per = 0 if kept[name].of_rows else kept[name].column.per
                self.arrays[name][i] = memory.seen(entry[name], per)

    def rebind(self) -> None:
        """Use the current tensors of the entries, which have the same metadata as before."""
        for name, arrays in self.arrays.items():
            for i, array in enumerate(arrays):
                if array is not None:
                    arrays[i] = flat(self._drafts[i][name])

    def allocated(
        self, kept: StateColumn, params: Sequence[Any], numbers: Sequence[int]
    ) -> list[Any]:
        arrays = []
        for i in numbers:
            memory, column = self._places[i], kept.column
            tensor = self._drafts[i][kept.name] = memory.zeros(column, kept.of_rows, kept.line)
            if column.per > 1 and not kept.of_rows:
                note_order(memory, self._drafts[i])
            arrays.append(flat(tensor))
        return arrays


class TensorCopies:
    """Averages of the parameters, and copies in low precision, in tensors.

    Attributes:
        streams: NumPy arrays over these tensors, by the names of streams.
    """

    def __init__(
        self, options: Options, memories: Sequence[ParameterMemory], entries: Sequence[Entry]
    ) -> None:
        self.streams: dict[str, list[Any]] = {}
        for name, dtype in dtypes(options).items():
            for memory, entry in zip(memories, entries, strict=True):
                wanted = dtype or memory.compute
                if name not in entry:
                    entry[name] = memory.param.detach().to(memory.dtype(wanted), copy=True)
                memory.convert(entry, name, wanted)
            self.streams[name] = [
                memory.seen(entry[name]) for memory, entry in zip(memories, entries, strict=True)
            ]
        self._entries = entries

    def rebind(self) -> None:
        """Use the current tensors of the entries, which have the same metadata as before."""
        for name, arrays in self.streams.items():
            arrays[:] = [flat(entry[name]) for entry in self._entries]


def check_entry(
    entry: Any, needed: Set[str], tensors: Set[str], numbers: Set[str], name: str
) -> None:
    """Check the state of a parameter for missing names and wrong types.

    Args:
        needed: the names that are required if there is any state.
        tensors, numbers: the names of tensors and of single numbers.

    Raises:
        TypeError, ValueError: naming the parameter and the entry.
    """
    if not isinstance(entry, dict):
        raise TypeError(f"the state of {name} is {entry!r:.60}, not a dict of tensors")
    for key in tensors & entry.keys():
        _check_tensor(entry[key], f"state {key!r} of {name}")
    for key in numbers & entry.keys():
        check_number(entry[key], f"state {key!r} of {name}")
    if entry and (missing := needed - entry.keys()):
        raise ValueError(
            f"the state of {name} lacks {sorted(missing)}, it has {list(entry)}; load the complete "
            "state, or clear it"
        )


def check_step(entry: Entry, name: str) -> None:
    """Check that a saved step is a count.

    Raises:
        ValueError: naming the parameter.
    """
    step = float(entry.get("step", 0))
    if not step >= 0 or step % 1:
        raise ValueError(f"the state of {name} has step={step}; a step must be a whole number >= 0")


def _check_tensor(value: Any, what: str) -> None:
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{what} is {value!r:.60} of type {type(value).__name__}, not a tensor; replace it "
            "by one, such as torch.zeros_like(param)"
        )
    if value.layout != torch.strided or value.is_meta:
        raise TypeError(
            f"{what} is a {value.layout} tensor of {value.dtype} on {value.device}; replace it by "
            "a dense tensor"
        )


def check_number(value: Any, what: str) -> None:
    """Check that a value is a number.

    Raises:
        TypeError: naming it by `what`.
    """
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{what} is {value!r:.60}, not a number") from None


def check_copies(options: Options, memories: Sequence[ParameterMemory]) -> None:
    """Check that parameters with a low-precision copy are float32.

    Raises:
        TypeError: naming the option.
    """
    if options.shadow_dtype and any(name_of(memory.part) != "float32" for memory in memories):
        raise TypeError(
            f"shadow_dtype={options.shadow_dtype!r} is for float32 parameters; convert the model "
            "with .float()"
        )


def check_low_precision(
    options: Options,
    own: Sequence[Options],
    rules: Sequence[Rule],
    groups: Sequence[dict[str, Any]],
    memories: Sequence[ParameterMemory],
) -> None:
    """Check options of low precision, and rules, against the dtypes of the parameters.

    Args:
        options: those of the optimizer.
        own: those of each group.
        rules: that of each group.
        groups: the optimizer's `param_groups`.
        memories: the memory of the active parameters.

    Raises:
        TypeError, ValueError: naming the option.
    """
    for k, (group, of_group, rule) in enumerate(zip(groups, own, rules, strict=True)):
        check_complex(of_group, rule, group["params"], f"param_groups[{k}]: ")
    check_copies(options, memories)
    for name in LOW:
        rest: list[str] = []
        for k, (group, of_group) in enumerate(zip(groups, own, strict=True)):
            found = [*map(name_of, group["params"])]
            if name in group:
                of_group.check_params(found, [name], f"param_groups[{k}]: ")
            else:
                rest += found
        options.check_params(rest, [name])


def dtypes(options: Options) -> dict[str, str | None]:
    """The dtypes of the copies that options enable, by name; None for that of the arithmetic."""
    wanted: dict[str, str | None] = {} if options.ema_decay is None else {"ema": None}
    if options.shadow_dtype is not None:
        wanted["shadow"] = options.shadow_dtype
    return wanted
