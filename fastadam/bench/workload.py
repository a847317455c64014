"""Building blocks of every suite: cases, contenders, the memory they share, and a plan of turns.

All contenders of a turn exist at the same time, so that they can be timed in turns. Gradients stay
the same from step to step unless a suite refreshes them, so every value stays finite and normal.
Sharing memory is for timing only: validation gives every contender memory of its own and fresh
gradients at every step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import isqrt, prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..memory.aligned import aligned_zeros
from .measurement import OURS, Report
from .tables import Table
from .variants import ADAMW, Variant

Array = NDArray[Any]

LR, BETAS, EPS, WEIGHT_DECAY = 1e-3, (0.9, 0.999), 1e-8, 1e-2  # the defaults of AdamW
HYPER: dict[str, Any] = {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": WEIGHT_DECAY}
MOST_COLUMNS = 64  # for each row of a matrix
ROUNDING = 2.0**-24  # of a float32, relative to it


class Case(NamedTuple):
    """The sizes of the arrays that one step updates, and the optimizer."""

    label: str
    sizes: tuple[int, ...]
    variant: Variant = ADAMW

    @property
    def elements(self) -> int:
        return sum(self.sizes)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each array."""
        return [self.variant.shape_of(size) for size in self.sizes]


def one_array(size: int, variant: Variant = ADAMW) -> Case:
    """One array; the label is short where the size is a round number, and has the shape of a
    matrix.

    Raises:
        ValueError: if the array must be a matrix, and none of this size is nearly a square.
    """
    digits = str(size).rstrip("0")
    power = len(str(size)) - 1
    label = f"{digits}e{power}" if len(digits) == 1 and power >= 3 else str(size)
    shape = variant.shape_of(size)
    if shape[-1] > MOST_COLUMNS * shape[0]:
        side = isqrt(size)
        raise ValueError(
            f"--sizes: {label} elements are at best a matrix of {in_words(shape)}, which is no "
            f"typical shape for {variant.label}; choose a size such as {side * side}"
        )
    return Case(label if len(shape) == 1 else f"{label} ({in_words(shape)})", (size,), variant)


def many_arrays(number: int = 1000, size: int = 1000, variant: Variant = ADAMW) -> Case:
    """Many small arrays, each updated in place."""
    label = f"{number} arrays of {in_words(variant.shape_of(size))}"
    return Case(label, (size,) * number, variant)


def in_words(shape: Sequence[int]) -> str:
    """A shape, such as 25 x 40."""
    return " x ".join(map(str, shape))


def assign(array: Any, values: Any) -> None:
    """Overwrite an array, converting to its dtype."""
    array[...] = values


@dataclass(frozen=True)
class Contender:
    """A step ready to be taken, with views of the memory that it reads and updates.

    Attributes:
        name: implementation, such as "torch fused".
        step: takes one step.
        params, grads: its arrays, in the same order.
        config: configuration within the suite.
        bytes: traffic of a step per element; to be called after a step.
        resident: bytes per element that stay allocated between steps; 0 if not counted.
        moves: False for a step that changes nothing.
        options: options of the step (see `fastadam.bench.options`), which validation imitates.
        rounding: relative error of the least exact number that a step writes.
        weights: the parameters at full precision, if `params` alone are not.
        more_grads: gradients of further micro-batches.
        grad_share: factor for the gradients; a training loop would multiply the loss by it.
        ema, shadow: the average of the parameters and their bfloat16 copy, if there are any.
        read, write: copy an array of the contender to the host, and fill one.
    """

    name: str
    step: Callable[[], object]
    params: Sequence[Any]
    grads: Sequence[Any]
    config: str = ""
    bytes: Callable[[], float] = lambda: 0.0
    resident: Callable[[], float] = lambda: 0.0
    moves: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    rounding: float = ROUNDING
    weights: Callable[[], Sequence[Any]] | None = None
    more_grads: Sequence[Any] = ()
    grad_share: float = 1.0
    ema: Sequence[Any] = ()
    shadow: Sequence[Any] = ()
    read: Callable[[Any], Any] = np.copy
    write: Callable[[Any, Any], None] = assign

    @property
    def label(self) -> str:
        """Name and configuration, for messages."""
        return f"{self.name!r}" + (f" ({self.config})" if self.config else "")

    def fill(self, sources: Sequence[Array]) -> None:
        """Copy the gradients of the next step, which is not part of the step."""
        for targets in (self.grads, self.more_grads):
            for target, source in zip(targets, sources, strict=False):
                if self.grad_share == 1:
                    self.write(target, source)
                else:
                    np.multiply(source, np.float32(self.grad_share), out=target)


