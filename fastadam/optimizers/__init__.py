"""The algorithms: one file each, with its equation, its source, its rule and its class."""

from difflib import get_close_matches

from ..optimizer import Optimizer
from .adabelief import AdaBelief
from .adadelta import Adadelta
from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam
from .adam_mini import AdamMini
from .adamax import Adamax
from .adamw import AdamW
from .adan import Adan
from .ademamix import AdEMAMix
from .adopt import ADOPT
from .ftrl import FTRL
from .grams import Grams
from .lamb import LAMB
from .laprop import LaProp
from .lars import LARS
from .lion import Lion
from .listing import Listing, listing
from .mars import MARS
from .muon import Muon
from .nadam import NAdam
from .prodigy import Prodigy
from .radam import RAdam
from .rmsprop import RMSprop
from .rowwise_adagrad import RowwiseAdagrad
from .rprop import Rprop
from .schedulefreeadamw import ScheduleFreeAdamW
from .schedulefreesgd import ScheduleFreeSGD
from .sgd import SGD
from .signum import Signum
from .sparse_adam import SparseAdam
from .stableadamw import StableAdamW
from .yogi import Yogi

__all__ = [
    "ADOPT",
    "FTRL",
    "LAMB",
    "LARS",
    "MARS",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamMini",
    "AdamW",
    "Adamax",
    "Adan",
    "Grams",
    "LaProp",
    "Lion",
    "Muon",
    "NAdam",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "RowwiseAdagrad",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Signum",
    "SparseAdam",
    "StableAdamW",
    "Yogi",
]


def list() -> tuple[Listing, ...]:
    """All optimizers: for each its name, a line about it, its bytes and its source.

    Examples:
        >>> import fastadam as fa
        >>> lion = next(each for each in fa.optimizers.list() if each.name == "Lion")
        >>> lion.state_bytes, lion.traffic
        (4, 20)
    """
    return tuple(listing(globals()[name]) for name in sorted(__all__, key=str.lower))


def by_name(name: str, *more: str) -> type[Optimizer]:
    """The optimizer class of a name, in any case.

    Args:
        name: the name.
        more: other words that the message about an unknown name lists.

    Raises:
        ValueError: for a name that does not exist.
    """
    known = {each.lower(): each for each in __all__}
    if name.lower() not in known:
        close = get_close_matches(name.lower(), [*known, *more], n=5, cutoff=0.7)
        close = sorted(close, key=lambda each: each[0] != name[0].lower())[:2]
        meant = " or ".join(known.get(each, each) for each in close)
        advice = f"; did you mean {meant}? There are" if close else "; choose from"
        raise ValueError(
            f"unknown optimizer {name!r}{advice} {', '.join((*__all__, *map(repr, more)))}"
        )
    found: type[Optimizer] = globals()[known[name.lower()]]
    return found
