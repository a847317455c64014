"""Whether parameters and what is kept of them are where they were at the last step."""

from collections.abc import Mapping, Sequence
from operator import is_, itemgetter
from typing import Any

from .state import Entry
from .tensors import ADDRESS, NUMEL, STRIDE, local


class Watch:
    """Remembers tensors, where they lie, how large and in which order.

    Args:
        params: the parameters that move.
        state: the optimizer's `state`.
        entries: the dict of each of the parameters in it.
        counters: the 0-dim tensors in these, by name.
    """

    def __init__(
        self,
        params: Sequence[Any],
        state: Mapping[Any, Entry],
        entries: Sequence[Entry],
        counters: Mapping[str, Sequence[Any]],
    ) -> None:
        self._params, self._state, self._entries = params, state, entries
        self._counters = counters
        self._sharded = any(local(param) is not param for param in params)
        self.note()

    def note(self) -> None:
        """Remember how things are now."""
        names = {name for entry in self._entries for name in entry} - self._counters.keys()
        self._holders = [
            (itemgetter(name), [entry for entry in self._entries if name in entry])
            for name in sorted(names)
        ]
        self._all_entries = list(self._state.values())
        self._places, self._layouts = self._addresses(self._params), self._layouts_now()
        self._state_places = self._state_addresses()

    def _locals(self, tensors: Any) -> Any:
        return map(local, tensors) if self._sharded else tensors

    def _addresses(self, tensors: Any) -> list[int]:
        return list(map(ADDRESS, self._locals(tensors)))

    def _layouts_now(self) -> tuple[list[int], list[Any]]:
        """The sizes and strides of the parameters."""
        parts = list(self._locals(self._params))
        return list(map(NUMEL, parts)), list(map(STRIDE, parts))

    def _state_addresses(self) -> list[list[int]]:
        return [self._addresses(map(pick, entries)) for pick, entries in self._holders]

    def params_stay(self) -> bool:
        """Whether the parameters are where they were, as large and in the same order."""
        places = self._addresses(self._params)
        return places == self._places and self._layouts_now() == self._layouts

    def state_stays(self) -> bool:
        """Whether all state is in the tensors in which it was, and these where they were."""
        entries = self._state.values()
        if len(entries) != len(self._all_entries) or not all(map(is_, entries, self._all_entries)):
            return False
        try:
            return self._state_addresses() == self._state_places and all(
                all(map(is_, map(itemgetter(name), self._entries), tensors))
                for name, tensors in self._counters.items()
            )
        except (KeyError, TypeError):  # an entry is gone, or no tensor any more
            return False
