"""Train a small transformer on characters with several optimizers of fastadam.torch.

The text is the documentation of Python's language that every Python has, in `pydoc_data.topics`.
The last tenth of it is for validation. The learning rate rises linearly over the first tenth of the
steps and then falls linearly to zero; with ScheduleFreeAdamW, it stays at its peak. Every optimizer
tries some peaks on the same seeds; a seed decides the first weights and the batches. Shown is the
peak with the least validation loss at the end, in the mean over the seeds.

bench/results/characters.csv has all scores of those runs, and the last score of every other run.
The chart docs/assets/characters.png is drawn from it, and the table in docs/optimizers/index.md is
made from it. On one machine, the same seeds give the same numbers.
"""

import pydoc_data.topics
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from curves import ROOT, Run, best, chosen, draw_panels, follow, kept, last, parser
from rich.console import Console
from rich.progress import track
from torch import nn

import fastadam.torch as fused
from fastadam.bench import machine
from fastadam.bench.charts import canvas
from fastadam.bench.csv_io import digest, from_csv, to_csv
from fastadam.bench.gpt import GPT
from fastadam.bench.script import run_script
from fastadam.bench.tables import Table, conditions, in_document

LAYERS, WIDTH, HEADS, LENGTH, BATCH = 2, 40, 4, 48, 8
STEPS, SEEDS, SCORES, VALIDATION = 300, 2, 10, 32
USUAL = (3e-3, 1e-2, 3e-2)
BLOCK = re.compile(r"(<!-- characters -->\n).*?(<!-- /characters -->)", re.DOTALL)

EPILOG = """\
examples:
  python bench/characters.py             train, save, draw, fill the table: three minutes of CPU
  python bench/characters.py --steps 20  a quick look, which replaces what was saved
  python bench/characters.py --draw      draw what was saved, and fill the table
  python bench/characters.py --check     are chart and table those of what was saved?
"""

Optimizers = list[torch.optim.Optimizer]


class Contender(NamedTuple):
    """Optimizers of a model as a function of it, of the learning rate and of hyperparameters; the
    learning rates to try."""

    make: Callable[..., Optimizers]
    rates: Sequence[float] = USUAL
    hyper: Mapping[str, object] = {}


def one(kind: Callable[..., torch.optim.Optimizer]) -> Callable[..., Optimizers]:
    """A function that makes one optimizer of all parameters."""
    return lambda model, **hyper: [kind(model.parameters(), **hyper)]


def muon(model: GPT, lr: float, **hyper: Any) -> Optimizers:
    """Muon of the matrices in the blocks, AdamW of everything else."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if all(p is not each for each in matrices)]
    return [fused.Muon(matrices, lr=lr, **hyper), fused.AdamW(others, lr=lr)]


def contenders(steps: int) -> dict[str, Contender]:
    """All by name, for so many steps."""
    slow: dict[str, object] = {"alpha_warmup": steps, "beta3_warmup": steps}
    return {
        "torch.optim.AdamW": Contender(one(torch.optim.AdamW)),
        "AdamW": Contender(one(fused.AdamW)),
        "AdamW, int8 state": Contender(
            one(fused.AdamW), hyper={"state_dtype": "int8", "min_quantized_size": 0}
        ),
        "Adafactor": Contender(one(fused.Adafactor), (3e-2, 1e-1, 3e-1)),
        "AdEMAMix": Contender(one(fused.AdEMAMix), hyper=slow),
        "ADOPT": Contender(one(fused.ADOPT)),
        "LAMB": Contender(one(fused.LAMB), (1e-2, 3e-2, 1e-1)),
        "Lion": Contender(one(fused.Lion), (1e-3, 3e-3, 1e-2)),
        "Muon and AdamW": Contender(muon, hyper={"adjust_lr_fn": "match_rms_adamw"}),
        "Prodigy": Contender(one(fused.Prodigy), (1.0,), {"safeguard_warmup": True}),
        "ScheduleFreeAdamW": Contender(
            one(fused.ScheduleFreeAdamW), (3e-3, 1e-2, 3e-2), {"warmup_steps": warmup(steps)}
        ),
    }


@dataclass(frozen=True)
class Score:
    """Losses of a run after a step, in nats per character: the mean over the batches since the last
    score, and that of the validation rows."""

    optimizer: str
    lr: float
    seed: int
    step: int
    train_loss: float
    valid_loss: float
    hyper: str

    @property
    def number(self) -> int:
        return self.step


class Text(NamedTuple):
    """Characters as numbers, and how many different ones there are."""

    train: Any
    valid: Any
    tokens: int


def load() -> Text:
    """The topics in the order of their names."""
    topics = pydoc_data.topics.topics
    characters = np.array(list("".join(topics[name] for name in sorted(topics))))
    alphabet, numbers = np.unique(characters, return_inverse=True)
    split = len(numbers) * 9 // 10
    return Text(numbers[:split], numbers[split:], len(alphabet))


def rows(numbers: Any, rng: np.random.Generator, count: int) -> torch.Tensor:
    """Rows of text that begin at random places."""
    starts = rng.integers(len(numbers) - LENGTH, size=count)
    return torch.from_numpy(numbers[starts[:, None] + np.arange(LENGTH)])


def model_of(tokens: int) -> GPT:
    """A model with the first weights of PyTorch's seed."""
    model = GPT(LAYERS, WIDTH, HEADS, tokens, LENGTH)
    for param in chain(model.embedding.parameters(), model.position.parameters()):
        nn.init.normal_(param, std=0.02)
    for param in model.blocks.parameters():  # PyTorch copies one block to all layers
        if param.ndim == 2:
            nn.init.xavier_uniform_(param)
    return model


