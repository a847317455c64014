"""Sums over the shards of DTensors, for norms and for decisions that all processes share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from .shards import is_sharded


class ShardSums:
    """All-reduce over the processes that have other shards of the same parameters.

    Replicas, and parameters that are not DTensors, are counted once.

    Args:
        params: the parameters; processes of a mesh have the same ones on it, in the same order.
    """

    def __init__(self, params: Sequence[Any]) -> None:
        self._numbers: dict[tuple[Any, int], list[int]] = {}
        for number, param in enumerate(params):
            for dim, placement in enumerate(param.placements if is_sharded(param) else ()):
                if not placement.is_replicate():
                    self._numbers.setdefault((param.device_mesh, dim), []).append(number)

    def add_up(self, own: Any, squares: Any) -> None:
        """Write to `squares` the sum over all shards of each parameter, of which `own` has those of
        this process."""
        total = _tensor(squares).copy_(_tensor(own))
        for (mesh, dim), numbers in self._numbers.items():
            part = total[numbers].to(mesh.device_type)
            dist.all_reduce(part, group=mesh.get_group(dim))
            total[numbers] = part.to(total.device)

    def all_true(self, value: bool) -> bool:
        """True if the value is true in all processes that have shards of the parameters."""
        for mesh, dim in self._numbers:
            flag = torch.tensor(int(value), device=mesh.device_type)
            dist.all_reduce(flag, dist.ReduceOp.MIN, mesh.get_group(dim))
            value = bool(flag)
        return value


def _tensor(array: Any) -> Any:
    """A tensor that shares the memory of an array of the host or of a GPU."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(array)
    return torch.as_tensor(array, device="cuda")
