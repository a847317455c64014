"""The host's side: the optimizer of the core that updates the weights, bucket by bucket."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import torch

from ...engine.options import OWN
from ...engine.step_info import StepInfo
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


class HostSide:
    """Weights, state and gradients on the host, and what updates them.

    Args:
        front: the optimizer of PyTorch whose arguments were checked; it is never stepped.
        bucket_bytes: bytes of parameters in a bucket, at least.
        pin_memory: False for ordinary memory, None for page-locked memory if there is a GPU.

    Attributes:
        hosts: the parameters that need gradients, in order.
        numbers: the number of each of them among all parameters.
        core: the optimizer of the core that updates them.
        buckets: the same parameters in parts.
        transfer: copies between device and host.
        shards: the other processes, if parameters are DTensors.
    """

    core: Any = None
    shards: ShardSums | None = None

    def __init__(self, front: Optimizer, bucket_bytes: int, pin_memory: bool | None) -> None:
        self._front, self._bucket_bytes, self._pin = front, bucket_bytes, pin_memory
        self.hosts, self.numbers = list[HostParameter](), list[int]()
        self.buckets = list[Bucket]()
        self._owners = list[int]()  # the group of PyTorch of each group of the core
        self._checked: Sequence[CheckedGroup] = []

    @property
    def _groups(self) -> Sequence[CheckedGroup]:
        return self._front._hyperparameters.now(self._front.param_groups)

    def add(self, first: int) -> None:
        """Allocate memory for the groups from this number on, and update them from now on.

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
        self._check([*self.hosts, *fresh])
        if not self.hosts:
            self._place(fresh[0].part.device)
        allocate(fresh, self.memory)
        parts = [
            self._part(groups[k], checked[k], mine) for k, mine in zip(owners, new, strict=True)
        ]
        if self.core is None:
            self.core = self._front.core(parts, **self._front._options.chosen)
            self._share(fresh)
        else:
            self._share([*self.hosts, *fresh])
            try:
                for part in parts:
                    self.core.add_param_group(part)
            except BaseException:
                self._share(self.hosts)
                raise
        dtypes = [in_numpy(host.slot.dtype) for host in fresh]
        self.core._engine.grad_dtypes[-len(dtypes) :] = dtypes
        self.hosts, self.numbers = [*self.hosts, *fresh], [*self.numbers, *numbers]
        self._owners, self._checked = [*self._owners, *owners], checked
        self.buckets = divided(self.hosts, self._bucket_bytes)
        places = {id(host): place for place, host in enumerate(self.hosts)}
        for bucket in self.buckets if not self.together else ():
            bucket.subset = self.core.subset([places[id(host)] for host in bucket.members])

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
        check_whole([host.param for host in hosts], [group.rule for group in self._groups])

    # A step

    def follow(self) -> None:
        """Take over hyperparameters, and values that others wrote to parameters.

        Raises:
            TypeError, ValueError: for hyperparameters that are wrong.
        """
        checked = self._groups
        if checked is not self._checked:
            self._checked = checked
            for group, number in zip(self.core.param_groups, self._owners, strict=True):
                for name, value in checked[number].values.items():
                    if group[name] != value:
                        group[name] = value
        for host in self.hosts:
            host.follow()

    @property
    def lr(self) -> Any:
        """The learning rate to report."""
        return self._groups[0].values.get("lr")

    def gradients(self) -> Iterator[Any]:
        """The gradients that have arrived, as arrays; None for other parameters."""
        for host in self.hosts:
            if host.arrived:
                host.wait(self.transfer)
            yield host.gradient if host.arrived else None

    def step(self, grad_scale: Any, count: int) -> StepInfo | None:
        """Update all parameters whose gradients are there; returns what was done, None if nothing.

        It is the step of this count.

        With `clip_norm`, first measure the norm of all of them.
        """
        self.transfer.begin()
        if self.together:
            return self._whole(grad_scale)
        settings: Values = {"grad_scale": grad_scale, "step": count}
        if self._front._options.measures:
            settings["grad_norm"] = self.core.grad_norm([*self.gradients()])
        infos = [bucket.step(self.transfer, **settings) for bucket in self.buckets]
        self.transfer.finish()
        found = [info for info in infos if info is not None]
        return found[0] if found else None

    def _whole(self, grad_scale: Any) -> StepInfo:
        """Update all parameters in one step of the core."""
        for bucket in self.buckets:
            bucket.settle(self.transfer)
        there = [host.arrived for host in self.hosts]
        info: StepInfo = self.core.step([*self.gradients()], grad_scale=grad_scale)
        if info.updated:
            self.send(there)
        self.transfer.finish()
        return info

    # State

    def saved_groups(self) -> list[Values]:
        """The groups of the core as a state_dict has them."""
        saved: list[Values] = self.core.state_dict(copy=False)["param_groups"]
        return saved

    def forget_settings(self) -> None:
        """Let the next step take over all hyperparameters."""
        self._checked = []

    @torch.no_grad()
    def send(self, chosen: Sequence[bool] | None = None) -> None:
        """Copy the weights of some parameters, by default of all, to the device."""
        there = dict(zip(map(id, self.hosts), chosen or [True] * len(self.hosts), strict=True))
        for bucket in self.buckets:
            bucket.send(self.transfer, [there[id(host)] for host in bucket.members])
