"""Packets: rows of several parameters in one message."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

PLACE = 8  # bytes, at multiples of which arrays begin


class Packet:
    """Rows of several parameters in one array of bytes: the indices of all, then the values.

    Args:
        counts: how many rows of each parameter.
        dtypes: those of the values.
        widths: the elements of a row.

    Attributes:
        data: the array.
    """

    def __init__(self, counts: Sequence[int], dtypes: Sequence[Any], widths: Sequence[int]) -> None:
        self._counts, self._dtypes, self._widths = counts, dtypes, widths
        kinds = zip(counts, dtypes, widths, strict=True)
        sizes = [-(-n * width * dtype.itemsize // PLACE) * PLACE for n, dtype, width in kinds]
        self._indices = [*accumulate((8 * n for n in counts), initial=0)]
        self._values = [*accumulate(sizes, initial=self._indices[-1])]
        self.data = np.empty(self._values[-1] // PLACE, np.int64).view(np.uint8)

    def rows(self, k: int) -> tuple[Any, Any]:
        """The indices and the values of the rows of a parameter: views."""
        count, dtype, width = self._counts[k], self._dtypes[k], self._widths[k]
        first = self._values[k]
        indices = self.data[self._indices[k] : self._indices[k + 1]].view(np.int64)
        values = self.data[first : first + count * width * dtype.itemsize].view(dtype)
        return indices, values.reshape(count, width)
