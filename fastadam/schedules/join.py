"""A sequence of schedules."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..validation import count
from .base import Schedule


@dataclass(frozen=True, repr=False)
class join(Schedule):
    r"""A sequence of schedules; each counts its own steps from 1.

    $$f(t) = s_i(t - b_i + 1), \qquad b_i \le t < b_{i+1}$$

    \(b_0 = 0\); the other \(b_i\) are the boundaries.

    PyTorch: SequentialLR with `milestones=boundaries`. optax: join_schedules.

    Args:
        schedules: the schedules, any functions of the step.
        boundaries: the last step of each schedule except the last one, ascending: after 10 the
            next schedule begins at step 11. They count from the end of the warm-up.
        warmup: steps of linear warm-up to the first value, default 0.

    Examples:
        >>> import fastadam as fa
        >>> falling = fa.schedules.linear(1, end=0.5, steps=4)
        >>> schedule = fa.schedules.join([falling, fa.schedules.constant(0.25)], [2])
        >>> [schedule(step) for step in range(1, 6)]
        [1.0, 0.875, 0.25, 0.25, 0.25]
    """

    schedules: Sequence[Callable[[int], Any]]
    boundaries: Sequence[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("schedules", "boundaries"):
            value = getattr(self, name)
            if not isinstance(value, list | tuple):
                raise TypeError(f"{name}={value!r} is not a list; give one")
        if not all(map(callable, self.schedules)):
            raise TypeError(f"schedules={self.schedules!r}; give functions of the step only")
        boundaries = tuple(count("boundaries: step", step, 1) for step in self.boundaries)
        if len(boundaries) != len(self.schedules) - 1:
            raise ValueError(
                f"boundaries={self.boundaries!r} for {len(self.schedules)} schedules; "
                "give at least one schedule, and one boundary fewer than schedules"
            )
        if [*boundaries] != sorted({*boundaries}):
            raise ValueError(f"boundaries={self.boundaries!r} do not ascend; give them in order")
        self._set("schedules", tuple(self.schedules))
        self._set("boundaries", boundaries)

    def _at(self, t: int) -> float:
        number = bisect_right(self.boundaries, t)
        begin = self.boundaries[number - 1] if number else 0
        value: float = self.schedules[number](t - begin + 1)
        return value
