"""Checkpoints in PyTorch's layout: saving, checking and loading them."""
