"""Options of decoupled weight decay, shared by all optimizers that have it.

Cautious: L. Chen et al., Cautious Weight Decay, ICLR 2026. AdamC: A. Defazio, Why Gradients Rapidly
Increase Near the End of Training, arXiv 2025, algorithm 1.
"""

from typing import Any

from ..rules import cautiously_decayed, decayed
from ..rules.docstrings import SHARED

DECAY_OPTIONS: dict[str, Any] = {
    "cautious_weight_decay": False,
    "weight_decay_mode": "AdamW",
    "peak_lr": None,
}
SHARED.update(
    cautious_weight_decay="decay only elements of which decay and update agree, that is "
    "`update * p >= 0`, default False.",
    weight_decay_mode='"AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`; '
    'default "AdamW".',
    peak_lr='with "AdamC", the largest learning rate of the schedule; default None: that of a '
    "schedule of fastadam, or the constant with which the optimizer is made.",
)


def decay_function(cautious: bool) -> Any:
    """The function that adds weight decay to an update in a rule."""
    return cautiously_decayed if cautious else decayed


def check_decay(group: dict[str, Any]) -> None:
    """Check the options of the weight decay of a group.

    Raises:
        ValueError: for options without decoupled weight decay, and for AdamC without `peak_lr`.
    """
    corrected = group["weight_decay_mode"] == "AdamC"
    if not group.get("decoupled_weight_decay", True) and (
        corrected or group["cautious_weight_decay"]
    ):
        name = "weight_decay_mode" if corrected else "cautious_weight_decay"
        raise ValueError(
            f"{name}={group[name]!r} is for decoupled weight decay; add decoupled_weight_decay=True"
        )
    if corrected and not group["peak_lr"]:
        raise ValueError(
            f"weight_decay_mode='AdamC' with peak_lr={group['peak_lr']!r}; give peak_lr, the "
            "largest learning rate of the schedule"
        )


def decay_rate(group: dict[str, Any], lr: float | None = None) -> float:
    """The share of the parameter that decays in a step, in float64.

    It is `lr * weight_decay`, with AdamC `lr**2 / peak_lr * weight_decay`.
    """
    lr = group["lr"] if lr is None else lr
    if group["weight_decay_mode"] == "AdamC":
        lr *= lr / group["peak_lr"]
    rate: float = lr * group["weight_decay"]  # a DeviceRate cannot be converted
    return rate
