"""What a program that launches a kernel must know: its tables, byte by byte."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..kernels.compose import Stream
    from ..kernels.factory import Kernel
    from ..rules import Rule

MODES = {"rw": "read and written", "r": "read", "w": "written", "rz": "read, then set to zero"}

TABLES = """\
entry    {entry}
launch   a grid of any size in x, blocks of exactly {threads} threads, no dynamic shared memory
takes    one .u64: the address of a task

task     five int64: the addresses of rows, chunks and records; the first chunk, the last + 1
chunk    three int64: row, start, stop; one block moves the elements start to stop - 1 of that row
"""
NOTES = """
All addresses are the device's. A parameter has one row and any number of chunks: a few thousand
elements each, a multiple of 4, keep the device busy. Where all arrays of a row begin at multiples
of 16 bytes, four elements move at once; elsewhere they move one by one.
"""


def described(
    kernel: "Kernel",
    rule: "Rule",
    entry: str,
    threads: int,
    dtype: str,
    constants: Mapping[str, float],
) -> Iterator[str]:
    """The launch and the tables of a kernel, line by line.

    Args:
        constants: an example, what the record of a first step holds.
    """
    from ..kernels.compose import record_of

    yield from TABLES.format(entry=entry, threads=threads).splitlines()
    count = 1 + len(kernel.streams)
    yield f"row      {count} int64: the number of its record, or -1 to skip it; then addresses:"
    width = max(
        len(name) for name in (*rule.hyper, *(_called(stream) for stream in kernel.streams))
    )
    for column, stream in enumerate(kernel.streams, start=1):
        yield f"  {8 * column:5}  {_called(stream):{width}}  {_kind(stream)}"
    record = record_of(rule, dtype)
    yield f"record   {record.itemsize} bytes: the constants of a step; here those of the first:"
    for name, (kind, offset, *_) in (record.fields or {}).items():
        yield f"  {offset:5}  {name:{width}}  {kind}  {constants[name]:.9g}"
    yield from NOTES.splitlines()


def _called(stream: "Stream") -> str:
    from ..kernels.stages import STATE

    return stream.name.removeprefix(STATE)


def _kind(stream: "Stream") -> str:
    """The dtype of a stream, and what becomes of it."""
    column, *_ = stream.storage.stored
    numbers = "an array" if column.per == 1 else "one number for all elements"
    code = " (bits of bfloat16)" if stream.storage.tag == "bf16" else ""
    code = " (bits of float16)" if stream.storage.tag == "f16" else code
    return f"{column.dtype}{code}, {numbers}, {MODES[stream.mode]}"
