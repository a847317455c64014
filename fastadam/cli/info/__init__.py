"""`fastadam info`: the command, and the plan of memory."""

from .command import HELP, add_arguments, run

__all__ = ["HELP", "add_arguments", "run"]
