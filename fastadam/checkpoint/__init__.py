"""Checkpoints in PyTorch's layout: saving, checking, loading."""
