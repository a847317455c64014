"""Training of a GPT-2 with random weights on random tokens: what the optimizer adds to a step.

The model is in bfloat16, on the GPU. A row each for

  no optimizer        forward and backward only
  torch fused         torch.optim.AdamW on the GPU: bfloat16 weights and state
  torchao             its CPUOffloadOptimizer with PyTorch's fused AdamW on the host, if installed
  float32             CPUOffload with AdamW: float32 weights and state on the host
  float32, overlap    the same, buckets updated during backward
  int8 state          with state_dtype="int8"; with overlap, too
  split8, int8 state  7 bytes per parameter on the host

with the tokens per second, the time of a step, that of it which the optimizer adds, and the most
memory of the GPU in use. Rows are measured one after the other, each with a model of its own, and
written after each. Without a GPU, --smoke runs everything with a tiny model on the host; its times
mean nothing.
"""

import argparse
import csv
import gc
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fastadam.bench.console import progress, say
from fastadam.bench.machine import describe, describe_gpu
from fastadam.bench.script import Parser, add_csv, at_least, run_script
from fastadam.torch import AdamW
from fastadam.torch.offload import CPUOffload

ROOT = Path(__file__).resolve().parent.parent
SMOKE = (1, 8, 1, 32, 8)  # layers, width, heads, tokens, length
COLUMNS = ("contender", "tokens_per_s", "step_s", "added_s", "device_bytes", "host_bytes", "loss")
EXAMPLES = """\
examples:
  python bench/offload_training.py --csv offload-gpu.csv   on a GPU, about a minute
  python bench/offload_training.py --smoke                 a tiny model on the host
"""
INT8: dict[str, Any] = {"state_dtype": "int8", "min_quantized_size": 256}  # a block
SPLIT8 = INT8 | {"compensation": "split8"}
Make = Callable[[list[Any], float], Any]


def ours(**options: Any) -> Make:
    """An optimizer on the host, whose gradients do not stay on the device."""

    def make(params: list[Any], lr: float) -> Any:
        return CPUOffload(params, AdamW, lr=lr, offload_gradients=True, **options)

    return make


def torchao(params: list[Any], lr: float) -> Any:
    from torchao.optim import CPUOffloadOptimizer

    return CPUOffloadOptimizer(params, torch.optim.AdamW, offload_gradients=True, lr=lr, fused=True)


def fused(params: list[Any], lr: float) -> Any:
    return torch.optim.AdamW(params, lr=lr, fused=True)


CONTENDERS: dict[str, Make | None] = {
    "no optimizer": None,
    "torch fused": fused,
    "torchao": torchao,
    "float32": ours(),
    "float32, overlap": ours(overlap=True),
    "int8 state": ours(**INT8),
    "int8 state, overlap": ours(overlap=True, **INT8),
    "split8, int8 state": ours(**SPLIT8),
    "split8, int8 state, overlap": ours(overlap=True, **SPLIT8),
}


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--batch", type=at_least(1), default=32, metavar="N", help="rows of tokens (default: 32)")
    add("--steps", type=at_least(1), default=20, metavar="N", help="that are timed (default: 20)")
    add("--smoke", action="store_true", help="a tiny model on the host, one step")
    add_csv(add)
    return parser.parse_args(given)


