"""Times one AdamW step on a GPU, in several implementations:

  numba unfused   one numba.cuda kernel per operation
  torch foreach   torch.optim.AdamW on tensors of the GPU, if PyTorch sees it
  torch fused     the same, its fused kernel
  torch adapter   fastadam.torch.AdamW on the same tensors
  fastadam        fastadam.AdamW
  limit           one kernel that copies as many bytes as a step reads and writes

Every contender is compared with a float64 reference first; a wrong one is not timed. They take
turns, and CUDA events measure the time: it is that of the device, or that of the host if its calls
take longer. The table shows quantiles of the time of a step, the memory traffic (28 bytes per
float32 element for all), the share of the limit's speed, and the time relative to fastadam. Below
about 1e6 elements, all arrays of a contender stay in the cache of a large GPU.

The numbers are written after every case, so that nothing is lost if a later one fails.
"""

import argparse
import os
import re
import traceback
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastadam.bench.console import Show, parsed_size, progress, say
from fastadam.bench.script import Parser, run_script

if TYPE_CHECKING:
    from fastadam.bench.measurement import Measurement, Report
    from fastadam.bench.workload import Case

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = """\
examples:
  python bench/gpu.py                         1e4 to 1e9 elements, and GPT-2; a few minutes
  python bench/gpu.py --sizes 1e6 --seconds 2 a quick look
  python bench/gpu.py --configs --sizes 1e8   every optimizer, options around a step, fewer bytes
  python bench/gpu.py --out numbers           keep CSV and chart in a folder of your own
  python bench/gpu.py --dry-run               no GPU: tiny sizes in Numba's simulator

The CSV is called gpu-<device>.csv. Put it into bench/results and run `python bench/charts.py`: the
documents then show it. `make gpu` runs the tests for GPUs first, and then this.
"""
SIZES = ("1e4", "1e5", "1e6", "1e7", "1e8", "1e9")
HOST_SIZE, COPY_BYTES = 10_000, 1 << 32
NO_GPU = """\
There is no GPU that Numba can use. It needs a driver and the CUDA toolkit, from the system or from
pip install "fastadam[cuda]"; `fastadam info` tells what was found. To try everything
but the speed without one: python bench/gpu.py --dry-run"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", nargs="+", metavar="N", help="elements per array (default: 1e4 to 1e9)")
    add("--seconds", type=float, default=10.0, metavar="S", help="time for each case (default: 10)")
    add("--out", type=Path, metavar="DIR", help="where CSV and chart go (default: bench/results)")
    add("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the parameters")
    add("--configs", action="store_true", help="every optimizer, options and formats, at one size")
    add("--no-torch", action="store_true", help="leave out PyTorch")
    add("--no-gpt2", action="store_true", help="leave out the case of the 148 arrays of GPT-2")
    add("--dry-run", action="store_true", help="run in the simulator; written only with --out")
    parsed = parser.parse_args(arguments)
    if not 0 < parsed.seconds < float("inf"):
        parser.error(f"--seconds: {parsed.seconds} must be positive; give e.g. 10")
    parsed.given = []
    try:
        parsed.given = [parsed_size(text) for text in parsed.sizes or ()]
        parsed.sizes = [parsed_size(text) for text in parsed.sizes or SIZES]
    except ValueError as error:
        parser.error(str(error))
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write; the exit status is 1 if anything failed, 2 without a GPU."""
    options = parse(arguments)
    if options.dry_run:
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # before Numba is imported
    if not usable():
        say(NO_GPU)
        return 2
    warnings.simplefilter("ignore")  # of Numba, that small arrays occupy few processors
    import gpu_contenders as gpu

    from fastadam.bench import csv_io, machine
    from fastadam.bench.measurement import LIMIT, OURS, Report
    from fastadam.kernels.formats import FLOAT

    if options.dtype not in FLOAT:
        say(f"Parameters in {options.dtype} are not supported yet.")
        return 2
    torch = not options.no_torch and gpu.torch_on_gpu()
    if not torch:
        say("Going on without PyTorch: it is not installed, not asked for, or sees no GPU.")
    about, rows, failures = machine.describe_gpu(), [], 0
    about["dtype"] = options.dtype
    path = None if options.dry_run and not options.out else csv_path(options, about["gpu"])
    if options.configs:
        return configurations(options, torch, about, path)
    with progress() as show:
        wanted = gpu.names_for(torch, options.dtype)
        names = [name for name in wanted if valid(name, options.dtype, show)]
        failures += len(wanted) - len(names)
        if not {OURS, LIMIT} <= {*names}:
            say(f"Nothing is timed without {OURS} and {LIMIT}.")
            return 1
        about["copy bandwidth"] = copied(options.dry_run)
        about["host time of a step"] = occupied(names, options)
        for case in cases(options):
            try:
                rows += timed(case, names, options, show)
            except Exception:
                traceback.print_exc()
                say(f"{case.label} failed; going on.")
                failures += 1
            if path:
                csv_io.write_report(Report(about, rows), path)
    publish(Report(about, rows), path)
    return int(failures > 0 or not rows)


