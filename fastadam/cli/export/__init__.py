"""`fastadam export`: the command, and the comment that describes a kernel to its callers."""

from .command import HELP, add_arguments, run

__all__ = ["HELP", "add_arguments", "run"]
