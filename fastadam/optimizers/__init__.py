"""The mathematics: one file per algorithm, its equation, its source, its rule, its class."""

from .adam import Adam
from .adamw import AdamW

__all__ = ["Adam", "AdamW"]
