"""Sharded optimizers: each of several processes keeps and updates a part (ZeRO-1).

Examples:
    >>> from fastadam.distributed import Sharded
"""

from ..processes.agreement import OtherProcessError as OtherProcessError
from ..processes.communicator import Communicator as Communicator
from .sharded import Sharded as Sharded

__all__ = ["Communicator", "OtherProcessError", "Sharded"]
