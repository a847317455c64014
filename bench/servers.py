"""Steps of a federated server: fastadam against NumPy as Flower 1.42 writes FedAdam and FedYogi.

A model and what clients made of it: `mean` is their mean, computed before; `8 models` are weighted
and averaged in the step. Both contenders are first compared on a small model, then timed in turns
on arrays of their own.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import fastadam as fa
from fastadam.bench.console import progress
from fastadam.bench.machine import describe, load_average
from fastadam.bench.measurement import OURS, Measurement, Report
from fastadam.bench.script import Parser, add_csv, add_timing, at_least, cases_with, run_script
from fastadam.bench.suites import SERVERS, publish
from fastadam.bench.timing import measure

ETA, BETA1, BETA2, TAU = 0.1, 0.9, 0.99, 1e-3
TOLERANCE = 3e-7  # of parameters of size one: a few roundings in single precision
Step = Callable[[int], object]


class Case(NamedTuple):
    """A model and what a server makes of it."""

    strategy: str
    elements: int
    clients: int = 1

    @property
    def label(self) -> str:
        models = f"{self.clients} models" if self.clients > 1 else "mean"
        return f"{self.strategy}, {self.elements:.0e}, {models}".replace("e+0", "e")

    @property
    def bytes(self) -> int:
        """Per element: parameter and state are read and written, each model is read."""
        return 4 * (6 + self.clients)

    def start(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(self.elements, np.float32)

    def models(self) -> list[tuple[float, np.ndarray]]:
        rng, share = np.random.default_rng(1), 1 / self.clients
        return [
            (share, rng.standard_normal(self.elements, np.float32)) for _ in range(self.clients)
        ]


CASES = [Case(name, size) for size in (10**7, 10**8) for name in ("FedAdam", "FedYogi")]
CASES += [Case("FedAdam", 10**7, clients=8)]


def rate(strategy: str, number: int) -> float:
    """The learning rate of a round, which for FedAdam includes the correction of both moments."""
    power = number + 1.0
    corrected = np.sqrt(1 - np.power(BETA2, power)) / (1 - np.power(BETA1, power))
    return ETA * corrected if strategy == "FedAdam" else ETA


def fused(case: Case, models: list[tuple[float, np.ndarray]]) -> tuple[Step, Callable[[], object]]:
    param, settings = case.start(), {"betas": (BETA1, BETA2), "eps": TAU, "bias_correction": False}
    if case.strategy == "FedYogi":
        opt: fa.Optimizer = fa.Yogi(param, initial_accumulator_value=0.0, **settings)
    else:
        opt = fa.Adam(param, **settings)
    target = models if case.clients > 1 else models[0][1]
    return lambda number: opt.step(target=target, lr=rate(case.strategy, number)), lambda: param


def unfused(
    case: Case, models: list[tuple[float, np.ndarray]]
) -> tuple[Step, Callable[[], object]]:
    now = {"param": case.start(), "m": None, "v": None}

    def step(number: int) -> None:
        mean = models[0][1]
        if case.clients > 1:
            mean = models[0][1] * models[0][0]
            for weight, model in models[1:]:
                mean += model * weight
        delta = mean - now["param"]
        m = np.zeros_like(delta) if now["m"] is None else now["m"]
        v = np.zeros_like(delta) if now["v"] is None else now["v"]
        now["m"] = m = BETA1 * m + (1 - BETA1) * delta
        if case.strategy == "FedYogi":
            v = v - (1.0 - BETA2) * (delta**2) * np.sign(v - delta**2)
        else:
            v = BETA2 * v + (1 - BETA2) * (delta**2)
        now["v"] = v
        new = now["param"] + rate(case.strategy, number) * m / (np.sqrt(v) + TAU)
        now["param"] = np.asarray(new, np.float32)  # NumPy 2 makes it double

    return step, lambda: now["param"]


CONTENDERS = {OURS: fused, "NumPy": unfused}


def validate() -> float:
    """Compare the contenders on small models; the largest difference."""
    worst = 0.0
    for case in (
        Case(name, 1000, clients) for name in ("FedAdam", "FedYogi") for clients in (1, 8)
    ):
        made = [make(case, case.models()) for make in CONTENDERS.values()]
        for number in range(1, 6):
            for step, _ in made:
                step(number)
        one, other = (param() for _, param in made)
        worst = max(worst, float(np.abs(one - other).max() / np.abs(other).max()))
    if worst > TOLERANCE:
        raise RuntimeError(f"the contenders differ by {worst:.1e}, more than {TOLERANCE:.0e}")
    return worst


def timed(case: Case, chosen: argparse.Namespace, bar) -> list[Measurement]:
    """Time the contenders of a case in turns."""
    bar(case.label, 0.0)
    models = case.models()
    steps = [make(case, models)[0] for make in CONTENDERS.values()]
    timings = measure(
        [lambda step=step: step(5) for step in steps],
        seconds=chosen.seconds,
        rounds=chosen.rounds,
        progress=lambda fraction: bar(case.label, fraction),
    )
    return [
        Measurement(
            suite=SERVERS.name,
            case=case.label,
            config=case.strategy,
            contender=name,
            arrays=1,
            elements=case.elements,
            bytes=case.bytes,
            resident=0,
            **each.columns(),
        )
        for name, each in zip(CONTENDERS, timings, strict=True)
    ]


def arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python bench/servers.py --cases 1e7 --seconds 5\n"
        "  python bench/servers.py --csv bench/results/servers.csv\n\n"
        "charts.py writes what is in bench/results into the documents.",
    )
    add = parser.add_argument
    add(
        "--cases",
        default="",
        metavar="TEXT",
        help=f"those with this text in their label: {'; '.join(c.label for c in CASES)} "
        "(default: all; they take 6 GB)",
    )
    add("--threads", type=at_least(1), metavar="N", help="for fastadam (default: all cores)")
    add_timing(add)
    add_csv(add)
    return parser.parse_args()


def main() -> None:
    chosen, load = arguments(), load_average()
    cases = cases_with(chosen.cases, CASES)
    fa.set_threads(chosen.threads)
    with progress() as bar:
        worst = validate()
        rows = [row for case in cases for row in timed(case, chosen, bar)]
    report = Report(describe(fa.get_threads(), load=load), rows)
    publish(report, chosen.csv)
    print(f"Largest relative difference of parameters after five rounds: {worst:.1e}.")


if __name__ == "__main__":
    run_script(main)
