"""Gradients of several micro-batches, added up before the parameters are updated."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ..kernels.commit import Operation, Write, commit, put, write
from ..kernels.cpu import threads
from ..kernels.formats import Formats, compute_of
from ..kernels.transforms import ZERO_GRADS
from ..memory.launch_table import SKIPPED
from ..memory.placement import AVERAGE
from ..rules import rule
from .backend import backend_of
from .columns import alike
from .launch import Launch, kernel_for
from .options import Options
from .scales import FAR, NEAR


@rule()
def add(param, grad, state, h):  # type: ignore[no-untyped-def]
    """`param` is the sum so far."""
    return param + grad, state


def options_of_sums(options: Options, scaled: int = NEAR) -> tuple[str, ...]:
    """The options of the kernel that adds a gradient."""
    power = ("grad_power",) if scaled == FAR else ()
    return ("grad_scale", *power, *((ZERO_GRADS,) if options.zero_grads else ()))


class Window(NamedTuple):
    """The micro-batches since the last update.

    Attributes:
        batches: the number of them.
        seen: for each parameter, True if it had a gradient in any of them.
    """

    batches: int
    seen: Sequence[bool]


class SumStore(Protocol):
    """A place for sums other than memory."""

    def array(self, name: str, number: int) -> Any:
        """The array of a name and of a parameter."""

    def surrounded(
        self, operations: Sequence[Operation], doing: str, **changes: Any
    ) -> list[Operation]:
        """The operations, between those that mark the store as being written and as written."""


class Accumulator:
    """Sums of gradients between two updates.

    Attributes:
        sums: an array per parameter; zero after an update, which clears them.
        window: the micro-batches added up so far; replaced when one is added.
        store: allocates the sums; None: they are in memory.
    """

    store: SumStore | None = None

    def __init__(self, options: Options) -> None:
        self.sums: list[Any] = []
        self.window, self._options = Window(0, []), options

    @property
    def last(self) -> bool:
        """True if the next micro-batch is the last before an update."""
        return self.count + 1 == self._options.accumulate_steps

    @property
    def count(self) -> int:
        return self.window.batches

    @property
    def seen(self) -> Sequence[bool]:
        return self.window.seen

    def extended(self, params: Sequence[Any]) -> list[Operation]:
        """The operations that allocate sums for more parameters."""
        if self.store:
            sums = [self.store.array("grad_sum", k) for k, _ in enumerate(params)]
        else:
            sums = _zeros(params)
        window = Window(self.count, [*self.seen, *[False] * len(params)])
        return put(self, sums=[*self.sums, *sums], window=window)

    def expect(self, formats: Sequence[Formats], scaled: int) -> None:
        """Prepare for gradients in these formats, one for each parameter."""
        options = options_of_sums(self._options, scaled)
        self.launches = [
            Launch(add, kernel_for(add, wanted, options, self.sums[0]), self.sums, members)
            for wanted, members in alike(Formats(f.compute, f.grad) for f in formats).items()
        ]
        self.kernels = [launch.kernel for launch in self.launches]

    def place(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Set the addresses of the gradients of a micro-batch; None where there is no gradient."""
        self._active = active
        for launch in self.launches:
            launch.place("grad", addresses)
            launch.choose([0 if there else SKIPPED for there in active])

    def add(self, unscale: float, power: float, others: Sequence[Operation] = ()) -> None:
        """Add the gradients, times `power`, times `unscale`, count them, and run other operations,
        all or nothing."""
        for launch in self.launches:
            launch.set_number("grad_scale", unscale)
            if "grad_power" in launch.numbers:
                launch.set_number("grad_power", power)
        seen = [seen or there for seen, there in zip(self.seen, self._active, strict=True)]
        window, threads_used = Window(self.count + 1, seen), self._options.team
        counted, store = [*put(self, window=window), *others], self.store
        tables = [launch.table for launch in self.launches]

        def operations(threaded: bool) -> list[Operation]:
            launches = [op for table in tables for op in table.operations(threads_used, threaded)]
            added = launches + counted
            return store.surrounded(added, "a micro-batch", window=window) if store else added

        if all(table.small for table in tables):
            commit(operations(False))
        else:
            threads.run(operations, threads_used)

    def completed(self, grads: Sequence[Any], dtypes: Sequence[Any]) -> Sequence[Any]:
        """The gradients of the last micro-batch, with zeros for parameters that had a gradient in
        an earlier one only."""
        if not any(seen and grad is None for seen, grad in zip(self.seen, grads, strict=True)):
            return grads
        return [
            backend_of(total).zeros(total.size, dtype).reshape(total.shape)
            if seen and grad is None
            else grad
            for seen, grad, total, dtype in zip(self.seen, grads, self.sums, dtypes, strict=True)
        ]

    def restored(self, count: int, sums: Sequence[Any], write: Write = write) -> list[Operation]:
        """The operations that restore saved sums, None where there was no gradient; without any
        sums, a new window begins."""
        saved = sums or [None] * len(self.sums)
        pairs = zip(self.sums, saved, strict=True)
        writes = [write(total, 0 if array is None else array) for total, array in pairs]
        return writes + put(self, window=Window(count, [array is not None for array in saved]))

    def restarted(self) -> list[Operation]:
        """The operations that begin a window; an update has cleared the sums."""
        return put(self, window=Window(0, [False] * len(self.sums)))


def _zeros(params: Sequence[Any]) -> list[Any]:
    """Zeros of the shapes of parameters, in the dtypes of their arithmetic."""
    backend, zeros = backend_of(params[0]), [*params]
    for dtype, members in alike(compute_of(param.dtype.name) for param in params).items():
        beside = [params[i] for i in members]
        sizes = [param.size for param in beside]
        totals = backend.zeros_beside(beside, sizes, dtype, AVERAGE)
        for i, total in zip(members, totals, strict=True):
            zeros[i] = total.reshape(params[i].shape)
    return zeros
