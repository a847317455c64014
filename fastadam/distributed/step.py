"""A step of a sharded optimizer: agree, add gradients, update the own pieces, distribute them."""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, NamedTuple

from ..engine.committed_step import step_with
from ..engine.options import Options
from ..engine.scales import flag_of
from ..engine.step_info import StepInfo, new_info
from ..kernels.commit import commit, put
from ..optimizer import Optimizer
from ..processes.agreement import Agreement
from ..processes.resumable import ResumableCommunicator
from .arguments import step_settings
from .exchange import Exchange
from .layout import ShardLayout
from .row_exchange import GivenRows, Kinds
from .shared_memory import SharedGradients
from .whole import WholeParameters


class Given(NamedTuple):
    """Arguments of a step in one process, as its caller gave them."""

    grads: Any
    lr: float | None
    mask: Any
    grad_scale: Any
    found_inf: Any


class Checked(NamedTuple):
    """Arguments of a step that are valid in this process.

    Attributes:
        grads: one gradient or None for each parameter.
        buffer: the array that holds all of them, if there is one.
        masks: the mask of each piece, or None.
        found: whether a gradient is known not to be finite.
        settings: what must be equal in all processes, by what it is called in messages.
    """

    grads: list[Any]
    buffer: Any
    masks: Any
    found: bool
    settings: dict[str, Any]


class Anywhere(NamedTuple):
    """Facts about a step that are true in any of the processes.

    Attributes:
        found: a gradient is known not to be finite.
        lacks: a parameter has no gradient.
        apart: gradients are not in the shared memory of the processes.
        sparse: a gradient is row-sparse.
    """

    found: bool
    lacks: bool
    apart: bool
    sparse: bool


class BegunStep:
    """An update that has begun, and the parts of it that were taken.

    Attributes:
        given: its arguments.
        checked: these, valid in all processes, and facts about those of all.
        added: whether its gradients were added to those of the micro-batches before.
        collected: the kinds of its gradients, and what they are to be divided by.
        updated: whether it is no step that is skipped, once that is known.
        info: its result.
    """

    checked: tuple[Checked, Anywhere] | None = None
    added = False
    collected: tuple[Kinds, float | None] | None = None
    updated: bool | None = None
    info: StepInfo | None = None

    def __init__(self, given: Given) -> None:
        self.given = given

    @property
    def lasting(self) -> bool:
        """True if a part of it has changed anything."""
        return self.added or self.updated is not None


NOTHING = Checked([], None, None, False, {})  # of a process that raises an error


