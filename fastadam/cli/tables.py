"""The terminal on which tables are drawn."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def terminal() -> "Console | None":
    """A terminal that rich can draw on; None elsewhere, where plain lines are printed."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        return None
    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else None