def configurations(
    options: argparse.Namespace, torch: bool, about: dict[str, str], path: Path | None
) -> int:
    """The configurations at the first size, or at 1e8 elements."""
    import gpu_configs
    import gpu_contenders as gpu

    from fastadam.bench import csv_io, suites
    from fastadam.bench.measurement import OURS, Report
    from fastadam.bench.workload import Turn

    size = 40 if options.dry_run else options.given[0] if options.given else 10**8
    about["copy bandwidth"] = copied(options.dry_run)
    about["host time of a step"] = occupied([OURS], options)
    rows, failures, case = [], 0, gpu_configs.case_of(size)
    every = gpu_configs.configs(options.dry_run)
    seconds, rounds = options.seconds / len(every), 1 if options.dry_run else None
    with progress() as show:
        for number, config in enumerate(every):
            show(config.label, number / len(every))
            names = gpu_configs.names_for(config, torch)
            try:
                if wrong := [*gpu_configs.validate(config, names)]:
                    raise RuntimeError("; ".join(wrong))
                needed = gpu_configs.needed(config, size, names)
                if needed > gpu.free_memory():
                    say(f"Skipping {config.label}: it takes {needed / 1e9:.0f} GB")
                    continue
                make = partial(gpu_configs.contenders, config, size, names)
                turn = Turn(config.label, case, needed, make)
                rows += suites.timed("steps", turn, show, seconds, rounds, gpu.Events())
            except Exception:
                traceback.print_exc()
                say(f"{config.label} failed; going on.")
                failures += 1
            if path and rows:
                csv_io.write_report(Report(about, rows), path)
    publish(Report(about, rows), path)
    return int(failures > 0 or not rows)


def usable() -> bool:
    """Test for a GPU, or its simulator."""
    try:
        from numba import cuda

        return bool(cuda.is_available())
    except Exception:  # a driver without a toolkit, no CUDA in this Numba: there are many ways
        return False


def cases(options: argparse.Namespace) -> "list[Case]":
    import gpu_contenders as gpu

    from fastadam.bench.workload import Case, one_array

    if options.dry_run:
        return [one_array(40), one_array(100), Case("3 arrays", (5, 0, 70))]
    several = [] if options.no_gpt2 else [gpu.gpt2()]
    return [*map(one_array, options.sizes), *several]


def valid(name: str, dtype: str, show: Show) -> bool:
    """Validate a contender, which also compiles it; False if it is wrong."""
    import gpu_contenders as gpu

    from fastadam.bench import validation

    show(f"checking {name}", 0.0)
    try:
        for number, case in enumerate(gpu.validated()):
            validation.check(gpu.contenders(case, [name], dtype)[0])
            show(f"checking {name}", (number + 1) / len(gpu.validated()))
    except Exception:
        traceback.print_exc()
        say(f"{name} is not timed.")
        return False
    return True


def copied(dry_run: bool) -> str:
    """Bandwidth of a large copy inside the memory of the device."""
    import gpu_contenders as gpu

    nbytes = 1 << 16 if dry_run else int(min(COPY_BYTES, gpu.free_memory() // 4))
    return f"{gpu.copy_bandwidth(nbytes) / 1e9:.0f} GB/s"


def occupied(names: list[str], options: argparse.Namespace) -> str:
    """Time that a small step occupies the host, for each contender."""
    import gpu_contenders as gpu

    from fastadam.bench.tables import duration
    from fastadam.bench.workload import one_array

    case = one_array(20 if options.dry_run else HOST_SIZE)
    steps, rounds = (1, 1) if options.dry_run else (100, 9)
    ready = gpu.contenders(case, names, options.dtype)
    times = {each.name: gpu.host_time(each.step, steps, rounds) for each in ready}
    answer = ", ".join(f"{name} {duration(time)}" for name, time in times.items())
    return f"{answer} at {case.label}"


def timed(
    case: "Case", names: list[str], options: argparse.Namespace, show: Show
) -> "list[Measurement]":
    """The rows of a case; none, and a message, if it does not fit into memory."""
    import gpu_contenders as gpu

    from fastadam.bench import suites, tables
    from fastadam.bench.variants import ADAMW
    from fastadam.bench.workload import Contender, Turn

    needed, free = gpu.bytes_of(case, "torch fused" in names), gpu.free_memory()
    if needed > free:
        say(f"Skipping {case.label}: it takes {needed / 1e9:.0f} GB, and {free / 1e9:.0f} are free")
        return []
    moved = float(gpu.STEP_BYTES[options.dtype])

    def make() -> list[Contender]:
        ready = gpu.contenders(case, names, options.dtype)
        return [replace(c, config=ADAMW.label, bytes=lambda: moved) for c in ready]

    rounds = 1 if options.dry_run else None
    turn = Turn(case.label, case, needed, make)
    rows = list(suites.timed("steps", turn, show, options.seconds, rounds, gpu.Events()))
    medians = (f"{row.contender} {tables.duration(row.p50_s)}" for row in rows)
    say(f"{case.label}: {', '.join(medians)}")
    return rows


def csv_path(options: argparse.Namespace, gpu: str) -> Path:
    folder = (options.out or ROOT / "bench/results").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    name = gpu if options.dtype == "float32" else f"{gpu} {options.dtype}"
    name += " configs" if options.configs else ""
    return folder / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.csv"


def publish(report: "Report", path: Path | None) -> None:
    """Print the table; draw the chart beside the CSV, or where the documents have it."""
    from fastadam.bench.suites import suite_of, write_chart
    from fastadam.bench.tables import conditions, show

    if not report.rows:
        say("Nothing was timed.")
        return
    show(suite_of(report).table(report))
    print(conditions(report.machine))
    for name in ("copy bandwidth", "host time of a step"):
        print(f"{name}: {report.machine[name]}")
    print(suite_of(report).summary(report))
    if not path:
        return
    folder = ROOT / "docs/assets" if path.parent == ROOT / "bench/results" else path.parent
    say(f"Wrote {path.name}")
    try:
        write_chart(report, folder / f"{path.stem}.png")
    except ModuleNotFoundError as error:
        say(str(error))


if __name__ == "__main__":
    run_script(main)
