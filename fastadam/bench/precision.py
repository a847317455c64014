"""Suite of precision: an AdamW step with parameters, gradients and state in fewer bytes.

Contenders of fastadam share parameters and gradients of a dtype, those of PyTorch a set that
PyTorch allocates; state is their own. The 8-bit optimizers of bitsandbytes and torchao are timed
where they are installed, in turns of their own: some of them take a second for a step.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np

import fastadam as fa

from ..engine.budget import moved_by
from ..kernels.cpu.threads import SERIAL_BELOW
from ..memory.aligned import aligned_zeros
from ..memory.dtypes import named
from . import charts, tables, validation
from .measurement import OURS, Measurement, Report
from .peers import runs
from .tables import CASE, GB_PER_S, Column, Table, build
from .torch_contenders import (
    INEXACT_8_BIT,
    PACKAGES,
    PEERS,
    Peer,
    installed_peers,
    peer_contender,
    step_contender,
)
from .workload import (
    HYPER,
    ROUNDING,
    Array,
    Case,
    Check,
    Contender,
    Memory,
    Plan,
    Request,
    Suite,
    Turn,
    as_given,
    one_array,
)

BFLOAT16 = 2.0**-9  # relative error of rounding to bfloat16
BITS_24 = 2.0**-17  # to a float of 24 bits, or to two of bfloat16
SHARED, OWN = 20, 10  # bytes per element: of parameters and gradients, of a contender at most
START = 2.0**-7  # of normal numbers: initial parameters, about as large as seven updates
LARGEST_WITH_PEERS = 10**7


@dataclass(frozen=True)
class Configuration:
    """Dtypes of parameters and gradients, and options of the optimizer.

    Attributes:
        rounding: relative error of the least exact number that a step writes.
    """

    label: str
    param: str = "float32"
    grad: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    rounding: float = ROUNDING


def _half(label: str, error: float, **options: Any) -> Configuration:
    """Parameters and gradients in bfloat16."""
    return Configuration(label, "bfloat16", "bfloat16", options, error)


FLOAT32 = Configuration("float32")
INT8 = Configuration("int8 state", options={"state_dtype": "int8"}, rounding=INEXACT_8_BIT)
SMALLEST = _half(
    "bfloat16, split8, int8 state", INEXACT_8_BIT, compensation="split8", state_dtype="int8"
)
IN_AND_OUT = Configuration(
    "bfloat16 gradients in, bfloat16 copy out",
    grad="bfloat16",
    options={"shadow_dtype": "bfloat16"},
)
CONFIGURATIONS = (
    FLOAT32,
    Configuration("bfloat16 state", options={"state_dtype": "bfloat16"}, rounding=BFLOAT16),
    INT8,
    Configuration("bfloat16 gradients", grad="bfloat16"),
    IN_AND_OUT,
    _half("bfloat16", BFLOAT16),
    _half("bfloat16, stochastic", 2 * BFLOAT16, rounding="stochastic"),
    _half("bfloat16, kahan", BITS_24, compensation="kahan"),
    _half("bfloat16, split16", ROUNDING, compensation="split16"),
    _half("bfloat16, split8", BITS_24, compensation="split8"),
    SMALLEST,
)
TORCH = "torch fused"

Key = tuple[str, str]  # configuration and contender
OURS_BY_CONFIG = {(each.label, OURS): each for each in CONFIGURATIONS}
IN_TORCH: Key = (FLOAT32.label, TORCH)
IN_AND_OUT_IN_TORCH: Key = (IN_AND_OUT.label, TORCH)


class PrecisionMemory(Memory):
    """Parameters and gradients in several dtypes; small parameters, that updates change visibly."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        for param in self.params:
            param *= param.dtype.type(START)
        self.params_in = cache(partial(_converted, self.params))
        self.grads_in = cache(partial(_converted, self.grads))


def _converted(arrays: Sequence[Array], dtype: str) -> list[Array]:
    copies = [aligned_zeros(array.size, named(dtype)) for array in arrays]
    for copy, array in zip(copies, arrays, strict=True):
        copy[:] = array
    return copies


def keys_for(torch: bool) -> list[Key]:
    """Every configuration of fastadam, and PyTorch's fused step if it is installed."""
    return [*OURS_BY_CONFIG, *([IN_TORCH, IN_AND_OUT_IN_TORCH] if torch else [])]


