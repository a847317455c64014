"""The contenders: an AdamW step by fastadam for each configuration, and by others.

All contenders of a case exist at the same time, so that they can be timed in turns. Those of
fastadam share parameters and gradients of a dtype, those of others a set that PyTorch allocates;
state is their own. Gradients stay the same from step to step, so every value stays finite and
normal.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import fastadam as fa

from ...memory.dtypes import named
from ...memory.flat import aligned_zeros
from .. import contenders as plain
from ..contenders import HYPER, Array, Case, as_given
from ..tail.contenders import traffic
from .configurations import BITS_32, CODES, CONFIGURATIONS

SHARED, OWN = 20, 10  # bytes per element: of parameters and gradients, of a contender at most


class Contender(NamedTuple):
    """A step, ready to be taken, and views of its memory.

    Attributes:
        rounding: see [Configuration][fastadam.bench.low_precision.configurations.Configuration].
        bytes: what a step that was taken has read and written per element; of others' steps, what
            one pass would.
        resident: bytes per element that are there between steps.
        weights: the parameters in float32, with what is kept of them besides.
    """

    name: str
    rounding: float
    step: Callable[[], object]
    bytes: Callable[[], float]
    resident: Callable[[], float]
    params: Sequence[Array]
    grads: Sequence[Array]
    weights: Callable[[], Sequence[Array]]


class Memory(plain.Memory):
    """What the contenders of a case share."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self.params_in = cache(partial(_converted, self.params))
        self.grads_in = cache(partial(_converted, self.grads))


def _converted(arrays: Sequence[Array], dtype: str) -> list[Array]:
    copies = [aligned_zeros(array.size, named(dtype)) for array in arrays]
    for copy, array in zip(copies, arrays, strict=True):
        copy[:] = array
    return copies


class Peer(NamedTuple):
    """An AdamW for tensors of PyTorch."""

    module: str
    optimizer: str
    options: dict[str, Any]
    rounding: float


TORCH = "torch fused"
# torchao keeps state in less memory only where blocks fill an array: 128 is the most at 1e7
PEERS = {
    TORCH: Peer("torch.optim", "AdamW", {"fused": True}, BITS_32),
    "bitsandbytes 8-bit": Peer("bitsandbytes.optim", "AdamW8bit", {}, CODES),
    "torchao 8-bit": Peer("torchao.optim", "AdamW8bit", {"block_size": 128}, CODES),
    "torchao float8": Peer("torchao.optim", "AdamWFp8", {"block_size": 128}, CODES),
}
OURS = {configuration.label: configuration for configuration in CONFIGURATIONS}


def names_for(torch: bool) -> list[str]:
    """The configurations, and PyTorch if it is there."""
    return [*OURS, *([TORCH] if torch else [])]


def others(torch: bool) -> list[str]:
    """The low-precision optimizers for PyTorch that are installed."""
    found = [name for name, peer in PEERS.items() if torch and find_spec(peer.module.split(".")[0])]
    return [name for name in found if name != TORCH]


def contenders(case: Case, names: Iterable[str]) -> list[Contender]:
    """Contenders of a case, on memory that they share."""
    memory = Memory(case)
    return [(_ours if name in OURS else _peer)(name, memory) for name in names]


def needed(case: Case, names: Sequence[str]) -> int:
    """How much memory all contenders of a case take together."""
    return case.elements * (SHARED + OWN * len(names))


def _ours(name: str, memory: Memory) -> Contender:
    configuration = OURS[name]
    params, grads = memory.params_in(configuration.param), memory.grads_in(configuration.grad)
    options: dict[str, Any] = {**HYPER, **configuration.options}
    optimizer = fa.AdamW(as_given(params), **options)

    def resident() -> float:
        states = [array for arrays in optimizer.state.values() for array in arrays]
        return _size(params, grads, states) / sum(memory.sizes)

    def weights() -> list[Array]:
        master = optimizer.master()
        return master if isinstance(master, list) else [master]

    return Contender(
        name,
        configuration.rounding,
        partial(optimizer.step, as_given(grads)),
        bytes=lambda: sum(map(traffic, optimizer._kernels())),
        resident=resident,
        params=params,
        grads=grads,
        weights=weights,
    )


def _peer(name: str, memory: Memory) -> Contender:
    module, kind, options, rounding = PEERS[name]
    tensors = memory.tensors
    optimizer = getattr(import_module(module), kind)(tensors, **HYPER, **options)
    params = [tensor.detach().numpy() for tensor in tensors]
    grads = [tensor.grad.numpy() for tensor in tensors]

    def moving() -> float:
        states = [array for state in optimizer.state.values() for array in state.values()]
        inner = [part for state in states if hasattr(state, "nbytes") for part in _parts(state)]
        return _size(params, inner) / sum(memory.sizes)

    return Contender(
        name,
        rounding,
        optimizer.step,
        bytes=lambda: 2 * moving() + grads[0].itemsize,
        resident=lambda: moving() + grads[0].itemsize,
        params=params,
        grads=grads,
        weights=lambda: [np.array(param) for param in params],
    )


def _parts(tensor: Any) -> list[Any]:
    """The plain tensors that a tensor of a class of its own is made of."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    return [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]


def _size(*arrays: Sequence[Any]) -> float:
    """How many bytes some arrays have together."""
    return float(sum(array.nbytes for each in arrays for array in each))