def warmup(steps: int) -> int:
    """The steps in which the learning rate rises."""
    return max(1, steps // 10)


def schedule(opt: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate as a share of its peak; constant for an optimizer with an average."""

    def share(step: int) -> float:
        rise = warmup(steps)
        return (step + 1) / rise if step < rise else (steps - step) / (steps - rise + 1)

    averages = isinstance(opt, fused.ScheduleFreeAdamW)  # it has a warm-up of its own
    return torch.optim.lr_scheduler.LambdaLR(opt, (lambda _: 1.0) if averages else share)


@contextmanager
def evaluated(opts: Optimizers) -> Iterator[None]:
    """Put averages of optimizers that have them in the model."""
    averages = [opt for opt in opts if isinstance(opt, fused.ScheduleFreeAdamW)]
    for opt in averages:
        opt.eval()
    with torch.no_grad():
        yield
    for opt in averages:
        opt.train()


def trained(run: Run, steps: int, text: Text) -> list[Score]:
    """The scores of a run."""
    torch.manual_seed(run.seed)
    rng = np.random.default_rng(run.seed)
    model, contender = model_of(text.tokens), contenders(steps)[run.optimizer]
    opts = contender.make(model, lr=run.lr, **contender.hyper)
    schedules = [schedule(opt, steps) for opt in opts]
    valid = rows(text.valid, np.random.default_rng(0), VALIDATION)
    every = max(1, steps // SCORES)
    hyper = ", ".join(f"{name}={value!r}" for name, value in contender.hyper.items())
    scores, losses = [], []
    for step in range(1, steps + 1):
        model.zero_grad()
        loss = model.loss(rows(text.train, rng, BATCH))
        loss.backward()
        losses.append(loss.item())
        for each in (*opts, *schedules):
            each.step()
        if step % every == 0 or step == steps:
            with evaluated(opts):
                scores.append(Score(*run, step, fmean(losses), model.loss(valid).item(), hyper))
            losses = []
    return scores


def measured(steps: int, seeds: int) -> str:
    """The CSV of all runs. PyTorch uses one thread: with several, the last bits would depend on how
    many there are."""
    text, every = load(), contenders(steps)
    runs = [
        Run(name, lr, seed)
        for name, contender in every.items()
        for lr in contender.rates
        for seed in range(seeds)
    ]
    shown = track(runs, "training", console=Console(stderr=True), transient=True)
    with machine.using_threads(1, torch=True):
        scores = kept({run: trained(run, steps, text) for run in shown})
    params = sum(p.numel() for p in model_of(text.tokens).parameters())
    trained_on = f"{params:,} parameters, {BATCH} rows of {LENGTH} characters per step"
    return to_csv({**machine.describe(threads=1), "training": trained_on}, scores, Score)


def draw(text: str, path: Path) -> None:
    """Draw the chart of a CSV: a panel for each optimizer, with the others in grey behind it."""
    measured_on, scores = from_csv(text, Score)
    seeds = len({s.seed for s in scores})
    note = (
        f"Mean and range over {seeds} seeds; grey: the means of the other optimizers. A "
        f"transformer of {measured_on['training']}. Learning rates, at their peak, are chosen by "
        f"validation loss.\n{conditions(measured_on)}"
    )
    with canvas(path, digest(text), (12, 8.4), note) as figure:
        figure.suptitle("Validation loss, nats per character", x=0.01, ha="left", fontsize=12)
        for axes in draw_panels(figure, best(scores), lambda s: s.valid_loss, "step", 4):
            axes.set_ylim(top=3.6)


def table(text: str) -> str:
    """The learning rates tried and chosen, other hyperparameters, and the last losses."""
    measured_on, scores = from_csv(text, Score)
    end, rates = last(scores), chosen(scores)
    lines = []
    for name, lr in rates.items():
        tried = sorted({s.lr for s in end if s.optimizer == name})
        losses = [s.valid_loss for s in end if (s.optimizer, s.lr) == (name, lr)]
        shown = ", ".join(f"**{rate:g}**" if rate == lr else f"{rate:g}" for rate in tried)
        hyper = next(s.hyper for s in end if s.optimizer == name)
        spread = f"{fmean(losses):.3f} ({min(losses):.3f} to {max(losses):.3f})"
        lines.append((name, f"`{hyper}`" if hyper else "defaults", shown, spread))
    header = ("optimizer", "hyperparameters", "peaks of the learning rate", "validation loss")
    caption = (
        f"Loss after {end[0].step} steps in nats per character: mean, least and greatest over "
        f"{len({s.seed for s in scores})} seeds, at the peak in bold; {measured_on['training']}."
    )
    return in_document(Table(header, [lines], 3, caption), measured_on)


def filled(document: str, text: str) -> str:
    """A document with the table of a CSV."""
    return BLOCK.sub(lambda block: f"{block[1]}{table(text)}\n{block[2]}", document)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Train, draw and fill the table, or follow the options; return the exit status."""
    options = parser(__doc__, EPILOG, "steps", STEPS, SEEDS).parse_args(arguments)
    path, page = root / "bench/results/characters.csv", root / "docs/optimizers/index.md"
    paths = path, root / "docs/assets/characters.png"
    status = follow(options, paths, lambda: measured(options.steps, options.seeds), draw)
    document = page.read_text(encoding="utf-8")
    if (new := filled(document, path.read_text(encoding="utf-8"))) != document:
        if not options.check:
            page.write_text(new, encoding="utf-8")
        print("stale:" if options.check else "wrote", page.relative_to(root).as_posix())
        status |= int(options.check)
    return status


if __name__ == "__main__":
    run_script(main)
