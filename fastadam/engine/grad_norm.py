"""The norm of gradients: one pass over them, before the pass of the update."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from ..kernels.cpu.threads import Limit
from ..kernels.factory import Kernel, kernel
from ..kernels.formats import Formats
from ..kernels.rule_streams import streams
from ..kernels.storage.block_sums import Sums
from ..kernels.stream import Stream
from ..kernels.transforms import staged
from ..memory.checks import address
from ..memory.launch_table import SKIPPED
from ..rules import Rule, rule
from ..rules.functions import squared
from .backend import backend_of
from .columns import alike
from .convert import identity
from .launch import Launch
from .partition import BLOCK, Partition, Shards


@rule()
def square(param, grad, state, h):  # type: ignore[no-untyped-def]
    return squared(grad), state


def norm_streams(
    formats: Formats, options: tuple[str, ...] = (), term: Rule = square
) -> tuple[Stream, ...]:
    """The streams read and written to add the terms of gradients."""
    _, *inputs = streams(term, options, formats)
    only_read = (stream._replace(mode="r") for stream in inputs)
    return (Stream("param", Sums(), "w"), *only_read)


def norm_kernel(
    formats: Formats, options: tuple[str, ...] = (), term: Rule = square, like: Any = None
) -> Kernel:
    """The kernel that adds the terms of gradients, block by block, on the device of `like`."""
    target = backend_of(like).target
    return kernel(staged(term, options), norm_streams(formats, options, term), target)


class Folds:
    """The launches that add up runs of numbers, block by block, until each run has one sum.

    Args:
        sums: the numbers, one run after another.
        counts: the length of each run.

    Attributes:
        launches: the launches, in order.
        sums: the array of the results; the argument itself if all runs have length one.
    """

    def __init__(self, sums: Any, counts: Sequence[int]) -> None:
        self.launches, self._kept = list[Launch](), [sums]  # launches know addresses only
        backend = backend_of(sums)
        while max(counts) > 1:
            sums, stops = self._kept[-1], np.cumsum([0, *counts]).tolist()
            runs = [sums[start:stop] for start, stop in pairwise(stops)]
            counts = blocks_of(counts)
            self._kept.append(backend.zeros(sum(counts), "float64"))
            kernel = norm_kernel(Formats.alike("float64"), (), identity, sums)
            places, members = places_of(counts), range(len(runs))
            launch = _launch(identity, kernel, runs, members, places, self._kept[-1])
            self.launches.append(launch)
        self.sums = self._kept[-1]


class GradNorm:
    """The norms of the gradients of some parameters, in float64.

    Pairwise summation: blocks of squares are added, then blocks of these sums, until there is one
    sum for each parameter; these are then added in the same way. The bits depend on the gradients
    alone.

    Args:
        params: the parameters.
        formats: the formats of each of them.
        threads: the threads of a launch.
        options: the options of the kernels.
        partition: the partition of the parameters, if they are pieces. The norms are then those of
            the whole parameters: the processes exchange the sums of their blocks.
        shards: the shards of the parameters, if any. The norms are then those of the whole
            parameters: the processes exchange a number for each parameter.
        rows: the row-sparse gradients; with a partition, the processes exchange their sums too.

    Attributes:
        launches: the launches that read the gradients; the others read their sums.
        known: the norm of all gradients, given by the caller; the next `run` uses it and computes
            none.
        squares: the squared norm of each gradient.
        total: the squared norm of all gradients together.
    """

    known: float | None = None

    def __init__(
        self,
        params: Sequence[Any],
        formats: Sequence[Formats],
        threads: Limit,
        options: tuple[str, ...] = (),
        partition: Partition | None = None,
        shards: Shards | None = None,
        rows: Sequence[Any] = (),
    ) -> None:
        sizes = partition.sizes if partition else [param.size for param in params]
        counts = blocks_of(sizes)
        backend = self._backend = backend_of(params[0])
        self._sums = backend.zeros(sum(counts), "float64")
        places = places_of(counts, partition)
        self.launches = _reading(params, formats, options, places, self._sums)
        self._threads, self._later = threads, list[Launch]()
        each = Folds(self._sums, counts)
        self.squares, self._folds = each.sums, each.launches
        self._exchange: list[Callable[[], None]] = []
        if shards:
            self.squares = backend.zeros(len(sizes), "float64")
            self._exchange.append(partial(shards.add_up, each.sums, self.squares))
        whole = Folds(self.squares, [len(sizes)])
        self.total, self._last_folds = whole.sums, whole.launches
        self._kept = [each, whole]  # launches know addresses only
        self._deferred = backend.deferred_scalar()
        complete = [partial(partition.complete, self._sums)] if partition else []
        self._before: list[Callable[[], None]] = []
        if partition and any(rows):
            self._before.append(partial(partition.complete_rows, rows))
        self._complete: list[Callable[[], None]] = [*complete]
        self._runs: list[Callable[[], None]] = []
        self._kernels: list[Kernel] = []

    def then(self, launches: Iterable[Launch]) -> None:
        """Add launches that run after the sums have been computed."""
        self._later += launches
        self._runs = []

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels of all launches."""
        if not self._runs:
            self._prepare()
        return self._kernels

    def _prepare(self) -> None:
        """Create the functions that launch everything."""
        last = [*self._last_folds, *self._later]
        stages = [self._folds, last] if self._exchange else [[*self._folds, *last]]
        chains = [self._backend.chained(stage, self._threads) for stage in stages]
        self._kernels = [launch.kernel for launch in self.launches]
        self._runs = [*self._before]
        self._runs += [launch.table.runner(self._threads) for launch in self.launches]
        for others, (runs, kernels) in zip((self._complete, self._exchange), chains, strict=False):
            self._runs += [*others, *runs]
            self._kernels += kernels

    def total_of(self, numbers: Sequence[int]) -> Any:
        """An array for the squared norm of some of the gradients together."""
        parts, counts = [self.squares[i : i + 1] for i in numbers], [1] * len(numbers)
        chosen = self._backend.zeros(len(numbers), "float64")
        kernel = norm_kernel(Formats.alike("float64"), (), identity, self.squares)
        gathered = _launch(identity, kernel, parts, range(len(parts)), places_of(counts), chosen)
        whole = Folds(chosen, [len(numbers)])
        self._kept.append(whole)
        self.then([gathered, *whole.launches])
        return whole.sums

    def place(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Set the addresses of the gradients; None where there is no gradient."""
        self._sums.fill(0)
        for launch in self.launches:
            launch.place("grad", addresses)
            launch.choose([0 if there else SKIPPED for there in active])

    def set_number(self, option: str, number: float) -> None:
        """Set the number of an option, in the launches whose kernels have it."""
        for launch in self.launches:
            if option in launch.numbers:
                launch.set_number(option, number)

    def run(self) -> None:
        """Compute `squares` and `total`."""
        if self.known is not None:
            self.total[...], self.known = self.known**2, None
            for launch in self._later:
                launch.table.runner(self._threads)()
            return
        if not self._runs:
            self._prepare()
        for run in self._runs:
            run()

    def measured(self) -> float:
        """Compute the norms on the host; returns that of all gradients together."""
        if not self._runs:
            self._prepare()
        for run in self._runs:
            run()
        return math.sqrt(self.total[0])

    @property
    def late(self) -> bool:
        """True if a norm may be fetched from a device later."""
        return self._deferred is not None

    def norm(self, scale: float, wait: bool) -> Any:
        """The norm of all gradients together, times `scale`; without `wait`, a function that
        fetches it from a device."""
        if wait or self._deferred is None:
            return math.sqrt(np.asarray(self.total)[0]) * scale
        return self._deferred.put(self.total, lambda total: math.sqrt(total) * scale)


def _reading(
    params: Sequence[Any],
    formats: Sequence[Formats],
    options: tuple[str, ...],
    places: Sequence[int],
    sums: Any,
) -> list[Launch]:
    """The launches that add the squares of gradients into `sums`, block by block."""
    launches = [
        _launch(square, norm_kernel(inputs, options, like=params[0]), params, members, places, sums)
        for inputs, members in alike(_read(options, each) for each in formats).items()
    ]
    for launch in launches:
        # From the last chunk to the first: the last step ended with the last chunk, and the update
        # begins with the first, so that some of the gradients are still in the cache.
        launch.table.backward = True
        if launch.has("origin"):
            launch.place("origin", [address(param) for param in params])
    return launches


def _read(options: tuple[str, ...], formats: Formats) -> Formats:
    """The formats on which a norm depends; those of parameters if it is the norm of a distance."""
    param = formats.param if "origin" in options else formats.compute
    return Formats(param, formats.grad, inputs=formats.inputs)


def blocks_of(sizes: Sequence[int]) -> list[int]:
    """The number of block sums for each of these sizes, at least one."""
    return [max(1, -(-size // Sums.block)) for size in sizes]


def places_of(counts: Sequence[int], partition: Partition | None = None) -> Any:
    """The index of the first sum of each array, or of each piece of a partition."""
    first = np.cumsum([0, *counts[:-1]])
    if partition is None:
        return first
    return np.array([first[piece.number] + piece.start // BLOCK for piece in partition.pieces])


def _launch(
    rule: Rule,
    kernel: Kernel,
    arrays: Sequence[Any],
    members: Sequence[int],
    places: Any,
    sums: Any,
) -> Launch:
    """The launch that adds blocks of the member arrays into `sums`, from the index in `places`."""
    launch = Launch(rule, kernel, arrays, members)
    launch.place("grad", [address(array) for array in arrays])
    launch.place("param", (address(sums) + sums.itemsize * places).tolist())
    return launch
