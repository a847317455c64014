"""Process groups of torch.distributed."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from .communicator import Wait


class GroupCommunicator:
    """A process group whose messages lie on the host, such as one of the backend gloo."""

    def __init__(self, group: Any) -> None:
        if not isinstance(group, dist.ProcessGroup):
            raise TypeError(
                f"comm={group!r} is not a process group; give torch.distributed.group.WORLD, or "
                "one of torch.distributed.new_group"
            )
        backend = dist.get_backend(group)
        if backend == "nccl":
            raise ValueError(
                "comm is a process group of NCCL, which sends arrays of a GPU, but these "
                "parameters lie on the host; make one of the backend gloo: "
                'torch.distributed.new_group(backend="gloo")'
            )
        self._group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._ranks = [dist.get_global_rank(group, rank) for rank in range(self.size)]

    def exchange(self, send: Sequence[Any], receive: Sequence[Any]) -> Wait:
        works, kept = [], []
        for step in range(1, self.size):
            other = (self.rank - step) % self.size
            if receive[other].size:
                tensor = torch.from_numpy(receive[other])
                works.append(dist.irecv(tensor, self._ranks[other], self._group))
        for step in range(1, self.size):
            other = (self.rank + step) % self.size
            if send[other].size:
                kept.append(torch.from_numpy(send[other]))
                works.append(dist.isend(kept[-1], self._ranks[other], self._group))

        def wait() -> None:
            for work in works:
                if work is not None:
                    work.wait()
            kept.clear()

        return wait
