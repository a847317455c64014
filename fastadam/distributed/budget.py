"""Memory of a sharded optimizer: in this process, and in all together."""

from typing import NamedTuple

from ..engine.budget import Budget


class ShardedBudget(NamedTuple):
    """The bytes in one process and those of the same training without sharding; `print` shows both.

    Attributes:
        own: those of the pieces in this process; its `params` and `grads` are those of the pieces.
        whole: those of an optimizer in one process.
        processes: the number of processes.
    """

    own: Budget
    whole: Budget
    processes: int

    def __repr__(self) -> str:
        return (
            f"in this process, of {self.processes} (parameters and gradients are there whole, the "
            f"other parts are those of its pieces):\n{self.own!r}\n\nwithout sharding:\n"
            f"{self.whole!r}"
        )
