"""The mathematics: scalar rules, and the algorithms that compute their per-step constants."""

from .declarations import ROW, SIZE, Factors
from .functions import cautiously_decayed, decayed, lerp, sign, squared
from .rule import MATRIX, Rule, rule, variants

__all__ = [
    "MATRIX",
    "ROW",
    "SIZE",
    "Factors",
    "Rule",
    "cautiously_decayed",
    "decayed",
    "lerp",
    "rule",
    "sign",
    "squared",
    "variants",
]
