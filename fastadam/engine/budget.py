"""Memory budgets: bytes of training and traffic of a step, computed from the kernels' streams.

Nothing is compiled or allocated for it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..kernels.formats import COMPENSATION, Formats
from ..kernels.rule_streams import streams, streams_of_terms
from ..kernels.storage.base import ROW, Column
from ..kernels.stream import Stream
from ..kernels.transforms import FACTOR, STATE, SUM, inputs_of_first
from ..rules import MATRIX, Rule
from .accumulation import add, options_of_sums
from .grad_norm import norm_streams
from .options import Options

Streams = tuple[Stream, ...]

PASSES = {"rw": 2, "rz": 2, "r": 1, "w": 1}  # accesses to the memory of a stream, by its mode
PARTS = {
    "param": "params",
    "grad": "grads",
    "ema": "ema",
    "shadow": "shadow",
    "grad_sum": "sums",
    SUM + MATRIX: "matrices",
}  # the parts of a budget, by the streams of a kernel
LARGE = (1 << 20, 1 << 20)  # a shape with few rows and columns per element
_FLOAT32 = Formats.alike("float32")
EXTRAS = (COMPENSATION, "ema", "shadow", "sums", "matrices")


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
        matrices: bytes of the matrices that an optimizer such as Muon computes in each step.
        in_files: the share of these bytes that is in files, not in memory.
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
    matrices: int = 0
    in_files: int = 0
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
        for name in ("params", "grads", "state", *EXTRAS, "total", "in_files", "moved"):
            numbers = [getattr(each, name) for each in beside]
            if any(numbers) or name not in (*EXTRAS, "in_files"):
                pairs = [pair for n in numbers for pair in (shown(n), self._share(n))]
                found.append((name.replace("_", " "), self.dtypes.get(name, ""), *pairs))
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


def budget_of(
    members: Iterable[tuple[Rule, Formats, int]], options: Options, params_in_files: int = 0
) -> Budget:
    """The budget of parameters, with its baseline.

    Args:
        members: (rule, formats, number of elements) of each parameter.
        options: the options of the optimizer.
        params_in_files: the bytes of the parameters that are in files.
    """
    members = list(members)
    plain = [(rule, _plain(formats), size) for rule, formats, size in members]
    found = _summed(members, options, plain=_summed(plain, Options()))
    state = found.state + found.extras if options.state_file else 0
    return replace(found, in_files=params_in_files + state)


def _plain(formats: Formats) -> Formats:
    """Formats of float32 with the same rows and columns."""
    names = ("row_state", "row", "column_state", "column", "matrix")
    return replace(_FLOAT32, **{name: getattr(formats, name) for name in names})


def _summed(
    members: list[tuple[Rule, Formats, int]], options: Options, plain: Budget | None = None
) -> Budget:
    sizes: Counter[str] = Counter()
    dtypes: dict[str, dict[str, None]] = {}
    moved = 0.0
    for any_rule, formats, size in members:
        rule = formats.form_of(any_rule)
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
            elif column.per < ROW:  # one number per row, of unknown length: negligible
                kept = stream.name.startswith((STATE, FACTOR))
                yield "state" if kept else PARTS[stream.name], column


def _label(column: Column) -> str:
    return column.outside if column.per == 1 else f"{column.outside} / {column.per}"


def updated(rule: Rule, formats: Formats, options: Options) -> Streams:
    """The streams that an update reads and writes."""
    return streams(rule, _names(options, formats), formats)


def _names(options: Options, formats: Formats) -> tuple[str, ...]:
    """The options of the kernels of an update."""
    return options.in_kernel(masked=False, scaled=False) + formats.options


def passes(rule: Rule, formats: Formats, options: Options) -> Iterator[tuple[int, Streams]]:
    """The streams of each pass over memory, with the number of such passes per update."""
    inputs = Formats(formats.compute, formats.grad)
    micro_batches = options.accumulate_steps - 1  # those before the last
    yield 1, updated(rule, formats, options)
    if rule.in_two_passes:  # rows are in the cache
        read = streams_of_terms(rule, _names(options, formats), formats)
        needed = (*inputs_of_first(rule), SUM + MATRIX, "grad_sum")  # block sums are negligible
        yield 1, tuple(each for each in read if each.name in needed)
        if rule.factors:  # the row and column numbers are negligible
            yield 1, tuple(each for each in read if each.name in ("grad", "grad_sum"))
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


def traffic_of(rule: Rule, shape: Sequence[int] = LARGE) -> int:
    """Bytes per element that a float32 step without options reads and writes, for this shape."""
    return int(sum(map(moved_by, plain_passes(rule, shape))))


def plain_passes(rule: Rule, shape: Sequence[int]) -> list[Streams]:
    """The streams of each pass of a float32 step without options, for this shape; the update
    first."""
    formats = _FLOAT32.ruled(rule, shape)
    found = passes(formats.form_of(rule), formats, Options())
    return [each for number, each in found for _ in range(number)]