def key_of(peer: Peer) -> Key:
    """Configuration and contender of another library's optimizer."""
    return peer.state, peer.name


def contenders(case: Case, keys: Iterable[Key]) -> list[Contender]:
    """Contenders of a case, on memory that they share."""
    memory, peers = PrecisionMemory(case), {key_of(peer): peer for peer in PEERS}
    made: list[Contender] = []
    for key in keys:
        if key in OURS_BY_CONFIG:
            made.append(fastadam(OURS_BY_CONFIG[key], memory))
        elif key == IN_TORCH:
            made.append(_torch_fused(memory))
        elif key == IN_AND_OUT_IN_TORCH:
            made.append(_torch_in_and_out(memory))
        else:
            made.append(peer_contender(peers[key], memory))
    return made


def fastadam(
    configuration: Configuration, memory: PrecisionMemory, given: Sequence[Array] = ()
) -> Contender:
    """A step of a configuration, which also writes copies of the parameters to given arrays."""
    params, grads = memory.params_in(configuration.param), memory.grads_in(configuration.grad)
    options: dict[str, Any] = {**HYPER, **configuration.options}
    if given:
        options["shadow"] = as_given(given)
    optimizer = fa.AdamW(as_given(params), **options)
    copies = optimizer.shadow.leaves if "shadow_dtype" in configuration.options else given

    def resident() -> float:
        states = [array for arrays in optimizer.state.values() for array in arrays]
        kept: list[Any] = [*params, *grads, *states, *copies]
        return float(sum(array.nbytes for array in kept) / sum(memory.sizes))

    def weights() -> list[Array]:
        master = optimizer.master()
        return master if isinstance(master, list) else [master]

    return Contender(
        OURS,
        partial(optimizer.step, as_given(grads)),
        params,
        grads,
        config=configuration.label,
        bytes=lambda: sum(moved_by(kernel.streams) for kernel in optimizer._kernels()),
        resident=resident,
        rounding=configuration.rounding,
        weights=weights,
        shadow=copies,
    )


def _torch_fused(memory: Memory) -> Contender:
    made = step_contender(TORCH, memory, foreach=False, fused=True)
    bytes_, resident = memory.variant.bytes, 4 * (2 + len(memory.variant.rule.state))
    return replace(
        made, config=FLOAT32.label, bytes=lambda: float(bytes_), resident=lambda: float(resident)
    )


def _torch_in_and_out(memory: PrecisionMemory) -> Contender:
    """A step of PyTorch between two conversions: of the gradients before, of the parameters after.

    Both are calls over all tensors.
    """
    import torch

    inner = step_contender(TORCH, memory, foreach=False, fused=True)
    grads = memory.grads_in("bfloat16")
    given = [torch.from_numpy(g.view(np.int16)).view(torch.bfloat16) for g in grads]
    params = [tensor.detach() for tensor in memory.tensors]
    wide, copies = [tensor.grad for tensor in memory.tensors], [p.bfloat16() for p in params]

    def step() -> None:
        torch._foreach_copy_(wide, given)
        inner.step()
        torch._foreach_copy_(copies, params)

    states, wide_size, half = len(memory.variant.rule.state), 4, 2
    return replace(
        inner,
        step=step,
        grads=grads,
        config=IN_AND_OUT.label,
        bytes=lambda: float(memory.variant.bytes + half + wide_size + wide_size + half),
        resident=lambda: float(wide_size * (2 + states) + 2 * half),
        shadow=[copy.view(torch.uint16).numpy() for copy in copies],
    )


def needed(case: Case, keys: Sequence[Key]) -> int:
    """Bytes of memory that all contenders of a case take together."""
    return case.elements * (SHARED + OWN * len(keys))


