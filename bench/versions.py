"""Time a step in two versions of fastadam, in turns, to see whether one is slower.

    git worktree add ../before v0.1
    python bench/versions.py ../before . --rounds 9

Each version runs in a process of its own. For every case the two take turns, on the same cores
and arrays of the same sizes; a time is the fastest of a round, and the ratio is the median over
the rounds. Before anything is timed, both must have updated the parameters alike. The results are
in bench/results/versions.csv. Linux only; run it on an idle machine.
"""

import argparse
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

RESULTS = Path(__file__).resolve().parent / "results" / "versions.csv"
TOLERANCE = 1e-6  # relative, of float32 parameters; a norm may be summed in another order
BY_CHANCE = 1e-3  # of parameters whose state is rounded by chance; versions may draw other noise
SECONDS = 0.05  # of one timing
Timed = tuple[Callable[[], Any], Any]  # a step, and an array it updates


@dataclass
class Comparison:
    """The time of a step in both versions, in microseconds, and the median ratio of a round."""

    case: str
    before: float
    after: float
    ratio: float
    rounds: int


def main(argv: list[str] | None = None) -> int:
    from fastadam.bench.script import Parser, at_least, existing_folder, output_file

    def checkout(text: str) -> Path:
        """A folder with a fastadam in it."""
        if not (path := existing_folder(text) / "fastadam").is_dir():
            raise argparse.ArgumentTypeError(f"there is no folder {str(path)!r}")
        return path.parent

    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=checkout, help="a checkout")
    parser.add_argument("after", type=checkout, help="another one")
    parser.add_argument("--rounds", type=at_least(1), default=9)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--csv", type=output_file, default=RESULTS)
    given = parser.parse_args(argv)
    comparisons = list[Comparison]()
    for found in compared(given.before, given.after, given.cases, given.rounds):
        print(
            f"{found.case:26} {found.before:12.2f} us {found.after:12.2f} us  {found.ratio:.3f}",
            flush=True,
        )
        comparisons.append(found)
    _write(given.csv, given.before, comparisons)
    return 0


def compared(before: Path, after: Path, cases: list[str], rounds: int) -> Iterator[Comparison]:
    """The times of each case in both versions.

    Raises:
        RuntimeError: if they do not update the parameters alike.
    """
    versions = [Version(path) for path in (before, after)]
    for case in cases:
        one, other = (version.checked(case) for version in versions)
        if abs(one - other) > (BY_CHANCE if "int8" in case else TOLERANCE) * abs(one):
            raise RuntimeError(f"{case}: the versions differ, {one!r} and {other!r}")
        times = [[version.time(case) for version in versions] for _ in range(rounds)]
        ratio = median(after / before for before, after in times)
        fastest = [min(column) for column in zip(*times, strict=True)]
        yield Comparison(case, fastest[0], fastest[1], ratio, rounds)
    for version in versions:
        version.close()


class Version:
    """A process that runs a checkout, and answers one line with another."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | {"PYTHONPATH": str(checkout.resolve()), "FASTADAM_VERSIONS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def checked(self, case: str) -> float:
        """The sum of a case's parameters after some steps."""
        return self._ask("check", case)

    def time(self, case: str) -> float:
        """The time of one of its steps, in microseconds."""
        return self._ask("time", case)

    def close(self) -> None:
        self._process.communicate()

    def _ask(self, *words: str) -> float:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\t".join(words) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {words} ended; its message is above")
        return float(answer)


def answer() -> int:
    """Answer the questions of `Version`, from standard input, until it ends."""
    known, step, param = "", None, np.zeros(0)
    for line in sys.stdin:
        question, case = line.rstrip("\n").split("\t")
        if case != known:
            step = None  # before the next arrays are allocated
            param = np.zeros(0)
            step, param = CASES[case]()
            known = case
        assert step
        for _ in range(3):
            step()
        if question == "check":
            print(float(param.sum(dtype=np.float64)), flush=True)
        else:
            print(_fastest(step) * 1e6, flush=True)
    return 0


def _fastest(step: Callable[[], Any]) -> float:
    """The least of three means, in seconds."""
    start = perf_counter()
    step()
    count = max(1, int(SECONDS / (perf_counter() - start)))
    gc.collect()
    gc.disable()
    means = list[float]()
    for _ in range(3):
        start = perf_counter()
        for _ in range(count):
            step()
        means.append((perf_counter() - start) / count)
    gc.enable()
    return min(means)


