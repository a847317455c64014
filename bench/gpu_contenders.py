"""The contenders on a GPU: one AdamW step, in several implementations on device memory.

All of them launch in the default stream, so one pair of events times each. Contenders of a case
exist at the same time, to be timed in turns. `fastadam`, `numba unfused` and PyTorch have arrays of
their own; all that update PyTorch's tensors share those. Gradients stay the same from step to step.
"""

import gc
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np
from numba import config, cuda

import fastadam as fa
from fastadam.bench.measurement import LIMIT, OURS
from fastadam.bench.variants import ADAMW
from fastadam.bench.workload import BETAS, EPS, HYPER, LR, WEIGHT_DECAY, Case, Contender, one_array
from fastadam.cuda import array as device
from fastadam.cuda.backend import CUDA
from fastadam.engine.convert import identity
from fastadam.engine.launch import Launch
from fastadam.kernels.factory import kernel
from fastadam.kernels.formats import FLOAT
from fastadam.kernels.stream import Stream

SIMULATED = bool(config.ENABLE_CUDASIM)
THREADS = 2 if SIMULATED else 256
MOST_BLOCKS = 2 if SIMULATED else 1 << 16

# Bytes that a step reads and writes per element: the moments are float32.
STEP_BYTES = {"float32": ADAMW.bytes, "bfloat16": ADAMW.bytes - 6}
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-9}

# Bytes per float32 element while everything is alive: `fastadam` 16, `numba unfused` 24, the two
# copies of the limit 28; PyTorch 16, temporaries of foreach 16, moments of the adapter 8.
OWN_BYTES, TORCH_BYTES = 68, 40

Array = Any


def gpt2() -> Case:
    """The 148 parameters of GPT-2 small (A. Radford et al., 2019): 124 million elements."""
    width, layers, vocabulary, context = 768, 12, 50257, 1024
    norm = [width, width]
    attention = [width * 3 * width, 3 * width, width * width, width]
    feed_forward = [width * 4 * width, 4 * width, 4 * width * width, width]
    layer = [*norm, *attention, *norm, *feed_forward]
    sizes = [vocabulary * width, context * width, *layer * layers, *norm]
    return Case("GPT-2, 148 arrays", tuple(sizes))


def validated() -> list[Case]:
    """Small cases for every branch of the contenders."""
    sizes = (5, 40) if SIMULATED else (1003, 70_001)
    several = (17, 8, 1) if SIMULATED else (17, 10_000, 1)
    return [*map(one_array, sizes), Case("3 arrays", several)]


class Memory:
    """Memory of the contenders of one case, each part allocated when first used."""

    def __init__(self, sizes: Sequence[int], dtype: str) -> None:
        self.sizes, self.elements, self.dtype = sizes, sum(sizes), dtype
        if dtype == "bfloat16":
            import ml_dtypes  # noqa: F401  # brings the name to NumPy
        self._block = np.random.default_rng(0).standard_normal(1 << 20, np.float32)

    def values(self, size: int) -> Any:
        """Random numbers on the host."""
        return np.resize(self._block, size)

    @cached_property
    def tensors(self) -> list[Any]:
        """Parameters with gradients, allocated by PyTorch."""
        import torch

        parameters = []
        for size in self.sizes:
            values = torch.from_numpy(self.values(size)).to(getattr(torch, self.dtype))
            parameters.append(torch.nn.Parameter(values.cuda()))
            parameters[-1].grad = values.cuda()
        return parameters

    @cached_property
    def moments(self) -> list[tuple[Any, Any]]:
        import torch

        return [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.tensors]


def _fastadam(name: str, memory: Memory) -> Contender:
    params, grads = _filled(memory), _filled(memory)
    alone = len(params) == 1
    optimizer = fa.AdamW(params[0] if alone else params, **HYPER)
    step = partial(optimizer.step, grads[0] if alone else grads)
    rounding = ROUNDING[memory.dtype]
    return Contender(name, step, params, grads, read=_floats, rounding=rounding)


def _filled(memory: Memory) -> list[Any]:
    arrays = [device.zeros(size, memory.dtype) for size in memory.sizes]
    for array, size in zip(arrays, memory.sizes, strict=True):
        array[...] = memory.values(size)
    return arrays