class Training:
    """A model with random weights, on random tokens.

    Args:
        smoke: True for a tiny model on the host.
        batch: rows of tokens in a step.
    """

    def __init__(self, smoke: bool, batch: int) -> None:
        gpt2 = runpy.run_path(str(ROOT / "examples" / "gpt2.py"))
        self.device = "cpu" if smoke else "cuda"
        sizes = SMOKE if smoke else gpt2["SIZES"]["gpt2"]
        torch.manual_seed(0)
        self.model = gpt2["GPT"](*sizes).to(self.device, torch.bfloat16)
        self.model.mask = self.model.mask.to(self.device, torch.bfloat16)
        self.batch = torch.randint(0, sizes[3], (batch, sizes[4]), device=self.device)

    def backward(self) -> Any:
        """Compute gradients; returns the loss."""
        logits = self.model(self.batch)[:, :-1].flatten(0, 1).float()
        loss = torch.nn.functional.cross_entropy(logits, self.batch[:, 1:].flatten())
        loss.backward()
        return loss.detach()

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, opt: Any, steps: int) -> tuple[list[float], float]:
        """The times of some steps, and the last loss."""
        times = list[float]()
        for _ in range(steps):
            self.wait()
            begin = time.perf_counter()
            loss = self.backward()
            if opt is not None:
                opt.step()
            (self.model if opt is None else opt).zero_grad(set_to_none=True)
            self.wait()
            times.append(time.perf_counter() - begin)
        return times, float(loss)


def row(name: str, make: Make | None, chosen: argparse.Namespace, base: float) -> dict[str, Any]:
    """The numbers of a contender; `base` is the time of a step without an optimizer."""
    training = Training(chosen.smoke, 2 if chosen.smoke else chosen.batch)
    opt = make([*training.model.parameters()], 1e-4) if make else None
    steps = 1 if chosen.smoke else chosen.steps
    training.seconds(opt, 1 if chosen.smoke else 5)  # compiles, and takes memory
    if not chosen.smoke:
        torch.cuda.reset_peak_memory_stats()
    times, loss = training.seconds(opt, steps)
    step = statistics.median(times)
    peak = 0 if chosen.smoke else torch.cuda.max_memory_allocated()
    host = opt.memory().total if isinstance(opt, CPUOffload) else 0
    numbers = (training.batch.numel() / step, step, step - (base or step), peak, host, loss)
    return dict(zip(COLUMNS, (name, *numbers), strict=True))


def measured(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each contender that runs here.

    Raises:
        RuntimeError: if one of fastadam does not learn as without offload.
    """
    rows = list[dict[str, Any]]()
    with progress() as bar:
        for number, (name, make) in enumerate(CONTENDERS.items()):
            bar(name, number / len(CONTENDERS))
            base = rows[0]["step_s"] if rows else 0.0
            try:
                rows.append(row(name, make, chosen, base))
            except (ImportError, AssertionError) as error:
                if make is not torchao:
                    raise
                say(f"torchao does not run here, and is left out: {error}")
            gc.collect()
            if chosen.csv:
                write(rows, chosen)
    losses = {each["contender"]: each["loss"] for each in rows[1:]}
    for name, loss in losses.items():
        if not abs(loss / losses["torch fused"] - 1) < 0.1:
            raise RuntimeError(f"{name} has a loss of {loss}, torch {losses['torch fused']}")
    return rows


def write(rows: list[dict[str, Any]], chosen: argparse.Namespace) -> None:
    """Write rows, below comments on machine and versions."""
    about = describe(torch.get_num_threads()) if chosen.smoke else describe_gpu()
    with open(chosen.csv, "w", newline="") as file:
        file.writelines(f"# {key}: {value}\n" for key, value in about.items())
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    print(f"{'':28}{'tokens/s':>12}{'step':>12}{'added':>12}{'GPU':>10}{'host':>10}{'loss':>8}")
    for each in rows:
        print(
            f"{each['contender']:28}{each['tokens_per_s']:12.0f}"
            f"{1e3 * each['step_s']:9.2f} ms{1e3 * each['added_s']:9.2f} ms"
            f"{each['device_bytes'] / 1e9:7.2f} GB{each['host_bytes'] / 1e9:7.2f} GB"
            f"{each['loss']:8.3f}"
        )


def main(given: list[str] | None = None) -> int:
    """Measure and print; the exit status is 2 without a GPU."""
    chosen = arguments(given)
    if not chosen.smoke and not torch.cuda.is_available():
        say("PyTorch finds no GPU here; to try it with a tiny model on the host: --smoke")
        return 2
    show(measured(chosen))
    return 0


if __name__ == "__main__":
    run_script(main)
