"""Suite of training with the optimizer on the host: the time it adds to a step, and memory.

A GPT-2 with random weights in bfloat16 learns random tokens on the GPU. Contenders, each with a
model of its own, one after the other:

  no optimizer        forward and backward only
  torch fused         torch.optim.AdamW on the GPU: bfloat16 weights and state
  torchao             its CPUOffloadOptimizer with PyTorch's fused AdamW on the host, if installed
  fastadam            CPUOffload with AdamW, offload_gradients=True, in several configurations

In the rows of this suite, `bytes` are the most memory of the GPU in use, and `resident` the memory
that the optimizer takes on the host, both per parameter.
"""

import gc
import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from . import tables
from .console import Show, say
from .machine import describe_cuda
from .measurement import OURS, Measurement, Report
from .tables import Column, Table, build
from .workload import Suite

NAME = "training"
NOTHING, FUSED, TORCHAO = "no optimizer", "torch fused", "torchao"
LR = 1e-4
WARM = 5  # steps that are not timed: they compile, and take memory
TOKENS = "tokens per step"  # in the report's description of the machine
SPLIT8 = "split8, int8 state"
INT8: dict[str, Any] = {"state_dtype": "int8", "min_quantized_size": 256}  # a block
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float32, overlap": {"overlap": True},
    "int8 state": INT8,
    "int8 state, overlap": INT8 | {"overlap": True},
    SPLIT8: INT8 | {"compensation": "split8"},
    f"{SPLIT8}, overlap": INT8 | {"compensation": "split8", "overlap": True},
}
Make = Callable[[list[Any]], Any]


class Settings(NamedTuple):
    """A model, and how long it is trained.

    Attributes:
        device: "cuda", or "cpu" to try the code without a GPU.
        size: the name of the model.
        batch: rows of tokens in a step.
        steps: that are timed.
        configurations: those of fastadam.
    """

    device: str = "cuda"
    size: str = "gpt2"
    batch: int = 32
    steps: int = 20
    configurations: dict[str, dict[str, Any]] = CONFIGURATIONS


def has_gpu() -> bool:
    """True if PyTorch has a GPU."""
    if find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def _fused(params: list[Any]) -> Any:
    import torch

    return torch.optim.AdamW(params, lr=LR, fused=True)


def _torchao(params: list[Any]) -> Any:
    import torch

    made = import_module("torchao.optim").CPUOffloadOptimizer
    return made(params, torch.optim.AdamW, offload_gradients=True, lr=LR, fused=True)


def _ours(options: dict[str, Any], params: list[Any]) -> Any:
    from ..torch import AdamW
    from ..torch.offload import CPUOffload

    return CPUOffload(params, AdamW, lr=LR, offload_gradients=True, **options)


class Training:
    """A model with random weights, on random tokens."""

    def __init__(self, settings: Settings, make: Make | None) -> None:
        import torch

        from .gpt import GPT, SIZES

        torch.manual_seed(0)
        sizes = SIZES[settings.size]
        self._gpu = torch.cuda if settings.device == "cuda" else None
        self.model = GPT(*sizes).to(settings.device, torch.bfloat16)
        shape = (settings.batch, sizes[-1])
        self.batch = torch.randint(0, sizes[-2], shape, device=settings.device)
        self.params = [*self.model.parameters()]
        self.opt = make(self.params) if make else None

    def _wait(self) -> None:
        if self._gpu:
            self._gpu.synchronize()

    def step(self) -> tuple[float, float]:
        """Train on the tokens once; returns the time and the loss."""
        self._wait()
        begin = perf_counter()
        loss = self.model.loss(self.batch)
        loss.backward()
        if self.opt is not None:
            self.opt.step()
        (self.model if self.opt is None else self.opt).zero_grad(set_to_none=True)
        self._wait()
        return perf_counter() - begin, loss.item()

    def most_memory(self) -> int:
        """The most memory of the GPU in use since the last call, in bytes."""
        if self._gpu is None:
            return 0
        most = int(self._gpu.max_memory_allocated())
        self._gpu.reset_peak_memory_stats()
        return most

    def host_memory(self) -> int:
        """The bytes that the optimizer of fastadam takes on the host; 0 for others."""
        memory = getattr(self.opt, "memory", None)
        return int(memory().total) if memory else 0


