"""What surrounds a step: nothing, one option, or all that a training loop is likely to need."""

from typing import Any, NamedTuple

OPTIONS: dict[str, Any] = {
    "grad_scale": 1024.0,
    "clip_norm": 1.0,
    "skip_nonfinite": True,
    "ema_decay": 0.999,
    "shadow_dtype": "bfloat16",
    "zero_grads": True,
}


class Tail(NamedTuple):
    """Options of a step, by their names as keywords."""

    label: str
    options: dict[str, Any]

    @property
    def micro_batches(self) -> int:
        """How many gradients are added up for an update."""
        return int(self.options.get("accumulate_steps", 1))


PLAIN, ALL = Tail("none", {}), Tail("all", OPTIONS)
ALONE = {**OPTIONS, "accumulate_steps": 4}  # four gradients make another step, not a larger tail
TAILS = (PLAIN, *(Tail(name, {name: value}) for name, value in ALONE.items()), ALL)
