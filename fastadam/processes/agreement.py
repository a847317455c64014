"""Agreement of processes before anything changes: on errors, on flags, on settings."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np

from .communicator import Communicator, gathered
from .resumable import forget

DIGEST = 16  # bytes


class OtherProcessError(RuntimeError):
    """Another process raised an error in an operation of all processes."""


class Agreement:
    """Exchange of small facts between all processes.

    Args:
        comm: the processes.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm

    def flags(self, *own: bool) -> list[bool]:
        """For each flag whether it is set in any process."""
        rows = gathered(self._comm, np.array(own, np.uint8), [len(own)] * self._comm.size)
        return [bool(any(column)) for column in zip(*rows, strict=True)]

    def texts(self, own: str) -> list[str]:
        """The texts of all processes."""
        data = np.array(bytearray(own.encode()), np.uint8)
        sizes = gathered(self._comm, np.array([data.size], np.int64), [1] * self._comm.size)
        parts = gathered(self._comm, data, [int(size[0]) for size in sizes])
        return [part.tobytes().decode() for part in parts]

    def check(self, error: BaseException | None, settings: Mapping[str, Any], *flags: bool) -> Any:
        """Continue in all processes, or raise an error in all.

        Args:
            error: what this process raises by itself.
            settings: what must be equal in all processes, by what it is called in messages.
            flags: as for `flags`.

        Returns:
            The flags, each set if it is set anywhere.

        Raises:
            BaseException: `error`, in its process.
            OtherProcessError: in the other processes.
            ValueError: if settings differ.
        """
        text = "" if error else json.dumps({name: repr(value) for name, value in settings.items()})
        digest = blake2b(text.encode(), digest_size=DIGEST).digest()
        own = np.array([error is not None, *flags, *digest], np.uint8)
        rows = gathered(self._comm, own, [own.size] * self._comm.size)
        failed = [rank for rank, row in enumerate(rows) if row[0]]
        if failed:
            self._raise(error, failed)
        if any(row[1 + len(flags) :].tobytes() != digest for row in rows):
            self._refuse(self.texts(text))
        return [bool(any(row[1 + k] for row in rows)) for k in range(len(flags))]

    @contextmanager
    def together(self) -> Iterator[dict[str, Any]]:
        """Run a block without messages in all processes; an exception in one is raised in all.

        The dict that is yielded takes settings that must be equal, as those of `check`.
        """
        error, settings = None, dict[str, Any]()
        try:
            yield settings
        except BaseException as raised:
            error = raised
        self.check(error, settings)

    def _raise(self, error: BaseException | None, failed: Sequence[int]) -> None:
        texts = self.texts(f"{type(error).__name__}: {error}" if error else "")
        forget(self._comm)
        if error:
            raise error
        raise OtherProcessError(
            "; ".join(f"process {rank} raised {texts[rank]}" for rank in failed)
            + "; nothing was changed in any process"
        )

    def _refuse(self, texts: Sequence[str]) -> None:
        """Raise an error that names what differs; all processes have the same texts."""
        all_settings = [json.loads(text) for text in texts]
        forget(self._comm)
        for name in all_settings[0]:
            values = [settings.get(name) for settings in all_settings]
            for rank, value in enumerate(values):
                if value != values[0]:
                    raise ValueError(
                        f"{name} is {value} in process {rank}, but {values[0]} in process 0; give "
                        "all processes the same"
                    )
