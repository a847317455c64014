"""The table of a kernel on a device: a copy there, renewed where the host's has changed."""

from collections.abc import Callable, Sequence

import numpy as np

from ..kernels.factory import Kernel
from . import device
from .table import Table

BLOCKS = 1 << 16  # of a grid, at most


def chunk_length(elements: int) -> int:
    """Some thousand chunks, as many blocks as a large GPU runs at a time and more, where there are
    elements enough; one group of neighbours for each thread at least, in whole blocks."""
    return min(max(elements // 4096 // 1024 * 1024, 1024), 16384)


class DeviceTable(Table):
    """Rows, chunks and records in the memory of a device."""

    length_of_chunks = staticmethod(chunk_length)

    def __init__(self, kernel: Kernel, sizes: Sequence[int], records: int) -> None:
        super().__init__(kernel, sizes, records)
        self._rows = device.zeros(self.rows.size, np.int64)
        self._records = device.zeros(len(self.records), np.uint8)
        self._chunks = device.zeros(max(1, self.chunks.size), np.int64)
        self._task = device.zeros(5, np.int64)
        self._chunks[: self.chunks.size] = self.chunks.reshape(-1)
        parts = (self._rows, self._chunks, self._records)
        self._task[...] = [part.address for part in parts] + [0, len(self.chunks)]
        self._sent: tuple[bytes, bytes] = (b"", b"")

    def runner(self, limit: int | None) -> Callable[[], None]:
        """What launches the kernel over all chunks, in the stream of the device."""
        grid = min(len(self.chunks), BLOCKS)
        if not grid:
            return lambda: None
        start = self.kernel.target.launcher(self.kernel.run, grid)

        def run() -> None:
            self._send()
            start(self._task.address)

        return run

    def _send(self) -> None:
        rows, records = self.rows.tobytes(), self.records.raw
        sent_rows, sent_records = self._sent
        if rows != sent_rows:
            self._rows[...] = self.rows.reshape(-1)
        if records != sent_records:
            self._records[...] = np.frombuffer(records, np.uint8)
        self._sent = rows, records
