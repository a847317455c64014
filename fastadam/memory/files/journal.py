"""Journal of a file: a record of its contents, such as "complete at step 7", in two slots in turn.

A record is valid if its checksum matches; the valid one with the higher number is the current one.
After an incomplete write, as in a power failure, the previous record remains the current one.
"""

import json
import struct
from typing import Any
from zlib import crc32

import numpy as np

from ...kernels.commit import Operation, write

_HEAD = struct.Struct("<QII")  # number, bytes of the content, checksum of both
IN_PROGRESS = "in_progress"


class Journal:
    """The two slots.

    Args:
        room: the memory of both, an array of bytes.
    """

    def __init__(self, room: Any) -> None:
        half = room.size // 2
        self._slots = room[:half], room[half:]

    def read(self) -> dict[str, Any]:
        """The content of the current record.

        Raises:
            ValueError: if there is none.
        """
        _, content = self._latest()
        if content is None:
            raise ValueError("no record of its journal is valid")
        found: dict[str, Any] = json.loads(content)
        return found

    def written(self, content: dict[str, Any], later: int = 1) -> list[Operation]:
        """The operations that write the next record, or the one `later` records after it.

        Raises:
            ValueError: if it is too long for a slot.
        """
        number = self._latest()[0] + later
        slot, text = self._slots[number % 2], json.dumps(content).encode()
        if _HEAD.size + len(text) > slot.size:
            raise ValueError(f"a record of {len(text)} bytes does not fit into its journal")
        record = _HEAD.pack(number, len(text), crc32(text, number & 0xFFFFFFFF)) + text
        return [write(slot[: len(record)], np.frombuffer(record, np.uint8))]

    def _latest(self) -> tuple[int, bytes | None]:
        found: tuple[int, bytes | None] = (0, None)
        for slot in self._slots:
            number, size, checksum = _HEAD.unpack(slot[: _HEAD.size].tobytes())
            text = slot[_HEAD.size : _HEAD.size + size].tobytes()
            if text and crc32(text, number & 0xFFFFFFFF) == checksum and number > found[0]:
                found = number, text
        return found


def room_for(counts: int) -> int:
    """The size in bytes of a slot for records of `counts` numbers."""
    return -(-(2048 + 32 * counts) // 4096) * 4096
