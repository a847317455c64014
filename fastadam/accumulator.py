"""Gradients of several micro-batches, added up before the parameters move."""

from collections.abc import Sequence
from typing import Any

from .kernels.formats import Formats, compute_of
from .kernels.stages import ZERO_GRADS
from .launch import Launch, alike, kernel_for
from .memory.flat import aligned_zeros
from .memory.table import SKIPPED
from .options import FAR, NEAR, Options
from .rules import rule


@rule()
def add(param, grad, state, h):  # type: ignore[no-untyped-def]
    """`param` is the sum so far."""
    return param + grad, state


def options_of_sums(options: Options, scaled: int = NEAR) -> tuple[str, ...]:
    """What adding a gradient does besides."""
    power = ("grad_power",) if scaled == FAR else ()
    return ("grad_scale", *power, *((ZERO_GRADS,) if options.zero_grads else ()))


class Accumulator:
    """Sums of gradients between two updates.

    Attributes:
        sums: an array per parameter; zero after an update, which clears them.
        count: how many micro-batches are in them.
        seen: which parameters had a gradient in any of these.
    """

    def __init__(self, options: Options) -> None:
        self.sums: list[Any] = []
        self.seen: list[bool] = []
        self.count, self._options = 0, options

    @property
    def last(self) -> bool:
        """Whether the next micro-batch is the last before an update."""
        return self.count + 1 == self._options.accumulate_steps

    def extend(self, params: Sequence[Any]) -> None:
        """Make room for more parameters."""
        self.sums += [
            aligned_zeros(p.size, compute_of(p.dtype.name), p).reshape(p.shape) for p in params
        ]
        self.seen += [False] * len(params)

    def expect(self, formats: Sequence[Formats], scaled: int) -> None:
        """Prepare for gradients in these formats, one for each parameter."""
        options = options_of_sums(self._options, scaled)
        self.launches = [
            Launch(add, kernel_for(add, wanted, options, self.sums[0]), self.sums, members)
            for wanted, members in alike(Formats(f.compute, f.grad) for f in formats).items()
        ]
        self.kernels = [launch.kernel for launch in self.launches]
        self._runs = [launch.table.runner(self._options.threads) for launch in self.launches]

    def look(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Say where the gradients of a micro-batch are, and which there are."""
        self._active = active
        for launch in self.launches:
            launch.place("grad", addresses)
            launch.choose([0 if there else SKIPPED for there in active])

    def add(self, unscale: float, power: float) -> None:
        """Add the gradients, times `power`, times `unscale`."""
        for launch, run in zip(self.launches, self._runs, strict=True):
            launch.tell("grad_scale", unscale)
            if "grad_power" in launch.numbers:
                launch.tell("grad_power", power)
            run()
        self.seen = [seen or there for seen, there in zip(self.seen, self._active, strict=True)]
        self.count += 1

    def completed(self, grads: Sequence[Any], dtypes: Sequence[Any]) -> Sequence[Any]:
        """The last gradients, with zeros of some dtypes for parameters that had theirs earlier."""
        if not any(seen and grad is None for seen, grad in zip(self.seen, grads, strict=True)):
            return grads
        return [
            aligned_zeros(total.size, dtype, total).reshape(total.shape)
            if seen and grad is None
            else grad
            for seen, grad, total, dtype in zip(self.seen, grads, self.sums, dtypes, strict=True)
        ]

    def restore(self, count: int, sums: Sequence[Any]) -> None:
        """Take over saved sums, None where there was no gradient; none at all start anew."""
        self.restart()
        saved = sums or [None] * len(self.sums)
        for number, (total, array) in enumerate(zip(self.sums, saved, strict=True)):
            total[...] = 0 if array is None else array
            self.seen[number] = array is not None
        self.count = count

    def restart(self) -> None:
        """Forget which gradients there were; an update has cleared the sums."""
        self.count, self.seen = 0, [False] * len(self.seen)
