"""The base class of PyTorch optimizers whose step is one compiled pass over all parameters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain, repeat
from operator import attrgetter, is_not, itemgetter
from threading import RLock
from typing import Any, ClassVar

import torch

from ..checkpoint.contents import Contents, Source
from ..engine.assignment import check_assigned
from ..engine.averages import Exchange
from ..engine.budget import Budget
from ..engine.gradients import OtherDtypesError
from ..engine.options import OWN
from ..engine.param_groups import note_peak
from ..engine.scales import reach_of
from ..engine.step_info import StepInfo
from ..kernels import forks
from ..kernels.commit import Operation, commit, updated
from ..kernels.cpu.threads import get_threads
from ..memory.arrays import is_device
from ..optimizer import Optimizer as CoreOptimizer
from ..rules.algorithm import Algorithm, Values
from .arguments import separated, set_up_class
from .averages import Averages, copies_of, swapped
from .budget import budget
from .checkpoint import unwrap_tensors, wrap_tensors
from .contents import contents_of_tensors, restore_tensors
from .devices import number, scope_of
from .direct_step import taken
from .hyperparameters import (
    CheckedGroup,
    Hyperparameters,
    check_flags,
    lr_of,
    plain,
)
from .masks import masks_of
from .matrices import check_matrices
from .packages import to_package
from .shards import is_sharded
from .sparse import ONLY, with_whole_steps
from .state import without_leftovers
from .state_formats import by_param, floats_of, for_any_shards, master
from .step import TensorStep
from .step_hooks import evaluated, with_hooks
from .step_needs import StepArguments, StepNeeds

GRAD, PARAMS, NONE = attrgetter("grad"), itemgetter("params"), repeat(None)


class Optimizer(torch.optim.Optimizer):
    """Base class of the optimizers for PyTorch; `core` is the corresponding class of fastadam.

    A drop-in replacement for the class of the same name in `torch.optim`. It supports parameter
    groups, hooks, closures, schedulers, `torch.amp.GradScaler`, loading and saving `state_dict`s
    of `torch.optim`, `DistributedDataParallel`, `ZeroRedundancyOptimizer` and `fully_shard`.
    Parameters are updated in place, and not copied.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        fused: the step is always fused; with True, `torch.amp.GradScaler` leaves unscaling to it.
        foreach, differentiable: accepted or rejected as by PyTorch's fused optimizers.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        **keywords: the other hyperparameters, and these options of
            `fa.Optimizer`: threads, cores, clip_norm, clip_norm_per,
            clip_value, skip_nonfinite, ema_decay, ema_warmup, shadow_dtype, zero_grads,
            mask_state, state_dtype, min_quantized_size, rounding, compensation, seed. `ema`,
            `shadow`, `compensation`, codes and scales are tensors in `state`. `state_dtype`,
            `min_quantized_size`, `rounding`, `compensation` and `clip_norm_per` can be set per
            group. `threads` is limited by `torch.get_num_threads()`.

    Attributes:
        core: the class of fastadam with the rule and the hyperparameters; set by a subclass.
        info: the `fa.StepInfo` of the last step, None before the first.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.

    Examples:
        >>> import torch, fastadam.torch
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = fastadam.torch.AdamW(model.parameters(), lr=1e-2, clip_norm=1.0)
        >>> model(torch.ones(2, 3)).sum().backward()
        >>> opt.step()
        >>> opt.info.step, round(opt.info.grad_norm, 3)
        (1, 4.0)
    """

    core: ClassVar[type[CoreOptimizer]]
    info: StepInfo | None
    _positional: ClassVar[list[str]]
    _known: ClassVar[Values]  # keys that a param_group may have
    _kept: ClassVar[Values]  # keys of every param_group: PyTorch's, so that checkpoints load
    _fixed: ClassVar[Values]  # values that a saved group cannot change
    _tensor_step: TensorStep | None = None
    _hyperparameters: Hyperparameters
    _handed_out = False  # True if the user has accessed `state` and may have written to it
    _averages: Averages  # shared with wrappers that copy __dict__ and class of an optimizer
    _loaded: Sequence[Operation] = ()  # what `load_state_dict` writes to parameters
    _lock: AbstractContextManager[Any]  # one thread at a time; a hook may call back

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        set_up_class(cls, Optimizer)

    def __init__(self, params: Any, *args: Any, **keywords: Any) -> None:
        if not hasattr(self, "core"):
            raise TypeError("fastadam.torch.Optimizer has no rule; use a subclass, such as AdamW")
        keywords, self._options = separated(type(self), args, keywords)
        self._set_up_core()
        self.info, self._averages = None, Averages()
        self._check({**self._kept, **keywords}, "")  # before parameters are read
        self._make_plain(keywords)
        # As in PyTorch. Lightning does not clip gradients for optimizers with this attribute.
        self._step_supports_amp_scaling = bool(keywords.get("fused"))
        super().__init__(params, {**self._kept, **keywords})

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            check_assigned(self, name, getattr(self, "_known", ()), {})
        super().__setattr__(name, value)

    def _set_up_core(self) -> None:
        """Create the fastadam optimizer without arrays, for its rule and constants."""
        if "_lock" not in vars(self):
            self._lock = RLock()
            forks.guard(self)
        self._core = self.core.without_arrays()
        self._hyperparameters = Hyperparameters(self._core, self._options)

    def add_param_group(self, param_group: Values) -> None:
        """Add a group, as in PyTorch, after checking its hyperparameters.

        Raises:
            TypeError, ValueError: as the constructor.
            RuntimeError: inside `swap_ema()`, and for incompatible flags.
        """
        where = f"param_groups[{len(self.param_groups)}]"
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"{where} must be a dict with 'params', got {param_group!r}")
        full = {**self.defaults, **param_group}
        self._check(full, f"{where}: ")
        with self._lock:
            self._check_not_swapped()
            added = dict(param_group)
            if full.get("peak_lr") is not None:
                added["peak_lr"] = full["peak_lr"]
            self._make_plain(added)
            super().add_param_group(added)
            try:
                check_matrices(self.core.rule, type(self).__name__, added["params"])
            except ValueError:
                self.param_groups.pop()
                raise
            param_group.update(added)  # as in PyTorch, the group is the dict of the caller
            self.param_groups[-1] = param_group

    def _make_plain(self, group: Values) -> None:
        """Replace sequences by tuples of numbers, and dtypes by their names, so that they can be
        saved."""
        own = self._options.within(group, "")
        group.update({name: getattr(own, name) for name in OWN if name in group})
        for name, default in self._core.defaults.items():
            if isinstance(default, tuple) and name in group:
                group[name] = plain(name, group[name], default)

    def _check(self, group: Values, where: str) -> None:
        """Check the flags, hyperparameters and options of a group, and note its `peak_lr`."""
        note_peak(group)
        check_flags(group, type(self).__name__)
        self._hyperparameters.check(group, where)

    @staticmethod
    def _transform(author: Algorithm, group: Values, matrix: Any) -> None:
        """Transform the matrix of a parameter in place."""
        author.transform(group, matrix)

    @with_hooks
    def step(self, closure: Callable[[], Any] | None = None, *, mask: Any = None) -> Any:
        """Update every parameter that has a gradient, in place.

        Args:
            closure: a function that evaluates the model again and returns the loss, which `step`
                then returns.
            mask: tensors of bool of the shapes of the parameters: a list of one or None for each
                parameter, in their order; a dict from parameters to masks; or the mask of the only
                parameter. The state sees the whole gradient, but only the elements marked True
                change; `mask_state=True` leaves the state of the others alone, too. Parameters
                without a mask are updated as a whole. Default None: no masks.

        Raises:
            RuntimeError, TypeError, ValueError: before any element changes; see the class.
        """
        loss = evaluated(closure) if closure else None
        with self._lock:
            if self._averages.swapped:
                self._check_not_swapped()
            self._stepped(mask)
        return loss

    def _stepped(self, mask: Any) -> None:
        groups, params = self._hyperparameters.now(self.param_groups), self._params()
        grads, threads, last = list(map(GRAD, params)), self._threads(), self._tensor_step
        grad_scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        plain = mask is None and grad_scale is None and found_inf is None
        if plain and last and last.plain and taken(last, self, groups, params, grads, threads):
            return
        masks = None if mask is None else masks_of(mask, params, self._names())
        if not any(map(is_not, grads, NONE)):
            count = self.info.step if self.info else 0
            self.info = StepInfo(count, lr_of(groups), updated=False)
            return
        scaled, conditional = 0, self._options.skip_nonfinite
        if grad_scale is not None or found_inf is not None:
            grad_scale, found_inf = number(grad_scale), number(found_inf)
            conditional |= is_device(grad_scale) or is_device(found_inf)
            scaled = reach_of(grad_scale)
            if found_inf is not None and not is_device(found_inf):
                found_inf = bool(found_inf)
        given = StepArguments(grads, lr_of(groups), grad_scale, found_inf, masks)
        needs = StepNeeds(scaled, threads, conditional, masks is not None)
        if last is not None and last.is_valid(self, groups, params, needs):
            try:
                return last.step(self, given)
            except OtherDtypesError:
                pass
        with without_leftovers(self._entries), torch.no_grad():
            step = TensorStep(self, groups, params, grads, last, needs)
            step.step(self, given)

    def _checked_groups(self) -> list[CheckedGroup]:
        """The current groups, checked."""
        return self._hyperparameters.now(self.param_groups)

    def _threads(self) -> int:
        limit: int = torch.get_num_threads()
        return min(self._options.threads or get_threads(), limit)

    def _sizes(self) -> list[int]:
        """The number of parameters of each group."""
        return list(map(len, map(PARAMS, self.param_groups)))

    def _names(self) -> list[str]:
        """The names of the parameters in messages."""
        return [
            name
            for k, group in enumerate(self.param_groups)
            for name in group.get("param_names")
            or [f"param_groups[{k}]['params'][{i}]" for i in range(len(group["params"]))]
        ]

    # State and checkpoints

    @property
    def state(self) -> Any:
        """The state of each parameter, as in PyTorch.

        After the first access, every step checks whether tensors in it were replaced.
        """
        if "state" not in vars(self):
            raise AttributeError("state")  # a wrapper of the same class then asks its own optimizer
        self._handed_out = True
        return self._entries

    @state.setter
    def state(self, state: Any) -> None:
        self.__dict__["state"] = state

    @property
    def _entries(self) -> Any:
        return self.__dict__["state"]

    def state_dict(self) -> Values:
        """The state to resume from; see `torch.optim.Optimizer.state_dict`.

        It loads with any number of shards of DTensors.

        Raises:
            RuntimeError: inside `swap_ema()`.
        """
        with self._lock:
            self._check_not_swapped()
            saved: Values = super().state_dict()
            if any(map(is_sharded, self._params())):
                state = by_param(self, saved, for_any_shards)
                saved = {**saved, "state": state}
        return with_whole_steps(saved) if self.core.__name__ == ONLY else saved

    def load_state_dict(self, state_dict: Values) -> None:
        """Resume from a saved state of this class, or of the same class of fastadam or PyTorch.

        Tensors are copied, so that several optimizers may load the same dict. They keep their
        dtypes until the next step converts them to the formats of the optimizer.

        Raises:
            TypeError, ValueError: if it is not a state_dict, has other groups, or codes as floats.
            RuntimeError: inside `swap_ema()`.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"state_dict={state_dict!r} must be a dict, as returned by state_dict()"
            )
        with self._lock:
            self._check_not_swapped()
            if self._tensor_step:
                self._tensor_step.check_replaceable("load_state_dict()")
            hook = self.register_load_state_dict_pre_hook(wrap_tensors)
            try:
                super().load_state_dict(state_dict)
            finally:
                hook.remove()

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """A context in which no step is taken, and whose work is in PyTorch's current stream."""
        with self._lock:
            self._check_not_swapped()
            with self._scope():
                yield

    @contextmanager
    def _contents(self, about: Values, model: Any = None) -> Iterator[Contents]:
        """The contents of a checkpoint, and of a model, which share memory."""
        with self._saving():
            yield contents_of_tensors(self, about, model)

    def _restore(self, source: Source, model: Any = None) -> None:
        """Load the contents of a checkpoint into this and a model, all or nothing."""
        with self._saving():
            restore_tensors(self, source, model)

    def __repr__(self) -> str:
        shown = super().__repr__()
        options = "".join(f"    {name}: {value}\n" for name, value in self._options.chosen.items())
        return f"{shown[:-1]}Options\n{options})" if options else shown

    def __getstate__(self) -> Values:
        self._check_not_swapped()
        own = super().__getstate__()
        kept = ("_options", "_step_supports_amp_scaling", "_handed_out")
        return {**own, **{name: getattr(self, name) for name in kept}}

    def __setstate__(self, state: Values) -> None:
        unwrap_tensors(state["state"])
        defaults = {**self._kept, **(state.get("defaults") or self.defaults)}
        self._complete_groups(state["param_groups"], defaults)
        fresh = {} if "info" in self.__dict__ else {"info": None, "_averages": Averages()}
        now = {"_tensor_step": None, "_handed_out": False, "defaults": defaults}
        after = {**fresh, **now, **state, "defaults": defaults}
        commit([*self._loaded, updated(self.__dict__, after)])
        super().__setstate__(after)
        if "_core" not in self.__dict__:
            self._set_up_core()

    def _complete_groups(self, groups: Sequence[Values], defaults: Values) -> None:
        """Add what loaded groups lack, and what they cannot change."""
        for group in groups:
            for name in self._known:
                if name in defaults:
                    group.setdefault(name, defaults[name])
            group.update(self._fixed)

    # Averages, copies and master weights

    @property
    def ema(self) -> list[Any]:
        """The averages of `ema_decay`, one per parameter, in order.

        A parameter without steps is returned itself.

        Raises:
            AttributeError: without `ema_decay`.
        """
        return copies_of(self, "ema", "ema_decay=0.999")

    @property
    def shadow(self) -> list[Any]:
        """The copies of `shadow_dtype`, one per parameter, in order.

        Raises:
            AttributeError: without `shadow_dtype`.
        """
        return copies_of(self, "shadow", "shadow_dtype='bfloat16'")

    def master(self) -> list[Any]:
        """The master weights: parameters in float32 (float64 unchanged), one tensor each, in order.

        With `compensation` they include the low bits of the bfloat16 parameters.

        Raises:
            RuntimeError: inside `swap_ema()`.
        """
        self._check_not_swapped()
        state, params = self.state, self._params()
        groups = zip(self._checked_groups(), self._sizes(), strict=True)
        each = [group.options for group, size in groups for _ in range(size)]
        with self._lock, self._scope():
            return [
                master(param, name, state.get(param, {}), options)
                for param, name, options in zip(params, self._names(), each, strict=True)
            ]

    def dequantized_state(self) -> Values:
        """A state_dict with all state in the dtype of the arithmetic.

        It can be inspected, or loaded by the optimizer of that name in PyTorch, or in the package
        of its authors. It does not contain the low bits of `compensation`.

        Raises:
            RuntimeError: inside `swap_ema()`.
            ValueError: for codes that do not match their parameters.
        """
        saved = self.state_dict()
        names = {name for group in self._checked_groups() for name in group.rule.all_state}
        floats = {**saved, "state": by_param(self, saved, partial(floats_of, names=names))}
        return to_package(self.core.__name__, floats)

    def memory(self) -> Budget:
        """The bytes of parameters, gradients, state and extras in this process, as
        `fastadam.Optimizer.memory` counts them.

        Missing gradients are assumed to have the dtypes of their parameters.
        """
        groups = self._hyperparameters.now(self.param_groups)
        pairs = zip(groups, self._sizes(), strict=True)
        each = [group for group, size in pairs for _ in range(size)]
        return budget(self._params(), each, self._options)

    def _scope(self) -> AbstractContextManager[Any]:
        """The context for work on tensors of the state."""
        return scope_of(self._params()[0])()

    def _params(self) -> list[Any]:
        if len(self.param_groups) == 1:  # the same in half the time
            return list(self.param_groups[0]["params"])
        return list(chain.from_iterable(map(PARAMS, self.param_groups)))

    def swap_ema(self) -> AbstractContextManager[None]:
        """Exchange parameters and averages inside a `with` block, for evaluation.

        The shadow is updated too. Inside the block, steps, new groups, saving, loading and copying
        raise errors.

        Raises:
            AttributeError: without `ema_decay`.
            RuntimeError: inside another such block.
        """
        return swapped(self, self._averages)

    def _put_back(self, exchange: Exchange | None) -> None:
        if exchange:
            with self._lock, self._scope():
                exchange.undo()
            self._written()

    def _written(self) -> None:
        """Increment autograd's version counters of the parameters."""
        torch.autograd.graph.increment_version(self._params())

    def _check_not_swapped(self) -> None:
        if self._averages.swapped:
            raise RuntimeError(
                f"parameters and averages are exchanged; {self._averages.swapped.way_out} first"
            )
