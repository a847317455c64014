"""Detection of tensors that were replaced, resized or reallocated since the last step.

Metadata and addresses of many tensors are compared in one C++ call (PyTorch's TensorGuards).
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import is_, itemgetter
from typing import Any

import torch

from .shards import local
from .state_formats import Entry

ADDRESS = torch.Tensor.data_ptr


def _guards() -> Any:
    """The class that guards compiled code in PyTorch; importing it does not import the compiler."""
    try:
        from torch._C._dynamo.guards import TensorGuards
    except ImportError:
        return None
    return TensorGuards


GUARDS = _guards()


def addresses(tensors: Sequence[Any]) -> list[int]:
    """The addresses of tensors."""
    return list(map(ADDRESS, tensors))


class TensorLayouts:
    """Metadata of tensors: type, dtype, device, shape, strides, negative and conjugate bits.

    PyTorch's guards compare them several times as fast as Python reads the attributes.
    """

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._same = (
            GUARDS(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check
            if GUARDS
            else _by_attributes(tensors)
        )

    def match(self, others: Sequence[Any]) -> bool:
        """True if as many other tensors, all of them distinct, have the same metadata."""
        return bool(self._same(*others))


def _by_attributes(tensors: Sequence[Any]) -> Any:
    known = list(map(_attributes, tensors))
    return lambda *others: list(map(_attributes, others)) == known


def _attributes(tensor: Any) -> tuple[Any, ...]:
    if getattr(tensor, "layout", None) != torch.strided:
        return (type(tensor),)
    kind = type(tensor), tensor.dtype, tensor.device, tensor.requires_grad
    return *kind, tensor.shape, tensor.stride(), tensor.is_neg(), tensor.is_conj()


class Snapshot:
    """Metadata and addresses of tensors."""

    def __init__(self, tensors: Sequence[Any]) -> None:
        self._layouts, self._addresses = TensorLayouts(tensors), addresses(tensors)

    def unchanged(self, tensors: Sequence[Any]) -> bool:
        """True if as many tensors have the same metadata and addresses."""
        return self._layouts.match(tensors) and addresses(tensors) == self._addresses

    def alike(self, tensors: Sequence[Any]) -> bool:
        """True if as many tensors have the same metadata, at any address."""
        if not self._layouts.match(tensors):
            return False
        return all(
            address or not t.numel() for address, t in zip(addresses(tensors), tensors, strict=True)
        )

    def update(self, tensors: Sequence[Any]) -> None:
        """Record the current addresses."""
        self._addresses = addresses(tensors)


class ChangeDetector:
    """Detects changes of parameters and of the optimizer's `state`.

    Args:
        params: the active parameters.
        state: the optimizer's `state`.
        entries: the entry of each of the parameters in it.
        names: the names of the tensors in entries that a step writes.
        counters: the 0-dim tensors in the entries, by name.
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
        self._counters = counters
        self._wrapped = any(local(param) is not param for param in params)
        self._params_snapshot = Snapshot(self._parts(params))
        self._all_entries = list(state.values())
        self._holders = [
            (itemgetter(name), [entry for entry in entries if name in entry]) for name in names
        ]
        self._state_snapshot = Snapshot(self._state_now())

    def _parts(self, tensors: Sequence[Any]) -> Sequence[Any]:
        return list(map(local, tensors)) if self._wrapped else tensors

    def _state_now(self) -> Sequence[Any]:
        tensors = [map(pick, entries) for pick, entries in self._holders]
        return self._parts(list(chain.from_iterable(tensors)))

    def params_unchanged(self) -> bool:
        """True if the parameters have the same metadata and addresses as at the last step."""
        return self._params_snapshot.unchanged(self._parts(self._params))

    def state_unchanged(self) -> bool:
        """True if all tensors of state have the same metadata and addresses as at the last step."""
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
        """True if the changed ones of parameters and state have the same metadata as before."""
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
        """Record the current addresses of the parameters."""
        self._params_snapshot.update(self._parts(self._params))
