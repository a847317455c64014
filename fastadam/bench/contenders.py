"""The contenders: one float32 AdamW step, done in several ways on the same kind of memory.

All contenders of a case exist at the same time, so that they can be timed in turns. Those on
NumPy arrays share one set of parameters and gradients; all of them except `fused`, which creates
its own, also share one set of moments. The three of PyTorch share a set that PyTorch allocates.
Gradients stay the same from step to step, so every value stays finite and normal. Sharing is for
timing only: `validate` gives every contender memory of its own and fresh gradients at every step.

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

Array = NDArray[Any]

LR, BETAS, EPS, WEIGHT_DECAY = 1e-3, (0.9, 0.999), 1e-8, 1e-2  # the defaults of AdamW
HYPER: dict[str, Any] = {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": WEIGHT_DECAY}

# Bytes per element while everything is alive: parameters and gradients 8, shared moments 8,
# those of `fused` 8, scratch 8, temporaries of the largest step 20; PyTorch's set another 16.
NUMPY_BYTES, TORCH_BYTES = 52, 16


class Contender(NamedTuple):
    """A step ready to be taken, with views of the memory that it reads and moves."""

    name: str
    step: Callable[[], object]
    params: Sequence[Array]
    grads: Sequence[Array]
    moves: bool = True


class Case(NamedTuple):
    """The sizes of the arrays that one step updates."""

    label: str
    sizes: tuple[int, ...]

    @property
    def elements(self) -> int:
        return sum(self.sizes)

    def bytes(self, names: Sequence[str]) -> int:
        """How much memory the contenders take together."""
        per_element = NUMPY_BYTES + (TORCH_BYTES if {*names} & {*TORCH} else 0)
        return self.elements * per_element


def one_array(size: int) -> Case:
    """One array; the label is short where the size is a round number."""
    digits = str(size).rstrip("0")
    power = len(str(size)) - 1
    return Case(f"{digits}e{power}" if len(digits) == 1 and power >= 3 else str(size), (size,))


def many_arrays(number: int = 1000, size: int = 1000) -> Case:
    """Many small arrays, each updated where it is."""
    return Case(f"{number} x {size}", (size,) * number)


# Small cases that take every way through the contenders: serial, parallel, several arrays.
VALIDATED = (
    one_array(1003),
    one_array(policy.SERIAL_BELOW + 11),
    Case("3 arrays", (17, 1000, 1)),
)


class Memory:
    """What the contenders of one case share, each part allocated when first asked for."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = sizes
        normal = np.random.default_rng(0).standard_normal
        self.params, self.grads = self._zeros(), self._zeros()
        for array in (*self.params, *self.grads):
            normal(dtype=np.float32, out=array)

    def _zeros(self) -> list[Array]:
        return [aligned_zeros(size, np.float32) for size in self.sizes]

    @cached_property
    def moments(self) -> tuple[list[Array], list[Array]]:
        return self._zeros(), self._zeros()

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

    @cached_property
    def torch_state(self) -> dict[Any, dict[str, Any]]:
        """State as `torch.optim.AdamW` makes it at its first step."""
        import torch

        return {
            parameter: {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
            for parameter in self.tensors
        }


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
    arrays = list(zip(memory.params, memory.grads, *memory.moments, strict=True))
    steps = count(1)

    def step() -> None:
        number = next(steps)
        for param, grad, exp_avg, exp_avg_sq in arrays:
            numpy_adam(param, grad, exp_avg, exp_avg_sq, step=number, decoupled=True, **HYPER)

    return Contender(name, step, memory.params, memory.grads)


def _numba_unfused(name: str, memory: Memory) -> Contender:
    """A compiled pass for every line of `numpy_adam`, temporaries in scratch memory."""
    (param,), (grad,), ((exp_avg,), (exp_avg_sq,)) = memory.params, memory.grads, memory.moments
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


def _fused(name: str, memory: Memory) -> Contender:
    alone = len(memory.sizes) == 1
    params, grads = (side[0] if alone else side for side in (memory.params, memory.grads))
    optimizer = fa.AdamW(params, **HYPER)
    return Contender(name, partial(optimizer.step, grads), memory.params, memory.grads)


def _limit(name: str, memory: Memory) -> Contender:
    """The traffic of a step and no arithmetic to speak of, over one array of all elements."""
    whole = memory if len(memory.sizes) == 1 else Memory([sum(memory.sizes)])
    arrays = [side[0] for side in (whole.params, whole.grads, *whole.moments)]
    kernel = passes.limit.over(whole.sizes[0])
    step = partial(kernel, *arrays, np.float32(0))
    return Contender(name, step, whole.params, whole.grads, moves=False)


def _torch(name: str, memory: Memory, *, foreach: bool, fused: bool) -> Contender:
    import torch

    optimizer = torch.optim.AdamW(memory.tensors, foreach=foreach, fused=fused, **HYPER)
    optimizer.state.update(memory.torch_state)
    params = [tensor.detach().numpy() for tensor in memory.tensors]
    grads = [tensor.grad.numpy() for tensor in memory.tensors]
    return Contender(name, optimizer.step, params, grads)


_MAKERS: dict[str, Callable[[str, Memory], Contender]] = {
    "numpy": _numpy,
    "numba unfused": _numba_unfused,
    "torch for-loop": partial(_torch, foreach=False, fused=False),
    "torch foreach": partial(_torch, foreach=True, fused=False),
    "torch fused": partial(_torch, foreach=False, fused=True),
    "fused": _fused,
    "limit": _limit,
}
TORCH = tuple(name for name in _MAKERS if name.startswith("torch"))


def load_torch() -> bool:
    """Import PyTorch if it is installed; whether it is. To be called before Numba starts threads.

    Otherwise both share one OpenMP library, in which Numba has allowed nested parallelism, and
    PyTorch's small operations take milliseconds: every one of its threads starts others.
    """
    if find_spec("torch") is None:
        return False
    import torch  # noqa: F401

    return True


def names_for(case: Case, torch: bool) -> list[str]:
    """The contenders of a case, slowest first by expectation."""
    absent = {*(() if torch else TORCH), *(("numba unfused",) if len(case.sizes) > 1 else ())}
    return [name for name in _MAKERS if name not in absent]


def contenders(case: Case, names: Sequence[str]) -> list[Contender]:
    """Contenders of a case, on memory that they share."""
    memory = Memory(case.sizes)
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


def reference(param: Array, grads: Sequence[Array]) -> Array:
    """The parameter after a step with each of the gradients, in float64 from the paper.

    I. Loshchilov and F. Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2,
    with the schedule multiplier 1 and the decay in units of the learning rate, as in PyTorch.
    """
    theta = param.astype(np.float64)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    beta1, beta2 = BETAS
    for t, grad in enumerate(grads, start=1):
        g = grad.astype(np.float64)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        theta = theta - LR * (m_hat / (np.sqrt(v_hat) + EPS) + WEIGHT_DECAY * theta)
    return theta


def validate(case: Case, name: str) -> None:
    """Let a contender take a few steps on memory of its own, and compare with `reference`.

    Raises:
        RuntimeError: if it is wrong.
    """
    (contender,) = contenders(case, [name])
    check(contender)


def check(contender: Contender, steps: int = 5) -> None:
    """Take a few steps with fresh gradients, and compare with `reference`.

    A float32 step rounds the parameter twice, its factor of decay once, and the update, which is
    less than 0.01, a few times; four roundings of the parameter per step bound the error.

    Raises:
        RuntimeError: if they differ by more.
    """
    start = [param.copy() for param in contender.params]
    normal = np.random.default_rng(1).standard_normal
    history: list[list[Array]] = []
    for _ in range(steps):
        for grad in contender.grads:
            normal(dtype=np.float32, out=grad)
        history.append([grad.copy() for grad in contender.grads])
        contender.step()
    for number, (param, old) in enumerate(zip(contender.params, start, strict=True)):
        grads = [step[number] for step in history] if contender.moves else []
        expected = reference(old, grads)
        allowed = 4 * steps * 2.0**-24 * (np.abs(old) + 0.1)
        error = float(np.max(np.abs(param - expected) / allowed))
        if not error <= 1:
            raise RuntimeError(
                f"contender {contender.name!r} is wrong for array {number} of {len(start)}: "
                f"{error:.3g} times the allowed error; it is not timed"
            )
