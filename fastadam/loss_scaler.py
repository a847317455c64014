"""Dynamic loss scaling, which keeps low-precision gradients from underflowing.

P. Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2.
"""

from collections.abc import Mapping
from typing import Any

from .engine.scales import flag_of
from .engine.step_info import StepInfo
from .validation import ABOVE_ONE, POSITIVE, SHARE, Range, count, number

LEAST_SCALE, LARGEST_SCALE = 2.0**-126, 2.0**127  # bounds of the automatic changes


class LossScaler:
    """A loss scale that grows while gradients are finite, and falls when they are not.

    After `growth_interval` finite steps in a row it is multiplied by `growth_factor`, after a
    non-finite one by `backoff_factor`; it stays between 2**-126 and 2**127. Names, defaults
    and saved state are those of `torch.amp.GradScaler`; but here `scale` is a number, and the
    optimizer unscales and checks the gradients within the step, with `skip_nonfinite=True` and
    `step(grad_scale=...)`.

    Args:
        init_scale: the first scale, default 2**16.
        growth_factor: above 1, default 2.
        backoff_factor: between 0 and 1, default 0.5.
        growth_interval: a count of steps, default 2000.

    Attributes:
        scale: the factor for the loss, or for the gradient of the loss.

    Raises:
        TypeError, ValueError: for an argument that is not a number, or is out of range.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w, scaler = np.ones(2, np.float32), fa.LossScaler()
        >>> opt = fa.SGD(w, lr=0.5, skip_nonfinite=True)
        >>> grad = w * np.float32(scaler.scale)  # from a scaled loss
        >>> info = opt.step(grad, grad_scale=scaler.scale)
        >>> scaler.update(info)
        >>> w, scaler.scale
        (array([0.5, 0.5], dtype=float32), 65536.0)
        >>> scaler.update(opt.step(grad * np.float32(np.inf), grad_scale=scaler.scale))
        >>> w, scaler.scale
        (array([0.5, 0.5], dtype=float32), 32768.0)
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
    ) -> None:
        self._scale, self._good_steps = _positive("init_scale", init_scale), 0
        self._growth_factor = _number("growth_factor", growth_factor, ABOVE_ONE)
        self._backoff_factor = _number("backoff_factor", backoff_factor, SHARE)
        self._growth_interval = count("LossScaler: growth_interval", growth_interval, 1)

    @property
    def scale(self) -> float:
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self._scale = _positive("scale", scale)

    def update(self, found_inf: StepInfo | bool) -> None:
        """Adapt the scale to a step.

        Args:
            found_inf: the StepInfo that the step returned, or True if its gradients were not
                finite. A step that only accumulated gradients changes nothing.
        """
        if isinstance(found_inf, StepInfo):
            if not (found_inf.updated or found_inf.skipped):
                return
            found_inf = found_inf.skipped
        if flag_of(found_inf):
            lowest = min(LEAST_SCALE, self._scale)
            self._scale = max(self._scale * self._backoff_factor, lowest)
            self._good_steps = 0
            return
        self._good_steps += 1
        if self._good_steps >= self._growth_interval:
            highest = max(LARGEST_SCALE, self._scale)
            self._scale = min(self._scale * self._growth_factor, highest)
            self._good_steps = 0

    def state_dict(self) -> dict[str, Any]:
        """The state to resume from, in the layout of PyTorch's GradScaler."""
        return {
            "scale": self.scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume from a saved state, this class's or that of PyTorch's GradScaler.

        Raises:
            TypeError, ValueError: if something is missing or out of range; raised before anything
                changes.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"LossScaler: state_dict={state_dict!r} is not a dict")
        if missing := self.state_dict().keys() - state_dict.keys():
            raise ValueError(f"state_dict lacks {sorted(missing)}; it has {list(state_dict)}")
        settings = ("growth_factor", "backoff_factor", "growth_interval")
        loaded = LossScaler(**{name: state_dict[name] for name in settings})
        loaded.scale = state_dict["scale"]
        tracker = state_dict["_growth_tracker"]
        loaded._good_steps = count("LossScaler: _growth_tracker", tracker)
        vars(self).update(vars(loaded))

    def __repr__(self) -> str:
        return f"LossScaler(scale={self.scale:g})"


def _number(name: str, value: Any, within: Range) -> float:
    return number(f"LossScaler: {name}", value, within)


def _positive(name: str, value: Any) -> float:
    return _number(name, value, POSITIVE)
