"""`fastadam bench --low-precision`: a step with parameters, gradients and state in less memory."""

import argparse
from typing import TYPE_CHECKING

from .bench import Show, accepted, clocked, fits, say, sizes_of

if TYPE_CHECKING:
    from ..bench.contenders import Case
    from ..bench.low_precision.report import Row

DEFAULT_SIZES = ("1e7", "1e8")
WITH_OTHERS = 10**7  # the largest size at which others' steps are timed: some take a second


def rows(arguments: argparse.Namespace, torch: bool, show: Show) -> list["Row"]:
    """Check and time every configuration, then the 8-bit optimizers of others."""
    from ..bench.contenders import one_array
    from ..bench.low_precision.configurations import FLOAT32, INT8
    from ..bench.low_precision.contenders import TORCH, names_for, others

    sizes, names = sizes_of(arguments, DEFAULT_SIZES), names_for(torch)
    able = [name for name in others(torch) if runs(name)]
    validated([*names, *able], show)
    turns = [(one_array(size), names) for size in sizes]
    small = [size for size in sizes if size <= WITH_OTHERS]
    if able and small:
        case = one_array(max(small))
        case = case._replace(label=f"{case.label}, others")
        turns.append((case, [FLOAT32.label, INT8.label, TORCH, *able]))
    return [row for case, each in turns for row in timed(case, each, arguments, show)]


def runs(name: str) -> bool:
    """Whether an optimizer of others can take a step on this machine; if not, says why."""
    from ..bench.low_precision.validation import obstacle

    if error := obstacle(name):
        say(f"{name} does not run here, and is left out: {error}")
    return error is None


def validated(names: list[str], show: Show) -> None:
    """Check every contender, which compiles everything that is timed later."""
    from ..bench.low_precision.validation import cases, validate

    checks = [(case, name) for case in cases() for name in names]
    accepted("checking", checks, validate, show)


def timed(case: "Case", names: list[str], arguments: argparse.Namespace, show: Show) -> list["Row"]:
    """The rows of a case; none, if the memory would not do."""
    from ..bench.low_precision import report
    from ..bench.low_precision.contenders import contenders, needed

    if not fits(case, needed(case, names)):
        return []
    together = contenders(case, names)
    steps = [contender.step for contender in together]
    timings = clocked(f"low precision, {case.label}", steps, arguments, show)
    return report.rows_of(case, together, timings)
