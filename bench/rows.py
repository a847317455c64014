"""Row-sparse Adam: fastadam against PyTorch's SparseAdam, and against steps of all elements.

A table of a million rows; gradients of some of its rows, drawn uniformly without repetition or by
Zipf's law (exponent 1.2) with it, in no order. Every contender is first compared with PyTorch's
SparseAdam, or with its dense twin. Then all are timed in turns on arrays of their own and on the
same gradients. `limit` is a compiled loop over the same rows in order, whose gradients lie as
given; it reads and writes what a step does, and computes one addition per number. Gradients of
PyTorch are sparse tensors that were not coalesced before.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import torch

import fastadam as fa
from fastadam.bench.console import progress
from fastadam.bench.machine import describe, load_average
from fastadam.bench.measurement import LIMIT, OURS, Measurement, Report
from fastadam.bench.script import Parser, add_csv, add_timing, at_least, cases_with, run_script
from fastadam.bench.suites import ROWS, publish
from fastadam.bench.timing import measure

LR, BYTES = 1e-3, 28  # per float32 element: four reads, three writes
TOLERANCE = 1e-6  # of parameters of size one after three steps of 1e-3, in float32: some ulp


class Case(NamedTuple):
    """A table and the rows of it that have a gradient."""

    width: int
    share: float
    zipf: bool = False
    rows: int = 1_000_000

    @property
    def label(self) -> str:
        law = ", Zipf" if self.zipf else ""
        return f"{self.rows:.0e} x {self.width}, {self.share:.1%}{law}".replace("e+0", "e")

    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        rng, count = np.random.default_rng(0), int(self.rows * self.share)
        if self.zipf:
            indices = rng.zipf(1.2, count) % self.rows
        else:
            indices = rng.choice(self.rows, count, replace=False)
        return indices, rng.standard_normal((count, self.width)).astype(np.float32)


CASES = [Case(64, share) for share in (0.001, 0.01, 0.1)]
CASES += [Case(16, 0.01), Case(128, 0.01), Case(64, 0.01, zipf=True)]
Step = Callable[[], object]
Made = tuple[Step, Callable[[], np.ndarray]]


def ours(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table = np.ones((case.rows, case.width), np.float32)
    opt, rows = fa.SparseAdam(table, lr=LR), fa.Rows(indices, values)
    return lambda: opt.step(rows), lambda: table


def torch_sparse(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table = torch.nn.Parameter(torch.ones(case.rows, case.width))
    opt = torch.optim.SparseAdam([table], lr=LR)
    table.grad = torch.sparse_coo_tensor(
        torch.tensor(indices)[None], torch.tensor(values), table.shape, check_invariants=False
    )
    return opt.step, lambda: table.detach().numpy()


def all_elements(case: Case, indices: np.ndarray, values: np.ndarray) -> np.ndarray:
    grad = np.zeros((case.rows, case.width), np.float32)
    np.add.at(grad, indices, values)
    return grad


def torch_dense(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table = torch.nn.Parameter(torch.ones(case.rows, case.width))
    opt = torch.optim.Adam([table], lr=LR, fused=True)
    table.grad = torch.tensor(all_elements(case, indices, values))
    return opt.step, lambda: table.detach().numpy()


def ours_dense(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table, grad = np.ones((case.rows, case.width), np.float32), all_elements(case, indices, values)
    opt = fa.Adam(table, lr=LR)
    return lambda: opt.step(grad), lambda: table


@numba.njit(parallel=True, error_model="numpy")
def touched(table, first, second, values, indices, order, tasks):
    share = -(-len(indices) // tasks)
    for task in numba.prange(tasks):
        for k in range(task * share, min((task + 1) * share, len(indices))):
            row, m, v = table[indices[k]], first[indices[k]], second[indices[k]]
            g = values[order[k]]
            for j in range(len(row)):
                m[j] += g[j]
                v[j] -= g[j]
                row[j] += g[j]


def limit(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    tables = [np.ones((case.rows, case.width), np.float32) for _ in range(3)]
    rows, order = np.unique(indices, return_index=True)
    tasks = fa.get_threads()
    return lambda: touched(*tables, values, rows, order, tasks), lambda: tables[0]


CONTENDERS = {
    OURS: ours,
    LIMIT: limit,
    "torch SparseAdam": torch_sparse,
    "torch dense, fused": torch_dense,
    "fastadam dense": ours_dense,
}
TWINS = ((OURS, "torch SparseAdam"), ("fastadam dense", "torch dense, fused"))


def validate() -> None:
    """Compare the contenders on a small table."""
    case = Case(8, 0.3, rows=200)
    indices, values = case.gradient()
    indices = np.append(indices, indices[:9])
    values = np.append(values, values[9:18], axis=0)
    for pair in TWINS:
        tables = []
        for name in pair:
            step, table = CONTENDERS[name](case, indices, values)
            for _ in range(3):
                step()
            tables.append(table())
        np.testing.assert_allclose(*tables, rtol=TOLERANCE, atol=TOLERANCE)


def timed(case: Case, names: list[str], chosen: argparse.Namespace, bar) -> list[Measurement]:
    """Time the contenders of a case in turns."""
    bar(case.label, 0.0)
    indices, values = case.gradient()
    timings = measure(
        [CONTENDERS[name](case, indices, values)[0] for name in names],
        seconds=chosen.seconds,
        rounds=chosen.rounds,
        progress=lambda fraction: bar(case.label, fraction),
    )
    return [
        Measurement(
            suite=ROWS.name,
            case=case.label,
            config="SparseAdam",
            contender=name,
            arrays=1,
            elements=len(np.unique(indices)) * case.width,
            bytes=BYTES,
            resident=0,
            **each.columns(),
        )
        for name, each in zip(names, timings, strict=True)
    ]


def arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python bench/rows.py --cases 64 --seconds 5\n"
        "  python bench/rows.py --csv bench/results/rows.csv\n\n"
        "charts.py writes what is in bench/results into the documents.",
    )
    add = parser.add_argument
    add(
        "--cases",
        default="",
        metavar="TEXT",
        help=f"those with this text in their label: {'; '.join(c.label for c in CASES)} "
        "(default: all; they take 8 GB)".replace("%", "%%"),
    )
    add("--threads", type=at_least(1), metavar="N", help="for all contenders (default: all cores)")
    add_timing(add)
    add_csv(add)
    return parser.parse_args()


def main() -> None:
    chosen, load = arguments(), load_average()
    cases = cases_with(chosen.cases, CASES)
    fa.set_threads(chosen.threads)
    torch.set_num_threads(fa.get_threads())
    numba.set_num_threads(fa.get_threads())
    with progress() as bar:
        validate()
        rows = [row for case in cases for row in timed(case, [*CONTENDERS], chosen, bar)]
    report = Report(describe(fa.get_threads(), load=load), rows)
    publish(report, chosen.csv)


if __name__ == "__main__":
    run_script(main)
