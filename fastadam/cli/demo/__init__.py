"""`fastadam demo`: the command, and the comparison with plain NumPy."""

from .command import HELP, add_arguments, run

__all__ = ["HELP", "add_arguments", "run"]
