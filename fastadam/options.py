"""What a step does besides its rule: one set of options for all parameters of an optimizer."""

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import numpy as np

from .kernels.stages import ZERO_GRADS
from .kernels.threads import check_threads

SHADOWS = ("bfloat16", "float16")


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
    skip_nonfinite: bool = False
    ema_decay: float | None = None
    ema_warmup: bool = False
    shadow_dtype: str | None = None
    zero_grads: bool = False
    accumulate_steps: int = 1

    def __post_init__(self) -> None:
        check_threads(self.threads)
        for name in ("clip_norm", "clip_value"):
            _check_bound(name, getattr(self, name))
        for name in ("skip_nonfinite", "ema_warmup", "zero_grads"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise TypeError(f"{name}={getattr(self, name)!r} is not a bool")
        if self.clip_norm_per not in ("global", "tensor"):
            raise ValueError(f"clip_norm_per={self.clip_norm_per!r}; give 'global' or 'tensor'")
        _check_decay(self.ema_decay)
        if self.ema_warmup and self.ema_decay is None:
            raise ValueError("ema_warmup=True needs an ema_decay")
        if self.shadow_dtype not in (None, *SHADOWS):
            raise ValueError(f"shadow_dtype={self.shadow_dtype!r}; give one of {SHADOWS}")
        _check_count(self.accumulate_steps)

    @property
    def measures(self) -> bool:
        """Whether a step wants the norm of its gradients."""
        return self.clip_norm is not None or self.skip_nonfinite

    @property
    def accumulates(self) -> bool:
        return self.accumulate_steps > 1

    def ema_comp(self, step: int) -> float:
        """1 - decay at a step; with warm-up the decay is at most (1 + step) / (10 + step)."""
        assert self.ema_decay is not None
        decay = self.ema_decay
        return 1 - (min(decay, (1 + step) / (10 + step)) if self.ema_warmup else decay)

    def in_kernel(self, masked: bool, scaled: bool) -> tuple[str, ...]:
        """The options that the kernels have, for a step with masks or with a scale of its own."""
        wanted = {
            "clip_value": self.clip_value is not None,
            "grad_scale": scaled or self.clip_norm is not None or self.accumulates,
            "grad_sum": self.accumulates,
            "mask": masked,
            "ema": self.ema_decay is not None,
            self.shadow_dtype: self.shadow_dtype is not None,
            ZERO_GRADS: self.zero_grads,
        }
        return tuple(name for name, there in wanted.items() if name and there)


NAMES = tuple(field.name for field in fields(Options))


def _check_bound(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r} is not a number; give one, or None for no clipping")
    if not float(value) >= 0:
        raise ValueError(f"{name}={value!r} is not at least 0; give a bound, or None for none")


def _check_decay(value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"ema_decay={value!r} is not a number; give one, or None for no average")
    if not 0 <= float(value) < 1:
        raise ValueError(f"ema_decay={value!r} is outside [0, 1); 0.999 is usual")


def _check_count(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"accumulate_steps={value!r} is not an int; give a count of micro-batches")
    if value < 1:
        raise ValueError(f"accumulate_steps={value} is less than 1; 1 updates at every step")


def unscale_of(grad_scale: Any) -> float:
    """What gradients are multiplied by to undo a loss scale; 1 without any.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is not above zero, or not finite.
    """
    if grad_scale is None:
        return 1.0
    try:
        scale = math.nan if isinstance(grad_scale, bool | str) else float(grad_scale)
    except (TypeError, ValueError):
        raise TypeError(f"step(): grad_scale={grad_scale!r} is not a number") from None
    if not 0 < scale < math.inf:
        raise ValueError(
            f"step(): grad_scale={grad_scale!r} is not above 0 and finite; give the number that "
            "the loss was multiplied by"
        )
    return 1 / scale
