"""Row-sparse steps: fastadam against PyTorch's SparseAdam and FBGEMM, and against dense steps.

A table of a million rows, or an array of ten million elements; gradients of some of the rows, drawn
uniformly without repetition or by Zipf's law (exponent 1.2) with it, in no order. Every contender
is first compared with PyTorch's SparseAdam, with its dense twin, or with FBGEMM. Then all are timed
in turns on arrays of their own and on the same gradients. `limit` is a compiled loop over the same
rows in order, whose gradients lie as given; it reads and writes what a step of Adam does, and
computes one addition per number. Gradients of PyTorch are sparse tensors that were not coalesced
before.

FBGEMM, if it is installed (fbgemm-gpu-cpu, for the version of PyTorch), has row-wise Adagrad on the
CPU only as part of the backward pass of an embedding table. Its time is that of this pass, with one
index in each bag, where pooling copies; fastadam's is that of `RowwiseAdagrad`.
"""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numba
import numpy as np
import torch

import fastadam as fa
from fastadam.bench.console import progress, say
from fastadam.bench.machine import describe, load_average
from fastadam.bench.measurement import LIMIT, OURS, Measurement, Report
from fastadam.bench.script import Parser, add_csv, add_timing, at_least, cases_with, run_script
from fastadam.bench.suites import ROWS, publish
from fastadam.bench.timing import measure

LR = 1e-3
TOLERANCE = 1e-6  # of parameters of size one after three steps of 1e-3, in float32: some ulp


class Case(NamedTuple):
    """A table, of one dimension if its width is 0, and the rows of it that have a gradient."""

    width: int
    share: float
    zipf: bool = False
    rows: int = 1_000_000

    @property
    def label(self) -> str:
        law = ", Zipf" if self.zipf else ""
        size = " x ".join([f"{self.rows:.0e}".replace("e+0", "e"), *map(str, self.shape[1:])])
        return f"{size}, {self.share:.1%}{law}"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, self.width) if self.width else (self.rows,)

    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        rng, count = np.random.default_rng(0), int(self.rows * self.share)
        if self.zipf:
            indices = rng.zipf(1.2, count) % self.rows
        else:
            indices = rng.choice(self.rows, count, replace=False)
        return indices, rng.standard_normal((count, *self.shape[1:])).astype(np.float32)


CASES = [Case(64, share) for share in (0.001, 0.01, 0.1)]
CASES += [Case(16, 0.01), Case(128, 0.01), Case(64, 0.01, zipf=True)]
CASES += [Case(0, 0.01, rows=10_000_000)]
Step = Callable[[], object]
Made = tuple[Step, Callable[[], np.ndarray]]


