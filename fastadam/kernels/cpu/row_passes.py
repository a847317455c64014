"""Passes over the rows of a gradient, each in place of several of NumPy."""

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from ...rules.functions import in_dtype
from ...rules.linker import digest, linked
from .target import OPTIONS, RECIPE, SHARED, cached, jit, with_file


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


def repeats(keys, bits):
    """The number of indices in sorted keys that equal the one before."""
    repeated = 0
    for k in range(1, len(keys)):
        repeated += keys[k] >> bits == keys[k - 1] >> bits
    return repeated


def unpacked(keys, bits, base, stride, width, first, starts, sources):
    """Write the first elements of the rows in sorted keys, and the addresses of their values.

    Args:
        keys: the index of each row; in the lowest bits the place where it was given.
        bits: how many bits these are.
        base: the address of the values.
        stride: the bytes of the values of a row.
        width: the elements of a row.
        first: the place of the array in one of which it is a part.
        starts, sources: what is written.
    """
    mask = (1 << bits) - 1
    for k in range(len(keys)):
        starts[k] = first + (keys[k] >> bits) * width
        sources[k] = base + (keys[k] & mask) * stride


def begins(number, before, source, end, step):
    """True if a row begins a run: it does not follow the row before, which ends at `end`."""
    return number != before + 1 or source != end or step == 0


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


def grouped(numbers, uniques, firsts, counts):
    """Write each number once, its first place, and how often it is there; returns how many numbers
    there are, how many more than once, and how many places have a number that is there more than
    once, and more than twice."""
    last, several, repeated, many, k, end = 0, 0, 0, 0, 0, len(numbers)
    while k < end:
        first, number = k, numbers[k]
        k += 1
        while k < end and numbers[k] == number:
            k += 1
        count = k - first
        uniques[last], firsts[last], counts[last] = number, first, count
        last += 1
        if count > 1:
            several, repeated = several + 1, repeated + count
        if count > 2:
            many += count
    return last, several, repeated, many


def ranked(firsts, counts, places, mask, bits, width, shift, members, keys):
    """Write the places of the numbers that are there more than twice, and keys by which their rows
    have an order: the number, what the row begins with, and in the lowest bits a count.

    Args:
        firsts, counts: as `grouped` wrote them.
        places: in the bits of `mask` where each row was given.
        bits: the values of all rows.
        width: the elements of a row.
        shift: the bits of the count.
        members, keys: what is written.
    """
    place, rank = 0, 0
    for k in range(len(firsts)):
        if counts[k] > 2:
            for member in range(firsts[k], firsts[k] + counts[k]):
                lead = np.int64(bits[(places[member] & mask) * width])
                members[place] = member
                keys[place] = (rank << 32 | lead) << shift | place
                place += 1
            rank += 1


def reordered(keys, shift, members, sources, spare):
    """Put the addresses of rows in the order of sorted keys; returns how many keys equal the one
    before but for the count, and changes nothing if any does."""
    ties, before, mask = 0, -1, (1 << shift) - 1
    for k in range(len(keys)):
        ties += keys[k] >> shift == before
        before = keys[k] >> shift
        spare[k] = sources[members[keys[k] & mask]]
    if ties == 0:
        for k in range(len(keys)):
            sources[members[k]] = spare[k]
    return ties


def gathered(firsts, counts, least, sources, base, size, found, given, sums, begins):
    """Write where the gradient of each number is: its only value, or a sum.

    Args:
        firsts, counts: as `grouped` wrote them.
        least: the numbers that are there so many times or more have sums.
        sources: the addresses of values.
        base: the address of the first sum.
        size: the bytes from one to the next.
        found: the address of the gradient of each number.
        given: the addresses of the values that are added up.
        sums: the address of the sum for each of them.
        begins: the place of the first of each sum.
    """
    place, total = 0, 0
    for k in range(len(firsts)):
        first, count = firsts[k], counts[k]
        if count < least:
            found[k] = sources[first]
        else:
            found[k] = base + total * size
            begins[total] = place
            total += 1
            for member in range(first, first + count):
                given[place], sums[place] = sources[member], found[k]
                place += 1


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


def listed_sorted(rows, column, size, chunks, keys, bits, base, stride, width, first):
    """As `joined` and `listed`, of the indices in sorted keys, of which none is there twice.

    Args:
        rows, column, size, chunks: as for `listed`.
        keys, bits, base, stride, width, first: as for `unpacked`.

    Returns:
        How many runs there are, the elements of all, and those of the longest.
    """
    mask, last, number, source, start, longest = (1 << bits) - 1, -1, -2, 0, 0, 0
    for k in range(len(keys)):
        before, end = number, source + stride
        number, source = keys[k] >> bits, base + (keys[k] & mask) * stride
        if begins(number, before, source, end, stride):
            last += 1
            start = first + number * width
            chunks[last, 1], rows[last, column] = start, source - start * size
        stop = first + (number + 1) * width
        chunks[last, 2] = stop
        longest = max(longest, stop - start)
    return last + 1, len(keys) * width, longest


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
    made = with_file(linked(function, f"{function.__name__}_{mark}", mark, jit, in_dtype, SHARED))
    return cached(lambda cache: njit(signature, cache=cache, nogil=nogil, **OPTIONS)(made))


pack = compiled_pass(packed, READ, "int64", VECTOR)
count_repeated = compiled_pass(repeats, VECTOR, "int64")
unpack = compiled_pass(unpacked, VECTOR, *["int64"] * 5, VECTOR, VECTOR)
join = compiled_pass(joined, VECTOR, VECTOR, "int64", "int64", VECTOR, VECTOR, VECTOR)
enlist = compiled_pass(listed, TABLE, "int64", VECTOR, VECTOR, "int64", VECTOR, TABLE)
enlist_sorted = compiled_pass(listed_sorted, TABLE, "int64", "int64", TABLE, VECTOR, *["int64"] * 5)
shift = compiled_pass(shifted, TABLE, "int64", VECTOR, VECTOR, "int64")
divide = compiled_pass(divided, TABLE, "int64", VECTOR)
group = compiled_pass(grouped, *[VECTOR] * 4)
reorder = compiled_pass(reordered, VECTOR, "int64", VECTOR, VECTOR, VECTOR)
gather = compiled_pass(gathered, VECTOR, VECTOR, "int64", VECTOR, "int64", "int64", *[VECTOR] * 4)


@cache
def rank(bits: int) -> Any:
    """The pass `ranked` for values of so many bits."""
    values = READ.replace("int64", f"uint{bits}")
    whole = VECTOR, VECTOR, VECTOR, "int64", values, "int64", "int64", VECTOR, VECTOR
    return compiled_pass(ranked, *whole)
