"""The host's side: the optimizer of the core that updates the weights, bucket by bucket."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, zip_longest
from operator import is_
from typing import Any

from ...engine.committed_step import step_with
from ...engine.options import OWN
from ...engine.scales import unscale_of
from ...engine.step_info import StepInfo
from ...kernels.commit import Operation, commit, put
from ...memory.checks import check_apart
from ...rules.algorithm import Values
from ..hyperparameters import CheckedGroup
from ..optimizer import Optimizer
from ..shard_sums import ShardSums
from ..shards import check_whole, is_sharded
from ..tensors import in_numpy
from .buckets import Bucket, divided
from .memory import HostMemory
from .parameters import HostParameter, allocate
from .transfer import Transfer, transfer_for


class UnfinishedStep:
    """A step that has begun: what it does with gradients that it has not used yet.

    An exception may interrupt it after it has updated some buckets. It is completed before anything
    else is done, with the settings that it began with.

    Attributes:
        settings: arguments of the steps of its buckets.
        whole: True if all parameters take it together.
        info: its result, None as long as it is not known.
    """

    info: StepInfo | None = None

    def __init__(self, settings: Values, whole: bool) -> None:
        self.settings, self.whole = settings, whole


class HostSide:
    """Weights, state and gradients on the host, and what updates them.

    Args:
        front: the optimizer of PyTorch whose arguments were checked; it is never stepped.
        bucket_bytes: bytes of parameters in a bucket, at least.
        pin_memory: False for ordinary memory, None for page-locked memory if there is a GPU.

    Attributes:
        hosts: the parameters that need gradients, in order.
        numbers: the number of each of them among all parameters.
        params: all parameters, also those that need no gradients.
        core: the optimizer of the core that updates them.
        buckets: the same parameters in parts.
        transfer: copies between device and host.
        shards: the other processes, if parameters are DTensors.
        unfinished: the step that has begun, None between steps.
    """

    core: Any = None
    unfinished: UnfinishedStep | None = None
    shards: ShardSums | None = None

    def __init__(self, front: Optimizer, bucket_bytes: int, pin_memory: bool | None) -> None:
        self._front, self._bucket_bytes, self._pin = front, bucket_bytes, pin_memory
        self.hosts, self.numbers, self.params = list[HostParameter](), list[int](), list[Any]()
        self.buckets = list[Bucket]()
        self._owners = list[int]()  # the group of PyTorch of each group of the core
        self._checked: Sequence[CheckedGroup] = []

    @property
    def _groups(self) -> Sequence[CheckedGroup]:
        return self._front._hyperparameters.now(self._front.param_groups)

    def add(
        self,
        first: int,
        listen: Callable[[HostParameter], None],
        others: Sequence[Operation] = (),
    ) -> None:
        """Allocate memory for the groups from this number on, and update them from now on.

        Args:
            first: the number.
            listen: registers the hooks of a parameter.
            others: operations to be committed with it.

        Raises:
            TypeError, ValueError, RuntimeError: for tensors that are not supported.
        """
        groups, checked = self._front.param_groups, self._groups
        labels = iter(self._front._names())
        new, owners, numbers = list[list[HostParameter]](), list[int](), list[int]()
        for k, (group, settings) in enumerate(zip(groups, checked, strict=True)):
            mine = list[HostParameter]()
            for param in group["params"]:
                name, number = next(labels), sum(len(g["params"]) for g in groups[:k])
                if k >= first and param.requires_grad:
                    mine.append(HostParameter(param, name, settings.options))
            if mine:
                positions = [k for k, p in enumerate(group["params"]) if p.requires_grad]
                numbers += [number + k for k in positions]
                new.append(mine)
                owners.append(k)
        fresh = [*chain.from_iterable(new)]
        hosts = [*self.hosts, *fresh]
        self._check(hosts)
        if not self.hosts:
            self._place(fresh[0].part.device)
        allocate(fresh, self.memory)
        for host in fresh:
            listen(host)
        self.send(self.transfer)
        for bucket in self.buckets:
            bucket.wait(self.transfer)
        parts = [
            self._part(groups[k], checked[k], mine) for k, mine in zip(owners, new, strict=True)
        ]
        buckets = divided(hosts, self._bucket_bytes, self._subset)
        operations = [
            *put(self, hosts=hosts, numbers=[*self.numbers, *numbers], buckets=buckets),
            *put(self, params=self._front._params()),
            *put(self, _owners=[*self._owners, *owners], _checked=checked),
            *(put(host, bucket=bucket)[0] for bucket in buckets for host in bucket.members),
            *others,
        ]
        if self.core is None:
            self.core = self._front.core(parts, **self._front._options.chosen)
            self._share(fresh)
            commit(operations)
        elif parts:
            self._share(hosts)
            try:
                with self.core._engine.lock:
                    self.core._engine.refresh()
                    self.core._engine.add(parts, others=operations)
            except BaseException:
                self._share(self.hosts)
                raise
        else:
            commit(operations)
        dtypes = [in_numpy(host.slot.dtype) for host in self.hosts]
        self.core._engine.grad_dtypes[:] = dtypes

    def _subset(self, hosts: Sequence[HostParameter]) -> Any:
        """The subset of the core that updates some parameters."""
        places = {id(host): place for place, host in enumerate(self.hosts)}
        return self.core.subset([places[id(host)] for host in hosts])

    @property
    def together(self) -> bool:
        """True if all parameters take one step together, in which several numbers are measured."""
        return any(
            group.rule.over == "all"
            or (group.options.clips and group.options.clip_norm_per == "tensor")
            for group in self._groups
        )

    def _place(self, device: Any) -> None:
        gpu = device.type == "cuda"
        self.memory = HostMemory(gpu and self._pin is not False)
        self.transfer: Transfer = transfer_for(device, self._pin is not False)

    def _share(self, hosts: Sequence[HostParameter]) -> None:
        """Make the processes with other shards agree on norms, and on what is quantized."""
        params = [host.param for host in hosts]
        self.shards = ShardSums(params) if any(map(is_sharded, params)) else None
        self.core._engine.shards = self.shards
        if self.shards:
            self.core._engine.whole_sizes = [param.numel() for param in params]

    def any(self, found: bool) -> bool:
        """True if something was found in any process that has shards of the parameters."""
        return not self.shards.all_true(not found) if self.shards else found

    def _part(self, group: Values, checked: CheckedGroup, hosts: Sequence[HostParameter]) -> Values:
        """A group of the core."""
        return {
            "params": [host.array(host.weights) for host in hosts],
            "shadow": [host.array(host.copy) if host.copied else None for host in hosts],
            **checked.values,
            **{name: group[name] for name in OWN if name in group},
        }

    def _check(self, hosts: Sequence[HostParameter]) -> None:
        if not hosts:
            raise ValueError("no parameter needs a gradient; set requires_grad of some to True")
        first = hosts[0]
        for host in hosts:
            if host.part.device != first.part.device:
                raise RuntimeError(
                    f"{first.name} is on {first.part.device}, but {host.name} on "
                    f"{host.part.device}; create one optimizer per device"
                )
        check_apart(host.span for host in hosts)
        check_whole([host.param for host in hosts], [group.rule for group in self._groups])

    # A step

    def check_same_params(self) -> None:
        """Refuse groups with other parameters than were given.

        Raises:
            RuntimeError: naming the first.
        """
        now = self._front._params()
        if len(now) == len(self.params) and all(map(is_, now, self.params)):
            return
        pairs = enumerate(zip_longest(now, self.params))
        place = next(place for place, (one, other) in pairs if one is not other)
        raise RuntimeError(
            f"param_groups has {len(now)} parameters, and from the one of number {place} on others "
            f"than the {len(self.params)} that the optimizer was given; put these back, add groups "
            "with add_param_group, or make a new optimizer"
        )

    def follow(self) -> None:
        """Take over hyperparameters, and values that others wrote to parameters.

        Raises:
            TypeError, ValueError: for hyperparameters that are wrong.
        """
        checked = self._groups
        if checked is not self._checked:
            for group, number in zip(self.core.param_groups, self._owners, strict=True):
                for name, value in checked[number].values.items():
                    if group[name] != value:
                        group[name] = value
            self._checked = checked
        for host in self.hosts:
            host.follow()

    @property
    def lr(self) -> Any:
        """The learning rate to report."""
        return self._groups[0].values.get("lr")

    def gradients(self) -> list[Any]:
        """The gradients that have arrived, as arrays; None for other parameters."""
        for host in self.hosts:
            if host.arrived:
                host.wait(self.transfer)
        return [host.gradient if host.arrived else None for host in self.hosts]

    def begin(self, grad_scale: Any, count: int) -> None:
        """Begin the step of this count, with the gradients that have arrived.

        With `clip_norm`, the norm of all of them is measured.
        """
        settings: Values = {"grad_scale": grad_scale, "step": count}
        whole = self.together
        if self._front._options.measures and not whole:
            settings["grad_norm"] = self.core.grad_norm(self.gradients())
        self.unfinished = UnfinishedStep(settings, whole)

    def complete(self) -> StepInfo | None:
        """Take what is left of the step that has begun.

        Returns what was done, None if there were no gradients.
        """
        now = self.unfinished
        assert now
        self.transfer.begin()
        parts = [self._whole] if now.whole else [b.step for b in self.buckets]
        for step in parts:
            info = step(self.transfer, **now.settings)
            now.info = now.info or info
        self.transfer.finish()
        if now.info is None and any(host.used for host in self.hosts):
            now.info = self._info_of(now)
        return now.info

    def _whole(self, transfer: Transfer, grad_scale: Any, step: int) -> StepInfo | None:
        """Update all parameters in one step of the core."""
        self.send(transfer)
        if any(host.used for host in self.hosts):
            return None
        for bucket in self.buckets:
            bucket.wait(transfer)
        grads = self.gradients()
        others = [operation for bucket in self.buckets for operation in bucket.updated()]
        info = step_with(others, self.core._engine, grads, grad_scale=grad_scale)
        self.send(transfer)
        return info

    def _info_of(self, step: UnfinishedStep) -> StepInfo:
        """The result of a step that was interrupted before it could return it."""
        norm = step.settings.get("grad_norm")
        if step.whole and self._front._options.measures and not self.shards:
            grads = [host.gradient if host.used else None for host in self.hosts]
            norm = self.core.grad_norm(grads)
        if norm is not None:
            factor, power = unscale_of(step.settings["grad_scale"])
            norm *= factor * power
        lr = self._checked[0].values.get("lr")
        return StepInfo(step.settings["step"], lr, norm)

    def check_unchanged(self) -> None:
        """Refuse values that others wrote to parameters while a step was unfinished.

        Raises:
            RuntimeError: naming the parameter.
        """
        for host in self.hosts:
            if host.differs:
                raise RuntimeError(
                    f"{host.name} was changed after a step that was interrupted; the next call "
                    "completes that step, and would overwrite it: load a state_dict, which cancels "
                    "the step"
                )

    def send(self, transfer: Transfer) -> None:
        """Copy the weights that the device lacks."""
        for bucket in self.buckets:
            bucket.send(transfer)

    def finished(self, drop: bool) -> list[Operation]:
        """The operations that end a step; `drop` says that no later step may use its gradients."""
        used = [host for host in self.hosts if host.used]
        ends = [h.dropped() for h in self.hosts] if drop else [h.recorded(True) for h in used]
        ends += [put(bucket, stepped=False) for bucket in self.buckets]
        return [*chain.from_iterable(ends), *put(self, unfinished=None)]

    # State

    def saved_groups(self) -> list[Values]:
        """The groups of the core as a state_dict has them."""
        saved: list[Values] = self.core.state_dict(copy=False)["param_groups"]
        return saved

    def all_sent(self) -> list[Operation]:
        """The operations that copy all weights to the device, which it waits for."""
        for bucket in self.buckets:
            bucket.wait(self.transfer)
        self.transfer.finish()  # copies in other streams come first
        return [
            *(partial(host.part.copy_, host.copy) for host in self.hosts),
            *(put(bucket, unsent=())[0] for bucket in self.buckets),
        ]

    def forget_settings(self) -> list[Operation]:
        """The operations after which the next step takes over all hyperparameters."""
        return put(self, _checked=[])
