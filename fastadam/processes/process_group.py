"""Process groups of torch.distributed."""

from collections.abc import Sequence
from functools import partial
from operator import methodcaller
from typing import Any

import torch
import torch.distributed as dist

from ..kernels.commit import Operation, added, each_once
from .communicator import Wait, begun, messages

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
        return begun(*self.prepared(send, receive))

    def prepared(
        self, send: Sequence[Any], receive: Sequence[Any]
    ) -> tuple[Sequence[Operation], Wait]:
        """The operations that begin an exchange, and the function that waits for it."""
        works = list[Any]()

        def begin(start: Any, arrays: Sequence[Any], other: int) -> list[Operation]:
            if not arrays[other].size:
                return []
            return [added(works, partial(start, [torch.from_numpy(arrays[other])], other), TAG)]

        receiving = partial(begin, self._group.recv, receive)
        sending = partial(begin, self._group.send, send)
        return messages(self, receiving, sending), each_once(methodcaller("wait"), works)
