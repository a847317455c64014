"""Passes over the rows of a gradient, each in place of several of NumPy."""

from typing import Any

from numba import njit

from ...rules.functions import in_dtype
from ...rules.linker import digest, linked
from .target import OPTIONS, RECIPE, cached, jit, with_file


def begins(number, before, source, end, step):
    """True if a row begins a run: it does not follow the row before, which ends at `end`."""
    return number != before + 1 or source != end or step == 0


def packed(indices, bits, keys):
    """Write each index, and in the lowest bits its place; returns the smallest and the largest
    index, and 1 if none is smaller than the one before."""
    smallest = largest = before = indices[0]
    rising = 1
    for k in range(len(keys)):
        index = indices[k]
        keys[k] = index << bits | k
        smallest, largest = min(smallest, index), max(largest, index)
        rising &= index >= before
        before = index
    return smallest, largest, rising


def unpacked(keys, bits, base, stride, width, step, room):
    """Write the indices in sorted keys, the addresses of their values, and the runs of rows; see
    `joined`.

    Args:
        bits: how many of a key are the place where the index was given.
        base: the address of the values.
        stride: the bytes of the values of a row.
        width, step: as in `joined`.
        room: what is written: indices, addresses, and starts, stops and gradients of runs.

    Returns:
        How many indices equal the one before, and the number of runs if none does.
    """
    numbers, sources, starts, stops, grads = room[0], room[1], room[2], room[3], room[4]
    repeated, mask, last, number, source = 0, (1 << bits) - 1, -1, -2, 0
    for k in range(len(keys)):
        key, before, end = keys[k], number, source + step
        number = key >> bits
        source = base + (key & mask) * stride
        numbers[k], sources[k] = number, source
        repeated += number == before
        if begins(number, before, source, end, step):
            last += 1
            starts[last], grads[last] = number * width, source
        stops[last] = (number + 1) * width
    return repeated, last + 1


def joined(numbers, sources, width, step, starts, stops, grads):
    """Write the elements of each run and the address of its first gradient; returns the number of
    runs. Rows that follow each other, in the parameter and in memory, are one run.

    Args:
        width: the elements of a row.
        step: the bytes from a row to the next of the same run; 0 if each row is a run by itself.
    """
    last, number, source = -1, -2, 0
    for k in range(len(numbers)):
        before, end = number, source + step
        number, source = numbers[k], sources[k]
        if begins(number, before, source, end, step):
            last += 1
            starts[last], grads[last] = number * width, source
        stops[last] = (number + 1) * width
    return last + 1


def listed(rows, column, addresses, starts, size, stops, chunks):
    """Write the runs as chunks, and for each where an array would begin, if its run lay at an
    address; returns the elements of all runs, and those of the longest."""
    total = longest = 0
    for k in range(len(starts)):
        start, stop = starts[k], stops[k]
        chunks[k, 1], chunks[k, 2] = start, stop
        rows[k, column] = addresses[k] - start * size
        total += stop - start
        longest = max(longest, stop - start)
    return total, longest


def shifted(rows, column, addresses, starts, size):
    """Write where each array would begin, if its run lay at an address."""
    for k in range(len(starts)):
        rows[k, column] = addresses[k] - starts[k] * size


def divided(chunks, total, cuts):
    """Write the first chunk of each task, and the number of chunks, so that all tasks have about as
    many of these elements."""
    tasks, passed, task = len(cuts) - 1, 0, 0
    for k in range(len(chunks)):
        length = chunks[k, 2] - chunks[k, 1]
        passed += length
        while task < tasks and passed - length // 2 >= total * task // tasks:
            cuts[task] = k
            task += 1
        if task == tasks:
            break
    cuts[task:] = len(chunks)


VECTOR, TABLE = "int64[::1]", "int64[:, ::1]"
READ = "Array(int64, 1, 'C', readonly=True)"  # a vector that may be read-only


def compiled_pass(function: Any, *kinds: str, nogil: bool = True) -> Any:
    """A function compiled for arguments of these types, or loaded from the disk cache."""
    mark, signature = digest(in_dtype, function, RECIPE), f"({', '.join(kinds)},)"
    made = with_file(linked(function, f"{function.__name__}_{mark}", mark, jit, in_dtype))
    return cached(lambda cache: njit(signature, cache=cache, nogil=nogil, **OPTIONS)(made))


pack = compiled_pass(packed, READ, "int64", VECTOR)
unpack = compiled_pass(unpacked, VECTOR, *["int64"] * 5, TABLE)
join = compiled_pass(joined, VECTOR, VECTOR, "int64", "int64", VECTOR, VECTOR, VECTOR)
enlist = compiled_pass(listed, TABLE, "int64", VECTOR, VECTOR, "int64", VECTOR, TABLE)
shift = compiled_pass(shifted, TABLE, "int64", VECTOR, VECTOR, "int64")
divide = compiled_pass(divided, TABLE, "int64", VECTOR)
