"""The keys of random rounding: from the seed, the step and the parameter."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.scalar.stochastic import hashed
from ..rules.linker import linked
from .launch import Launch

LOW = 0xFFFFFFFF
STARTS = (0, 0x9E3779B9)


def _in_integers(value: Any) -> Any:
    """A constant or function of `hashed` as a Python integer or a function of integers.

    `hashed` is compiled into kernels, and the host needs the same hash of one number for each
    launch and step. In NumPy scalars it takes 8 us, in Python integers 1 us (Intel Xeon). The copy
    of the function with these constants keeps the formula in one place.
    """
    if value is np.uint32:
        return LOW.__and__
    return int(value) if isinstance(value, np.uint32) else value


_hash_of_one = linked(hashed, "hash_of_one", "", lambda callee, _: callee, _in_integers)


class RoundingKeys:
    """Sets new keys at each step in the launches that round stochastically; true if there are any.

    `noise` differs between parameters. `dither`, for the codes of state, does not, and is mixed
    with the contents of a block: the codes of a parameter do not depend on its position.
    """

    def __init__(self, launches: Sequence[Launch], seed: int) -> None:
        self._seeds = [_folded(int(seed), start) for start in STARTS]
        self._launches = [each for each in launches if {"noise", "dither"} & each.numbers.keys()]

    def __bool__(self) -> bool:
        return bool(self._launches)

    def advance(self, step: int) -> None:
        """Set the keys of a step of the optimizer; those of a parameter depend on its own count."""
        for launch in self._launches:
            count = step - launch.late
            key = _hashes(count, self._seeds[0], self._seeds[1] ^ (count >> 32))
            if "dither" in launch.numbers:
                launch.set_number("dither", key)
            if "noise" in launch.numbers:
                launch.set_number("noise", _hashes(launch.draws, key, self._seeds[0]))


def _hashes(counters: Any, key: Any, second_key: Any) -> Any:
    """The hashes of counters; that of a single one is computed in Python integers."""
    if isinstance(counters, np.ndarray):
        return hashed(np.uint32(counters & LOW), np.uint32(key), np.uint32(second_key))
    return _hash_of_one(int(counters), key, int(second_key))


def _folded(seed: int, start: int) -> int:
    """Thirty-two bits of a seed of any length."""
    bits = start
    while True:
        bits = int(_hash_of_one(seed & LOW, bits, start))
        seed >>= 32
        if not seed:
            return bits
