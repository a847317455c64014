"""AdamW in several processes: sharded steps against steps of everything behind an all-reduce.

    mpiexec -n 2 python bench/distributed.py --csv bench/results/distributed.csv

All processes are on this machine, with one thread each. A step begins with gradients of its own in
each process, and ends with the same parameters in all:

* fastadam: `Sharded` over MPI; `gloo`: over torch.distributed; `shared memory`: over MPI, with
  parameters and gradients in memory that the processes share
* all-reduce: the gradients of all are added up by MPI (`gloo`: by torch.distributed), and every
  process makes the step of all elements with fastadam.AdamW
* ZeroRedundancyOptimizer: the gradients are added up by gloo, and each process makes its share of
  the step with PyTorch's fused AdamW, and sends it to the others

Every contender is first compared with one process that has the mean of the gradients. Then all are
timed in turns; the time of a step is that of the slowest process. Bytes that `Sharded` sends are
counted. A run of another number of processes is added to the CSV file.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numba
import numpy as np
import torch
import torch.distributed as dist
from mpi4py import MPI
from torch.distributed.optim import ZeroRedundancyOptimizer

import fastadam as fa
from fastadam.bench.csv_io import read_report
from fastadam.bench.machine import describe, load_average
from fastadam.bench.measurement import OURS, Measurement, Report
from fastadam.bench.script import Parser, add_csv, at_least, positive, run_script
from fastadam.bench.suites import DISTRIBUTED, publish
from fastadam.bench.timing import Timing
from fastadam.bench.variants import ADAMW
from fastadam.distributed import Sharded
from fastadam.processes.communicator import communicator_of

LR, TENSORS = 1e-3, 16
WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
TOLERANCE = 1e-6  # of parameters of size one after two steps of 1e-3, in float32: some ulp
Made = tuple[Callable[[], object], Any, Any, float]  # a step, parameters, gradients, state bytes


class Counting:
    """A communicator that counts the bytes it sends."""

    def __init__(self, comm: Any) -> None:
        self._comm, self.sent = communicator_of(comm), 0
        self.rank, self.size = self._comm.rank, self._comm.size

    def exchange(self, send: Any, receive: Any) -> Callable[[], None]:
        self.sent += sum(part.nbytes for rank, part in enumerate(send) if rank != self.rank)
        return self._comm.exchange(send, receive)


def sharded(size: int, comm: Any, shared: bool = False) -> Made:
    flat = fa.flatten(np.ones(size, np.float32), shared=WORLD if shared else None)
    opt = Sharded(fa.AdamW, flat, comm, lr=LR)
    return opt.step, flat.buffer, opt.grads.buffer, opt.memory().own.state


def over_mpi(size: int) -> Made:
    return sharded(size, WORLD)


def over_gloo(size: int) -> Made:
    return sharded(size, dist.group.WORLD)


def in_shared_memory(size: int) -> Made:
    return sharded(size, WORLD, shared=True)


def replicated(size: int, add_up: Callable[[Any], object]) -> Made:
    param, grad = np.ones(size, np.float32), np.zeros(size, np.float32)
    opt = fa.AdamW(param, lr=LR)

    def step() -> None:
        add_up(grad)
        opt.step(grad, grad_scale=float(SIZE))

    return step, param, grad, opt.memory().state


def replicated_mpi(size: int) -> Made:
    return replicated(size, lambda grad: WORLD.Allreduce(MPI.IN_PLACE, grad))


def replicated_gloo(size: int) -> Made:
    return replicated(size, lambda grad: dist.all_reduce(torch.from_numpy(grad)))


def zero(size: int) -> Made:
    param, grad = torch.ones(size), torch.zeros(size)
    parts = [torch.nn.Parameter(part) for part in param.chunk(TENSORS)]
    for part, own in zip(parts, grad.chunk(TENSORS), strict=True):
        part.grad = own
    opt = ZeroRedundancyOptimizer(parts, torch.optim.AdamW, lr=LR, fused=True)

    def step() -> None:
        dist.all_reduce(grad)
        grad.div_(SIZE)
        opt.step()

    return step, param.numpy(), grad.numpy(), 8 * size / SIZE


CONTENDERS: dict[str, Callable[[int], Made]] = {
    OURS: over_mpi,
    "fastadam, shared memory": in_shared_memory,
    "fastadam, gloo": over_gloo,
    "all-reduce, MPI": replicated_mpi,
    "all-reduce, gloo": replicated_gloo,
    "ZeroRedundancyOptimizer, gloo": zero,
}


def own_gradient(size: int) -> Any:
    return np.random.default_rng(RANK).standard_normal(size).astype(np.float32)


def validate(size: int = 5000) -> None:
    """Compare all contenders with the mean of all gradients in one process."""
    mean, want = own_gradient(size), np.ones(size, np.float32)
    WORLD.Allreduce(MPI.IN_PLACE, mean)
    alone = fa.AdamW(want, lr=LR)
    for _ in range(2):
        alone.step(mean / np.float32(SIZE))
    for name, make in CONTENDERS.items():
        step, param, grad, _ = make(size)
        for _ in range(2):
            grad[:] = own_gradient(size)
            WORLD.Barrier()
            step()
        np.testing.assert_allclose(param, want, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def taken(step: Callable[[], object], grad: Any, values: Any) -> float:
    """The time of a step, that of the slowest process."""
    grad[:] = values  # an all-reduce leaves sums there, which would grow
    WORLD.Barrier()
    start = perf_counter()
    step()
    return float(WORLD.allreduce(perf_counter() - start, MPI.MAX))


def timed(size: int, rounds: int) -> list[Measurement]:
    """The times of all contenders, in turns."""
    made, values = {name: make(size) for name, make in CONTENDERS.items()}, own_gradient(size)
    times: dict[str, list[float]] = {name: [] for name in made}
    for number in range(rounds + 1):
        names = [*made] if number % 2 else [*reversed(made)]
        for name in names:
            seconds = taken(made[name][0], made[name][2], values)
            if number:  # the first one makes the state
                times[name].append(seconds)
    rows = []
    for name, some in times.items():
        timing = Timing(*np.quantile(some, [0.2, 0.5, 0.8]), rounds)
        rows.append(
            Measurement(
                suite=DISTRIBUTED.name,
                case=f"{SIZE} processes",
                config=ADAMW.label,
                contender=name,
                arrays=1,
                elements=size,
                bytes=ADAMW.bytes,
                resident=made[name][3] / size,
                **timing.columns(),
            )
        )
    return rows


def sent_per_element(size: int = 1 << 20) -> float:
    """The bytes that a process sends in a step of `Sharded`, per element."""
    comm = Counting(WORLD)
    step, _, grad, _ = sharded(size, comm)
    grad[:] = 1
    step()
    comm.sent = 0
    step()
    return comm.sent / size


def arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--elements", type=positive, default=1e7, metavar="N", help="default: 1e7")
    add("--rounds", type=at_least(1), default=15, metavar="N", help="default: %(default)s")
    add_csv(add)
    return parser.parse_args()


def main() -> None:
    chosen, load = arguments(), load_average()
    fa.set_threads(1)
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="torch")
    folder = tempfile.TemporaryDirectory() if RANK == 0 else None
    store = WORLD.bcast(f"file://{folder.name}/store" if folder else None)
    dist.init_process_group("gloo", init_method=store, rank=RANK, world_size=SIZE)
    validate()
    rows, sent = timed(int(chosen.elements), chosen.rounds), sent_per_element()
    dist.destroy_process_group()
    if RANK:
        return
    machine = describe(1, load=load) | {f"bytes sent, {SIZE} processes": f"{sent:.3g} per element"}
    if chosen.csv and chosen.csv.exists():
        last = read_report(chosen.csv)
        machine = last.machine | machine
        rows = [row for row in last.rows if row.case != rows[0].case] + rows
    report = Report(machine, rows)
    publish(report, chosen.csv)
    print(f"bytes sent by each process of Sharded: {sent:.3g} per element")


if __name__ == "__main__":
    run_script(main)
