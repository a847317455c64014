"""AdamW in float32 of other libraries, and of PyTorch by ways that cost time to prepare.

DeepSpeed compiles its kernel with the C++ compiler when it is used first; `torch.compile` compiles
the step for each list of sizes, and those of torchao and bitsandbytes for each size. optax runs
under `jax.jit`, with parameters and state donated, so that they are updated in place.
JAX takes as many threads as there are cores.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from .console import say
from .torch_contenders import step_contender
from .workload import HYPER, ROUNDING, Contender, Memory


class Peer(NamedTuple):
    """A step of AdamW of another library.

    Attributes:
        packages: what must be installed, by the names of modules.
        make: `make(name, memory)` returns the contender.
        limited: True if it takes as many threads as it is told.
        many: False if it takes minutes to compile a step of many arrays.
    """

    packages: tuple[str, ...]
    make: Callable[[str, Memory], Contender]
    limited: bool = True
    many: bool = True


# 1 - beta2**t in float32 is off by 2**-15 of itself, and updates as much: one more rounding of a
# parameter that is about a thousand times as large
COARSE = 2 * ROUNDING


def _of_torch(
    name: str, memory: Memory, make: Callable[[Any], Any], rounding: float = ROUNDING
) -> Contender:
    """An optimizer of tensors of PyTorch; `make(tensors)` returns its step."""
    tensors = memory.tensors
    return Contender(
        name,
        make(tensors),
        [tensor.detach().numpy() for tensor in tensors],
        [tensor.grad.numpy() for tensor in tensors],
        rounding=rounding,
    )


def _compiled(tensors: Any) -> Any:
    import torch

    return torch.compile(torch.optim.AdamW(tensors, **HYPER).step)


def _deepspeed(tensors: Any) -> Any:
    deepspeed = import_module("deepspeed.ops.adam")
    return deepspeed.DeepSpeedCPUAdam(tensors, adamw_mode=True, **HYPER).step


def _bitsandbytes(tensors: Any) -> Any:
    return import_module("bitsandbytes.optim").AdamW32bit(tensors, **HYPER).step


def _torchao(tensors: Any) -> Any:
    return import_module("torchao.optim")._AdamW(tensors, **HYPER).step


class _Held:
    """An array of JAX, which another one replaces at every step."""

    def __init__(self, value: Any) -> None:
        self.value, self.size, self.shape = value, value.size, value.shape


def _read(held: _Held) -> Any:
    return np.array(held.value)


def _write(held: _Held, values: Any) -> None:
    import jax.numpy as jnp

    held.value = jnp.array(values)


def _optax(name: str, memory: Memory) -> Contender:
    import jax
    import jax.numpy as jnp

    optax = import_module("optax")
    rate, (beta1, beta2) = HYPER["lr"], HYPER["betas"]
    adamw = optax.adamw(rate, beta1, beta2, HYPER["eps"], weight_decay=HYPER["weight_decay"])
    params, grads = (
        [_Held(jnp.array(a)) for a in arrays] for arrays in (memory.params, memory.grads)
    )
    state = [adamw.init([each.value for each in params])]

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(values: Any, state: Any, grads: Any) -> Any:
        updates, state = adamw.update(grads, state, values)
        return optax.apply_updates(values, updates), state

    def step() -> None:
        values, state[0] = update([p.value for p in params], state[0], [g.value for g in grads])
        jax.block_until_ready(values)
        for param, value in zip(params, values, strict=True):
            param.value = value

    return Contender(name, step, params, grads, rounding=COARSE, read=_read, write=_write)


PEERS = {
    "optax": Peer(("jax", "optax"), _optax, limited=False),
    "bitsandbytes": Peer(("torch", "bitsandbytes"), partial(_of_torch, make=_bitsandbytes)),
    "torchao": Peer(("torch", "torchao"), partial(_of_torch, make=_torchao, rounding=COARSE)),
    "torch compiled": Peer(
        ("torch",), partial(_of_torch, make=_compiled, rounding=COARSE), many=False
    ),
    "torch default": Peer(("torch",), step_contender),
    "DeepSpeed": Peer(("torch", "deepspeed"), partial(_of_torch, make=_deepspeed)),
}
PACKAGES = ("deepspeed", "bitsandbytes", "torchao", "jax", "optax")
BYTES = 24  # per element, of one of them: parameter, gradient, state, temporaries


def installed(threads: int, torch: bool) -> list[str]:
    """The peers that are installed; without those that would take more threads, or PyTorch."""
    found = []
    for name, peer in PEERS.items():
        if not all(map(find_spec, peer.packages)) or ("torch" in peer.packages and not torch):
            continue
        if peer.limited or threads >= _cores():
            found.append(name)
        else:
            say(f"{name} takes a thread for each core, and is left out with {threads}.")
    return found


def _cores() -> int:
    usable = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(usable(0)) if usable else os.cpu_count() or 1


def runs(label: str, make: Callable[[], Contender]) -> bool:
    """Take a step with another library's optimizer; report on stderr what prevents it."""
    try:
        make().step()
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        say(f"{label} does not run here, and is left out: {reason}")
        return False
    return True
