"""Options of decoupled weight decay, shared by all optimizers that have it.

Cautious: L. Chen et al., Cautious Weight Decay, ICLR 2026. AdamC: A. Defazio, Why Gradients Rapidly
Increase Near the End of Training, arXiv 2025, algorithm 1. Independent of the learning rate: I.
Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2.
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
    cautious_weight_decay="decay only elements where decay and update have the same sign, "
    "`update * p >= 0`, default False.",
    weight_decay_mode='"AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`, or '
    '"independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".',
    peak_lr="with these two modes, the largest learning rate of the schedule; default None: that "
    "of a schedule of fastadam, or the constant with which the optimizer is made.",
)


def decay_function(cautious: bool) -> Any:
    """The function that adds weight decay to an update in a rule."""
    return cautiously_decayed if cautious else decayed


def check_decay(group: dict[str, Any], independent: bool = True) -> None:
    """Check the options of the weight decay of a group.

    Args:
        group: the hyperparameters.
        independent: whether the decay may be independent of the learning rate.

    Raises:
        ValueError: for options without decoupled weight decay, for a mode without `peak_lr`, and
            for a decay that cannot be independent.
    """
    mode = group["weight_decay_mode"]
    corrected = mode != "AdamW"
    if not group.get("decoupled_weight_decay", True) and (
        corrected or group["cautious_weight_decay"]
    ):
        name = "weight_decay_mode" if corrected else "cautious_weight_decay"
        raise ValueError(
            f"{name}={group[name]!r} is for decoupled weight decay; add decoupled_weight_decay=True"
        )
    if mode == "independent" and not independent:
        raise ValueError(
            "weight_decay_mode='independent': the decay of this optimizer follows the learning "
            "rate that it finds; use 'AdamW' or 'AdamC'"
        )
    if corrected and not group["peak_lr"]:
        raise ValueError(
            f"weight_decay_mode={mode!r} with peak_lr={group['peak_lr']!r}; give peak_lr, the "
            "largest learning rate of the schedule"
        )


def decay_rate(group: dict[str, Any], lr: float | None = None) -> float:
    """The share of the parameter that decays in a step, in float64.

    It is `lr * weight_decay`, with AdamC `lr**2 / peak_lr * weight_decay`, and if it is independent
    `lr / peak_lr * weight_decay`.
    """
    lr = group["lr"] if lr is None else lr
    if group["weight_decay_mode"] == "AdamC":
        lr *= lr / group["peak_lr"]
    elif group["weight_decay_mode"] == "independent":
        lr = lr / group["peak_lr"]
    rate: float = lr * group["weight_decay"]  # a DeviceRate cannot be converted
    return rate
