"""Process groups of torch.distributed."""

from collections.abc import Sequence
from functools import partial
from operator import methodcaller
from typing import Any

import torch
import torch.distributed as dist

from ..kernels.commit import Operation, added, commit, each_once
from .communicator import Wait

TAG = 0  # of all messages


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

    def exchange(self, send: Sequence[Any], receive: Sequence[Any]) -> Wait:
        operations, wait = self.prepared(send, receive)
        commit(operations)
        return wait

    def prepared(
        self, send: Sequence[Any], receive: Sequence[Any]
    ) -> tuple[Sequence[Operation], Wait]:
        """The operations that begin an exchange, and the function that waits for it."""
        works, operations = list[Any](), list[Operation]()
        for step in range(1, self.size):
            other = (self.rank - step) % self.size
            if receive[other].size:
                begin = partial(self._group.recv, [torch.from_numpy(receive[other])], other)
                operations.append(added(works, begin, TAG))
        for step in range(1, self.size):
            other = (self.rank + step) % self.size
            if send[other].size:
                begin = partial(self._group.send, [torch.from_numpy(send[other])], other)
                operations.append(added(works, begin, TAG))
        return operations, each_once(methodcaller("wait"), works)
