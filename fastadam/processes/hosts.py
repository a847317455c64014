"""Hosts: processes that can share memory, and the memory that they share."""

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..memory.shared import SharedMapping, folder_of_files, reserved
from .agreement import Agreement
from .communicator import Communicator

BOOT = Path("/proc/sys/kernel/random/boot_id")  # of Linux: another one after each start


class Hosts:
    """The processes by the host that they run on; making it is collective.

    Attributes:
        groups: for each host the numbers of its processes, in order.
        own: those of this host.
        place: the place of this process among them.
    """

    def __init__(self, comm: Communicator) -> None:
        found = dict[str, list[int]]()
        for rank, name in enumerate(Agreement(comm).texts(host_name())):
            found.setdefault(name, []).append(rank)
        self.groups = list(found.values())
        self.number = next(k for k, group in enumerate(self.groups) if comm.rank in group)
        self.own = self.groups[self.number]
        self.place = self.own.index(comm.rank)

    @property
    def is_first(self) -> bool:
        """True in one process of each host."""
        return self.place == 0

    def partner(self, host: int, rank: int) -> int:
        """The process of a host that sends to, and receives from, a process of another host."""
        group = next(group for group in self.groups if rank in group)
        there = self.groups[host]
        return there[group.index(rank) % len(there)]


def host_name() -> str:
    """A name that is equal in two processes if and only if they can share memory."""
    boot = ""
    with suppress(OSError):
        boot = BOOT.read_text().strip()
    return f"{platform.node()} {boot} {os.stat(folder_of_files()).st_dev}"


def shared_bytes(comm: Communicator, hosts: Hosts, nbytes: int) -> Any:
    """An array of zeros of uint8, shared by all processes of a host.

    Raises:
        OSError: if there is not as much memory.
        OtherProcessError: if another process raised an error.
    """
    agreement, made, path = Agreement(comm), list[int](), ""
    try:
        with agreement.together():
            if hosts.is_first:
                fd, path = reserved(max(nbytes, 1))
                made.append(fd)
        paths = agreement.texts(path)
        with agreement.together():
            if not hosts.is_first:
                made.append(os.open(paths[hosts.own[0]], os.O_RDWR))
            mapping = SharedMapping(made[0], max(nbytes, 1))
            mapping.processes = hosts.own
        return np.frombuffer(mapping, np.uint8, nbytes)
    finally:
        for fd in made:
            os.close(fd)
        if path:
            os.unlink(path)
