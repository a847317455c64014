"""The list of optimizers: a line about each, its bytes and its source."""

import sys
from typing import NamedTuple

from ..engine.budget import LARGE, traffic_of
from ..optimizer import Optimizer


class Listing(NamedTuple):
    """An optimizer in the list; bytes are for one float32 parameter and the default flags.

    Attributes:
        name: the name of the class.
        about: one line about it.
        state_bytes: the bytes of its state, without numbers of rows.
        traffic: the bytes that a step reads and writes.
        origin: the source, with authors, title, venue and year.
    """

    name: str
    about: str
    state_bytes: int
    traffic: int
    origin: str


def listing(optimizer: type[Optimizer]) -> Listing:
    """The entry of an optimizer; `about` and `origin` are empty without docstrings (`-OO`)."""
    rule = optimizer.rule.of(LARGE)
    module = sys.modules[optimizer.__module__].__doc__ or ""
    about, origin = (optimizer.__doc__ or "").split("\n")[0], _joined(module)
    return Listing(
        optimizer.__name__,
        about.rstrip("."),
        4 * (len(rule.state) - len(rule.row_state) - len(rule.column_state)),
        traffic_of(optimizer.rule),
        origin.partition(": ")[2].rstrip("."),
    )


def _joined(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())
