"""Suite of steps: one float32 step of an optimizer, in several implementations.

Contenders on NumPy arrays share one set of parameters and gradients, those of PyTorch another,
which PyTorch allocates. `fastadam` and each of PyTorch's have state of their own; the others share
one set. (With gradients that stay the same, the deviation that centered RMSprop divides by becomes
0.) NumPy's own step is serial. All others use the same number of threads, except on arrays so
small that the library itself stays serial: there the hand-written Numba kernels are serial too.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..kernels.transforms import STATE
from . import charts, numba_unfused, numpy_adam, peers, tables, torch_contenders, validation
from .limit import limit
from .measurement import LIMIT, OURS, Report
from .tables import CASE, CONFIG, CONTENDER, GB_PER_S, QUANTILES, Column, Table, build
from .variants import ADAMW, keywords
from .workload import (
    Case,
    Check,
    Contender,
    Memory,
    Plan,
    Request,
    Suite,
    Turn,
    fastadam_contender,
    many_arrays,
    one_array,
)

# Bytes per element: of parameters and gradients, of scratch, of the temporaries of a large step
PAIR, SCRATCH, TEMPORARIES = 8, 8, 20
NEAREST = ("torch fused", "torch foreach", "numba unfused", LIMIT)  # few passes over memory
_torch = torch_contenders.step_contender


def _fastadam(name: str, memory: Memory) -> Contender:
    return fastadam_contender(memory.params, memory.grads, memory.variant)


def _limit(name: str, memory: Memory) -> Contender:
    """The traffic of a step and no arithmetic, over one array of all elements.

    The states must not be zero: some processors write zeros over zeros faster than numbers.
    """
    variant = memory.variant
    if len(memory.sizes) > 1:
        memory = Memory(Case(name, (sum(memory.sizes),), variant))
    (param,), (grad,) = memory.params, memory.grads
    arrays = {"param": param, "grad": grad}
    for state, (array,) in zip(variant.states, memory.states, strict=True):
        arrays[STATE + state] = np.square(grad, out=array)
    step = limit({name: array.reshape(-1) for name, array in arrays.items()}, variant.passes)
    return Contender(name, step, memory.params, memory.grads, moves=False)


_MAKERS: dict[str, Callable[[str, Memory], Contender]] = {
    "numpy": numpy_adam.contender,
    "numba unfused": numba_unfused.contender,
    "torch for-loop": partial(_torch, foreach=False),
    "torch foreach": partial(_torch, foreach=True),
    "torch fused": partial(_torch, foreach=False, fused=True),
    OURS: _fastadam,
    LIMIT: _limit,
}
TORCH = tuple(name for name in _MAKERS if name.startswith("torch"))
MANY = 100  # arrays
MATRICES = (
    " Optimizers with state or sums of rows or columns update a matrix of the shape given, others "
    "an array of one dimension."
)
OVERVIEW = ("torch foreach", "torch fused", OURS, LIMIT)  # contenders for several optimizers


def names_for(case: Case, torch: bool, overview: bool = False) -> list[str]:
    """The contenders of a case, slowest first by expectation; fewer for an overview."""
    absent = {*_MAKERS} - {*OVERVIEW} if overview else set()
    if not (torch and case.variant.in_torch):
        absent |= {*TORCH}
    elif "fused" not in keywords(case.variant.in_torch):
        absent |= {"torch fused"}
    if case.variant != ADAMW:
        absent |= {"numpy", "numba unfused"}
    if len(case.sizes) > 1:
        absent |= {"numba unfused"}
    return [name for name in _MAKERS if name not in absent]


def contenders(case: Case, names: Sequence[str]) -> list[Contender]:
    """Contenders of a case, on memory that they share."""
    memory, moved = Memory(case), float(case.variant.bytes)
    makers = _MAKERS | {name: peer.make for name, peer in peers.PEERS.items()}
    made = [makers[name](name, memory) for name in names]
    return [replace(each, config=case.variant.label, bytes=lambda: moved) for each in made]


def needed(case: Case, names: Sequence[str]) -> int:
    """Bytes of memory that the contenders take together."""
    state, in_torch = 4 * len(case.variant.states), len({*names} & {*TORCH})
    numpy_side = PAIR + 2 * state + SCRATCH + TEMPORARIES
    torch_side = PAIR + in_torch * state if in_torch else 0
    others = peers.BYTES * len({*names} & {*peers.PEERS})
    return case.elements * (numpy_side + torch_side + others)


def validate(case: Case, name: str, torch: bool) -> None:
    """Check a contender, on memory of its own, against the reference of its optimizer.

    Raises:
        RuntimeError: if it is wrong.
    """
    reference, together = validation.reference(case.variant, torch), case.variant.rule.over == "all"
    validation.check(_one(case, name), reference, together=together)


def _one(case: Case, name: str) -> Contender:
    (contender,) = contenders(case, [name])
    return contender


def running_peers(request: Request) -> list[str]:
    """The AdamW of other libraries that are installed and run here."""
    small = validation.small_cases(ADAMW)[0]
    return [
        name
        for name in peers.installed(request.threads, request.torch)
        if peers.runs(name, partial(_one, small, name))
    ]


def plan(request: Request) -> Plan:
    """Every contender of one optimizer in detail, or the quickest of several optimizers."""
    chosen = request.optimizers
    names = partial(names_for, torch=request.torch, overview=len(chosen) > 1)
    peering = running_peers(request) if request.peers else []
    cases = [one_array(size, variant) for variant in chosen for size in request.sizes]
    if len(chosen) == 1 and request.small:
        cases.append(many_arrays(variant=chosen[0]))

    def everyone(case: Case) -> list[str]:
        few = len(case.sizes) < MANY
        return [*(n for n in peering if few or peers.PEERS[n].many), *names(case)]

    return Plan(
        checks=[
            Check(f"checking {variant.label}", partial(validate, case, name, request.torch))
            for variant in chosen
            for case in validation.small_cases(variant)
            for name in everyone(case)
        ],
        turns=[
            Turn(
                f"{case.variant.label}, {case.label}",
                case,
                needed(case, everyone(case)),
                partial(contenders, case, everyone(case)),
            )
            for case in cases
        ],
    )


def table(report: Report) -> Table:
    """A row for each contender; of several optimizers a row for each of them."""
    if len(report.configs) > 1:
        return _overview(report)
    columns = [tables.SHORT_CASE, CONTENDER, *QUANTILES, GB_PER_S, tables.of_limit(report)]
    caption = (
        "Quantiles of the time of a step; at the median (p50) its memory traffic, counted as "
        f"{report.rows[0].bytes:g} bytes per element for all, its share of the limit's speed, "
        f"and the ratio of its time to that of {OURS}."
    )
    return build(report.rows, [*columns, tables.relative(report)], 2, caption)


def _overview(report: Report) -> Table:
    columns = [
        CONFIG,
        CASE,
        Column("bytes", lambda row: f"{row.bytes:g}"),
        Column(OURS, lambda row: tables.duration(row.p50_s)),
        GB_PER_S,
        tables.of_limit(report),
        *(tables.rival(report, name) for name in report.rivals),
    ]
    caption = (
        f"Bytes that a step reads and writes per element; median time of a step of {OURS}, its "
        f"memory traffic, its share of the limit's speed; the time of others relative to {OURS}. "
        "The limit reads and writes the same arrays, as often."
    )
    if any("(" in case for case in report.cases):
        caption += MATRICES
    rows = [row for case in report.cases for row in report.of() if row.case == case]
    return build(rows, columns, 2, caption)


def by_case(report: Report) -> Table:
    """A row for each case, a column for each contender; of several optimizers the overview."""
    if len(report.configs) > 1:
        return _overview(report)
    names = [name for name in (OURS, LIMIT) if name in report.contenders]
    columns = [tables.median(report, name) for name in (*names, *report.rivals)]
    caption = f"Median time of a step, and its ratio to that of {OURS}."
    return build(report.of(), [CASE, *columns], 1, caption, grouped=False)


def summary(report: Report) -> str:
    """Times of the nearest rival and of one operation at a time, a line each; for several
    optimizers, shares of the limit's speed."""
    if len(report.configs) > 1:
        return _shares(report)
    slow = "numba unfused" if "gpu" in report.machine else "numpy"
    names = [n for n in dict.fromkeys((nearest(report), slow)) if n in report.contenders]
    return "\n".join(tables.compared(report, name) for name in names)