class ShardedStep:
    """The steps of a sharded optimizer.

    Args:
        comm: the processes.
        agreement: between them.
        optimizer: that of the pieces in this process.
        layout: how the parameters are divided.
        whole: the parameters of this process, and the sums of its micro-batches.
        exchange: of gradients and parameters.
        shared: the gradients of processes that share the parameters, or None.
        options: those of the whole optimizer.
    """

    _begun: BegunStep | None = None

    def __init__(
        self,
        comm: ResumableCommunicator,
        agreement: Agreement,
        optimizer: Optimizer,
        layout: ShardLayout,
        whole: WholeParameters,
        exchange: Exchange,
        shared: SharedGradients | None,
        options: Options,
    ) -> None:
        self._comm, self._running = comm, Lock()
        self._agreement, self._optimizer, self._layout = agreement, optimizer, layout
        self._whole, self._exchange, self._shared, self._options = whole, exchange, shared, options

    def add(self, given: Given) -> StepInfo:
        """Add the gradients to those of this process; not collective."""
        engine, found = self._optimizer._engine, flag_of(given.found_inf)
        grads, _ = self._whole.checked(given.grads)
        if any(isinstance(grad, GivenRows) for grad in grads):
            raise ValueError(
                "no_sync() adds up arrays, but grads holds Rows; give the rows of all "
                "micro-batches to one step"
            )
        if given.mask is not None:
            self._whole.masks(given.mask)
        engine.refresh()
        rate = engine.values(given.lr)[0].get("lr")
        self._whole.add(given.grad_scale)
        self._whole.found |= found
        return new_info((self._optimizer.steps, rate, None, found, False))

    def update(self, given: Given) -> StepInfo:
        """Update all parameters with the mean of the gradients of all processes."""
        begun = BegunStep(given)
        commit([*put(self._comm, abandoned=False), *put(self, _begun=begun)])
        self._finish(begun)
        assert begun.info
        return begun.info

    def complete(self) -> None:
        """Complete an update that an exception interrupted, for which other processes wait.

        Raises:
            RuntimeError: in a handler of a signal that arrived during an update.
        """
        begun = self._begun
        if begun is None:
            return
        if self._running.locked():
            self._check_alone(begun)
            return
        try:
            if begun.lasting or (self._comm.size > 1 and not self._comm.abandoned):
                self._finish(begun)
        except Exception:
            if begun.lasting or not self._comm.abandoned:  # else all processes have raised it
                raise
        self._begun = None

    def _check_alone(self, begun: BegunStep) -> None:
        if self._comm.size > 1 or begun.added:
            raise RuntimeError(
                "called in the middle of a step, as by a handler of a signal; let the handler set "
                "a flag, and act on it after the step"
            )

    def _finish(self, begun: BegunStep) -> None:
        """Take all parts of an update that were not taken before an exception."""
        with self._running:
            checked, anywhere = self._part(begun, "checked", self._agreed, begun.given)
            kinds, scale = self._part(begun, "collected", self._collect, begun, checked, anywhere)
            own = self._exchange.of_pieces(kinds)
            if begun.updated is None:
                self._comm.again()
                self._update(begun, own, checked, anywhere, scale)
            self._comm.again()
            self._distribute(begun, kinds, own)
            ends = [*self._comm.ended(False), *self._exchange.forgotten(), *put(self, _begun=None)]
            commit(ends)

    def _part(self, begun: BegunStep, name: str, take: Callable[..., Any], *given: Any) -> Any:
        """The result of a part of an update, which is taken unless it was before."""
        if getattr(begun, name) is None:
            self._comm.again()
            result = take(*given)
            commit([*put(begun, **{name: result}), *self._comm.ended(True)])
        return getattr(begun, name)

    def _update(
        self, begun: BegunStep, own: Any, checked: Checked, anywhere: Anywhere, scale: Any
    ) -> None:
        """Update the pieces of this process."""
        given, engine = begun.given, self._optimizer._engine
        restarted, ended = self._whole.restarted(checked.grads), self._comm.ended(True)
        done = [*restarted, *put(begun, updated=True), *ended]
        how = given.lr, checked.masks, scale, anywhere.found
        begun.info = step_with(done, engine, own, *how)
        if begun.updated is None:
            commit([*restarted, *put(begun, updated=False), *ended])

    def _agreed(self, given: Given) -> tuple[Checked, Anywhere]:
        """The valid arguments of this process, and facts about those of all.

        Raises:
            Exception: in all processes, if the arguments are not valid in one or differ.
        """
        error, checked = None, NOTHING
        try:
            checked = self._checked(given)
        except Exception as raised:
            error = raised
        shared, batches = self._shared, self._whole.batches
        own = Anywhere(
            found=checked.found,
            lacks=any(grad is None for grad in checked.grads),
            apart=shared is None or bool(batches) or not shared.holds(checked.buffer),
            sparse=any(isinstance(grad, GivenRows) for grad in checked.grads),
        )
        return checked, Anywhere(*self._agreement.check(error, checked.settings, *own))

    def _checked(self, given: Given) -> Checked:
        grads, buffer = self._whole.checked(given.grads)
        mask, masks = given.mask, None
        if mask is not None:
            masks = self._layout.pieces_of(self._whole.masks(mask))
        found = self._whole.found | flag_of(given.found_inf)
        settings = step_settings(self._optimizer._engine, given.lr, mask, given.grad_scale)
        return Checked(grads, buffer, masks, found, settings | self._whole.settings())

    def _collect(
        self, begun: BegunStep, checked: Checked, anywhere: Anywhere
    ) -> tuple[Kinds, float | None]:
        """Collect the means of gradients; returns their kinds, and what they are to be divided by.

        Nothing is collected for a step that is skipped.
        """
        whole, exchange = self._whole, self._exchange
        arrays, buffer, dtypes = checked.grads, checked.buffer, whole.dtypes
        grad_scale = begun.given.grad_scale
        if whole.batches and not anywhere.found:
            if not begun.added:
                whole.add(grad_scale, put(begun, added=True))
            arrays, buffer, dtypes = whole.sums, None, self._layout.computes
            steps = self._options.accumulate_steps
            grad_scale = float(steps) if steps > 1 else None
        kinds = exchange.kinds(arrays, anywhere.lacks, anywhere.sparse)
        if not (anywhere.found or anywhere.apart):
            exchange.collect_shared()
        elif not anywhere.found:
            exchange.collect(arrays, dtypes, buffer, kinds)
        return kinds, grad_scale

    def _distribute(self, begun: BegunStep, kinds: Kinds, own: Sequence[Any]) -> None:
        """Complete the parameters after the pieces of this process were updated."""
        if begun.updated:
            plan = self._optimizer._engine.plan
            self._exchange.gather_params(kinds, plan.gradients.rows if plan else own)
        else:
            self._exchange.wait()
