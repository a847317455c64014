"""Times for several lengths of the chunks of a GPU table, and several block sizes.

`python bench/gpu_chunks.py` times a float32 AdamW step for each length and number, in turns. The
length `own` is that of fastadam.
"""

import warnings

import numpy as np
from gpu_contenders import SIMULATED, Events
from numba import cuda

import fastadam as fa
from fastadam.bench.console import parsed_size
from fastadam.bench.script import Parser, positive, run_script
from fastadam.bench.timing import measure
from fastadam.cuda import device_table
from fastadam.cuda import target as target
from fastadam.kernels import factory

LENGTHS = (None, 1024, 2048, 4096, 8192, 16384, 65536)
THREADS = (32,) if SIMULATED else (128, 256, 512)
OWN, OWN_THREADS = device_table.DeviceTable.length_of_chunks, target.THREADS
MADE = {threads: {} for threads in THREADS}  # a kernel is made for a number of threads


def stepper(arrays, length, threads):
    """A step over the arrays with chunks of a length."""
    own = length is None
    device_table.DeviceTable.length_of_chunks = OWN if own else lambda table, elements: length
    target.THREADS, factory._made = threads, MADE[threads]
    optimizer = fa.AdamW(arrays[0])
    optimizer.step(arrays[1])  # which makes the table
    target.THREADS = OWN_THREADS
    return lambda: optimizer.step(arrays[1])


def main() -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["1e5", "1e6", "1e7", "1e8"], metavar="N")
    parser.add_argument("--seconds", type=positive, default=4.0, metavar="S", help="for each size")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'elements':>13} {'threads':>8}" + "".join(f"{n or 'own':>9}" for n in LENGTHS))
    for size in map(parsed_size, options.sizes):
        arrays = [cuda.to_device(np.ones(size, np.float32)) for _ in range(2)]
        pairs = [(length, threads) for threads in THREADS for length in LENGTHS]
        steps = [stepper(arrays, *pair) for pair in pairs]
        rounds = 1 if SIMULATED else None
        timings = measure(steps, seconds=options.seconds, rounds=rounds, sample=Events())
        times = {pair: timing.p50 for pair, timing in zip(pairs, timings, strict=True)}
        for threads in THREADS:
            row = (f"{28 * size / times[length, threads] / 1e9:9.1f}" for length in LENGTHS)
            print(f"{size:13,} {threads:8}{''.join(row)}  GB/s", flush=True)
    return 0


if __name__ == "__main__":
    run_script(main)
