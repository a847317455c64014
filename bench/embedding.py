"""AdamW inside other programs: a step in JAX against optax, and the time of a call in C and Numba.

The step in JAX is that of a jitted function with donated buffers, over ten million elements; both
contenders are first compared with each other, and ours must leave every buffer where it is. A call
of one element is a loop of such calls in compiled code, so that nearly all of its time is that of
the call; the constants of a step are computed by the exported function.
"""

import argparse
import ctypes
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp
import numba
import numpy as np
import optax

import fastadam as fa
import fastadam.jax
from fastadam.bench.console import progress
from fastadam.bench.machine import describe, load_average
from fastadam.bench.measurement import OURS, Measurement, Report
from fastadam.bench.script import Parser, add_csv, add_timing, at_least, run_script
from fastadam.bench.suites import EMBEDDING, publish
from fastadam.bench.timing import Timing, measure
from fastadam.embedding.export import export_c

LARGE, CALLS, BYTES = 10_000_000, 100_000, 28
HYPER = {"weight_decay": 1e-2, "b1": 0.9, "b2": 0.999}
TOLERANCE = 1e-6  # of parameters of size one after three steps of 1e-3, in float32: some ulp
Step = Callable[[], object]

PROGRAM = r"""
#include "adamw.h"
static float array[4][1000];
int calls(int64_t count, int64_t n)
{
    fastadam_adamw_hyper hyper;
    fastadam_adamw_constants_f32 constants;
    int code = 0;
    fastadam_adamw_defaults(&hyper);
    fastadam_adamw_prepare_f32(&hyper, 1, &constants);
    for (int64_t k = 0; k < count; k++)
        code |= fastadam_adamw_f32(array[0], array[1], array[2], array[3], &constants, n);
    return code;
}
int constants(int64_t count, int64_t n)
{
    fastadam_adamw_hyper hyper;
    fastadam_adamw_constants_f32 constants;
    int code = 0;
    fastadam_adamw_defaults(&hyper);
    for (int64_t k = 1; k <= count; k++)
        code |= fastadam_adamw_prepare_f32(&hyper, k, &constants);
    return code;
}
"""


def program_in_c(folder: Path) -> ctypes.CDLL:
    """The loops in C, as a library that Python calls once for each loop."""
    export_c(fa.AdamW, folder, dtypes=["float32"])
    (folder / "program.c").write_text(PROGRAM)
    line = ["gcc", "-O2", "-shared", "-fPIC", "program.c", "libadamw.a", "-o", "program.so"]
    subprocess.run(line, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "program.so"))


def loop_in_numba() -> Callable[[int, int], None]:
    """The same loop for Numba."""
    step, arrays = fa.compiled(fa.AdamW), np.zeros((4, 1000), np.float32)

    @numba.njit
    def calls(count, p, g, m, v):
        constants = fa.AdamW.constants(step=1)
        for _ in range(count):
            step(p, g, m, v, constants)

    calls(1, *arrays)
    return lambda count, n: calls(count, *(row[:n] for row in arrays))


def in_jax(elements: int, ours: bool) -> tuple[Step, Callable[[], jax.Array]]:
    """A jitted step of AdamW, and its parameters."""
    if ours:
        transformation = fastadam.jax.adamw(1e-3, weight_decay=HYPER["weight_decay"])
    else:
        transformation = optax.adamw(1e-3, **HYPER)
    grads = jnp.asarray(np.random.default_rng(0).standard_normal(elements), jnp.float32)
    params = jnp.ones(elements, jnp.float32)
    kept = [params, transformation.init(params)]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        if ours:
            return transformation.step(grads, state, params)
        updates, state = transformation.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    def run() -> None:
        kept[:] = step(*kept, grads)
        jax.block_until_ready(kept[0])

    run()
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(kept)]
    run()
    if ours and places != [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(kept)]:
        raise RuntimeError("fastadam: a buffer was allocated in a step")
    run()
    return run, lambda: kept[0]


def rows_of(case: str, elements: int, times: dict[str, Timing], per: int) -> Iterator[Measurement]:
    """The measurements of a case; `per` is the number of calls that were timed together."""
    for name, each in times.items():
        yield Measurement(
            suite=EMBEDDING.name,
            case=case,
            config="AdamW",
            contender=name,
            arrays=1,
            elements=elements,
            bytes=BYTES,
            resident=0,
            **each.columns(per),
        )


def measured(chosen: argparse.Namespace, bar, folder: Path) -> Iterator[Measurement]:
    """All measurements."""
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    spent = {"seconds": chosen.seconds, "rounds": chosen.rounds, "clock": clock}
    small = [in_jax(1000, ours)[1]() for ours in (True, False)]
    np.testing.assert_allclose(*small, rtol=TOLERANCE, atol=TOLERANCE)
    names = {OURS: True, "optax": False}
    bar("JAX", 0.0)
    steps = [in_jax(chosen.elements, ours)[0] for ours in names.values()]
    times = measure(steps, progress=partial(bar, "JAX"), **spent)
    label = f"JAX, {chosen.elements:.0e} elements".replace("e+0", "e")
    yield from rows_of(label, chosen.elements, dict(zip(names, times, strict=True)), 1)
    library, in_numba = program_in_c(folder), loop_in_numba()

    def in_c(name: str, count: int, n: int) -> None:
        if getattr(library, name)(ctypes.c_int64(count), ctypes.c_int64(n)):
            raise RuntimeError("fastadam: the program in C returned a code")

    loops = {
        ("C, a call of 1 element", 1): partial(in_c, "calls", CALLS, 1),
        ("Numba, a call of 1 element", 1): partial(in_numba, CALLS, 1),
        ("C, a call of 1000 elements", 1000): partial(in_c, "calls", CALLS // 10, 1000),
        ("Numba, a call of 1000 elements", 1000): partial(in_numba, CALLS // 10, 1000),
        ("C, constants of a step", 1): partial(in_c, "constants", CALLS // 10, 0),
    }
    times = measure([*loops.values()], progress=partial(bar, "calls"), **spent)
    for (case, n), loop, each in zip(loops, loops.values(), times, strict=True):
        count = loop.args[-2]
        yield from rows_of(case, n, {OURS: each}, count)


def arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python bench/embedding.py --seconds 2\n"
        "  taskset -c 0 python bench/embedding.py --cpu-time --csv bench/results/embedding.csv\n\n"
        "It needs gcc, and JAX and optax: pip install 'fastadam[bench,jax]' optax.",
    )
    add = parser.add_argument
    add(
        "--elements",
        type=at_least(1),
        default=LARGE,
        metavar="N",
        help="in JAX (default: ten million)",
    )
    add_timing(add, of="twice")
    add("--cpu-time", action="store_true", help="time of the processor, for a busy machine")
    add_csv(add)
    return parser.parse_args()


def main() -> None:
    chosen, load = arguments(), load_average()
    with progress() as bar, TemporaryDirectory() as folder:
        rows = [*measured(chosen, bar, Path(folder))]
    machine = describe(fa.get_threads(), "jax", "optax", load=load)
    machine |= {"clock": "time of the processor"} if chosen.cpu_time else {}
    report = Report(machine, rows)
    publish(report, chosen.csv)


if __name__ == "__main__":
    run_script(main)
