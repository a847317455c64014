"""A step of a sharded optimizer: agree, add gradients, update the own pieces, distribute them."""

from typing import Any, NamedTuple

from ..engine.committed_step import step_with
from ..engine.options import Options
from ..engine.scales import flag_of
from ..engine.step_info import StepInfo, new_info
from ..kernels.commit import commit
from ..optimizer import Optimizer
from ..processes.agreement import Agreement
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


NOTHING = Checked([], None, None, False, {})  # of a process that raises an error


class ShardedStep:
    """The steps of a sharded optimizer.

    Args:
        agreement: between the processes.
        optimizer: that of the pieces in this process.
        layout: how the parameters are divided.
        whole: the parameters of this process, and the sums of its micro-batches.
        exchange: of gradients and parameters.
        shared: the gradients of processes that share the parameters, or None.
        options: those of the whole optimizer.
    """

    def __init__(
        self,
        agreement: Agreement,
        optimizer: Optimizer,
        layout: ShardLayout,
        whole: WholeParameters,
        exchange: Exchange,
        shared: SharedGradients | None,
        options: Options,
    ) -> None:
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
        checked, anywhere = self._agreed(given)
        kinds, scale = self._collect(checked, anywhere, given.grad_scale)
        own, restarted = self._exchange.of_pieces(kinds), self._whole.restarted(checked.grads)
        how = given.lr, checked.masks, scale, anywhere.found
        info = step_with(restarted, self._optimizer._engine, own, *how)
        if not info.updated:
            commit(restarted)
        self._distribute(info, kinds)
        return info

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
        self, checked: Checked, anywhere: Anywhere, grad_scale: Any
    ) -> tuple[Kinds, float | None]:
        """Collect the means of gradients; returns their kinds, and what they are to be divided by.

        Nothing is collected for a step that is skipped.
        """
        whole, exchange = self._whole, self._exchange
        arrays, buffer, dtypes = checked.grads, checked.buffer, whole.dtypes
        if whole.batches and not anywhere.found:
            whole.completed = True
            whole.add(grad_scale)
            arrays, buffer, dtypes = whole.sums, None, self._layout.computes
            steps = self._options.accumulate_steps
            grad_scale = float(steps) if steps > 1 else None
        kinds = exchange.kinds(arrays, anywhere.lacks, anywhere.sparse)
        if not (anywhere.found or anywhere.apart):
            exchange.collect_shared()
        elif not anywhere.found:
            exchange.collect(arrays, dtypes, buffer, kinds)
        return kinds, grad_scale

    def _distribute(self, info: StepInfo, kinds: Kinds) -> None:
        """Complete the parameters after the pieces of this process were updated."""
        if info.updated:
            plan = self._optimizer._engine.plan
            self._exchange.gather_params(kinds, plan.gradients.rows if plan else ())
        else:
            self._exchange.wait()
