"""The tables of a kernel, byte by byte, for a program that launches it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...kernels.factory import Kernel
    from ...kernels.storage.base import Column
    from ...kernels.stream import Stream
    from ...rules import Rule

MODES = {"rw": "read and written", "r": "read", "w": "written", "rz": "read, then set to zero"}

TABLES = """\
entry    {entry}
launch   a grid of any size in x, blocks of exactly {threads} threads, no dynamic shared memory
takes    one .u64: the address of a task

task     five int64: the addresses of rows, chunks and records; the first chunk, the last + 1
chunk    three int64: row, start, stop; a block updates the elements start to stop - 1 of a row
"""
NOTES = """
All addresses are device addresses. A parameter has one row and any number of chunks. Chunks of a
few thousand elements, a multiple of {starts}, keep the device busy. If all arrays of a row begin
at multiples of 16 bytes, four elements are loaded and stored at once, otherwise one.
"""
BLOCKS = """
An int8 state has a code for each element and a scale for each block of {block}; the last block
may be shorter. Initialize both with zeros. No chunk may begin inside a block. The scale is the
largest magnitude in its block, and negative if the block has negative numbers. A code c from 1
to 255 represents the float32 with the bits

    max(bits(|scale|) - (255 << 20), 0) + (c << 20)

and code 0 represents zero. If the scale is negative, bit 7 of a code is the sign, the other bits
are c, and 127 replaces 255. If the scale is NaN, all numbers are. A dither is any 32 bits,
different at each step.
"""
HALVES = """
A parameter is a bfloat16, used directly, and a compensation, initialized with zeros. An update
changes {value}.
"""
VALUES = {
    "kahan": "their sum",
    "split8": "the float32 with the bits (param << 16) + (compensation << 8)",
    "split16": "the float32 with the bits (param << 16) + compensation",
}
NOISE = """
The noise is any 32 bits, different at each step and for each parameter; it decides the
rounding.
"""


def described(
    kernel: "Kernel", rule: "Rule", entry: str, threads: int, constants: Mapping[str, float]
) -> Iterator[str]:
    """The launch and the tables of a kernel, line by line.

    Args:
        constants: an example, the record of a first step.
    """
    from ...kernels.stream import record_of

    yield from TABLES.format(entry=entry, threads=threads).splitlines()
    columns = [*_columns(kernel.streams)]
    count = 1 + len(columns)
    yield f"row      {count} int64: the number of its record, or -1 to skip it; then addresses:"
    width = max(len(name) for name in (*rule.hyper, *(name for name, _ in columns)))
    for number, (name, kind) in enumerate(columns, start=1):
        yield f"  {8 * number:5}  {name:{width}}  {kind}"
    record = record_of(rule, kernel.streams[0].storage.compute)
    yield f"record   {record.itemsize} bytes: the constants of a step; here those of the first:"
    for name, (dtype, offset, *_) in (record.fields or {}).items():
        yield f"  {offset:5}  {name:{width}}  {dtype}  {constants[name]:.9g}"
    yield from _notes(kernel.streams).splitlines()


def _columns(streams: "Sequence[Stream]") -> Iterator[tuple[str, str]]:
    """The name and the kind of every array, and of every number shared by all elements."""
    from ...kernels.formats import COMPENSATION
    from ...kernels.transforms import STATE

    for stream in streams:
        called = stream.name.removeprefix(STATE)
        for column in stream.storage.stored:
            part = column.part.lstrip("_")
            name = part if part == COMPENSATION else f"{called}_{part}" if part else called
            yield name, _kind(column, stream.mode)


def _kind(column: "Column", mode: str) -> str:
    """The dtype of an array, and the access to it."""
    from ...kernels.storage.base import WHOLE

    if column.per == WHOLE:
        return f"{column.dtype}, one number for all elements, read"
    numbers = "an array" if column.per == 1 else f"one number for {column.per} elements"
    return f"{column.outside}, {numbers}, {MODES[mode]}"


def _notes(streams: "Sequence[Stream]") -> str:
    """Alignment, and the formats that are not plain floats."""
    from ...kernels.storage.base import WHOLE

    block = min(stream.storage.block for stream in streams)
    tags = {stream.storage.tag for stream in streams}
    text = NOTES.format(starts=4 if block == WHOLE else block)
    text += "" if block == WHOLE else BLOCKS.format(block=block)
    text += "".join(HALVES.format(value=VALUES[tag]) for tag in tags & VALUES.keys())
    return text + (NOISE if "noise" in tags else "")