class Memory:
    """Arrays that the contenders of one case share, each part allocated when first used."""

    def __init__(self, case: Case) -> None:
        self.sizes, self.shapes, self.variant = case.sizes, case.shapes, case.variant
        normal = np.random.default_rng(0).standard_normal
        self.params, self.grads = self._zeros(), self._zeros()
        for array in (*self.params, *self.grads):
            normal(dtype=np.float32, out=array)

    def _zeros(self) -> list[Array]:
        return [aligned_zeros(prod(shape), np.float32).reshape(shape) for shape in self.shapes]

    @cached_property
    def states(self) -> list[list[Array]]:
        """The arrays of each state of the rule that has a number for each element."""
        return [self._zeros() for _ in self.variant.states]

    @cached_property
    def tensors(self) -> list[Any]:
        """Parameters with gradients, allocated by PyTorch."""
        import torch

        parameters = [torch.nn.Parameter(torch.from_numpy(p).clone()) for p in self.params]
        for parameter, grad in zip(parameters, self.grads, strict=True):
            parameter.grad = torch.from_numpy(grad).clone()
        return parameters


def as_given(arrays: Sequence[Array]) -> Array | Sequence[Array]:
    """The argument for an optimizer: one array is given by itself."""
    return arrays[0] if len(arrays) == 1 else arrays


def fastadam_contender(
    params: Sequence[Array], grads: Sequence[Array], variant: Variant = ADAMW
) -> Contender:
    """The step of an optimizer of fastadam over these arrays."""
    optimizer = variant.optimizer(as_given(params), **variant.hyper)
    return Contender(OURS, partial(optimizer.step, as_given(grads)), params, grads)


class Turn(NamedTuple):
    """Contenders of a case that are timed together.

    Attributes:
        label: for the progress bar.
        needed: bytes of memory that all of them take.
        make: allocates them.
        refresh: True if every step gets its gradients afresh, which is not timed.
    """

    label: str
    case: Case
    needed: int
    make: Callable[[], list[Contender]]
    refresh: bool = False


class Check(NamedTuple):
    """A validation of one contender on a small case; raises if it is wrong."""

    label: str
    run: Callable[[], None]


class Plan(NamedTuple):
    """Work of a benchmark: the checks first, then the turns."""

    checks: Sequence[Check]
    turns: Sequence[Turn]


class Request(NamedTuple):
    """The benchmark requested by the user.

    Attributes:
        sizes: elements per array.
        optimizers: the optimizers to time; only the suite of steps takes others than AdamW.
        torch: True to compare with PyTorch.
        small: True to add a case of many small arrays.
        threads: of each contender.
        peers: True to compare with the AdamW of other libraries.
    """

    sizes: Sequence[int]
    optimizers: Sequence[Variant] = (ADAMW,)
    torch: bool = False
    small: bool = True
    threads: int = 1
    peers: bool = False


class Suite(NamedTuple):
    """A kind of benchmark.

    Attributes:
        name: its name in files.
        table: the table for a terminal.
        summary: sentences that compare, a line each.
        headline: one sentence on the most telling case.
        draw: draws on a matplotlib figure; None if there is no chart.
        size: width and height of the chart in inches, for a report.
        document: the table for a document, if it is another.
        plan: its work; None if a script of its own does it.
        sizes: elements per array, unless the user gives others.
        packages: whose versions matter, besides those of every suite.
    """

    name: str
    table: Callable[[Report], Table]
    summary: Callable[[Report], str]
    headline: Callable[[Report], str]
    draw: Callable[[Any, Report], None] | None = None
    size: Callable[[Report], tuple[float, float]] = lambda report: (10, 4.6)
    document: Callable[[Report], Table] | None = None
    plan: Callable[[Request], Plan] | None = None
    sizes: Sequence[str] = ()
    packages: Sequence[str] = ()
