"""Training on a device with the optimizer on the host."""

from .optimizer import CPUOffload

__all__ = ["CPUOffload"]
