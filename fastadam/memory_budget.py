"""Memory budgets: bytes of training and traffic of a step, computed from the kernels' streams.

Nothing is compiled or allocated for it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .engine.accumulation import add, options_of_sums
from .engine.averages import ParameterCopies
from .engine.grad_norm import norm_streams
from .engine.options import NAMES, Options
from .engine.param_groups import values_of
from .kernels.compose import Stream
from .kernels.formats import COMPENSATION, FLOAT, Formats
from .kernels.storage.base import WHOLE, Column
from .kernels.transforms import STATE, streams
from .rules import Rule
from .rules.algorithm import Algorithm
from .validation import check_known, choice, count, dtype_name

if TYPE_CHECKING:
    from .optimizer import Optimizer

Streams = tuple[Stream, ...]

PASSES = {"rw": 2, "rz": 2, "r": 1, "w": 1}  # accesses to the memory of a stream, by its mode
PARTS = {
    "param": "params",
    "grad": "grads",
    "ema": "ema",
    "shadow": "shadow",
    "grad_sum": "sums",
}  # of a budget, by the streams of a kernel
EXTRAS = (COMPENSATION, "ema", "shadow", "sums")


@dataclass(frozen=True, repr=False)
class Budget:
    """The bytes that training needs in memory, once every parameter has had a gradient.

    `print` shows a table. It counts the bytes of arrays, neither per-array bookkeeping nor the
    memory of the user's own program.

    Attributes:
        n_params: the number of elements of the parameters.
        params: bytes of the parameters.
        grads: bytes of their gradients.
        state: bytes of the state of the optimizer, scales included.
        compensation: bytes of the low bits of the parameters.
        ema: bytes of their exponential moving average.
        shadow: bytes of their copy in low precision.
        sums: bytes of accumulated gradients, if an update takes several micro-batches.
        moved: bytes that an update reads and writes, including those of the gradient norm and of
            gradient accumulation.
        dtypes: the dtypes of the arrays of each part.
        plain: the baseline: the budget of the same optimizer in float32 without options; None for
            the baseline itself.
    """

    n_params: int
    params: int = 0
    grads: int = 0
    state: int = 0
    compensation: int = 0
    ema: int = 0
    shadow: int = 0
    sums: int = 0
    moved: float = 0.0
    dtypes: dict[str, str] = field(default_factory=dict, hash=False)
    plain: "Budget | None" = None

    @property
    def extras(self) -> int:
        """Bytes of everything but parameters, gradients and state."""
        return sum(getattr(self, name) for name in EXTRAS)

    @property
    def total(self) -> int:
        """Bytes of everything."""
        return self.params + self.grads + self.state + self.extras

    @property
    def per_param(self) -> float:
        """Bytes of everything for each element of the parameters."""
        return self.total / max(1, self.n_params)

    def rows(self) -> list[tuple[str, ...]]:
        """The lines of the table, the headings first."""
        beside = (self, self.plain) if self.plain else (self,)
        heads = ("bytes", "per parameter", "plain float32", "per parameter")
        found = [("", "kept as", *heads[: 2 * len(beside)])]
        for name in ("params", "grads", "state", *EXTRAS, "total", "moved"):
            numbers = [getattr(each, name) for each in beside]
            if any(numbers) or name not in EXTRAS:
                pairs = [pair for n in numbers for pair in (shown(n), self._share(n))]
                found.append((name, self.dtypes.get(name, ""), *pairs))
        return found

    def _share(self, number: float) -> str:
        return f"{number / max(1, self.n_params):.2f}"

    def __repr__(self) -> str:
        rows = self.rows()
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = (
            "  ".join(
                f"{cell:<{width}}" if k < 2 else f"{cell:>{width}}"
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        )
        return "\n".join(lines)


def shown(nbytes: float) -> str:
    """Bytes with a decimal prefix, such as 14.22 GB."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = 0
    while nbytes >= 1000 and power < len(units) - 1:
        nbytes, power = nbytes / 1000, power + 1
    return f"{nbytes:.4g} {units[power]}"


