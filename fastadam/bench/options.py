"""Suite of options: an AdamW step with unscaling, gradient clipping, EMA and other options.

Gradients are unscaled, clipped, checked, cleared or accumulated before the update; parameters are
averaged and copied after it. fastadam does all of this in at most two passes over memory, PyTorch
needs one call for each. Contenders of fastadam share parameters and gradients, those of PyTorch
share another set; each has its own state, averages and copies. Every step gets new gradients, since
some steps clear theirs: with gradients of zero, moments would become subnormal, and slow.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import fastadam as fa

from ..engine.budget import moved_by
from ..kernels.factory import Kernel
from . import charts, tables, validation
from .measurement import OURS, Measurement, Report
from .tables import Column, Table, build
from .torch_contenders import loop_contender
from .variants import ADAMW
from .workload import (
    HYPER,
    Case,
    Check,
    Contender,
    Memory,
    Plan,
    Request,
    Suite,
    Turn,
    as_given,
    many_arrays,
    one_array,
)

OPTIONS: dict[str, Any] = {
    "grad_scale": 1024.0,
    "clip_norm": 1.0,
    "skip_nonfinite": True,
    "ema_decay": 0.999,
    "shadow_dtype": "bfloat16",
    "zero_grads": True,
}
SEVERAL, EACH = 40, 100_000  # the case of several arrays

# Bytes per element of what is shared, of moments, of what options keep
SHARED, MOMENTS, KEPT = 20, 8, {"ema_decay": 4, "shadow_dtype": 2, "accumulate_steps": 4}


class OptionSet(NamedTuple):
    """Options of a step, by their names as keywords."""

    label: str
    options: dict[str, Any]


PLAIN, ALL = OptionSet("none", {}), OptionSet("all", OPTIONS)
ALONE = {**OPTIONS, "accumulate_steps": 4}  # four gradients per update: timed by itself only
OPTION_SETS = (PLAIN, *(OptionSet(name, {name: value}) for name, value in ALONE.items()), ALL)


def _fastadam(chosen: OptionSet, memory: Memory) -> Contender:
    """An optimizer with options."""
    options, micro_batches = dict(chosen.options), chosen.options.get("accumulate_steps", 1)
    scale = options.pop("grad_scale", None)
    optimizer = fa.AdamW(as_given(memory.params), **HYPER, **options)
    micro_step = partial(optimizer.step, as_given(memory.grads), grad_scale=scale)

    def step() -> None:
        for _ in range(micro_batches):
            micro_step()

    return Contender(
        OURS,
        step,
        memory.params,
        memory.grads,
        config=chosen.label,
        bytes=lambda: launched(optimizer._kernels(), micro_batches),
        options=chosen.options,
        ema=optimizer.ema.leaves if "ema_decay" in options else [],
        shadow=optimizer.shadow.leaves if "shadow_dtype" in options else [],
    )


def launched(kernels: Sequence[Kernel], micro_batches: int) -> float:
    """Bytes per element of an update: its kernel runs once, the one before it (a norm, or a sum
    with the next micro-batch) once, or for each micro-batch but the last.

    Kernels over float64 are left out: they add up a norm, from one number for 1024 elements.
    """
    moved = [moved_by(k.streams) for k in kernels if k.streams[1].storage.compute == "float32"]
    update, *before = moved
    return update + sum(before) * max(1, micro_batches - 1)


def names_for(torch: bool) -> list[str]:
    """The contenders, with PyTorch or without."""
    return [OURS, "torch"] if torch else [OURS]


def contenders(
    case: Case, names: Sequence[str], sets: Sequence[OptionSet] = OPTION_SETS
) -> list[Contender]:
    """Contenders of a case, on memory that they share."""
    memory = Memory(case)
    return [
        _fastadam(each, memory) if name == OURS else loop_contender(*each, memory)
        for each in sets
        for name in names
    ]


def needed(case: Case, names: Sequence[str]) -> int:
    """Bytes of memory that all contenders of a case take together."""
    own = [MOMENTS + sum(KEPT.get(name, 0) for name in each.options) for each in OPTION_SETS]
    return case.elements * (SHARED + len(names) * sum(own))


def validate(case: Case, chosen: OptionSet, name: str) -> None:
    """Check a contender on memory of its own.

    Raises:
        RuntimeError: if it is wrong.
    """
    (contender,) = contenders(case, [name], [chosen])
    validation.check(contender)


def plan(request: Request) -> Plan:
    """Every option alone and all together, on one array of each size and on several."""
    names = names_for(request.torch)
    cases = [one_array(size) for size in request.sizes]
    if request.small:
        cases.append(many_arrays(SEVERAL, EACH))
    return Plan(
        checks=[
            Check("checking", partial(validate, case, chosen, name))
            for case in validation.small_cases(ADAMW)
            for chosen in OPTION_SETS
            for name in names
        ],
        turns=[
            Turn(
                f"options, {case.label}",
                case,
                needed(case, names),
                partial(contenders, case, names),
                refresh=True,
            )
            for case in cases
        ],
    )


def table(report: Report) -> Table:
    """The contenders side by side, a row for each option; the first of a case is the plain step."""
    plain, all_columns = PLAIN.label, []
    for name in report.contenders:
        row_of = partial(report.beside, contender=name)
        all_columns += [
            _of(row_of, name, lambda row: tables.duration(row.p50_s)),
            _of(row_of, "vs plain", lambda row: tables.times(report.ratio(row, config=plain))),
            _of(row_of, "bytes", lambda row: f"{row.bytes:.0f}"),
        ]
        if name != OURS:
            all_columns.append(_of(row_of, "ratio", tables.relative(report).text))
    case = tables.SHORT_CASE.text
    first = Column("elements", lambda row: case(row) if row.config == plain else f"+ {row.config}")
    caption = (
        "Median time of a step, plain and with an option, and its ratio to the plain one; the "
        "bytes that it reads and writes per element; the ratio of the time of torch to that of "
        f"{OURS}. With accumulate_steps, a step is an update and the four gradients that go into "
        "it."
    )
    return build(report.of(), [first, *all_columns], 1, caption)


def _of(
    row_of: Callable[[Measurement], Measurement | None],
    header: str,
    text: Callable[[Measurement], str],
) -> Column:
    """A column on another contender of the same case and configuration."""

    def shown(row: Measurement) -> str:
        other = row_of(row)
        return text(other) if other else ""

    return Column(header, shown)


def summary(report: Report) -> str:
    """Costs of all options together, and how PyTorch compares, a line each."""
    whole, plain = ALL.label, PLAIN.label
    costs = {row.case: report.ratio(row, config=plain) for row in report.of(OURS, whole)}
    lines = [f"{OURS} with all options takes, relative to the plain step: {tables.at_cases(costs)}"]
    ratios = {row.case: report.ratio(row, OURS) for row in report.of("torch", whole)}
    if ratios:
        lines.append(f"torch with all options takes, relative to {OURS}: {tables.at_cases(ratios)}")
    return "\n".join(lines)


def headline(report: Report) -> str:
    """One sentence on the largest case of one array."""
    row = report.find(report.largest().case, ALL.label)
    torch = report.beside(row, "torch") if row else None
    if row is None or torch is None:
        raise ValueError("the headline compares with torch, which was not timed")
    return (
        "With gradients unscaled, checked, clipped and cleared, parameters averaged and copied, an "
        f"AdamW step over {row.case} float32 elements is {tables.times(torch.p50_s / row.p50_s)} "
        f"as fast as the calls of PyTorch: it reads and writes {row.bytes:.0f} bytes per element "
        f"instead of {torch.bytes:.0f} {tables.hardware(report.machine)}."
    )


SUITE = Suite(
    "options", table, summary, headline, charts.draw_options, plan=plan, sizes=("1e6", "2e7")
)
