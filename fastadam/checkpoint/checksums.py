"""CRC-32 of tensors that are read or written in pieces, computed in threads meanwhile."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Any, NamedTuple
from zlib import crc32

POLYNOMIAL = 0xEDB88320  # of CRC-32, bits reversed
IN_FLIGHT = 2  # pieces whose checksums are being computed


class Part(NamedTuple):
    """The checksum of some bytes of a tensor."""

    start: int
    nbytes: int
    crc: int


class Checksums:
    """Checksums of pieces, combined to those of tensors.

    A piece may be changed once `IN_FLIGHT` further ones were added.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(IN_FLIGHT)
        self._waiting = deque[tuple[str, int, int, Callable[[], int]]]()
        self._parts: dict[str, list[Part]] = {}

    def __enter__(self) -> "Checksums":
        return self

    def __exit__(self, *error: Any) -> None:
        self._pool.shutdown()

    def add(self, name: str, start: int, piece: Any) -> None:
        """Add bytes of a tensor."""
        self._waiting.append((name, start, len(piece), self._started(piece)))
        while len(self._waiting) > IN_FLIGHT:
            self._finish()

    def parts(self, name: str) -> list[Part]:
        """The checksums of the pieces of a tensor."""
        while self._waiting:
            self._finish()
        return self._parts.get(name, [])

    def _started(self, piece: Any) -> Callable[[], int]:
        try:
            return self._pool.submit(crc32, piece).result
        except RuntimeError:  # the interpreter exits, and starts no thread
            known = crc32(piece)
            return lambda: known

    def _finish(self) -> None:
        name, start, nbytes, result = self._waiting.popleft()
        self._parts.setdefault(name, []).append(Part(start, nbytes, result()))


def combined(parts: Sequence[Part], nbytes: int) -> int:
    """The checksum of a tensor from those of its pieces, in any order.

    Raises:
        ValueError: if the pieces are not all bytes of the tensor, each once.
    """
    crc = end = 0
    for part in sorted(parts):
        if part.start != end:
            raise ValueError(f"a piece begins at byte {part.start}, expected {end}")
        crc = (_times(_shift(part.nbytes), crc) if crc else 0) ^ part.crc
        end += part.nbytes
    if end != nbytes:
        raise ValueError(f"the pieces end at byte {end}, expected {nbytes}")
    return crc


# A checksum is linear over the field of two elements: that of bytes followed by n zeros is the
# checksum of the bytes times a matrix of 32 columns, which is squared for twice as many zeros.


def _times(matrix: Sequence[int], vector: int) -> int:
    result = 0
    for column in matrix:
        if vector & 1:
            result ^= column
        vector >>= 1
    return result


def _product(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(_times(one, column) for column in other)


@cache
def _power(exponent: int) -> tuple[int, ...]:
    """The matrix of 2**exponent zero bits."""
    if exponent == 0:
        return (POLYNOMIAL, *(1 << bit for bit in range(31)))
    half = _power(exponent - 1)
    return _product(half, half)


@lru_cache(1024)
def _shift(nbytes: int) -> tuple[int, ...]:
    """The matrix of so many zero bytes."""
    bits, matrix = 8 * nbytes, tuple(1 << bit for bit in range(32))
    for exponent in range(bits.bit_length()):
        if bits >> exponent & 1:
            matrix = _product(_power(exponent), matrix)
    return matrix