def _row(
    name: str, config: str, make: Make | None, settings: Settings
) -> tuple[Measurement, float]:
    """The numbers of a contender, and its last loss."""
    training = Training(settings, make)
    for _ in range(WARM if settings.device == "cuda" else 1):
        training.step()
    training.most_memory()
    timed = [training.step() for _ in range(settings.steps)]
    p20, p50, p80 = np.quantile([seconds for seconds, _ in timed], (0.2, 0.5, 0.8)).tolist()
    number = sum(param.numel() for param in training.params)
    sizes = {"arrays": len(training.params), "elements": number}
    memory = {
        "bytes": training.most_memory() / number,
        "resident": training.host_memory() / number,
    }
    times = {"rounds": settings.steps, "p20_s": p20, "p50_s": p50, "p80_s": p80}
    row = Measurement(NAME, settings.size, config, name, **sizes, **memory, **times)
    return row, timed[-1][1]


def measured(show: Show, keep: Callable[[Report], object], settings: Settings) -> Report:
    """A row for each contender that runs here; `keep` is called with the rows so far.

    Raises:
        RuntimeError: if configurations of fastadam do not learn alike.
    """
    about = _conditions(settings)
    makes: dict[tuple[str, str], Make | None] = {(NOTHING, ""): None, (FUSED, ""): _fused}
    if find_spec("torchao"):
        makes[TORCHAO, ""] = _torchao
    makes |= {(OURS, c): partial(_ours, how) for c, how in settings.configurations.items()}
    rows, learned = list[Measurement](), math.nan
    for number, ((name, config), make) in enumerate(makes.items()):
        show(f"training, {config or name}", number / len(makes))
        try:
            row, loss = _row(name, config, make, settings)
        except Exception as error:
            if name != TORCHAO:
                raise
            say(f"{name} does not run here, and is left out: {error}")
            continue
        finally:
            gc.collect()
        if name == OURS and abs(loss / learned - 1) > 0.1:
            raise RuntimeError(f"{config} has a loss of {loss}, others of fastadam of {learned}")
        learned = loss if name == OURS else learned
        rows.append(row)
        keep(Report(about, rows))
    return Report(about, rows)


def _conditions(settings: Settings) -> dict[str, str]:
    """The machine, the versions, and the tokens of a step."""
    from .gpt import SIZES

    tokens = settings.batch * SIZES[settings.size][-1]
    return {**describe_cuda("torchao"), TOKENS: str(tokens)}


# Tables


def added(report: Report, row: Measurement) -> float:
    """Seconds that the optimizer adds to a step."""
    bare = report.find(row.case, "", NOTHING)
    return row.p50_s - bare.p50_s if bare else math.nan


def label_of(row: Measurement) -> str:
    """The configuration of fastadam, or another contender."""
    return f"{OURS}, {row.config}" if row.contender == OURS else row.contender


def table(report: Report) -> Table:
    """A row for each contender and configuration."""
    tokens = float(report.machine.get(TOKENS, "nan"))

    def seconds_added(row: Measurement) -> str:
        more = added(report, row)
        return "" if row.contender == NOTHING else f"{1e3 * more:.1f} ms"

    columns = [
        Column("optimizer", label_of),
        Column("tokens/s", lambda row: f"{tokens / row.p50_s:.0f}"),
        Column("time of a step", lambda row: tables.duration(row.p50_s)),
        Column("added", seconds_added),
        Column("GPU", lambda row: f"{row.bytes * row.elements / 1e9:.2f} GB"),
        Column("host", lambda row: f"{row.resident * row.elements / 1e9:.2f} GB"),
    ]
    first = report.rows[0]
    caption = (
        f"{first.case}, {first.elements / 1e6:.0f} million parameters in bfloat16, {tokens:.0f} "
        "tokens in a step. Median time of a step, and what the optimizer adds to that of forward "
        "and backward; most memory of the GPU in use; memory of the optimizer of fastadam on the "
        "host."
    )
    return build(report.rows, columns, 1, caption)


def summary(report: Report) -> str:
    """Times that the optimizer adds, relative to torchao."""
    others = list(report.of(TORCHAO))
    if not others:
        return "torchao was not timed."
    theirs = added(report, others[0])
    shares = [f"{added(report, row) / theirs:.2f}x with {row.config}" for row in report.of()]
    return f"{OURS} adds to a step, relative to torchao: {', '.join(shares)}"


def headline(report: Report) -> str:
    """One sentence on the fastest configuration."""
    best = min(report.of(), key=lambda row: row.p50_s)
    gpu = report.machine.get("gpu")
    return (
        f"An AdamW step on the host adds {1e3 * added(report, best):.1f} ms to a training step of "
        f"{best.case} on {gpu} ({best.config})."
    )


SUITE = Suite(NAME, table, summary, headline)
