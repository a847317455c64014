"""A schedule that reduces its value when a metric has stopped improving."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, NamedTuple, SupportsFloat

from ..validation import NOT_NEGATIVE, count, number
from .base import Schedule


class Progress(NamedTuple):
    """The state of a plateau besides its current value `lr`, under PyTorch's names."""

    lr: float
    best: float
    num_bad_epochs: int = 0
    cooldown_counter: int = 0


@dataclass(frozen=True, repr=False)
class Plateau(Schedule):
    """A value that is reduced when a metric has stopped improving, as PyTorch's ReduceLROnPlateau.

    After more than `patience` updates in a row without an improvement the value is multiplied by
    `factor`. A metric that is NaN is not an improvement. A warm-up leads to the current value.

    Its value does not depend on the step, so the optimizer's checkpoint does not restore it: save
    its `state_dict()` with the optimizer's, or pickle it.

    Args:
        lr: the initial value, a number >= 0.
        factor: the factor of a reduction, in [0, 1), default 0.1.
        patience: the number of updates without improvement that are tolerated, default 10.
        threshold: the least change that counts as an improvement, default 1e-4.
        threshold_mode: "rel" (default), relative to the best metric so far, or "abs".
        cooldown: the number of updates after a reduction that are not counted, default 0.
        min_lr: the lower bound of the value, default 0.
        eps: smaller reductions are not applied, default 1e-8.
        mode: "min" for a metric to be minimized (default), "max" for one to be maximized.
        warmup: steps of linear warm-up before it, default 0.

    Raises:
        TypeError, ValueError: for arguments of the wrong kind or out of range.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> plateau = fa.schedules.Plateau(0.1, factor=0.5, patience=1)
        >>> opt = fa.AdamW(np.ones(3), lr=plateau)
        >>> for loss in (1.0, 0.5, 0.6, 0.7):
        ...     plateau.update(loss)
        >>> opt.step(np.ones(3)).lr
        0.05
    """

    lr: float
    _: KW_ONLY
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8
    mode: Literal["min", "max"] = "min"
    _progress: Progress = field(init=False, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor >= 1:
            raise ValueError(f"factor={self.factor} does not reduce; give a number below 1")
        self._set("_progress", Progress(self.lr, -math.inf if self.mode == "max" else math.inf))

    def update(self, metric: SupportsFloat) -> None:
        """Record the metric, after a validation, and reduce the value if it is time.

        Raises:
            TypeError: if it is not a number.
        """
        value = number("metric", metric, finite=False)
        lr, best, bad, cooldown = self._progress
        best, bad = (value, 0) if self._better(value, best) else (best, bad + 1)
        if cooldown:
            cooldown, bad = cooldown - 1, 0
        if bad > self.patience:
            lr, cooldown, bad = self._reduced(lr), self.cooldown, 0
        self._set("_progress", Progress(lr, best, bad, cooldown))

    def state_dict(self) -> dict[str, Any]:
        """The current value, the best metric, and the counters, to resume from later."""
        return self._progress._asdict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Resume from what `state_dict` returned; the arguments stay those of this object.

        Raises:
            TypeError, ValueError: if it is anything else; raised before anything changes.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict={state_dict!r} is not a dict")
        if state_dict.keys() != {*Progress._fields}:
            raise ValueError(f"state_dict={state_dict!r}; give a dict with {Progress._fields}")
        lr = number("lr", state_dict["lr"], NOT_NEGATIVE)
        best = number("best", state_dict["best"], finite=False)
        counters = [count(name, state_dict[name], 0) for name in Progress._fields[2:]]
        self._set("_progress", Progress(lr, best, *counters))

    def _at(self, t: int) -> float:
        return self._progress.lr

    def _better(self, value: float, best: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        margin = sign * self.threshold
        wanted = best * (1 + margin) if self.threshold_mode == "rel" else best + margin
        return sign * value > sign * wanted

    def _reduced(self, lr: float) -> float:
        reduced = max(lr * self.factor, self.min_lr)
        return reduced if lr - reduced > self.eps else lr