def _floats(array: Any) -> Any:
    return np.array(array).astype(np.float32)


def _torch(name: str, memory: Memory, *, foreach: bool, fused: bool) -> Contender:
    import torch

    optimizer = torch.optim.AdamW(memory.tensors, foreach=foreach, fused=fused, **HYPER)
    where = "cuda" if fused else "cpu"  # of the counters, as PyTorch itself has them
    for parameter, (exp_avg, exp_avg_sq) in zip(memory.tensors, memory.moments, strict=True):
        step = torch.zeros((), device=where)
        optimizer.state[parameter] = {"step": step, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    return _over_tensors(name, memory, optimizer)


def _adapter(name: str, memory: Memory) -> Contender:
    from fastadam.torch import AdamW

    return _over_tensors(name, memory, AdamW(memory.tensors, **HYPER))


def _over_tensors(name: str, memory: Memory, optimizer: Any) -> Contender:
    import torch

    params = [parameter.detach() for parameter in memory.tensors]
    grads = [parameter.grad for parameter in memory.tensors]
    return Contender(
        name,
        optimizer.step,
        params,
        grads,
        read=lambda tensor: tensor.float().cpu().numpy().copy(),
        write=lambda tensor, values: tensor.copy_(torch.from_numpy(values)),
        rounding=ROUNDING[memory.dtype],
    )


def _limit(name: str, memory: Memory) -> Contender:
    """One kernel that reads half the bytes of a step, and writes them."""
    step = copy_of(STEP_BYTES[memory.dtype] * memory.elements)
    return Contender(name, step, [], [], moves=False)


def copy_of(moved: int) -> Callable[[], None]:
    """A launch of a kernel that copies, and moves so many bytes with that: it reads half of them,
    in the loop of an update, and writes them."""
    source, target = (device.zeros(max(1, moved // 8), "float32") for _ in range(2))
    streams = (Stream("param", FLOAT["float32"], "w"), Stream("grad", FLOAT["float32"], "r"))
    launch = Launch(identity, kernel(identity, streams, CUDA.target), [target], [0])
    launch.place("grad", [source.address])
    run = launch.table.runner(None)

    def copy() -> None:
        run()

    copy.kept = source, target, launch  # type: ignore[attr-defined]
    return copy


# One kernel per operation


def each(operation: Callable[..., Any]) -> Callable[..., None]:
    """Compile `operation(i, out, x, factor)` over all elements of `out`."""
    compiled = cuda.jit(operation, device=True)

    @cuda.jit
    def kernel(out, x, factor):
        start = np.int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
        for i in range(start, out.size, np.int64(cuda.gridDim.x) * cuda.blockDim.x):
            out[i] = compiled(out[i], x[i], factor)

    def run(out: Any, x: Any, factor: float = 0.0) -> None:
        blocks = min(-(-out.size // THREADS), MOST_BLOCKS)
        kernel[blocks, THREADS](out, x, np.float32(factor))

    return run


scale = each(lambda out, x, factor: out * factor)
shift = each(lambda out, x, factor: out + factor)
root = each(lambda out, x, factor: math.sqrt(out))
scaled = each(lambda out, x, factor: factor * x)
square = each(lambda out, x, factor: x * x)
add = each(lambda out, x, factor: out + x)
subtract = each(lambda out, x, factor: out - x)
divide = each(lambda out, x, factor: out / x)


def _numba_unfused(name: str, memory: Memory) -> Contender:
    """A kernel for every line of a textbook's AdamW, temporaries in scratch memory."""
    zeros = [np.zeros(size, np.float32) for size in memory.sizes]
    params, grads = ([cuda.to_device(memory.values(z.size)) for z in zeros] for _ in range(2))
    moments = [(cuda.to_device(zero), cuda.to_device(zero)) for zero in zeros]
    scratch = [cuda.device_array(max(memory.sizes), np.float32) for _ in range(2)]
    arrays = [
        (p, g, *m, *(each[: p.size] for each in scratch))
        for p, g, m in zip(params, grads, moments, strict=True)
    ]
    (beta1, beta2), steps = BETAS, count(1)

    def step() -> None:
        number = next(steps)
        for param, grad, exp_avg, exp_avg_sq, update, denominator in arrays:
            scale(param, param, 1 - LR * WEIGHT_DECAY)
            scale(exp_avg, exp_avg, beta1)
            scaled(update, grad, 1 - beta1)
            add(exp_avg, update)
            scale(exp_avg_sq, exp_avg_sq, beta2)
            square(update, grad)
            scale(update, update, 1 - beta2)
            add(exp_avg_sq, update)
            scaled(denominator, exp_avg_sq, 1 / (1 - beta2**number))
            root(denominator, denominator)
            shift(denominator, denominator, EPS)
            scaled(update, exp_avg, LR / (1 - beta1**number))
            divide(update, denominator)
            subtract(param, update)

    def write(array: Any, values: Any) -> None:
        array.copy_to_device(values)

    return Contender(name, step, params, grads, read=cuda_to_host, write=write)


def cuda_to_host(array: Any) -> Any:
    """Copy an array of the device."""
    return array.copy_to_host()


_MAKERS: dict[str, Callable[[str, Memory], Contender]] = {
    "numba unfused": _numba_unfused,
    "torch foreach": partial(_torch, foreach=True, fused=False),
    "torch fused": partial(_torch, foreach=False, fused=True),
    "torch adapter": _adapter,
    OURS: _fastadam,
    LIMIT: _limit,
}


def torch_on_gpu() -> bool:
    """Test if PyTorch is installed and sees the GPU."""
    if SIMULATED or find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def names_for(torch: bool, dtype: str) -> list[str]:
    """The contenders, slowest first by expectation."""
    absent = [] if torch else [name for name in _MAKERS if name.startswith("torch")]
    return [n for n in _MAKERS if n not in absent and (dtype == "float32" or n != "numba unfused")]


def contenders(case: Case, names: Sequence[str], dtype: str) -> list[Contender]:
    """Contenders of a case, each with its memory."""
    memory = Memory(case.sizes, dtype)
    return [_MAKERS[name](name, memory) for name in names]


def bytes_of(case: Case, torch: bool) -> int:
    """Bytes of device memory that they take together."""
    return case.elements * (OWN_BYTES + (TORCH_BYTES if torch else 0))


def free_memory() -> float:
    """Bytes of the device that are free, after unused ones are released."""
    gc.collect()
    context = cuda.current_context()
    if not SIMULATED:
        with suppress(AttributeError):
            context.memory_manager.deallocations.clear()
        if torch_on_gpu():
            import torch

            torch.cuda.empty_cache()
    return float(context.get_memory_info()[0])


# Time


class Events:
    """A stopwatch for the default stream; in the simulator, that of the host."""

    def __init__(self) -> None:
        self._start, self._stop = cuda.event(), cuda.event()

    def __call__(self, step: Callable[[], object], repeats: int) -> float:
        """The mean time of a few steps in a row, after one that does not count."""
        step()
        began = perf_counter()
        self._start.record()
        for _ in range(repeats):
            step()
        self._stop.record()
        self._stop.synchronize()
        if SIMULATED:
            return (perf_counter() - began) / repeats
        return float(self._start.elapsed_time(self._stop)) / 1e3 / repeats


def host_time(step: Callable[[], object], steps: int, rounds: int = 9) -> float:
    """Median time that a call of `step` occupies the host, the device idle at first."""
    times = []
    for _ in range(rounds):
        step()
        cuda.synchronize()
        began = perf_counter()
        for _ in range(steps):
            step()
        times.append((perf_counter() - began) / steps)
        cuda.synchronize()
    return sorted(times)[rounds // 2]


def copy_bandwidth(nbytes: int, rounds: int = 9) -> float:
    """Bytes per second, read and written, of a copy from the device to the device."""
    source, target = (cuda.device_array(nbytes, np.uint8) for _ in range(2))
    events, copy = Events(), partial(target.copy_to_device, source)
    times = sorted(events(copy, 3) for _ in range(rounds))
    return 2 * nbytes / times[rounds // 2]