def plan(
    n_params: float,
    optimizer: "str | type[Optimizer]" = "AdamW",
    *,
    params: Any = "float32",
    grads: Any = None,
    **keywords: Any,
) -> Budget:
    """The bytes that training a given number of parameters would need in memory.

    Nothing is allocated or compiled. The parameters are assumed to be one array; arrays shorter
    than `min_quantized_size` would not have `int8` state.
    [Optimizer.memory][fastadam.Optimizer.memory] returns the same for an existing optimizer.

    Args:
        n_params: the number of elements; a float such as 7e9 is accepted.
        optimizer: the name of an optimizer, in any case, or a class; default "AdamW".
        params: the dtype of the parameters: "float32" (default), "float64", "bfloat16" or
            "float16".
        grads: the dtype of the gradients; default None: that of the parameters.
        keywords: options of the optimizer such as `state_dtype`, `compensation`, `shadow_dtype`,
            `ema_decay`, `accumulate_steps` or `clip_norm`, described at
            [Optimizer][fastadam.Optimizer], and hyperparameters such as `amsgrad=True` or
            `momentum=0.9`, some of which need more state.

    Raises:
        TypeError, ValueError: as the optimizer does, and for an invalid count or name.

    Examples:
        >>> import fastadam as fa
        >>> low = dict(params="bfloat16", state_dtype="int8", compensation="split8")
        >>> fa.plan(7e9, **low)
                      kept as                  bytes  per parameter  plain float32  per parameter
        params        bfloat16                 14 GB           2.00          28 GB           4.00
        grads         bfloat16                 14 GB           2.00          28 GB           4.00
        state         int8, float32 / 256   14.22 GB           2.03          56 GB           8.00
        compensation  int8                      7 GB           1.00            0 B           0.00
        total                               49.22 GB           7.03         112 GB          16.00
        moved                               84.44 GB          12.06         196 GB          28.00
        >>> fa.plan(7e9, "lion").per_param
        12.0
    """
    from .optimizers import by_name

    size = count("plan(): n_params", n_params, hint="give a count of elements, such as 7e9")
    if size >= 1 << 63:
        raise ValueError(f"plan(): n_params={n_params!r} must be below 2**63")
    found = by_name(optimizer) if isinstance(optimizer, str) else optimizer
    if not (isinstance(found, type) and issubclass(found, Algorithm) and hasattr(found, "rule")):
        raise TypeError(f"plan(): {optimizer!r} is not an optimizer; give its name or its class")
    params = choice("plan(): params", dtype_name(params), FLOAT)
    grads = choice("plan(): grads", params if grads is None else dtype_name(grads), FLOAT)
    if grads == "float64" != params:
        raise ValueError(f"plan(): grads='float64' is for float64 parameters; these are {params}")
    check_known(keywords, [*found.defaults, *NAMES], f"plan(): {found.__name__}")
    options = Options(**{name: keywords.pop(name) for name in NAMES if name in keywords})
    made = found.without_arrays()
    values = values_of(made, keywords, "plan(): ")
    options.check_rule(made.variant(values))
    options.check_params([params])
    ParameterCopies(options).check([params])
    return budget_of(
        [(made.variant(values), options.formats_of(params, grads, size), size)], options
    )


def budget_of(members: Iterable[tuple[Rule, Formats, int]], options: Options) -> Budget:
    """The budget of parameters given as (rule, formats, number of elements), with its baseline."""
    members = list(members)
    plain = [(rule, Formats.alike("float32"), size) for rule, _, size in members]
    return _summed(members, options, plain=_summed(plain, Options()))


def _summed(
    members: list[tuple[Rule, Formats, int]], options: Options, plain: Budget | None = None
) -> Budget:
    sizes: Counter[str] = Counter()
    dtypes: dict[str, dict[str, None]] = {}
    moved = 0.0
    for rule, formats, size in members:
        for part, column in _columns(updated(rule, formats, options)):
            sizes[part] += -(-size // column.per) * np.dtype(column.dtype).itemsize
            dtypes.setdefault(part, {})[_label(column)] = None
        moved += size * sum(n * moved_by(each) for n, each in passes(rule, formats, options))
    return Budget(
        sum(size for *_, size in members),
        **sizes,
        moved=moved,
        dtypes={part: ", ".join(labels) for part, labels in dtypes.items()},
        plain=plain,
    )


def _columns(update: Streams) -> Iterator[tuple[str, Column]]:
    """The stored columns of an update, each with the part of a budget that it belongs to."""
    for stream in update:
        for column in stream.storage.stored:
            if column.part == COMPENSATION:
                yield COMPENSATION, column
            elif column.per < WHOLE:
                yield "state" if stream.name.startswith(STATE) else PARTS[stream.name], column


def _label(column: Column) -> str:
    return column.outside if column.per == 1 else f"{column.outside} / {column.per}"


def updated(rule: Rule, formats: Formats, options: Options) -> Streams:
    """The streams that an update reads and writes."""
    names = options.in_kernel(masked=False, scaled=False) + formats.options
    return streams(rule, names, formats)


def passes(rule: Rule, formats: Formats, options: Options) -> Iterator[tuple[int, Streams]]:
    """The streams of each pass over memory, with the number of such passes per update."""
    inputs = Formats(formats.compute, formats.grad)
    micro_batches = options.accumulate_steps - 1  # before the last
    yield 1, updated(rule, formats, options)
    yield micro_batches, streams(add, options_of_sums(options), inputs)
    if options.measures:
        yield 1, norm_streams(inputs, ("grad_sum",) if options.accumulates else ())
    if options.skip_nonfinite:
        yield micro_batches, norm_streams(inputs)


def moved_by(streams: Streams) -> float:
    """Bytes per element that one pass reads and writes."""
    return sum(
        PASSES[stream.mode] * np.dtype(column.dtype).itemsize / column.per
        for stream in streams
        for column in stream.storage.stored
    )
