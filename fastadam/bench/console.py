"""Messages and a progress bar on stderr, and sizes as a user writes them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Show = Callable[[str, float], None]


def say(text: str) -> None:
    """Print a message that is not a result."""
    print(text, file=sys.stderr)


@contextmanager
def progress() -> Iterator[Show]:
    """A bar on the terminal; without rich, a line for each new task.

    It is drawn between rounds, not from a thread of its own, which would disturb the timing.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield plain_progress()
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    hidden = not console.is_terminal  # where it would leave an empty line
    bar = Progress(*columns, console=console, auto_refresh=False, transient=True, disable=hidden)
    task = bar.add_task("", total=1.0)

    def show(label: str, fraction: float) -> None:
        if bar.tasks[task].description != label:
            bar.reset(task, description=label)
        bar.update(task, completed=fraction, refresh=True)

    with bar:
        yield show


def plain_progress() -> Show:
    """Print each new label once."""
    seen: set[str] = set()

    def show(label: str, fraction: float) -> None:
        if label not in seen:
            say(label)
        seen.add(label)

    return show


def parsed_size(text: str) -> int:
    """A count of elements, in digits or as 1e6.

    Raises:
        ValueError: if it is something else.
    """
    try:
        number = float(text)
        size = int(number)
    except (ValueError, OverflowError):
        number, size = 0.5, 0
    if size != number or not 1 <= size < 1 << 63:
        raise ValueError(
            f"--sizes: {text!r} is not a number of elements, from 1 to 2**63 - 1; write 1000000 or "
            "1e6"
        )
    return size
