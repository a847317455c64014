"""AdamW over DTensors: fastadam.torch against the fused and foreach steps of torch.optim.

Three hundred parameters of 1000 elements, as `fully_shard` makes them: DTensors, here on a mesh of
one process, so that the numbers are those of the host work of a step in each process, without
messages. The same parameters as plain tensors show what DTensors cost. In a case with a clipped
norm, fastadam takes it in the step, and the others call `torch.nn.utils.clip_grad_norm_` before.

Every contender is first compared with PyTorch's fused step. Then all are timed in turns, and the
Python objects that 1000 more steps leave behind are counted.
"""

import argparse
import gc
import tempfile
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

import fastadam.torch
from fastadam.bench.console import progress
from fastadam.bench.machine import describe, load_average
from fastadam.bench.measurement import OURS, Measurement, Report
from fastadam.bench.script import Parser, add_csv, positive, run_script
from fastadam.bench.suites import ADAPTER, publish
from fastadam.bench.timing import measure
from fastadam.bench.variants import ADAMW

COUNT, SHAPE, STEPS, NORM = 300, (10, 100), 1000, 1.0
TOLERANCE = 1e-6  # of parameters of size one after three steps of 1e-3, in float32: some ulp
Step = Callable[[], object]


def ours(params: list[Any], clipped: bool, lr: float) -> Step:
    more = {"clip_norm": NORM} if clipped else {}
    return fastadam.torch.AdamW(params, lr=lr, **more).step


def torchs(params: list[Any], clipped: bool, lr: float, **how: bool) -> Step:
    opt = torch.optim.AdamW(params, lr=lr, **how)
    if not clipped:
        return opt.step

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(params, NORM)
        opt.step()

    return step


def fused(params: list[Any], clipped: bool, lr: float) -> Step:
    return torchs(params, clipped, lr, fused=True)


def foreach(params: list[Any], clipped: bool, lr: float) -> Step:
    return torchs(params, clipped, lr, foreach=True)


CONTENDERS = {OURS: ours, "torch fused": fused, "torch foreach": foreach}
CASES = {  # sharded, clipped
    f"{COUNT} tensors": (False, False),
    f"{COUNT} DTensors": (True, False),
    f"{COUNT} DTensors, clipped": (True, True),
}


def parameters(sharded: bool) -> list[Any]:
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (1,))

    def made() -> Any:
        tensor = torch.randn(SHAPE)
        return distribute_tensor(tensor, mesh, [Shard(0)]) if sharded else tensor

    params = [torch.nn.Parameter(made()) for _ in range(COUNT)]
    for param in params:
        param.grad = made()
    return params


def validate(case: str) -> None:
    """Compare all contenders with PyTorch's fused step."""
    found = dict[str, list[Any]]()
    for name, make in CONTENDERS.items():
        found[name] = parameters(CASES[case][0])
        step = make(found[name], CASES[case][1], 1e-3)
        for _ in range(3):
            step()
    for name in CONTENDERS:
        for one, other in zip(found[name], found["torch fused"], strict=True):
            parts = (getattr(param, "_local_tensor", param) for param in (one, other))
            torch.testing.assert_close(*parts, rtol=TOLERANCE, atol=TOLERANCE)


def left_behind(step: Step) -> int:
    """The number of Python objects that steps leave behind."""
    for _ in range(10):
        step()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(STEPS):
        step()
    gc.collect()
    return len(gc.get_objects()) - before


def arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python bench/dtensors.py --seconds 3\n"
        "  python bench/dtensors.py --csv bench/results/dtensors.csv\n\n"
        "charts.py writes what is in bench/results into the documents.",
    )
    add = parser.add_argument
    add("--seconds", type=positive, default=20.0, metavar="S", help="for each case (default: 20)")
    add_csv(add)
    return parser.parse_args()


def timed(case: str, chosen: argparse.Namespace, bar: Any) -> list[Measurement]:
    bar(f"checking {case}", 0.0)
    validate(case)
    sharded, clipped = CASES[case]
    timings = measure(
        [make(parameters(sharded), clipped, 1e-6) for make in CONTENDERS.values()],
        seconds=chosen.seconds,
        progress=lambda fraction: bar(case, fraction),
    )
    return [
        Measurement(
            suite=ADAPTER.name,
            case=case,
            config=ADAMW.label,
            contender=name,
            arrays=COUNT,
            elements=COUNT * SHAPE[0] * SHAPE[1],
            bytes=ADAMW.bytes,
            resident=0,
            **each.columns(),
        )
        for name, each in zip(CONTENDERS, timings, strict=True)
    ]


def main() -> None:
    chosen, load = arguments(), load_average()
    torch.set_num_threads(1)
    folder = tempfile.TemporaryDirectory()
    place = f"file://{folder.name}/store"
    dist.init_process_group("gloo", init_method=place, rank=0, world_size=1)
    with progress() as bar:
        rows = [row for case in CASES for row in timed(case, chosen, bar)]
        objects = dict[str, int]()
        for number, (name, make) in enumerate(CONTENDERS.items()):
            bar(f"counting objects, {name}", number / len(CONTENDERS))
            objects[name] = left_behind(make(parameters(True), True, 1e-6))
    dist.destroy_process_group()
    folder.cleanup()
    told = "; ".join(f"{name}: {number}" for name, number in objects.items())
    machine = {**describe(1, load=load), f"objects left behind by {STEPS} steps": told}
    report = Report(machine, rows)
    publish(report, chosen.csv)
    print(told)


if __name__ == "__main__":
    run_script(main)
