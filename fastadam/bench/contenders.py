"""The contenders: one float32 step, done in several ways on the same kind of memory.

All contenders of a case exist at the same time, so that they can be timed in turns. Those on
NumPy arrays share one set of parameters and gradients, those of PyTorch another, which PyTorch
allocates. `fused` and each of PyTorch's create state of their own; the others share one set.
Gradients stay the same from step to step, so every value stays finite and normal. (The deviation
that centered RMSprop divides by becomes 0.) Sharing is for timing only: `validate` gives every
contender memory of its own and fresh gradients at every step.

NumPy's own step is serial. All others use the same number of threads, except on arrays so small
that the library itself stays serial: there the hand-written Numba kernels are serial too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import count
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

import fastadam as fa

from ..kernels import threads as policy
from ..memory.flat import aligned_zeros
from . import passes
from .limit import limit
from .variants import ADAMW, Variant, keywords

Array = NDArray[Any]

LR, BETAS, EPS, WEIGHT_DECAY = 1e-3, (0.9, 0.999), 1e-8, 1e-2  # the defaults of AdamW
HYPER: dict[str, Any] = {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": WEIGHT_DECAY}

# Bytes per element: of parameters and gradients, of scratch, of the temporaries of a large step
PAIR, SCRATCH, TEMPORARIES = 8, 8, 20


class Contender(NamedTuple):
    """A step ready to be taken, with views of the memory that it reads and moves."""

    name: str
    step: Callable[[], object]
    params: Sequence[Array]
    grads: Sequence[Array]
    moves: bool = True


class Case(NamedTuple):
    """The sizes of the arrays that one step updates, and what the step is."""

    label: str
    sizes: tuple[int, ...]
    variant: Variant = ADAMW

    @property
    def elements(self) -> int:
        return sum(self.sizes)

    def bytes(self, names: Sequence[str]) -> int:
        """How much memory the contenders take together."""
        state, in_torch = 4 * len(self.variant.rule.state), len({*names} & {*TORCH})
        numpy_side = PAIR + 2 * state + SCRATCH + TEMPORARIES
        torch_side = PAIR + in_torch * state if in_torch else 0
        return self.elements * (numpy_side + torch_side)


def one_array(size: int, variant: Variant = ADAMW) -> Case:
    """One array; the label is short where the size is a round number."""
    digits = str(size).rstrip("0")
    power = len(str(size)) - 1
    label = f"{digits}e{power}" if len(digits) == 1 and power >= 3 else str(size)
    return Case(label, (size,), variant)


def many_arrays(number: int = 1000, size: int = 1000, variant: Variant = ADAMW) -> Case:
    """Many small arrays, each updated where it is."""
    return Case(f"{number} x {size}", (size,) * number, variant)


class Memory:
    """What the contenders of one case share, each part allocated when first asked for."""

    def __init__(self, case: Case) -> None:
        self.sizes, self.variant = case.sizes, case.variant
        normal = np.random.default_rng(0).standard_normal
        self.params, self.grads = self._zeros(), self._zeros()
        for array in (*self.params, *self.grads):
            normal(dtype=np.float32, out=array)

    def _zeros(self) -> list[Array]:
        return [aligned_zeros(size, np.float32) for size in self.sizes]

    @cached_property
    def states(self) -> list[list[Array]]:
        """The arrays of each state of the rule."""
        return [self._zeros() for _ in self.variant.rule.state]

    @cached_property
    def scratch(self) -> tuple[Array, Array]:
        return aligned_zeros(self.sizes[0], np.float32), aligned_zeros(self.sizes[0], np.float32)

    @cached_property
    def tensors(self) -> list[Any]:
        """Parameters with gradients, allocated by PyTorch."""
        import torch

        parameters = [torch.nn.Parameter(torch.from_numpy(p).clone()) for p in self.params]
        for parameter, grad in zip(parameters, self.grads, strict=True):
            parameter.grad = torch.from_numpy(grad).clone()
        return parameters


def numpy_adam(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None:
    """One step of Adam, or of AdamW if `decoupled`, as a textbook has it: one operation per line.

    `param`, `exp_avg` and `exp_avg_sq` are updated in place; every line makes a pass over memory,
    and most of them a temporary array.
    """
    beta1, beta2 = betas
    if decoupled:
        param *= 1 - lr * weight_decay
    else:
        decay = weight_decay * param
        grad = grad + decay
    exp_avg *= beta1
    fresh = (1 - beta1) * grad
    exp_avg += fresh
    exp_avg_sq *= beta2
    fresh = grad * grad
    fresh = (1 - beta2) * fresh
    exp_avg_sq += fresh
    denominator = exp_avg_sq / (1 - beta2**step)
    denominator = np.sqrt(denominator)
    denominator = denominator + eps
    update = exp_avg / (1 - beta1**step)
    update = lr * update
    update = update / denominator
    param -= update


def _numpy(name: str, memory: Memory) -> Contender:
    arrays = list(zip(memory.params, memory.grads, *memory.states, strict=True))
    steps = count(1)

    def step() -> None:
        number = next(steps)
        for param, grad, exp_avg, exp_avg_sq in arrays:
            numpy_adam(param, grad, exp_avg, exp_avg_sq, step=number, decoupled=True, **HYPER)

    return Contender(name, step, memory.params, memory.grads)


def _numba_unfused(name: str, memory: Memory) -> Contender:
    """A compiled pass for every line of `numpy_adam`, temporaries in scratch memory."""
    (param,), (grad,), ((exp_avg,), (exp_avg_sq,)) = memory.params, memory.grads, memory.states
    update, denominator = memory.scratch
    scale, shift, root, scaled, square, add, subtract, divide = (
        each.over(param.size)
        for each in (
            passes.scale,
            passes.shift,
            passes.root,
            passes.scaled,
            passes.square,
            passes.add,
            passes.subtract,
            passes.divide,
        )
    )
    beta1, beta2 = BETAS
    f32, steps = np.float32, count(1)

    def step() -> None:
        number = next(steps)
        scale(param, f32(1 - LR * WEIGHT_DECAY))
        scale(exp_avg, f32(beta1))
        scaled(update, grad, f32(1 - beta1))
        add(exp_avg, update)
        scale(exp_avg_sq, f32(beta2))
        square(update, grad)
        scale(update, f32(1 - beta2))
        add(exp_avg_sq, update)
        scaled(denominator, exp_avg_sq, f32(1 / (1 - beta2**number)))
        root(denominator)
        shift(denominator, f32(EPS))
        scaled(update, exp_avg, f32(LR / (1 - beta1**number)))
        divide(update, denominator)
        subtract(param, update)

    return Contender(name, step, memory.params, memory.grads)


def as_given(arrays: Sequence[Array]) -> Array | Sequence[Array]:
    """One array is given to an optimizer by itself."""
    return arrays[0] if len(arrays) == 1 else arrays


def _fused(name: str, memory: Memory) -> Contender:
    optimizer = memory.variant.optimizer(as_given(memory.params), **memory.variant.hyper)
    step = partial(optimizer.step, as_given(memory.grads))
    return Contender(name, step, memory.params, memory.grads)


def _limit(name: str, memory: Memory) -> Contender:
    """The traffic of a step and no arithmetic to speak of, over one array of all elements.

    The states must not be zero: some processors write zeros over zeros faster than numbers.
    """
    if len(memory.sizes) > 1:
        memory = Memory(one_array(sum(memory.sizes), memory.variant))
    (param,), (grad,), states = memory.params, memory.grads, [state for (state,) in memory.states]
    for state in states:
        np.square(grad, out=state)
    step = limit(param, grad, states)
    return Contender(name, step, memory.params, memory.grads, moves=False)


def _torch(name: str, memory: Memory, **how: bool) -> Contender:
    variant = memory.variant
    optimizer = variant.in_torch(memory.tensors, **how, **variant.torch_values)
    params = [tensor.detach().numpy() for tensor in memory.tensors]
    grads = [tensor.grad.numpy() for tensor in memory.tensors]
    return Contender(name, optimizer.step, params, grads)


_MAKERS: dict[str, Callable[[str, Memory], Contender]] = {
    "numpy": _numpy,
    "numba unfused": _numba_unfused,
    "torch for-loop": partial(_torch, foreach=False),
    "torch foreach": partial(_torch, foreach=True),
    "torch fused": partial(_torch, foreach=False, fused=True),
    "fused": _fused,
    "limit": _limit,
}
TORCH = tuple(name for name in _MAKERS if name.startswith("torch"))
OVERVIEW = ("torch foreach", "torch fused", "fused", "limit")  # where several optimizers are timed


def load_torch() -> bool:
    """Import PyTorch if it is installed; whether it is. To be called before Numba starts threads.

    Otherwise both share one OpenMP library, in which Numba has allowed nested parallelism, and
    PyTorch's small operations take milliseconds: every one of its threads starts others.
    """
    if find_spec("torch") is None:
        return False
    import torch  # noqa: F401

    return True


def names_for(case: Case, torch: bool, overview: bool = False) -> list[str]:
    """The contenders of a case, slowest first by expectation; fewer for an overview."""
    absent = {*_MAKERS} - {*OVERVIEW} if overview else set()
    if not (torch and case.variant.in_torch):
        absent |= {*TORCH}
    elif "fused" not in keywords(case.variant.in_torch):
        absent |= {"torch fused"}
    if case.variant != ADAMW:
        absent |= {"numpy", "numba unfused"}
    if len(case.sizes) > 1:
        absent |= {"numba unfused"}
    return [name for name in _MAKERS if name not in absent]


def contenders(case: Case, names: Sequence[str]) -> list[Contender]:
    """Contenders of a case, on memory that they share."""
    memory = Memory(case)
    return [_MAKERS[name](name, memory) for name in names]


def most_threads() -> int:
    """How many threads a compiled contender can use."""
    return int(numba.config.NUMBA_NUM_THREADS)


@contextmanager
def using_threads(threads: int, torch: bool) -> Iterator[None]:
    """Let every contender use as many threads.

    Raises:
        ValueError: if Numba was started with fewer.
    """
    if not 1 <= threads <= (started := most_threads()):
        raise ValueError(
            f"threads={threads} is outside 1..{started}, the threads that Numba was started with; "
            "set the environment variable NUMBA_NUM_THREADS for more"
        )
    before, chosen = numba.get_num_threads(), policy._chosen
    numba.set_num_threads(threads)
    fa.set_threads(threads)
    restore_torch = _use_torch_threads(threads) if torch else lambda: None
    try:
        yield
    finally:
        numba.set_num_threads(before)
        fa.set_threads(chosen)
        restore_torch()


def _use_torch_threads(threads: int) -> Callable[[], None]:
    import torch

    restore: Callable[[], None] = partial(torch.set_num_threads, torch.get_num_threads())
    torch.set_num_threads(threads)
    return restore
