"""What a step does besides its rule: one set of options for all parameters of an optimizer."""

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np

from .kernels.threads import check_threads


@dataclass(frozen=True)
class Options:
    """Keyword arguments of every optimizer; see [Optimizer][fastadam.Optimizer].

    Raises:
        TypeError, ValueError: for one of the wrong kind or out of range.
    """

    threads: int | None = None
    clip_norm: float | None = None
    clip_norm_per: str = "global"
    clip_value: float | None = None

    def __post_init__(self) -> None:
        check_threads(self.threads)
        for name in ("clip_norm", "clip_value"):
            _check_bound(name, getattr(self, name))
        if self.clip_norm_per not in ("global", "tensor"):
            raise ValueError(f"clip_norm_per={self.clip_norm_per!r}; give 'global' or 'tensor'")

    @property
    def measures(self) -> bool:
        """Whether a step wants the norm of its gradients."""
        return self.clip_norm is not None

    def clip_factor(self, norm: float, squares: Any) -> Any:
        """What gradients are multiplied by, as in PyTorch, or one factor for each; NaN stays.

        Args:
            norm: that of all gradients.
            squares: of the norm of each.
        """
        if self.clip_norm is None:
            return 1.0
        if self.clip_norm_per == "global":
            return np.minimum(self.clip_norm / (norm + 1e-6), 1.0)
        with np.errstate(invalid="ignore"):  # an infinite norm under an infinite bound
            return np.minimum(self.clip_norm / (np.sqrt(squares) + 1e-6), 1.0)

    @property
    def in_kernel(self) -> tuple[str, ...]:
        """The options that every kernel of the optimizer has."""
        wanted = {"clip_value": self.clip_value, "grad_scale": self.clip_norm}
        return tuple(name for name, value in wanted.items() if value is not None)


NAMES = tuple(field.name for field in fields(Options))


def _check_bound(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r} is not a number; give one, or None for no clipping")
    if math.isnan(value) or value < 0:
        raise ValueError(f"{name}={value!r} is not at least 0; give a bound, or None for none")
