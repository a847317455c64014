"""`fastadam bench --tail`: a step with what surrounds it."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from .bench import Show, accepted, clocked, fits, sizes_of

if TYPE_CHECKING:
    from ..bench.contenders import Case
    from ..bench.tail.report import Row

DEFAULT_SIZES = ("1e6", "2e7")
SEVERAL, EACH = 40, 100_000


def rows(arguments: argparse.Namespace, torch: bool, show: Show) -> list["Row"]:
    """Check and time every tail."""
    from ..bench.contenders import many_arrays, one_array
    from ..bench.tail.contenders import names_for

    names = names_for(torch)
    cases = [one_array(size) for size in sizes_of(arguments, DEFAULT_SIZES)]
    if not arguments.no_small:
        cases.append(many_arrays(SEVERAL, EACH))
    validated(names, show)
    return [row for case in cases for row in timed(case, names, arguments, show)]


def validated(names: list[str], show: Show) -> None:
    """Check every contender, which compiles everything that is timed later."""
    from ..bench.tail.tails import TAILS
    from ..bench.tail.validation import validate
    from ..bench.validation import cases
    from ..bench.variants import ADAMW

    checks = [(case, tail, name) for case in cases(ADAMW) for tail in TAILS for name in names]
    accepted("checking", checks, validate, show)


def timed(case: "Case", names: list[str], arguments: argparse.Namespace, show: Show) -> list["Row"]:
    """The rows of a case; none, if the memory would not do."""
    from ..bench.tail import report
    from ..bench.tail.contenders import contenders, needed

    if not fits(case, needed(case, names)):
        return []
    together = contenders(case, names)
    steps = [contender.step for contender in together]
    fresh = [grad.copy() for grad in together[0].grads[0]]
    fills = [partial(contender.fill, fresh) for contender in together]
    timings = clocked(f"tail, {case.label}", steps, arguments, show, before=fills)
    return report.rows_of(case, together, timings)
