"""Memory of a sharded optimizer: in this process, and without sharding."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..engine.budget import Budget, budget_of
from ..engine.options import Options
from ..optimizer import Optimizer
from .layout import ShardLayout


class ShardedBudget(NamedTuple):
    """The bytes in one process and those of the same training without sharding; `print` shows both.

    Attributes:
        own: the bytes of the pieces in this process.
        whole: the bytes of an optimizer in one process.
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


def sharded_budget(
    optimizer: Optimizer,
    layout: ShardLayout,
    dtypes: Sequence[Any],
    options: Options,
    processes: int,
) -> ShardedBudget:
    """The bytes of a sharded optimizer.

    Args:
        optimizer: the optimizer of the pieces in this process.
        layout: the division of the parameters.
        dtypes: the dtypes of the gradients.
        options: the options of the sharded optimizer.
        processes: the number of processes.
    """
    engine, arrays = optimizer._engine, layout.parameters.arrays
    owners = [engine.groups[number] for number in layout.partition.group_of]
    members = [
        (group.rule, group.formats(array, dtype.name), array.size)
        for group, array, dtype in zip(owners, arrays, dtypes, strict=True)
    ]
    steps = options.accumulate_steps
    whole = replace(engine.options, accumulate_steps=steps, zero_grads=False)
    return ShardedBudget(optimizer.memory(), budget_of(members, whole), processes)
