"""Suite of offloaded training: bfloat16 gradients from a device, a bfloat16 copy back to it.

The weights are in float32 on the host. fastadam reads the gradients and writes the copy in the pass
that updates; PyTorch's fused step needs a cast before and one after it. Contenders of fastadam
share parameters, gradients and copies; those of PyTorch have a set of their own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..kernels.cpu.threads import SERIAL_BELOW
from ..memory.aligned import aligned_zeros
from ..memory.dtypes import named
from . import tables, validation
from .console import say
from .measurement import OURS, Measurement, Report
from .precision import (
    FLOAT32,
    INT8,
    SMALLEST,
    Configuration,
    PrecisionMemory,
    fastadam,
    small_cases,
)
from .tables import CASE, GB_PER_S, Column, Table, build
from .workload import (
    BETAS,
    HYPER,
    ROUNDING,
    Array,
    Case,
    Check,
    Contender,
    Plan,
    Request,
    Suite,
    Turn,
    many_arrays,
    one_array,
)

TORCH, DEEPSPEED = "torch fused + casts", "DeepSpeedCPUAdam + casts"
# DeepSpeed rounds beta2 to float32 before it computes 1 - beta2, of whose error a root leaves half.
ROUNDINGS = {TORCH: ROUNDING, DEEPSPEED: ROUNDING / 2 / (1 - BETAS[1]) / 2}
CONFIGURATIONS = {each.label: each for each in (FLOAT32, INT8, SMALLEST)}
MANY = 1000  # arrays
BYTES = 44  # per element, of all contenders together, without their state
BYTES_OF_CASTS = (2 + 4) + 28 + (4 + 2)  # gradient to float32, the step, weights to bfloat16

Key = tuple[str, str]  # configuration and contender


def keys_for(torch: bool) -> list[Key]:
    """Every configuration of fastadam, and the fused steps of others that are installed."""
    others = [TORCH] if torch else []
    if torch and find_spec("deepspeed"):
        others.append(DEEPSPEED)
    return [*((label, OURS) for label in CONFIGURATIONS), *((FLOAT32.label, n) for n in others)]


def contenders(case: Case, keys: Iterable[Key]) -> list[Contender]:
    """Contenders of a case, on memory that they share."""
    memory, made = PrecisionMemory(case), list[Contender]()
    copies = [aligned_zeros(size, named("bfloat16")) for size in case.sizes]
    for config, name in keys:
        if name == OURS:
            made.append(_fastadam(CONFIGURATIONS[config], memory, copies))
        else:
            made.append(_with_casts(name, memory))
    return made


def _fastadam(
    configuration: Configuration, memory: PrecisionMemory, copies: Sequence[Array]
) -> Contender:
    """A step that reads bfloat16 gradients; the copy is the parameter if that is bfloat16."""
    given = [] if configuration.param == "bfloat16" else copies
    return fastadam(replace(configuration, grad="bfloat16"), memory, given)


def _optimizer(name: str, tensors: Sequence[Any]) -> Any:
    if name == TORCH:
        import torch

        return torch.optim.AdamW(tensors, fused=True, **HYPER)
    made = import_module("deepspeed.ops.adam").DeepSpeedCPUAdam
    return made(tensors, adamw_mode=True, **HYPER)


def _with_casts(name: str, memory: PrecisionMemory) -> Contender:
    """A step of float32 tensors between two casts."""
    import torch

    tensors = memory.tensors
    weights, grads = [t.detach() for t in tensors], [t.grad for t in tensors]
    given, copies = [g.bfloat16() for g in grads], [w.bfloat16() for w in weights]
    optimizer = _optimizer(name, tensors)

    def step() -> None:
        torch._foreach_copy_(grads, given)
        optimizer.step()
        torch._foreach_copy_(copies, weights)

    return Contender(
        name,
        step,
        [weight.numpy() for weight in weights],
        given,
        config=FLOAT32.label,
        bytes=lambda: float(BYTES_OF_CASTS),
        resident=lambda: 4.0 + 8 + 4 + 2 + 2,
        rounding=ROUNDINGS[name],
        shadow=[copy.view(torch.uint16).numpy() for copy in copies],
        read=_read,
        write=_write,
    )


def _read(array: Any) -> Array:
    return np.copy(array) if isinstance(array, np.ndarray) else array.float().numpy()


def _write(array: Any, values: Array) -> None:
    import torch

    array.copy_(torch.from_numpy(values))


def validate(case: Case, key: Key) -> None:
    """Check a contender, on memory of its own, by the root mean square of its error.

    Raises:
        RuntimeError: if it is wrong.
    """
    (contender,) = contenders(case, [key])
    validation.check(contender, compare=validation.check_mean_square)


def runs_here(key: Key) -> bool:
    """Take a step of another library; report on stderr what prevents it."""
    try:
        contenders(small_cases()[0], [key])[0].step()
    except Exception as error:
        say(f"{key[1]} does not run here, and is left out: {error}")
        return False
    return True


def plan(request: Request) -> Plan:
    """Each size in one array, and in 1000."""
    keys = [key for key in keys_for(request.torch) if key[1] in (OURS, TORCH) or runs_here(key)]
    cases = [one_array(size) for size in request.sizes]
    if request.small:
        cases += [
            many_arrays(MANY, size // MANY)
            for size in request.sizes
            if size // MANY * MANY >= SERIAL_BELOW
        ]
    return Plan(
        checks=[
            Check("checking", partial(validate, case, key))
            for case in small_cases()
            for key in keys
        ],
        turns=[
            Turn(
                f"offload, {case.label}",
                case,
                case.elements * (BYTES + 10 * len(keys)),
                partial(contenders, case, keys),
            )
            for case in cases
        ],
    )


def label_of(row: Measurement) -> str:
    """The configuration of fastadam, or another contender."""
    return row.config if row.contender == OURS else row.contender


def _ratio(report: Report, row: Measurement, contender: str) -> float | None:
    return report.ratio(row, contender, FLOAT32.label)


def _speedup(report: Report, row: Measurement) -> str:
    ratio = _ratio(report, row, TORCH)
    return tables.times(1 / ratio if ratio else None)


def table(report: Report) -> Table:
    """A row for each contender and configuration."""
    columns = [
        CASE,
        Column("contender", label_of),
        Column("resident", lambda row: f"{row.resident:.2f}"),
        Column("traffic", lambda row: f"{row.bytes:.2f}"),
        Column("time", lambda row: tables.duration(row.p50_s)),
        GB_PER_S,
        Column("vs float32", lambda row: tables.times(_ratio(report, row, OURS))),
        Column("speed-up vs torch", lambda row: _speedup(report, row)),
    ]
    caption = (
        "bfloat16 gradients in, a bfloat16 copy of the weights out. Bytes per parameter on the "
        "host between steps, and that a step reads and writes; median time of a step; its memory "
        "traffic; its time relative to the float32 step; the time of torch relative to it."
    )
    return build(report.rows, columns, 2, caption)


def summary(report: Report) -> str:
    """Times relative to torch, and of smaller state relative to float32."""
    lines = list[str]()
    for config, other, what in (
        (FLOAT32.label, TORCH, "the time of torch fused + casts"),
        (INT8.label, OURS, "the float32 step"),
        (SMALLEST.label, OURS, "the float32 step"),
    ):
        rows = list(report.of(OURS, config))
        ratios = {row.case: _ratio(report, row, other) for row in rows}
        if rows and any(ratios.values()):
            lines.append(f"{config} takes, relative to {what}: {tables.at_cases(ratios)}")
    return "\n".join(lines)


def headline(report: Report) -> str:
    """One sentence on the largest case.

    Raises:
        ValueError: if it lacks a contender.
    """
    case = report.largest().case
    ours, int8 = (report.find(case, label) for label in (FLOAT32.label, INT8.label))
    theirs = report.find(case, FLOAT32.label, TORCH)
    if ours is None or int8 is None or theirs is None:
        raise ValueError(f"the headline needs float32, int8 and torch at {case}")
    return (
        f"With bfloat16 gradients in and a bfloat16 copy out, an AdamW step over {case} weights on "
        f"the host is {theirs.p50_s / ours.p50_s:.1f}x as fast as torch fused with two casts, with "
        f"int8 state {theirs.p50_s / int8.p50_s:.1f}x {tables.hardware(report.machine)}."
    )


SUITE = Suite(
    "offload",
    table,
    summary,
    headline,
    plan=plan,
    sizes=("3e7",),
    packages=("deepspeed",),
)
