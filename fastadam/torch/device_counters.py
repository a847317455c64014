"""Counts of steps as 0-dim tensors on the GPU, as PyTorch has them with `capturable=True`.

They are those of steps that the GPU may skip, or that a CUDA graph replays: the kernel that decides
adds one to them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..cuda.prologue_kernel import KINDS
from ..kernels.commit import Operation, called
from . import devices
from .change_detection import addresses
from .counters import COUNTS, FLOAT32_COUNTS
from .state_formats import Entry
from .tensors import name_of

STEP = "step"


class DeviceCounters:
    """The counts of steps of all parameters, in tensors on their GPU.

    Existing tensors are kept, since others may share them. New ones are views of one vector.

    Args:
        entries: the state of each parameter.
        steps: the number of steps of each; empty if none are counted.
        device: where they are.

    Attributes:
        tensors: the 0-dim tensors in the entries, by name.
        last: the largest count that all of them can represent.
    """

    def __init__(self, entries: Sequence[Entry], steps: Sequence[int], device: Any) -> None:
        self._steps = np.array(steps, np.int64)
        self.tensors: dict[str, list[Any]] = {}
        self.last: float = math.inf
        tensors = self._made(entries, steps, device) if len(steps) else []
        if tensors:
            self.tensors[STEP] = tensors
        if any(tensor.dtype == torch.float32 for tensor in tensors):
            self.last = FLOAT32_COUNTS
        self._addresses, self._versions = addresses(tensors), _versions(tensors)

    def _made(self, entries: Sequence[Entry], steps: Sequence[int], device: Any) -> list[Any]:
        """The tensors in the entries, with those that are missing or of another kind."""
        taken, missing = {0}, list[int]()
        for number, entry in enumerate(entries):
            address = _address_of(entry.get(STEP))
            if address in taken:
                missing.append(number)
            taken.add(address)
        narrow = max(steps) < FLOAT32_COUNTS
        dtype = torch.float32 if narrow else torch.float64
        values = [float(steps[number]) for number in missing]
        with torch.inference_mode(False):
            made = torch.tensor(values, dtype=dtype, device=device)
        for number, tensor in zip(missing, made.unbind(), strict=True):
            entries[number][STEP] = tensor
        return [entry[STEP] for entry in entries]

    @property
    def touched(self) -> bool:
        """True if a tensor was written to by PyTorch, or reallocated."""
        tensors = self.tensors.get(STEP, [])
        return addresses(tensors) != self._addresses or _versions(tensors) != self._versions

    def __getitem__(self, name: str) -> Any:
        """The counts when this was made."""
        return self._steps

    def advance(
        self, active: Sequence[bool], carried: Mapping[str, Sequence[float]]
    ) -> list[Operation]:
        """The operations that count a step of which the host knows."""
        tensors = self.tensors.get(STEP, [])
        return [called(self._add, [t for t, is_in in zip(tensors, active, strict=False) if is_in])]

    def _add(self, tensors: Sequence[Any]) -> None:
        if tensors:
            torch._foreach_add_(tensors, 1)
            self._versions = _versions(self.tensors[STEP])

    def runs(self, active: Sequence[bool]) -> list[tuple[int, int, int]]:
        """The counts of active parameters: address, length and kind of each run of neighbours."""
        return [*self._runs(active)]

    def _runs(self, active: Sequence[bool]) -> Iterator[tuple[int, int, int]]:
        start = length = size = kind = 0
        tensors = self.tensors.get(STEP, [])
        for address, tensor, there in zip(self._addresses, tensors, active, strict=False):
            if not there:
                continue
            same = KINDS[name_of(tensor)]
            if length and address == start + length * size and same == kind:
                length += 1
                continue
            if length:
                yield start, length, kind
            start, length, size, kind = address, 1, tensor.element_size(), same
        if length:
            yield start, length, kind


def known_steps(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries, with numbers in place of counts of steps on a GPU, fetched at once."""
    there = [k for k, entry in enumerate(entries) if _address_of(_step_of(entry))]
    if not there:
        return entries
    counts = torch.stack([entries[k][STEP].double() for k in there]).tolist()
    found = dict(zip(there, counts, strict=True))
    return [{**e, STEP: found[k]} if k in found else e for k, e in enumerate(entries)]


def _step_of(entry: Any) -> Any:
    return entry.get(STEP) if isinstance(entry, dict) else None


def _address_of(tensor: Any) -> int:
    """The address of a count on a GPU; 0 for any other value."""
    if type(tensor) is not torch.Tensor or tensor.shape or tensor.dtype not in COUNTS:
        return 0
    usable = devices.on_gpu(tensor) and not tensor.requires_grad
    return int(tensor.data_ptr()) if usable else 0


def _versions(tensors: Sequence[Any]) -> list[int]:
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]
