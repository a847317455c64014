"""`fastadam inspect`: verify a checkpoint file and show its contents."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tables import terminal

if TYPE_CHECKING:
    from ..checkpoint.files import Checkpoint

HELP = "check a checkpoint file and show what is in it"

EPILOG = """\
examples:
  fastadam inspect run.safetensors
  fastadam inspect run.safetensors --no-verify    only the header, whatever the size

Every array is compared with its checksum; a damaged file ends in one line and exit code 2."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fastadam inspect`."""
    parser.epilog = EPILOG
    parser.add_argument("file", type=Path, metavar="FILE", help="written by fastadam.save")
    parser.add_argument("--no-verify", action="store_true", help="do not read the arrays")


def run(arguments: argparse.Namespace) -> int:
    """Show the metadata of a file, and a table of its arrays."""
    from ..checkpoint.files import load

    with _progress() as progress:
        saved = load(arguments.file, verify=not arguments.no_verify, progress=progress)
    for label, text in _facts(saved):
        print(f"{label:10}  {text}")
    print()
    _show([(name, str(a.dtype), str(a.shape), f"{a.nbytes:,}") for name, a in saved.items()])
    return 0


def _facts(saved: "Checkpoint") -> Iterator[tuple[str, str]]:
    """Labels and texts about a checkpoint."""
    about = saved.metadata
    counts = [count for count in about["steps"] if count is not None]
    yield "optimizer", f"{about.get('optimizer')}, saved by fastadam {about.get('fastadam')}"
    yield "steps", f"{about.get('count', max(counts, default=0))}"
    yield "parameters", f"{len(about['params'])} (groups: {len(about['groups'])})"
    for number, group in enumerate(about["groups"]):
        hidden = ("params", "param_names")
        shown = ", ".join(f"{key}={value}" for key, value in group.items() if key not in hidden)
        yield f"group {number}", shown
    chosen = {key: value for key, value in about["options"].items() if value}
    yield "options", ", ".join(f"{key}={value}" for key, value in chosen.items())
    if saved.extra is not None:
        yield "extra", f"{saved.extra!r:.200}"
    yield "bytes", f"{sum(array.nbytes for array in saved.values()):,}"


@contextmanager
def _progress() -> Iterator[Any]:
    """A function that draws a bar on a terminal; None elsewhere."""
    console = terminal()
    if console is None:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bars:
        bar = bars.add_task("checking")
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def _show(rows: list[tuple[str, ...]]) -> None:
    """Print a table on a terminal that rich can draw on, lines of text elsewhere."""
    heads, console = ("array", "dtype", "shape", "bytes"), terminal()
    if console is None:
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        for row in (heads, *rows):
            print(
                "  ".join(
                    f"{text:{width}}" for text, width in zip(row, widths, strict=True)
                ).rstrip()
            )
        return
    from rich.table import Table

    table = Table(*heads)
    for row in rows:
        table.add_row(*row)
    console.print(table)
