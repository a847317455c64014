"""Training on a device with the optimizer on the host."""

from .optimizer import CPUOffload
from .subgroups import CPUAdam

__all__ = ["CPUAdam", "CPUOffload"]
