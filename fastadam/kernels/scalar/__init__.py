"""Conversions of single numbers: float16, stochastic rounding."""
