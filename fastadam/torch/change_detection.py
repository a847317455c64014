"""Whether parameters and what is kept of them are what and where they were at the last step."""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import is_, itemgetter
from typing import Any

import torch

from .shards import local
from .state_formats import Entry

ADDRESS = torch.Tensor.data_ptr


def _guards() -> Any:
    """What guards compiled code in PyTorch; its import does not bring the compiler."""
    try:
        from torch._C._dynamo.guards import TensorGuards
    except ImportError:
        return None
    return TensorGuards


GUARDS = _guards()


def addresses(tensors: Sequence[Any]) -> list[int]:
    """Where tensors begin."""
    return list(map(ADDRESS, tensors))


class TensorLayouts:
    """Remembers of tensors all but where they are: type, dtype, device, shape, strides, sign.

    PyTorch's guards compare all that several times as fast as its attributes can be read.
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._same = (
            GUARDS(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check
            if GUARDS
            else _by_attributes(tensors)
        )

    def match(self, others: Sequence[Any]) -> bool:
        """Whether as many others, of which none is there twice, are such tensors."""
        return bool(self._same(*others))


def _by_attributes(tensors: Sequence[Any]) -> Any:
    known = list(map(_attributes, tensors))
    return lambda *others: list(map(_attributes, others)) == known


def _attributes(tensor: Any) -> tuple[Any, ...]:
    if getattr(tensor, "layout", None) != torch.strided:
        return (type(tensor),)
    kind = type(tensor), tensor.dtype, tensor.device, tensor.requires_grad
    return *kind, tensor.shape, tensor.stride(), tensor.is_neg()


class Snapshot:
    """Remembers tensors: what they are, and where."""

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._layouts, self._addresses = TensorLayouts(tensors), addresses(tensors)

    def unchanged(self, tensors: Sequence[Any]) -> bool:
        """Whether as many tensors are like these, in the same places."""
        return self._layouts.match(tensors) and addresses(tensors) == self._addresses

    def alike(self, tensors: Sequence[Any]) -> bool:
        """Whether as many tensors are like these, wherever they have their memory."""
        if not self._layouts.match(tensors):
            return False
        return all(
            address or not t.numel() for address, t in zip(addresses(tensors), tensors, strict=True)
        )

    def update(self, tensors: Sequence[Any]) -> None:
        """Remember where they are now."""
        self._addresses = addresses(tensors)


class ChangeDetector:
    """Watches parameters and the optimizer's `state`.

    Args:
        params: the parameters that move.
        state: the optimizer's `state`.
        entries: the dict of each of the parameters in it.
        names: of the tensors in these that a step writes.
        counters: the 0-dim tensors in these, by name.
    """

    def __init__(
        self,
        params: Sequence[Any],
        state: Mapping[Any, Entry],
        entries: Sequence[Entry],
        names: Sequence[str],
        counters: Mapping[str, Sequence[Any]],
    ) -> None:
        self._params, self._state, self._entries = params, state, entries
        self._names, self._counters = names, counters
        self._wrapped = any(local(param) is not param for param in params)
        self._params_snapshot = Snapshot(self._parts(params))
        self._counted = -1
        self.note()

    def note(self) -> None:
        """Remember what there is of state now, if it has become more."""
        self._all_entries = list(self._state.values())
        count = sum(map(len, self._entries))
        if count == self._counted:
            return
        self._counted = count
        self._holders = [
            (itemgetter(name), [entry for entry in self._entries if name in entry])
            for name in self._names
        ]
        self._state_snapshot = Snapshot(self._state_now())

    def _parts(self, tensors: Sequence[Any]) -> Sequence[Any]:
        return list(map(local, tensors)) if self._wrapped else tensors

    def _state_now(self) -> Sequence[Any]:
        tensors = [map(pick, entries) for pick, entries in self._holders]
        return self._parts(list(chain.from_iterable(tensors)))

    def params_unchanged(self) -> bool:
        """Whether the parameters are as they were, in their places."""
        return self._params_snapshot.unchanged(self._parts(self._params))

    def state_unchanged(self) -> bool:
        """Whether all state is in tensors as those in which it was, and these in their places."""
        try:
            return (
                self._entries_unchanged()
                and self._state_snapshot.unchanged(self._state_now())
                and all(
                    all(map(is_, map(itemgetter(name), self._entries), tensors))
                    for name, tensors in self._counters.items()
                )
            )
        except KeyError:  # an entry is gone
            return False

    def _entries_unchanged(self) -> bool:
        entries = self._state.values()
        return len(entries) == len(self._all_entries) and all(map(is_, entries, self._all_entries))

    def alike(self, moved: bool, exchanged: bool) -> bool:
        """Whether parameters and state are tensors like those before, of those that are not the
        same."""
        if moved and not self._params_snapshot.alike(self._parts(self._params)):
            return False
        try:
            return not exchanged or (
                self._entries_unchanged()
                and self._state_snapshot.alike(self._state_now())
                and all(map(self._counters.keys().__le__, map(dict.keys, self._entries)))
            )
        except KeyError:  # an entry is gone
            return False

    def update_params(self) -> None:
        """Remember where the parameters are now."""
        self._params_snapshot.update(self._parts(self._params))

    def update_state(self, counters: Mapping[str, Sequence[Any]]) -> None:
        """Remember where the state is now, and what its counters are."""
        self._state_snapshot.update(self._state_now())
        self._counters = counters
