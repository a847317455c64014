"""Parameters on a device, with what the host keeps of them."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import ref

import torch

from ...engine.columns import alike
from ...engine.options import Options
from ...kernels.commit import Operation, commit, put
from ...kernels.formats import NARROW
from ...memory.checks import Span
from ...memory.placement import AVERAGE, GRADIENT
from ..shards import gradient_part, local
from ..sparse import is_sparse
from ..tensors import check_param, dense, flat, name_of
from .memory import HostMemory
from .transfer import Transfer


class HostParameter:
    """A parameter on a device, and its memory on the host.

    Attributes:
        param: the parameter.
        name: what it is called in messages.
        weights: the tensor that the host updates: in float32, or in the dtype of the parameter.
        copy: the tensor that is copied to the device, which may be `weights`.
        slot: the tensor that receives its gradient.
        arrived: True once a gradient is in the slot, or on its way, that no step has used.
        used: True once the step that is under way has used the gradient.
        bucket: its bucket.
    """

    weights: Any
    copy: Any
    slot: Any
    arrived = used = False
    bucket: Any = None
    _event: Any = None
    _slot_array: Any = None
    _source: Any = None  # the gradient that was copied, and its version then
    _version = -1

    def __init__(self, param: Any, name: str, options: Options) -> None:
        self.param, self.name = param, name
        self.part = local(param).detach()
        if self.part.is_complex():
            raise RuntimeError(
                f"{name} has dtype {self.part.dtype}; parameters of CPUOffload are real: leave it "
                "to an optimizer of fastadam.torch"
            )
        check_param(self.part, name)
        own = name_of(self.part)
        keeps_bits = options.compensation is not None or options.rounding == "stochastic"
        self.dtype = torch.float32 if own in NARROW and not keeps_bits else self.part.dtype
        self._seen: Any = None
        self._slots = dict[Any, Any]()  # for gradients of other dtypes

    @property
    def copied(self) -> bool:
        """True if the host keeps a copy in the dtype of the parameter, besides the weights."""
        return bool(self.dtype != self.part.dtype)

    @property
    def nbytes(self) -> int:
        """The bytes of the parameter on the device."""
        return int(self.part.numel() * self.part.element_size())

    @property
    def span(self) -> Span:
        """The memory of the parameter on the device; its first element, if there are gaps."""
        start, size = self.part.data_ptr(), self.part.element_size()
        nbytes = self.nbytes if dense(self.part) else min(self.nbytes, size)
        return Span(start, start + nbytes, self.name)

    # Gradients

    def take(self, transfer: Transfer, grad: Any, memory: HostMemory, add: bool) -> None:
        """Copy a gradient to the host, or add it to the one that is there.

        Raises:
            RuntimeError: for a sparse gradient, and one of another shape.
        """
        part = self._part_of(grad)
        if part.dtype != self.slot.dtype:
            if add and self.arrived:
                raise RuntimeError(
                    f"the gradient of {self.name} is {part.dtype} after one of {self.slot.dtype}; "
                    "keep one dtype between two steps"
                )
            self._slots[self.slot.dtype] = self.slot
            if part.dtype not in self._slots:
                self._slots[part.dtype] = slots_for([self], part.dtype, memory)[0]
            self.slot, self._slot_array = self._slots[part.dtype], None
        source = put(self, _source=ref(grad), _version=grad._version)
        if add and self.arrived:
            staged = torch.empty_like(self.slot, pin_memory=self.slot.is_pinned())
            transfer.wait(self._event)
            transfer.wait(transfer.fetch(part, staged))
            self._event = None
            commit([partial(self.slot.add_, staged), *source])
        else:
            self._event = transfer.fetch(part, self.slot)
            commit([*put(self, arrived=True), *source])

    def _part_of(self, grad: Any) -> Any:
        if is_sparse(grad):
            raise RuntimeError(
                f"the gradient of {self.name} is sparse; offloaded steps take dense gradients: "
                "use sparse=False, or leave the parameter to an optimizer of fastadam.torch"
            )
        part = gradient_part(grad, self.param).detach()
        if part.shape != self.part.shape:
            raise RuntimeError(
                f"the gradient of {self.name} has shape {tuple(part.shape)}, but the parameter "
                f"{tuple(self.part.shape)}"
            )
        return part

    def same(self, grad: Any) -> bool:
        """True if this is the gradient that was copied last, unchanged."""
        source = self._source
        return bool(source is not None and source() is grad and self._version == grad._version)

    @property
    def gradient(self) -> Any:
        """The gradient as an array of the core."""
        if self._slot_array is None:
            self._slot_array = self.array(self.slot)
        return self._slot_array

    def wait(self, transfer: Transfer) -> None:
        """Wait until the gradient is in the slot."""
        transfer.wait(self._event)
        self._event = None

    def recorded(self, arrived: bool) -> list[Operation]:
        """The operations that record that the gradient is to be used, or was used by a step."""
        return put(self, arrived=arrived, used=not arrived)

    def dropped(self) -> list[Operation]:
        """The operations that drop the gradient."""
        return put(self, arrived=False, used=False, _source=None)

    # Values

    def note(self) -> None:
        """Take note that the parameter has the values that the host has."""
        self.part = local(self.param).detach()
        self._seen = self._now(self.part)

    def _now(self, part: Any) -> Any:
        """Changes with the values, or the memory, of the parameter."""
        return self.param._version, part._version, part.data_ptr()  # a DTensor counts for itself

    @property
    def differs(self) -> bool:
        """True if others wrote values to the parameter that the host has not seen."""
        part = local(self.param).detach()
        if self._seen == self._now(part):
            return False
        copy = self.copy.view(part.shape)
        return part.dtype != copy.dtype or not torch.allclose(
            part.to("cpu"), copy, rtol=0.0, atol=0.0, equal_nan=True
        )

    def follow(self, unseen: bool = False) -> bool:
        """Take over values that others wrote to the parameter; returns True if there are any.

        Where it still has the rounded weights, these stay.

        Args:
            unseen: True looks at the values even if PyTorch has counted no change, as when a
                distributed checkpoint was read into the shard of a DTensor.
        """
        part = local(self.param).detach()
        if self._seen == self._now(part) and not unseen:
            return False
        if (part.shape, part.dtype) != (self.part.shape, self.part.dtype):
            raise RuntimeError(
                f"{self.name} was changed from {self.part.dtype} of {tuple(self.part.shape)} to "
                f"{part.dtype} of {tuple(part.shape)}; make a new optimizer"
            )
        values = part.to("cpu")
        changed = values != self.copy.view(values.shape)
        found = bool(changed.any())
        if found:
            self.weights.copy_(torch.where(changed, values.to(self.dtype), self.weights))
            self.copy.copy_(self.weights)
        self.note()
        return found

    # Arrays of the core

    def array(self, tensor: Any) -> Any:
        """A tensor of the host as an array of the core."""
        return flat(tensor).reshape(tuple(self.part.shape))


@torch.no_grad()
def allocate(hosts: Sequence[HostParameter], memory: HostMemory) -> None:
    """Give parameters their memory on the host, and copy their values there."""
    for copied in (False, True):
        for dtype, some in alike(h.dtype for h in hosts).items():
            mine = [hosts[k] for k in some if hosts[k].copied is copied]
            shapes, none = [h.part.shape for h in mine], [None] * len(mine)
            made = memory.tensors(shapes, dtype, none, 0, pinned=not copied) if mine else []
            for host, tensor in zip(mine, made, strict=True):
                host.weights = host.copy = tensor
                tensor.copy_(host.part)
    narrow = [h for h in hosts if h.copied]
    for dtype, some in alike(h.part.dtype for h in narrow).items():
        mine = [narrow[k] for k in some]
        shapes, beside = [h.part.shape for h in mine], [h.weights for h in mine]
        copies = memory.tensors(shapes, dtype, beside, AVERAGE, pinned=True)
        for host, tensor in zip(mine, copies, strict=True):
            host.copy = tensor
            tensor.copy_(host.weights)
    for dtype, some in alike(h.part.dtype for h in hosts).items():
        mine = [hosts[k] for k in some]
        for host, tensor in zip(mine, slots_for(mine, dtype, memory), strict=True):
            host.slot = tensor
    for host in hosts:
        host.note()


def slots_for(hosts: Sequence[HostParameter], dtype: Any, memory: HostMemory) -> list[Any]:
    """Tensors for the gradients of some parameters."""
    shapes, beside = [h.part.shape for h in hosts], [h.weights for h in hosts]
    return memory.tensors(shapes, dtype, beside, GRADIENT, pinned=True)
