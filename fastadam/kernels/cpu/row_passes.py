"""Passes over the rows of a gradient, each in place of several of NumPy."""

from typing import Any

from numba import njit

from ...rules.functions import in_dtype
from ...rules.linker import digest, linked
from .target import OPTIONS, RECIPE, SHARED, cached, jit, with_file


def bounded(indices):
    """The smallest and the largest index, and 1 if none is smaller than the one before."""
    smallest = largest = indices[0]
    rising = 1
    for k in range(1, len(indices)):
        smallest, largest = min(smallest, indices[k]), max(largest, indices[k])
        rising &= indices[k] >= indices[k - 1]
    return smallest, largest, rising


def packed(indices, bits, keys):
    """Write each index, and in the lowest bits its place."""
    for k in range(len(keys)):
        keys[k] = indices[k] << bits | k


def unpacked(keys, bits, base, stride, numbers, sources):
    """Write the indices in sorted keys and the addresses of their values; returns how many indices
    equal the one before."""
    repeated, mask = 0, (1 << bits) - 1
    for k in range(len(keys)):
        key = keys[k]
        numbers[k] = key >> bits
        sources[k] = base + (key & mask) * stride
        repeated += k > 0 and key >> bits == keys[k - 1] >> bits
    return repeated


def joined(numbers, sources, width, stride, starts, stops, grads):
    """Write the elements of each run and the address of its first gradient; returns the number of
    runs. Rows that follow each other, in the parameter and in memory, are one run.

    Args:
        width: the elements of a row.
        stride: the bytes of its gradient; 0 if each row is a run by itself.
    """
    last = -1
    for k in range(len(numbers)):
        follows = (
            k > 0
            and stride > 0
            and numbers[k] == numbers[k - 1] + 1
            and sources[k] == sources[k - 1] + stride
        )
        if not follows:
            last += 1
            starts[last], grads[last] = numbers[k] * width, sources[k]
        stops[last] = (numbers[k] + 1) * width
    return last + 1


def listed(chunks, starts, stops):
    """Write the runs as chunks; returns their elements, and those of the longest."""
    total = longest = 0
    for k in range(len(starts)):
        chunks[k, 1], chunks[k, 2] = starts[k], stops[k]
        length = stops[k] - starts[k]
        total += length
        longest = max(longest, length)
    return total, longest


def shifted(rows, column, addresses, starts, size):
    """Write where each array would begin, if its run lay at an address."""
    for k in range(len(starts)):
        rows[k, column] = addresses[k] - starts[k] * size


VECTOR, TABLE = "int64[::1]", "int64[:, ::1]"
READ = "Array(int64, 1, 'C', readonly=True)"  # a vector that may be read-only


def compiled_pass(function: Any, *kinds: str, nogil: bool = True) -> Any:
    """A function compiled for arguments of these types, or loaded from the disk cache."""
    mark, signature = digest(in_dtype, function, RECIPE), f"({', '.join(kinds)},)"
    made = with_file(linked(function, f"{function.__name__}_{mark}", mark, jit, in_dtype, SHARED))
    return cached(lambda cache: njit(signature, cache=cache, nogil=nogil, **OPTIONS)(made))


bounds = compiled_pass(bounded, READ)
pack = compiled_pass(packed, READ, "int64", VECTOR)
unpack = compiled_pass(unpacked, VECTOR, "int64", "int64", "int64", VECTOR, VECTOR)
join = compiled_pass(joined, VECTOR, VECTOR, "int64", "int64", VECTOR, VECTOR, VECTOR)
enlist = compiled_pass(listed, TABLE, VECTOR, VECTOR)
shift = compiled_pass(shifted, TABLE, "int64", VECTOR, VECTOR, "int64")
