"""Dynamic loss scaling: keep gradients of low precision away from underflow.

P. Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.2.
"""

import math
from typing import Any

from .step_info import StepInfo


class LossScaler:
    r"""A loss scale that grows while gradients are finite, and falls when they are not.

    After `growth_interval` good steps in a row \(s \leftarrow s \cdot\) `growth_factor`; after a
    bad one \(s \leftarrow s \cdot\) `backoff_factor`. Names, defaults and saved state are those of
    `torch.amp.GradScaler`; but here `scale` is the number, and the optimizer checks and unscales,
    on the way, with `skip_nonfinite=True` and `step(grad_scale=...)`.

    Args:
        init_scale: the first scale, default 2**16.
        growth_factor: above 1, default 2.
        backoff_factor: between 0 and 1, default 0.5.
        growth_interval: a count of steps, default 2000.

    Attributes:
        scale: what to multiply the loss, or the gradient of the loss, by.

    Raises:
        ValueError: for a number out of range.

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
        _refuse_unless(0 < init_scale < math.inf, "init_scale", init_scale, "above 0 and finite")
        _refuse_unless(1 < growth_factor < math.inf, "growth_factor", growth_factor, "above 1")
        _refuse_unless(0 < backoff_factor < 1, "backoff_factor", backoff_factor, "in (0, 1)")
        whole = growth_interval >= 1 and growth_interval == int(growth_interval)
        _refuse_unless(whole, "growth_interval", growth_interval, "a count of steps")
        self.scale = float(init_scale)
        self._growth_factor, self._backoff_factor = float(growth_factor), float(backoff_factor)
        self._growth_interval, self._good_steps = int(growth_interval), 0

    def update(self, found_inf: StepInfo | bool) -> None:
        """Adapt the scale to a step.

        Args:
            found_inf: what the step returned, or whether its gradients were not finite. A step
                that only accumulated gradients changes nothing.
        """
        if isinstance(found_inf, StepInfo):
            if not (found_inf.updated or found_inf.skipped):
                return
            found_inf = found_inf.skipped
        if found_inf:
            self.scale, self._good_steps = self.scale * self._backoff_factor, 0
            return
        self._good_steps += 1
        if self._good_steps == self._growth_interval:
            grown = self.scale * self._growth_factor
            self.scale, self._good_steps = grown if grown < math.inf else self.scale, 0

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on, as PyTorch's GradScaler has it."""
        return {
            "scale": self.scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state, this class's or that of PyTorch's GradScaler.

        Raises:
            ValueError: if something is missing or out of range; nothing is changed then.
        """
        if missing := self.state_dict().keys() - state_dict.keys():
            raise ValueError(f"state_dict lacks {sorted(missing)}; it has {list(state_dict)}")
        saved = dict(state_dict)
        scale, good_steps = saved.pop("scale"), saved.pop("_growth_tracker")
        vars(self).update(vars(LossScaler(scale, **saved)))
        self._good_steps = int(good_steps)

    def __repr__(self) -> str:
        return f"LossScaler(scale={self.scale:g})"


def _refuse_unless(good: bool, name: str, value: Any, wanted: str) -> None:
    if not good:
        raise ValueError(f"LossScaler: {name}={value!r} is not {wanted}")
