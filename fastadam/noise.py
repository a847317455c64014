"""The keys of random rounding: from the seed, the step and the parameter."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .kernels.rounding import hashed
from .launch import Launch

LOW = 0xFFFFFFFF
STARTS = (0, 0x9E3779B9)


class Noise:
    """Gives the launches that round by chance new keys at each step; true if there are any.

    `noise` differs from parameter to parameter. `dither`, for the codes of state, does not, and is
    mixed with what is in a block: the codes of a parameter do not change with its place.
    """

    def __init__(self, launches: Sequence[Launch], seed: int) -> None:
        self._seeds = [_folded(int(seed), start) for start in STARTS]
        self._noisy = [launch for launch in launches if "noise" in launch.numbers]
        self._dithered = [launch for launch in launches if "dither" in launch.numbers]

    def __bool__(self) -> bool:
        return bool(self._noisy or self._dithered)

    def renew(self, step: int) -> None:
        """Give the keys of a step of the optimizer; those of a parameter follow its own count."""
        for launch in self._dithered:
            launch.tell("dither", self._key(step, launch))
        for launch in self._noisy:
            launch.tell("noise", hashed(launch.draws, self._key(step, launch), self._seeds[0]))

    def _key(self, step: int, launch: Launch) -> Any:
        return hashed(np.uint32((step - launch.late) & LOW), *self._seeds)


def _folded(seed: int, start: int) -> Any:
    """Thirty-two bits of a seed of any length."""
    bits, key = np.array([start], np.uint32), np.array([start], np.uint32)
    while True:
        bits = hashed(np.array([seed & LOW], np.uint32), bits, key)
        seed >>= 32
        if not seed:
            return bits
