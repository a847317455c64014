"""Training on a device with the optimizer, its state and the weights it updates on the host."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn
from weakref import ref

import torch

from ...engine.assignment import check_assigned
from ...engine.budget import Budget
from ...engine.step_info import StepInfo
from ...kernels.commit import Operation, commit, put, updated
from ...rules.algorithm import Values
from ...validation import count, flag
from ..checkpoint import with_own_options
from ..optimizer import Optimizer
from ..sparse import ONLY
from ..step_hooks import evaluated, with_hooks
from .host import HostSide
from .parameters import HostParameter
from .state import for_any_number_of_shards, loading, saved
from .steps import OffloadedSteps

MIB = 1 << 20
ELSEWHERE = {
    "shadow_dtype": "the copy in low precision is the parameter itself",
    "zero_grads": "call zero_grad()",
    "mask_state": "steps have no masks here",
    "state_file": "state in files is for fastadam's own optimizers",
}  # options that make no sense here, and the reason
OF_CONSTRUCTOR = dict.fromkeys(
    ("overlap", "offload_gradients", "bucket_bytes", "pin_memory"),
    "it is an argument of the constructor; make a new optimizer, and load this one's state_dict",
)


class CPUOffload(torch.optim.Optimizer):
    """An optimizer whose state, weights and step are on the host, for parameters on a device.

    Gradients are copied to page-locked memory of the host while backward runs, in a stream of their
    own. The host updates its weights bucket by bucket; those of a bucket go to the device while it
    updates the next one. Weights are float32 for parameters of float32, bfloat16 and float16: the
    parameters are these weights, rounded to nearest even. Results are those of `optimizer_class` on
    these weights, bit for bit.

    If an exception interrupts a step between two buckets, the next call of the optimizer completes
    it; `load_state_dict` cancels it.

    It is an optimizer of PyTorch, with parameter groups, hooks, closures, schedulers,
    `torch.amp.GradScaler`, and `state_dict`s that load into `optimizer_class` and into the class of
    that name in `torch.optim`. State of 16-bit parameters has one more entry, `master`: the float32
    weights.

    Args:
        params: as for any optimizer of PyTorch, on one device. Those that need no gradient are left
            out. DTensors are updated shard by shard.
        optimizer_class: a class of `fastadam.torch`, such as `fastadam.torch.AdamW`.
        overlap: True updates a bucket during backward, as soon as its gradients are on the host.
            Parameters then change before `step()` is called: call backward once per step, do not
            change gradients in between, and use no GradScaler. The first step, and all steps that
            need all gradients (`clip_norm`, `skip_nonfinite`, `Prodigy`), are taken in `step()`.
            Default False: in `step()`.
        offload_gradients: True frees each gradient on the device once it is copied; if several come
            before a step, they are added up on the host. Functions that read `.grad`, such as
            `torch.nn.utils.clip_grad_norm_`, then find None: give `clip_norm` instead. To discard
            gradients call `zero_grad()` of the optimizer; that of the model does not see them.
            Default False: they stay in `.grad`.
        bucket_bytes: how many bytes of parameters one launch updates, at least; default 64 MiB.
        pin_memory: False takes ordinary memory of the host, and copies wait for each other; default
            None: page-locked memory, if parameters are on a GPU.
        kwargs: arguments of `optimizer_class`. With `compensation` or `rounding="stochastic"` the
            weights are bfloat16, and the low bits of `compensation`, instead of float32.

    Attributes:
        info: the `fa.StepInfo` of the last step, None before the first.

    Raises:
        TypeError, ValueError: as `optimizer_class`; also if it is not a class of fastadam.torch.
        RuntimeError: for unsupported tensors.

    Examples:
        >>> import torch
        >>> from fastadam.torch import AdamW
        >>> from fastadam.torch.offload import CPUOffload
        >>> model = torch.nn.Linear(3, 1).bfloat16()
        >>> opt = CPUOffload(model.parameters(), AdamW, lr=1e-2, clip_norm=1.0)
        >>> model(torch.ones(2, 3, dtype=torch.bfloat16)).sum().backward()
        >>> opt.step()
        >>> opt.info.step, opt.info.grad_norm
        (1, 4.0)

    References:
        Ren et al. 2021, "ZeRO-Offload: Democratizing Billion-Scale Model Training", section 4.
    """

    info: StepInfo | None
    _host: HostSide | None
    _loading: Sequence[Operation] = ()  # what `load_state_dict` changes besides the groups

    def __init__(
        self,
        params: Any,
        optimizer_class: type[Optimizer],
        *,
        overlap: bool = False,
        offload_gradients: bool = False,
        bucket_bytes: int = 64 * MIB,
        pin_memory: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, Optimizer)):
            raise TypeError(
                f"optimizer_class={optimizer_class!r} is not a class of fastadam.torch; give one, "
                "such as fastadam.torch.AdamW"
            )
        if optimizer_class.core.rule.matrix:
            raise ValueError(
                f"optimizer_class={optimizer_class.__name__}: host memory is one-dimensional, and "
                "its rule is for matrices; give another optimizer, such as fastadam.torch.AdamW"
            )
        if optimizer_class.core.__name__ == ONLY:
            raise TypeError(
                f"optimizer_class={ONLY} takes sparse gradients; offloaded ones are dense: "
                "leave parameters with sparse gradients to an optimizer of their own"
            )
        for name in ELSEWHERE.keys() & kwargs.keys():
            raise ValueError(f"{name}={kwargs[name]!r}: {ELSEWHERE[name]}")
        overlap = flag("overlap", overlap)
        frees = flag("offload_gradients", offload_gradients)
        bucket_bytes = count("bucket_bytes", bucket_bytes, 1, "64 << 20 is the default")
        pinned = None if pin_memory is None else flag("pin_memory", pin_memory)
        # no attributes of the class: wrappers of a subclass, as Fabric's, then ask their optimizer
        self._host, self.info = None, None
        self._front = optimizer_class(params, **kwargs)
        self._step_supports_amp_scaling = True  # a scaler would change copied gradients unseen
        super().__init__(list(self._front.param_groups), self._front.defaults)
        self._front.param_groups = self.param_groups
        host = HostSide(self._front, bucket_bytes, pinned)
        self._steps = OffloadedSteps(ref(self), self._front, host, overlap, frees)
        host.add(0, self._listen)
        self._host = host

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and vars(self).get("_host"):
            check_assigned(self, name, self._front.defaults, OF_CONSTRUCTOR)
            if name == "param_groups":  # as DeepSpeed assigns them
                self._front.param_groups = value
        super().__setattr__(name, value)

    def add_param_group(self, param_group: Values) -> None:
        """Add a group, as in PyTorch.

        Raises:
            TypeError, ValueError, RuntimeError: as the constructor.
        """
        if self._host is None:  # in the constructor
            super().add_param_group(param_group)
            return
        self._steps.complete()
        self._steps.worker.join()  # its tasks take the lock
        with self._steps.lock:
            front, groups = self._front, self.param_groups
            front.param_groups = [*groups]  # it has the group before everything else has it
            try:
                front.add_param_group(param_group)
                others = [partial(groups.append, front.param_groups[-1])]
                self._host.add(len(groups), self._listen, others)
            finally:
                front.param_groups = groups

    def _listen(self, host: HostParameter) -> None:
        """Register a hook for the gradients of a parameter.

        The hook outlives the optimizer, and must not keep its memory.
        """
        host.param.register_post_accumulate_grad_hook(partial(_arrived, ref(self), ref(host)))

    # Gradients and steps

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear all gradients, those that are on the host too."""
        self._steps.complete()
        super().zero_grad(set_to_none)
        self._steps.forget()

    @with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: a function that evaluates the model again and returns the loss, which `step`
                then returns.

        Raises:
            RuntimeError, TypeError, ValueError: before any element changes; see the class.
        """
        loss = evaluated(closure)
        scale, found = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        self._steps.step(scale, found)
        return loss

    # State

    @property
    def state(self) -> Any:
        """The state of each parameter: tensors that share the memory of the host's.

        To replace a tensor of it, load a state_dict; assignments to its entries have no effect.
        """
        return defaultdict(dict, {} if self._host is None else saved(self._host))

    @state.setter
    def state(self, state: Any) -> None:
        pass  # PyTorch's constructor and load_state_dict, which has the state in its own place

    def state_dict(self) -> Values:
        """The state to resume from; see `torch.optim.Optimizer.state_dict`.

        Raises:
            RuntimeError: with `overlap=True`, between backward and `step()`.
        """
        assert self._host
        self._steps.complete()
        self._steps.worker.join()
        self._steps.check_not_early("state_dict()")
        with self._steps.lock:
            found: Values = super().state_dict()
            return {**found, "state": for_any_number_of_shards(self._host, found["state"])}

    def load_state_dict(self, state_dict: Values) -> None:
        """Resume from a saved state of this class, `optimizer_class` or that of `torch.optim`.

        The parameters become the saved `master` weights, rounded; without these they stay.
        Gradients that no step has used stay, too.

        Raises:
            TypeError, ValueError: if it does not match; nothing is changed then.
            RuntimeError: with `overlap=True`, between backward and `step()`.
        """
        host = self._host
        assert host
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict={state_dict!r} must be a dict, as from state_dict()")
        self._steps.worker.join()
        self._steps.check_not_early("load_state_dict()")
        with self._steps.lock, torch.no_grad():
            self._steps.check_alone()
            operations = loading(host, self._front, state_dict)
            self._loading = [*operations, *self._steps.cancelled()]
            groups = with_own_options(self.param_groups, state_dict["param_groups"])
            try:
                super().load_state_dict({**state_dict, "state": {}, "param_groups": groups})
            finally:
                self._loading = []
            for each in host.hosts:
                each.note()

    def __setstate__(self, state: Values) -> None:
        groups = {"param_groups": state["param_groups"]}
        self._front._complete_groups(state["param_groups"], self._front.defaults)
        replaced = [updated(self.__dict__, groups), *put(self._front, **groups)]
        commit([*self._loading, *replaced])
        super().__setstate__({})

    def master(self) -> list[Any]:
        """The weights in float32 (float64 unchanged): a new tensor for each parameter, in order.

        Parameters that need no gradient are returned as they are.
        """
        assert self._host
        self._steps.complete()
        with self._steps.lock:
            weights = self._host.core.master()
            found = {
                n: torch.from_numpy(w) for n, w in zip(self._host.numbers, weights, strict=True)
            }
        return [found.get(k, p.detach()) for k, p in enumerate(self._front._params())]

    def memory(self) -> Budget:
        """The bytes on the host: weights, gradients, state, the copy for the device."""
        assert self._host
        budget: Budget = self._host.core.memory()
        return budget

    def __repr__(self) -> str:
        return f"{type(self).__name__} of {self._front!r}"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a CPUOffload cannot be copied or pickled; save its state_dict()")

    def __deepcopy__(self, memo: Any) -> NoReturn:
        self.__reduce__()


def _arrived(owner: Any, of: Any, param: Any) -> None:
    """A hook: backward has computed a gradient."""
    optimizer, host = owner(), of()
    added = optimizer is not None and host is not None and host.bucket is not None
    if added and param.grad is not None:
        optimizer._steps.note_arrival(host, param.grad)
