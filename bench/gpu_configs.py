"""Configurations of a step on a GPU: every optimizer, options around a step, fewer bytes.

Each is timed in turns with other implementations on tensors of PyTorch, where they are installed,
and with a limit: one kernel that copies as many bytes as the step of fastadam reads and writes.
Before it is timed, a step of fastadam is compared with the same on the host, bit for bit, and that
of another implementation with it, within its rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import gpu_contenders as gpu
import numpy as np

from fastadam.bench.measurement import LIMIT, OURS
from fastadam.bench.variants import ADAMW, Variant, variants
from fastadam.bench.workload import HYPER, Case, Contender
from fastadam.memory.dtypes import named

STEPS, SMALL = 3, 40 if gpu.SIMULATED else 70_001
WITH_HYPER = ("sgd:momentum=0.9", "rmsprop:momentum=0.9", "adam:amsgrad=True")
TAIL: dict[str, dict[str, Any]] = {
    "clip": {"clip_norm": 1.0},
    "clip + skip + EMA": {"clip_norm": 1.0, "skip_nonfinite": True, "ema_decay": 0.999},
    "EMA + copy in bfloat16 + zeroed gradients": {
        "ema_decay": 0.999,
        "shadow_dtype": "bfloat16",
        "zero_grads": True,
    },
}
LOW: dict[str, tuple[str, dict[str, Any]]] = {
    "state bfloat16": ("float32", {"state_dtype": "bfloat16"}),
    "state int8": ("float32", {"state_dtype": "int8"}),
    "parameters bfloat16": ("bfloat16", {}),
    "parameters bfloat16, kahan": ("bfloat16", {"compensation": "kahan"}),
    "parameters bfloat16, split8, state int8": (
        "bfloat16",
        {"compensation": "split8", "state_dtype": "int8"},
    ),
}


class Config(NamedTuple):
    """An optimizer of fastadam with options, and who does something like it.

    Attributes:
        dtype: of parameters and gradients.
        options: keywords of the optimizer besides its hyperparameters.
        peers: names of other implementations.
    """

    label: str
    variant: Variant = ADAMW
    dtype: str = "float32"
    options: dict[str, Any] = {}
    peers: tuple[str, ...] = ()

    @property
    def keywords(self) -> dict[str, Any]:
        return {**self.variant.hyper, **self.options}


class Peer(NamedTuple):
    """An optimizer for tensors of a GPU.

    Attributes:
        rounding: error of its update, relative to the largest, that is not a mistake.
    """

    module: str
    name: str
    options: dict[str, Any]
    rounding: float


EXACT, IN_BFLOAT16, IN_8_BIT = 1e-4, 0.1, 0.5  # three steps, of which the first is not quantized
PEERS = {
    "torch fused": Peer("torch.optim", "AdamW", {"fused": True}, EXACT),
    "apex": Peer("apex.optimizers", "FusedAdam", {"adam_w_mode": True}, EXACT),
    "torchao 8-bit": Peer("torchao.optim", "AdamW8bit", {}, IN_8_BIT),
    "bitsandbytes 8-bit": Peer("bitsandbytes.optim", "AdamW8bit", {}, IN_8_BIT),
}


def configs(dry_run: bool) -> list[Config]:
    """All of them; a few for a dry run."""
    low = [
        Config(name, dtype=dtype, options=options, peers=_peers_for(dtype, options))
        for name, (dtype, options) in LOW.items()
    ]
    tail = [Config(name, options=options, peers=("torch fused",)) for name, options in TAIL.items()]
    each = [
        Config(
            variant.label, variant, peers=("torch fused", "apex")[: 2 if variant == ADAMW else 1]
        )
        for variant in variants(["all", *WITH_HYPER])
        if variant.optimizer.__name__ != "SparseAdam"
    ]
    return [each[1], tail[0], low[1]] if dry_run else [*each, *tail, *low]


def _peers_for(dtype: str, options: dict[str, Any]) -> tuple[str, ...]:
    if options.get("state_dtype") == "int8":
        return "torchao 8-bit", "bitsandbytes 8-bit"
    return ("torch fused",) if dtype == "bfloat16" else ()


class Arrays:
    """The memory of the contenders of a configuration."""

    def __init__(self, config: Config, size: int, on_gpu: bool = True) -> None:
        block = np.random.default_rng(0).standard_normal(min(size, 1 << 20), np.float32)
        self.config, self.values = config, np.resize(block, size).astype(named(config.dtype))
        self.size, self.on_gpu = size, on_gpu

    def ours(self) -> tuple[Any, Any, Any]:
        """The optimizer of fastadam, its parameter and its gradient."""
        arrays = [self.values.copy() for _ in range(2)]
        if self.on_gpu:
            arrays = [gpu.device.zeros(self.size, self.values.dtype) for _ in range(2)]
            for array in arrays:
                array[...] = self.values
        param, grad = arrays
        return self.config.variant.optimizer(param, **self.config.keywords), param, grad

    def tensors(self) -> Any:
        """A parameter of PyTorch with its gradient."""
        import torch

        param = torch.nn.Parameter(torch.from_numpy(self.values.astype(np.float32)).cuda())
        param.data = param.data.to(getattr(torch, self.config.dtype))
        param.grad = param.detach().clone()
        return param


def steps_of(arrays: Arrays, names: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """The contenders of a configuration, each with its step."""
    moved = bytes_of(arrays.config)
    for name in names:
        if name == OURS:
            optimizer, _, grad = arrays.ours()
            yield name, partial(optimizer.step, grad)
        elif name == LIMIT:
            yield name, gpu.copy_of(int(moved * arrays.size))
        else:
            yield name, _peer_step(name, arrays.config, arrays.tensors())


def _peer_step(name: str, config: Config, param: Any) -> Callable[[], object]:
    """A step of another implementation, with the calls around it that the options stand for."""
    import torch

    peer, twin = PEERS[name], config.variant.in_torch
    hyper = HYPER if config.variant == ADAMW else config.variant.torch_values
    made = twin if name == "torch fused" else getattr(import_module(peer.module), peer.name)
    optimizer, options = made([param], **hyper, **peer.options), config.options
    average = param.detach().clone() if "ema_decay" in options else None
    copy = param.detach().bfloat16() if "shadow_dtype" in options else None

    def step() -> None:
        if "clip_norm" in options:
            torch.nn.utils.clip_grad_norm_([param], options["clip_norm"], foreach=True)
        optimizer.step()
        if average is not None:
            average.lerp_(param.detach(), 1 - options["ema_decay"])
        if copy is not None:
            copy.copy_(param.detach())

    return step


def names_for(config: Config, torch: bool) -> list[str]:
    """The contenders that are installed, and have such an optimizer."""
    names = []
    for name in config.peers if torch else ():
        twin = config.variant.in_torch
        fused = twin is not None and "fused" in twin.__init__.__code__.co_varnames
        if fused if name == "torch fused" else find_spec(PEERS[name].module.partition(".")[0]):
            names.append(name)
    return [*names, OURS, LIMIT]


def bytes_of(config: Config) -> float:
    """Bytes per element that a step of fastadam reads and writes."""
    size = 1 << 14  # enough for codes
    param = np.zeros(size, named(config.dtype))
    optimizer = config.variant.optimizer(param, **config.keywords)
    return float(optimizer.memory().moved / size)


def validate(config: Config, names: Sequence[str]) -> Iterator[str]:
    """Compare contenders on a small array; yields a message for each that is wrong."""
    host, there = Arrays(config, SMALL, on_gpu=False), Arrays(config, SMALL)
    results = []
    for arrays in (host, there):
        optimizer, param, grad = arrays.ours()
        for _ in range(STEPS):
            if "zero_grads" in config.options:
                grad[...] = arrays.values
            optimizer.step(grad)
        results.append(np.asarray(param))
    if results[0].tobytes() != results[1].tobytes():
        yield f"{config.label}: {OURS} differs from the host"
    start = host.values.astype(np.float32)
    wanted = results[0].astype(np.float32) - start
    for name in names:
        if name in (OURS, LIMIT) or {"clip_norm", "zero_grads"} & config.options.keys():
            continue  # clip_grad_norm_ scales gradients again and again
        tensor = there.tensors()
        step = _peer_step(name, config, tensor)
        for _ in range(STEPS):
            step()
        update = tensor.detach().float().cpu().numpy() - start
        allowed = IN_BFLOAT16 if config.dtype == "bfloat16" else PEERS[name].rounding
        if np.abs(update - wanted).max() > allowed * np.abs(wanted).max():
            yield f"{config.label}: {name} differs from {OURS}"


def contenders(config: Config, size: int, names: Sequence[str]) -> list[Contender]:
    """Contenders of a configuration, ready to be timed."""
    moved = bytes_of(config)
    return [
        Contender(name, step, [], [], config=config.label, bytes=lambda: moved, moves=False)
        for name, step in steps_of(Arrays(config, size), names)
    ]


def case_of(size: int) -> Case:
    return gpu.one_array(size)


def needed(config: Config, size: int, names: Sequence[str]) -> int:
    """Bytes of the device that the contenders take together, at most."""
    return int(size * (2 * bytes_of(config) + 24 * len([*names])))