def _shares(report: Report) -> str:
    shares = {row: report.share_of_limit(row) or 0.0 for row in report.of()}
    rows = sorted(shares, key=lambda row: shares[row])
    low, high = (f"{shares[r]:.0%} ({r.config} at {r.case})" for r in (rows[0], rows[-1]))
    return f"{OURS} reaches {low} to {high} of the limit's speed."


def nearest(report: Report) -> str:
    """The rival with the fewest passes over memory; the limit if there is none."""
    return next((name for name in NEAREST if name in report.contenders), OURS)


def headline(report: Report) -> str:
    """One sentence on the case that is closest to a million elements in one array."""
    single = [row for row in report.of() if row.arrays == 1]
    row = min(single, key=lambda row: abs(row.elements - 1_000_000))
    ratios = [
        f"{tables.rival(report, name).text(row)} as fast as {name}"
        for name in (nearest(report), "numpy")
    ]
    return (
        f"An AdamW step over {row.case} float32 elements is {' and '.join(ratios)} "
        f"{tables.hardware(report.machine)}."
    )


SUITE = Suite(
    "steps",
    table,
    summary,
    headline,
    charts.draw_steps,
    charts.size_of_steps,
    by_case,
    plan,
    ("1e3", "1e4", "1e5", "1e6", "1e7", "1e8"),
)
