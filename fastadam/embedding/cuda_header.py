"""The C header of an exported CUDA kernel: the tables that a launch reads, as structs."""

from collections.abc import Iterator

from .. import __version__
from .arguments import Embedded

TEXT = """\
/* fastadam {version}: the tables of the kernel {entry}.
 *
 * Launch it with blocks of exactly {threads} threads, a grid of any size in x, no dynamic shared
 * memory and one argument: the device address of a task. All addresses are device addresses. The
 * comment at the top of the PTX describes the formats.
 */
#ifndef {guard}_H
#define {guard}_H

#include <stdint.h>

#define {guard}_ENTRY "{entry}"
#define {guard}_THREADS {threads}

#ifndef FASTADAM_TASK
#define FASTADAM_TASK
/* The elements start to stop - 1 of a row, for one block at a time. */
typedef struct fastadam_chunk {{
    int64_t row;
    int64_t start;
    int64_t stop;
}} fastadam_chunk;

/* The chunks first to last - 1. */
typedef struct fastadam_task {{
    uint64_t rows;
    uint64_t chunks;
    uint64_t records;
    int64_t first;
    int64_t last;
}} fastadam_task;
#endif

/* The arrays of a parameter, and the number of its record, or -1 to skip it. */
typedef struct {entry}_row {{
    int64_t record;
{row}
}} {entry}_row;

/* The constants of a step. */
typedef struct {entry}_constants {{
{record}
}} {entry}_constants;

#endif /* {guard}_H */
"""


def cuda_header(entry: str, step: Embedded, threads: int) -> str:
    """The text of the header.

    Args:
        entry: the name of the kernel.
        threads: the threads of a block.
    """
    return TEXT.format(
        version=__version__,
        entry=entry,
        guard=entry.upper(),
        threads=threads,
        row="\n".join(_rows(step)),
        record="\n".join(_record(step)),
    )


def _rows(step: Embedded) -> Iterator[str]:
    for argument in step.arguments:
        kind = f"{argument.column.outside}{', one number' if argument.is_number else ''}"
        yield f"    uint64_t {argument.name}; /* {kind} */"


def _record(step: Embedded) -> Iterator[str]:
    kind = {"float32": "float", "float64": "double"}[step.compute]
    yield from (f"    {kind} {name};" for name in step.rule.hyper or ("unused",))
