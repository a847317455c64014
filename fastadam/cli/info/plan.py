"""`fastadam info --plan`: memory and memory traffic of training in some configuration."""

import argparse
from typing import TYPE_CHECKING

from ..arguments import (
    Chosen,
    add_precision,
    keyword,
    merged,
    names_of_optimizers,
    optimizer,
    precision,
)
from ..tables import terminal

if TYPE_CHECKING:
    from ...engine.budget import Budget

NEEDS_PLAN = ("optimizer", "params", "grads", "state", "compensation", "rounding", "keywords")
COUNT = "the number of parameters, as 7e9 or 7000000000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a plan."""
    group = parser.add_argument_group("memory of a configuration")
    add = group.add_argument
    add("--plan", metavar="N", help=f"show what training takes in memory; {COUNT}")
    add(
        "--optimizer",
        type=optimizer,
        metavar="NAME",
        help=f"{names_of_optimizers()}; options too, such as ema_decay=0.999, "
        "shadow_dtype=bfloat16, accumulate_steps=4 or clip_norm=1 (default: AdamW)",
    )
    add_precision(add, "params", "grads", "state", "compensation", "rounding")
    add(
        "--with",
        dest="keywords",
        type=keyword,
        nargs="+",
        action="extend",
        help=argparse.SUPPRESS,  # the earlier spelling of keywords
    )


def check(arguments: argparse.Namespace) -> None:
    """Refuse options that have no effect without --plan.

    Raises:
        ValueError: with a fix.
    """
    for name in NEEDS_PLAN:
        if arguments.plan is None and getattr(arguments, name) is not None:
            option = "with" if name == "keywords" else name
            raise ValueError(f"--{option} is for a plan; give --plan as well, {COUNT}")


def show(arguments: argparse.Namespace) -> None:
    """Print the table of a plan, and a sentence that sums it up."""
    from ...memory_budget import plan

    try:
        n_params = float(arguments.plan)
    except ValueError:
        n_params = -1.0
    if not 0 <= n_params < 1 << 63 or n_params % 1:
        raise ValueError(f"--plan: {arguments.plan!r} is not {COUNT}")
    name, keywords = arguments.optimizer or Chosen("AdamW", {})
    budget = plan(
        n_params,
        name,
        params=arguments.params or "float32",
        grads=arguments.grads,
        **merged(keywords, dict(arguments.keywords or ()), precision(arguments)),
    )
    print(f"{name}, {budget.n_params:,} parameters\n")
    _draw(budget)
    print(f"\n{_summary(budget)}")


def _draw(budget: "Budget") -> None:
    console = terminal()
    if console is None:
        return print(budget)
    from rich.table import Table

    head, *rows = budget.rows()
    table = Table()
    for number, title in enumerate(head):
        table.add_column(title, justify="left" if number < 2 else "right")
    for row in rows:
        table.add_row(*row, style="bold" if row[0] == "total" else None)
    console.print(table)


def _summary(budget: "Budget") -> str:
    plain = budget.plain
    if plain is None or not budget.n_params:
        return "There is nothing to store."
    memory, traffic = budget.total / plain.total, budget.moved / plain.moved
    return (
        f"{memory:.0%} of the memory of plain float32; an update reads and writes {traffic:.0%} of "
        "the bytes."
    )
