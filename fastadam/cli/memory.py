"""`fastadam info --plan`: what training in some configuration keeps in memory and moves."""

import argparse
from typing import TYPE_CHECKING

from .arguments import add_precision, keyword, optimizer_name, precision
from .terminal import terminal

if TYPE_CHECKING:
    from ..budget import Budget

NEEDS_PLAN = ("optimizer", "params", "grads", "state", "compensation", "rounding", "keywords")
COUNT = "the number of parameters, as 7e9 or 7000000000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what a plan takes."""
    from .. import optimizers

    group = parser.add_argument_group("memory of a configuration")
    add = group.add_argument
    add("--plan", metavar="N", help=f"show what training takes in memory; {COUNT}")
    add(
        "--optimizer",
        type=optimizer_name,
        choices=optimizers.__all__,
        metavar="NAME",
        help=f"one of {', '.join(optimizers.__all__)}, in any case (default: AdamW)",
    )
    add_precision(add, "params", "grads", "state", "compensation", "rounding")
    add(
        "--with",
        dest="keywords",
        type=keyword,
        nargs="+",
        action="extend",
        metavar="NAME=VALUE",
        help="more keywords of the optimizer, such as momentum=0.9, amsgrad=True, ema_decay=0.999, "
        "shadow_dtype=bfloat16, accumulate_steps=4 or clip_norm=1",
    )


def check(arguments: argparse.Namespace) -> None:
    """Refuse what means nothing without --plan.

    Raises:
        ValueError: with the way out.
    """
    for name in NEEDS_PLAN:
        if arguments.plan is None and getattr(arguments, name) is not None:
            option = "with" if name == "keywords" else name
            raise ValueError(f"--{option} is for a plan; give --plan as well, {COUNT}")


def show(arguments: argparse.Namespace) -> None:
    """Print the table of a plan, and what it comes to."""
    from ..budget import plan

    try:
        n_params = float(arguments.plan)
    except ValueError:
        raise ValueError(f"--plan: {arguments.plan!r} is not {COUNT}") from None
    name = arguments.optimizer or "AdamW"
    budget = plan(
        n_params,
        name,
        params=arguments.params or "float32",
        grads=arguments.grads,
        **precision(arguments),
        **dict(arguments.keywords or ()),
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
        return "There is nothing to keep."
    memory, traffic = budget.total / plain.total, budget.moved / plain.moved
    return (
        f"{memory:.0%} of the memory of plain float32; an update moves {traffic:.0%} of the bytes."
    )
