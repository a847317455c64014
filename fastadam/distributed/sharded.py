"""Sharded optimizer: every process has all parameters, and the state of its own part (ZeRO-1)."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from threading import RLock
from typing import Any

from ..checkpoint.contents import Contents, Source
from ..checkpoint.write import Progress
from ..engine.assignment import PROPERTIES, check_assigned
from ..engine.edits import ParamGroup
from ..engine.flat import Flat
from ..engine.options import NAMES, Options
from ..engine.state_view import StateView
from ..engine.step_info import StepInfo
from ..memory.dtypes import named
from ..memory.tree import Tree
from ..optimizer import Optimizer
from ..processes.agreement import Agreement
from ..processes.communicator import communicator_of
from ..processes.resumable import ResumableCommunicator
from ..validation import choice, count, dtype_name, flag
from .arguments import (
    check_class,
    described,
    gathered_parameters,
    needs_whole_rows,
)
from .budget import ShardedBudget, sharded_budget
from .exchange import Exchange
from .layout import ShardLayout
from .saved_state import LOCAL, SavedState
from .shared_memory import SharedGradients, shared_by
from .step import Given, ShardedStep
from .whole import WholeParameters

MIB = 1 << 20


class Sharded:
    """An optimizer whose state is divided over processes (ZeRO-1).

    Every process has all parameters and computes gradients of its own. A step adds the gradients of
    all processes, and each process updates the part of the parameters whose state it keeps, then
    receives the other parts:

        g = (g_0 + g_1 + ... + g_{W-1}) / W

    All processes hold the same bits after each step. With gradients whose mean is exact these are
    the bits of `optimizer_class` in one process, for any number of processes and any
    `bucket_bytes`. Every call below, unless it says otherwise, is collective: all processes make it
    in the same order.

    If an exception, such as that of a signal, interrupts a step in one of several processes, the
    next call there completes it, since the others wait for it; gradients must stay until then.

    Args:
        optimizer_class: the class of the optimizer, such as `fastadam.AdamW`.
        params: as for the optimizer; the same shapes and values in all processes. Arrays lie on
            the host.
        comm: a communicator of mpi4py, a process group of torch.distributed with the backend gloo,
            or an object like `fastadam.distributed.Communicator`.
        bucket_bytes: the bytes of parameters that are exchanged at a time; default 4 MiB.
        comm_dtype: "bfloat16" or "float16" sends gradients in that dtype, half of the bytes of
            float32; default None: in their own. They are added in the dtype of the arithmetic.
        whole_rows: True divides every parameter between its rows only, as gradients `fastadam.Rows`
            need, even if the shares of processes become unequal; default False: those for which
            shares are about equal, such as tables of thousands of rows, and all with `lazy="rows"`,
            `lazy="exact"`, `SparseAdam` and `RowwiseAdagrad`.
        hyper: hyperparameters and options of the optimizer, the same in all processes.

    Attributes:
        optimizer: the optimizer of the pieces in this process.

    Raises:
        TypeError, ValueError: as the optimizer raises; also if processes differ in layout, options
            or versions.
        OtherProcessError: if another process raised an error.

    Note:
        With `accumulate_steps` only the last micro-batch communicates, so `skip_nonfinite`
        and `found_inf` decide on all micro-batches of an update together; in one process, on each.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> from fastadam.distributed import Sharded
        >>> class Alone:  # one process; mpi4py.MPI.COMM_WORLD for several
        ...     rank, size = 0, 1
        ...     def exchange(self, send, receive):
        ...         return lambda: None
        >>> flat = fa.flatten({"w": np.ones(3)})
        >>> opt = Sharded(fa.SGD, flat, Alone(), lr=0.5)
        >>> opt.step({"w": np.ones(3)})
        StepInfo(step=1, lr=0.5, grad_norm=None, skipped=False, updated=True)
        >>> flat["w"]
        array([0.5, 0.5, 0.5])

    References:
        Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter
        Models", section 5.1 (optimizer state partitioning).
    """

    optimizer: Optimizer
    _gradients: SharedGradients | None = None

    def __init__(
        self,
        optimizer_class: type[Optimizer],
        params: Any,
        comm: Any,
        *,
        bucket_bytes: int = 4 * MIB,
        comm_dtype: Any = None,
        whole_rows: bool = False,
        **hyper: Any,
    ) -> None:
        self._comm = ResumableCommunicator(communicator_of(comm))
        self._agreement = Agreement(self._comm)
        self._lock, self._local = RLock(), False
        with self._agreement.together() as settings:
            own = bucket_bytes, comm_dtype, whole_rows
            settings |= self._set_up(optimizer_class, params, *own, hyper)
        arrays, layout = self._layout.parameters.arrays, self._layout
        if shared_by(arrays):
            self._gradients = SharedGradients(self._comm, layout.line.starts[-1], arrays[0].dtype)
            self._whole.put_grads_into(self._gradients.own)
        with self._agreement.together():
            if self._gradients:
                self._gradients.check(arrays[0])
            self._exchange = Exchange(self._comm, layout, self._wire, self._gradients)
            self._saved = SavedState(
                self._comm, self.optimizer, layout, self._exchange, self._whole, self._options
            )
        over = layout, self._whole, self._exchange, self._gradients
        self._step = ShardedStep(self._comm, self._agreement, self.optimizer, *over, self._options)

    def _set_up(
        self,
        cls: Any,
        params: Any,
        bucket_bytes: Any,
        comm_dtype: Any,
        whole_rows: Any,
        hyper: dict[str, Any],
    ) -> dict[str, Any]:
        """Make everything that needs no communication; returns settings to compare."""
        check_class(cls)
        bucket_bytes = count("bucket_bytes", bucket_bytes, 1, "4 << 20 is usual")
        narrow = choice("comm_dtype", dtype_name(comm_dtype), (None, "bfloat16", "float16"))
        self._options = Options(**{n: v for n, v in hyper.items() if n in NAMES})
        parameters, groups = gathered_parameters(params, cls.defaults)
        whole_rows = flag("whole_rows", whole_rows) or needs_whole_rows(cls, hyper, groups)
        layout = ShardLayout(self._comm, parameters, groups, bucket_bytes, whole_rows)
        self._layout = layout
        inner = {name: value for name, value in hyper.items() if name not in LOCAL}
        self.optimizer = cls.of_pieces(layout.inner_groups(), inner, layout.partition)
        self._whole = WholeParameters(parameters, self._options, layout.divisions)
        self._wire = None if narrow is None else named(narrow)
        shared = {"whether params are in shared memory": shared_by(parameters.arrays)}
        return shared | described(cls, parameters, groups, hyper, bucket_bytes, narrow, whole_rows)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and "optimizer" in vars(self):
            check_assigned(self, name, self.optimizer.defaults, PROPERTIES)
        object.__setattr__(self, name, value)

    # Members of every optimizer

    @property
    def param_groups(self) -> list[ParamGroup]:
        """A dict per group; the next step uses edited values, which must be equal in all processes.

        Its "params" are the pieces in this process. Not collective.
        """
        return self.optimizer.param_groups

    @property
    def params(self) -> Tree:
        """The arrays, in the structure in which they were given. Not collective.

        A step that an exception interrupted is completed first.
        """
        with self._lock:
            self._step.complete()
            return self._layout.parameters.public()

    @property
    def grads(self) -> Flat:
        """Gradients of this process: a Flat like the parameters, zero at first. Not collective.

        Raises:
            TypeError: if the parameters have several dtypes.
        """
        return self._whole.own_grads()

    @property
    def state(self) -> StateView:
        """The state of the pieces in this process. Not collective."""
        return self.optimizer.state

    @property
    def steps(self) -> int:
        """The number of steps that were counted. Not collective.

        A step that an exception interrupted is completed first.
        """
        with self._lock:
            self._step.complete()
            return self.optimizer.steps

    @property
    def info(self) -> StepInfo | None:
        """The result of the last step that communicated; None before the first. Not collective."""
        return self.optimizer.info

    def zero_grad(self) -> None:
        """Set `grads` to zero. Not collective."""
        self._whole.clear_own_grads()

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Add up gradients in this process, without updates, inside a `with` block.

        The next step outside adds its own, and communicates the sum, as in PyTorch's
        DistributedDataParallel; it is not divided by the number of steps. Not collective, but all
        processes must make as many steps in it.

        Raises:
            ValueError: with `accumulate_steps`, which does the same by itself.
        """
        if self._options.accumulates:
            raise ValueError(
                f"no_sync() with accumulate_steps={self._options.accumulate_steps}: leave one out; "
                "accumulate_steps communicates only on the last micro-batch by itself"
            )
        before, self._local = self._local, True
        try:
            yield
        finally:
            self._local = before

    # A step

    def step(
        self,
        grads: Any = None,
        *,
        lr: float | None = None,
        mask: Any = None,
        grad_scale: float | None = None,
        found_inf: Any = False,
    ) -> StepInfo:
        """Update every parameter that has a gradient in any process.

        Args:
            grads: the gradients of this process, as for the optimizer. None counts as zero where
                another process has a gradient. Rows are sent to their owners, and the step is that
                of one process with the rows of all, their values divided by the number of
                processes; only rows that were updated are sent back.
            lr: a learning rate for this step only, the same in all processes.
            mask: as for the optimizer, the same in all processes.
            grad_scale: the factor of the loss, the same in all processes.
            found_inf: True in any process skips the step in all.

        Returns:
            The same as that of the optimizer; the norm is that of the mean of the gradients.

        Raises:
            TypeError, ValueError: before any element changes.
            OtherProcessError: if another process raised an error; nothing is changed then.
        """
        given = Given(grads, lr, mask, grad_scale, found_inf)
        with self._lock:
            self._step.complete()
            if self._local or self._whole.batches + 1 < self._options.accumulate_steps:
                return self._step.add(given)
            return self._step.update(given)

    # Averages and copies

    def gather_ema(self) -> Flat:
        """The average of all parameters, gathered from all processes: a new Flat.

        Raises:
            AttributeError: without `ema_decay`.
        """
        with self._lock:
            self._step.complete()
            return self._exchange.gathered(self.optimizer.ema)

    def gather_shadow(self) -> Flat:
        """The copy in low precision of all parameters, gathered from all processes: a new Flat.

        Raises:
            AttributeError: without `shadow_dtype`.
        """
        with self._lock:
            self._step.complete()
            return self._exchange.gathered(self.optimizer.shadow)

    @contextmanager
    def swap_ema(self) -> Iterator[None]:
        """Exchange parameters and averages inside a `with` block, for evaluation.

        Raises:
            AttributeError: without `ema_decay`.
            RuntimeError: inside another such block.
        """
        with self._lock:
            self._step.complete()
            self._exchange.wait()
        with ExitStack() as after, self.optimizer.swap_ema():
            after.callback(self._exchange.gather_params)
            self._exchange.gather_params()
            try:
                yield
            finally:
                self._exchange.wait()

    # Checkpoints and memory

    def memory(self) -> ShardedBudget:
        """The bytes in this process, and those without sharding. Not collective."""
        layout, dtypes, size = self._layout, self._whole.dtypes, self._comm.size
        return sharded_budget(self.optimizer, layout, dtypes, self._options, size)

    def state_dict(self) -> dict[str, Any]:
        """The state of the whole parameters, as that of the optimizer in one process.

        It is the same in all processes, which need memory for all of it, and loads into any number
        of processes, into the optimizer itself, and into PyTorch's. Gradients of a window that is
        not complete are saved as their mean over the processes.
        """
        with self._lock:
            self._step.complete()
            return self._saved.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a state of the whole parameters, saved by any number of processes.

        Args:
            state_dict: that of this class, of the optimizer or of PyTorch's; the same in all
                processes.

        Raises:
            TypeError, ValueError: if groups, names or shapes do not match; nothing is changed then.
            OtherProcessError: if it does not match in another process; nothing is changed then.
        """
        with self._lock:
            self._step.complete()
            self._saved.load_state_dict(state_dict)

    # Files

    def _together(self) -> AbstractContextManager[Any]:
        """A block without messages, an exception in which is raised in all processes."""
        with self._lock:
            self._step.complete()
        return self._agreement.together()

    def _write(self, path: str, about: dict[str, Any], progress: Progress | None) -> None:
        """Write the part of this process to one file."""
        with self._lock:
            self._step.complete()
            self._saved.write(path, about, progress)

    @contextmanager
    def _contents(self, about: dict[str, Any]) -> Iterator[Contents]:
        """The contents of a checkpoint, in memory in each process."""
        with self._lock:
            self._step.complete()
            yield self._saved.contents(self._saved.state_dict(), about)

    def _restore(self, source: Source) -> None:
        """Load the contents of a checkpoint into all processes, or into none."""
        with self._lock:
            self._step.complete()
            self._saved.restore(source)

    def __repr__(self) -> str:
        where = f"process {self._comm.rank} of {self._comm.size}"
        return f"Sharded({where}, {len(self._layout.buckets)} buckets, {self.optimizer!r})"
