"""The mathematics: scalar rules, and the algorithms that compute their per-step constants."""

from .functions import cautiously_decayed, decayed, lerp, sign
from .rule import Rule, rule, variants

__all__ = ["Rule", "cautiously_decayed", "decayed", "lerp", "rule", "sign", "variants"]