def _write(path: Path, before: Path, comparisons: list[Comparison]) -> None:
    import fastadam as fa
    from fastadam.bench import machine
    from fastadam.bench.csv_io import to_csv

    commit = ["git", "-C", str(before), "rev-parse", "--short", "HEAD"]
    name = subprocess.run(commit, check=True, capture_output=True, text=True).stdout.strip()
    described = machine.describe(fa.get_threads(), "torch", load=os.getloadavg()[0])
    path.write_text(to_csv({**described, "before": name}, comparisons, Comparison))


# The cases


def _random(*sizes: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(size, np.float32) for size in sizes]


def _core(*sizes: int, **options: Any) -> Timed:
    import fastadam as fa

    arrays = _random(*sizes)
    grads = [array * np.float32(0.5) for array in arrays]
    params, given = (arrays[0], grads[0]) if len(sizes) == 1 else (arrays, grads)
    opt = fa.AdamW(params, **options)
    return lambda: opt.step(given), arrays[0]


def _core64(size: int) -> Timed:
    import fastadam as fa

    param = _random(size)[0].astype(np.float64)
    grad = param * 0.5
    opt = fa.AdamW(param)
    return lambda: opt.step(grad), param


def _edited(size: int) -> Timed:
    import fastadam as fa

    (param,) = _random(size)
    grad = param * np.float32(0.5)
    opt = fa.AdamW(param)

    def step() -> None:
        opt.param_groups[0]["lr"] = 1e-3
        opt.step(grad)

    return step, param


def _functional(size: int) -> Timed:
    import fastadam as fa

    (param,) = _random(size)
    grad, first, second = param * np.float32(0.5), np.zeros_like(param), np.zeros_like(param)
    adamw = fa.functional.adamw
    return lambda: adamw(param, grad, first, second, step=3, lr=1e-3), param


def _dict(count: int, size: int) -> Timed:
    import fastadam as fa

    params = {f"layer{i}": array for i, array in enumerate(_random(*[size] * count))}
    grads = {name: array * np.float32(0.5) for name, array in params.items()}
    opt = fa.AdamW(params)
    return lambda: opt.step(grads), params["layer0"]


def _torch(*sizes: int) -> Timed:
    import torch

    import fastadam.torch

    params = [torch.nn.Parameter(torch.from_numpy(array)) for array in _random(*sizes)]
    for param in params:
        param.grad = param.detach() * 0.5
    opt = fastadam.torch.AdamW(params)
    return lambda: opt.step(), params[0].detach().numpy()


def _scheduled(size: int) -> Timed:
    import torch

    import fastadam.torch

    param = torch.nn.Parameter(torch.from_numpy(_random(size)[0]))
    param.grad = param.detach() * 0.5
    opt = fastadam.torch.AdamW([param])
    scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: 0.5 + 0.5 / (1 + step))

    def step() -> None:
        opt.step()
        scheduler.step()

    return step, param.detach().numpy()


TAIL = {"clip_norm": 1.0, "ema_decay": 0.9, "skip_nonfinite": True}
CASES: dict[str, Callable[[], Timed]] = {
    "4 elements": partial(_core, 4),
    **{f"1e{k}": partial(_core, 10**k) for k in range(3, 9)},
    "two arrays": partial(_core, 4, 5),
    "dict of 20 arrays": partial(_dict, 20, 10),
    "100 arrays of 10": partial(_core, *[10] * 100),
    "1000 arrays of 1000": partial(_core, *[1000] * 1000),
    "functional, 4": partial(_functional, 4),
    "lr edited, 4": partial(_edited, 4),
    "clip, 4": partial(_core, 4, clip_norm=1.0),
    "clip, skip, EMA, 4": partial(_core, 4, **TAIL),
    "clip, skip, EMA, 1e6": partial(_core, 10**6, **TAIL),
    "clip, skip, EMA, 1e7": partial(_core, 10**7, **TAIL),
    "float64, 1e6": partial(_core64, 10**6),
    "bfloat16 state, 1e6": partial(_core, 10**6, state_dtype="bfloat16"),
    "int8 state, 1e6": partial(_core, 10**6, state_dtype="int8"),
    "torch, 4 elements": partial(_torch, 4),
    "torch, scheduler, 4": partial(_scheduled, 4),
    "torch, 100 tensors of 10": partial(_torch, *[10] * 100),
    "torch, 1000 tensors of 1000": partial(_torch, *[1000] * 1000),
}


if __name__ == "__main__":
    if os.environ.get("FASTADAM_VERSIONS"):  # in a checkout, which may have no `run`
        sys.exit(answer())
    from fastadam.bench.script import run_script

    run_script(main)
