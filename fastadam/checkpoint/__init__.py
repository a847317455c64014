"""Saved state in PyTorch's layout: writing it, checking it, taking it over."""