def small_cases() -> list[Case]:
    """Small cases for every branch of the contenders, all large enough to be quantized."""
    parallel = 256 * (SERIAL_BELOW // 256 + 1)  # filled by blocks
    return [one_array(5003), one_array(parallel), Case("2 arrays", (4097, 6400))]


def validate(case: Case, key: Key) -> None:
    """Check a contender, on memory of its own, by the root mean square of its error.

    Raises:
        RuntimeError: if it is wrong.
    """
    (contender,) = contenders(case, [key])
    validation.check(contender, compare=validation.check_mean_square)


def runs_here(key: Key) -> bool:
    """Take a step with another library's optimizer; report on stderr what prevents it."""
    config, name = key
    return runs(f"{name} {config}", lambda: contenders(small_cases()[0], [key])[0])


def plan(request: Request) -> Plan:
    """Every configuration on each size, then the 8-bit optimizers of others on one."""
    keys = keys_for(request.torch)
    peers = [key_of(peer) for peer in installed_peers()] if request.torch else []
    peers = [key for key in peers if runs_here(key)]
    turns = [(one_array(size), keys) for size in request.sizes]
    small = [size for size in request.sizes if size <= LARGEST_WITH_PEERS]
    if peers and small:
        case = one_array(max(small))
        case = case._replace(label=f"{case.label}, others")
        ours: list[Key] = [(FLOAT32.label, OURS), (INT8.label, OURS)]
        turns.append((case, [*ours, IN_TORCH, *peers]))
    return Plan(
        checks=[
            Check("checking", partial(validate, case, key))
            for case in small_cases()
            for key in (*keys, *peers)
        ],
        turns=[
            Turn(
                f"low precision, {case.label}",
                case,
                needed(case, each),
                partial(contenders, case, each),
            )
            for case, each in turns
        ],
    )


def label_of(row: Measurement) -> str:
    """The configuration of fastadam, or another contender with its own."""
    if row.contender == OURS:
        return row.config
    if row.config == FLOAT32.label:
        return row.contender
    return f"{row.contender} {row.config}"


def _float32(report: Report, row: Measurement, contender: str = OURS) -> float | None:
    return report.ratio(row, contender, FLOAT32.label)


def table(report: Report) -> Table:
    """A row for each contender and configuration."""
    columns = [
        CASE,
        Column("contender", label_of),
        Column("resident", lambda row: f"{row.resident:.2f}"),
        Column("traffic", lambda row: f"{row.bytes:.2f}"),
        Column("time", lambda row: tables.duration(row.p50_s)),
        GB_PER_S,
        Column("vs float32", lambda row: tables.times(_float32(report, row))),
        Column("vs torch", lambda row: tables.times(_float32(report, row, TORCH))),
    ]
    caption = (
        "Bytes per parameter that stay allocated between steps (parameters, gradients and state) "
        "and that a step reads and writes; median time of a step; its memory traffic; its time "
        "relative to the float32 step and to that of torch. The traffic of other libraries is "
        "counted as one pass."
    )
    return build(report.rows, columns, 2, caption)


def summary(report: Report) -> str:
    """Times of the smaller states relative to float32, and of others relative to ours."""
    float32, int8 = FLOAT32.label, INT8.label
    ours = [(OURS, each.label, float32) for each in (INT8, SMALLEST)]
    keys = dict.fromkeys((row.contender, row.config) for row in report.rows)
    others = [
        (name, config, config if (OURS, config) in keys else int8)
        for name, config in keys
        if name != OURS
    ]
    return "\n".join(
        _compared(report, *each) for each in (*ours, *others) if any(report.of(*each[:2]))
    )


def _compared(report: Report, name: str, config: str, base: str) -> str:
    rows = list(report.of(name, config))
    ratios = {row.case: report.ratio(row, OURS, base) for row in rows}
    return f"{label_of(rows[0])} takes, relative to {base}: {tables.at_cases(ratios)}"


def headline(report: Report) -> str:
    """One sentence on the largest case."""
    case = report.largest().case
    labels = (INT8.label, SMALLEST.label, FLOAT32.label)
    found = [row for label in labels if (row := report.find(case, label))]
    if len(found) < len(labels):
        raise ValueError(f"the headline needs all of {', '.join(labels)} at {case}")
    int8, smallest, float32 = found
    return (
        f"With int8 state, an AdamW step over {case} float32 parameters takes "
        f"{tables.percent(_float32(report, int8))} of the time of float32 state and "
        f"{int8.resident:.2f} instead of {float32.resident:.0f} bytes per parameter; with "
        "bfloat16 parameters and gradients plus 8 correction bits, "
        f"{tables.percent(_float32(report, smallest))} and {smallest.resident:.2f} bytes "
        f"{tables.hardware(report.machine)}."
    )


SUITE = Suite(
    "precision",
    table,
    summary,
    headline,
    partial(charts.draw_precision, label=label_of),
    charts.size_of_precision,
    plan=plan,
    sizes=("1e7", "1e8"),
    packages=PACKAGES,
)