def ours(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table = np.ones(case.shape, np.float32)
    opt, rows = fa.SparseAdam(table, lr=LR), fa.Rows(indices, values)
    return lambda: opt.step(rows), lambda: table


def torch_sparse(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table = torch.nn.Parameter(torch.ones(case.shape))
    opt = torch.optim.SparseAdam([table], lr=LR)
    table.grad = torch.sparse_coo_tensor(
        torch.tensor(indices)[None], torch.tensor(values), table.shape, check_invariants=False
    )
    return opt.step, lambda: table.detach().numpy()


def all_elements(case: Case, indices: np.ndarray, values: np.ndarray) -> np.ndarray:
    grad = np.zeros(case.shape, np.float32)
    np.add.at(grad, indices, values)
    return grad


def torch_dense(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table = torch.nn.Parameter(torch.ones(case.shape))
    opt = torch.optim.Adam([table], lr=LR, fused=True)
    table.grad = torch.tensor(all_elements(case, indices, values))
    return opt.step, lambda: table.detach().numpy()


def ours_dense(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table, grad = np.ones(case.shape, np.float32), all_elements(case, indices, values)
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


@numba.njit(parallel=True, error_model="numpy")
def touched_elements(table, first, second, values, indices, order, tasks):
    share = -(-len(indices) // tasks)
    for task in numba.prange(tasks):
        for k in range(task * share, min((task + 1) * share, len(indices))):
            i, g = indices[k], values[order[k]]
            first[i] += g
            second[i] -= g
            table[i] += g


def limit(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    tables = [np.ones(case.shape, np.float32) for _ in range(3)]
    rows, order = np.unique(indices, return_index=True)
    tasks, loop = fa.get_threads(), touched if case.width else touched_elements
    return lambda: loop(*tables, values, rows, order, tasks), lambda: tables[0]


def ours_by_row(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    table = np.ones(case.shape, np.float32)
    opt, rows = fa.RowwiseAdagrad(table, lr=LR), fa.Rows(indices, values)
    return lambda: opt.step(rows), lambda: table


def fbgemm(case: Case, indices: np.ndarray, values: np.ndarray) -> Made:
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
    from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
        ComputeDevice,
        SplitTableBatchedEmbeddingBagsCodegen,
    )

    bags = SplitTableBatchedEmbeddingBagsCodegen(
        [(*case.shape, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
        pooling_mode=PoolingMode.SUM,  # faster than NONE
        learning_rate=LR,
        eps=fa.RowwiseAdagrad.defaults["eps"],
    )
    (table,) = bags.split_embedding_weights()
    table.data.fill_(1)
    output, grad = bags(torch.tensor(indices), torch.arange(len(indices) + 1)), torch.tensor(values)
    return lambda: output.backward(grad, retain_graph=True), lambda: table.detach().numpy()


FBGEMM, BY_ROW = "FBGEMM backward", "RowwiseAdagrad"
CONTENDERS = {
    "SparseAdam": {
        OURS: ours,
        LIMIT: limit,
        "torch SparseAdam": torch_sparse,
        "torch dense, fused": torch_dense,
        "fastadam dense": ours_dense,
    },
    BY_ROW: {OURS: ours_by_row, FBGEMM: fbgemm},
}
TRAFFIC = {"SparseAdam": 28, BY_ROW: 12}  # bytes per float32 element; a state is read and written
TWINS = [
    ("SparseAdam", OURS, "torch SparseAdam"),
    ("SparseAdam", "fastadam dense", "torch dense, fused"),
    (BY_ROW, OURS, FBGEMM),
]


def configs() -> list[str]:
    """The configurations of which all contenders are installed."""
    if find_spec("fbgemm_gpu"):
        return [*CONTENDERS]
    say(f"Skipping {BY_ROW}: FBGEMM is not installed; pip install --no-deps fbgemm-gpu-cpu")
    return ["SparseAdam"]


def validate(chosen: list[str]) -> None:
    """Compare the contenders on a small table."""
    case = Case(8, 0.3, rows=200)
    indices, values = case.gradient()
    indices = np.append(indices, indices[:9])
    values = np.append(values, values[9:18], axis=0)
    for config, *pair in TWINS:
        if config not in chosen:
            continue
        tables = []
        for name in pair:
            step, table = CONTENDERS[config][name](case, indices, values)
            for _ in range(3):
                step()
            tables.append(table())
        np.testing.assert_allclose(*tables, rtol=TOLERANCE, atol=TOLERANCE)


def timed(case: Case, config: str, chosen: argparse.Namespace, bar) -> list[Measurement]:
    """Time the contenders of a case in turns."""
    label, contenders = f"{config}, {case.label}", CONTENDERS[config]
    bar(label, 0.0)
    indices, values = case.gradient()
    timings = measure(
        [make(case, indices, values)[0] for make in contenders.values()],
        seconds=chosen.seconds,
        rounds=chosen.rounds,
        progress=lambda fraction: bar(label, fraction),
    )
    return [
        Measurement(
            suite=ROWS.name,
            case=case.label,
            config=config,
            contender=name,
            arrays=1,
            elements=len(np.unique(indices)) * max(1, case.width),
            bytes=TRAFFIC[config],
            resident=0,
            **each.columns(),
        )
        for name, each in zip(contenders, timings, strict=True)
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
        kinds = configs()
        validate(kinds)
        rows = [
            row
            for config in kinds
            for case in cases
            if case.width or config != BY_ROW
            for row in timed(case, config, chosen, bar)
        ]
    report = Report(describe(fa.get_threads(), "fbgemm-gpu-cpu", load=load), rows)
    publish(report, chosen.csv)


if __name__ == "__main__":
    run_script(main)
