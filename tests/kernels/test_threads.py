"""Threads: how many, from where, and in a forked child; results never depend on it."""

import _ctypes
import os
import re
import sys
import threading

import ml_dtypes
import numba
import numpy as np
import pytest
from numba import njit
from processes import output, python

import fastadam as fa
from fastadam.kernels import plain_python
from fastadam.kernels.cpu import cores, float_mode, openmp, threads

BIG = 50_000
entered, switch = njit(lambda: float_mode.enter()), njit(lambda mode: float_mode.leave(mode))
CONCURRENT = """
import threading
import numpy as np, fastadam as fa
from fastadam.kernels.cpu import openmp, threads
n, workers = 50_000, 4
fa.set_threads(2)
params = [np.ones(n, np.float32) for _ in range(workers)]
alone = np.ones(n, np.float32)
grad = np.linspace(-1, 1, n, dtype=np.float32)
barrier = threading.Barrier(workers)
def work(param):
    opt = fa.AdamW(param)
    barrier.wait()
    for _ in range(50):
        opt.step(grad)
pool = [threading.Thread(target=work, args=(p,)) for p in params]
[t.start() for t in pool]
[t.join() for t in pool]
opt = fa.AdamW(alone, threads=1)
for _ in range(50):
    opt.step(grad)
assert all((p == alone).all() for p in params)
print(threads.threading_layer())
"""
FORK = """
import os
import numpy as np, fastadam as fa
w, g = np.ones(50_000, np.float32), np.ones(50_000, np.float32)
opt = fa.AdamW(w, threads=2)
opt.step(g)
child = os.fork()
if child == 0:
    before = w[0]
    opt.step(g)
    os._exit(0 if w[0] < before else 1)
_, status = os.waitpid(child, 0)
opt.step(g)
print(os.waitstatus_to_exitcode(status))
"""
FIRST = """
import multiprocessing, sys
import numba, numpy as np
@numba.njit(parallel=True)
def total(values):
    result = 0.0
    for i in numba.prange(values.size):
        result += values[i]
    return result
def work(queue):
    import fastadam as fa
    fa.warmup(fa.SGD)
    w, g = np.ones(50_000, np.float32), np.ones(50_000, np.float32)
    m, v = np.zeros_like(w), np.zeros_like(w)
    fa.functional.adamw(w, g, m, v, step=1, lr=0.25, weight_decay=0)
    opt = fa.SGD(w, lr=0.25, clip_norm=1e9, ema_decay=0.5)
    opt.step(g)
    with opt.swap_ema():
        pass
    queue.put(float(w[0].round(6)))
if "early" in sys.argv:
    import fastadam
total(np.ones(1000))
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=work, args=(queue,))
child.start()
print(queue.get(timeout=60))
"""
CAUGHT = """
import os, threading, time
import numpy as np, fastadam as fa
from fastadam.kernels import factory
w, g = np.ones(3), np.ones(3)
inside, go, compiling = threading.Event(), threading.Event(), threading.Event()
class Slow(fa.SGD):
    def hyper(self, group, step):
        inside.set()
        go.wait()
        return super().hyper(group, step)
opt, other = Slow(w), fa.SGD(np.ones(3))
other.step(g)
make = factory._make
def slow_make(*args):
    compiling.set()
    time.sleep(0.3)
    return make(*args)
factory._make = slow_make
both = [threading.Thread(target=each.step, args=(g,)) for each in (opt, fa.Lion(np.ones(3)))]
both[0].start()
inside.wait()
both[1].start()
compiling.wait()
child = os.fork()
if child == 0:
    other.step(g)
    fa.Lion(np.ones(3)).step(g)
    try:
        opt.step(g)
    except RuntimeError as error:
        os._exit(0 if "forked while another thread" in str(error) else 1)
    os._exit(2)
go.set()
[thread.join() for thread in both]
opt.step(g)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), opt.state_dict()["state"][0]["step"])
"""
POOL = """
import os, threading
import numpy as np, torch, fastadam as fa, fastadam.torch
from fastadam.kernels.cpu import openmp, threads
n, grad = 50_000, np.linspace(-1, 1, 50_000, dtype=np.float32)
def stepped(count):
    param = np.ones(n, np.float32)
    opt = fa.AdamW(param, threads=count)
    [opt.step(grad) for _ in range(3)]
    return param
torch.set_num_threads(2)
alone, several = stepped(1), [stepped(count) for count in (2, 3, 8)]
torch.set_num_threads(1)
several.append(stepped(4))
other = threading.Thread(target=lambda: several.append(stepped(2)))
other.start()
other.join()
assert len(several) == 5 and all((param == alone).all() for param in several)
print(openmp.team is not None, threads.threading_layer())
"""


@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_steps_from_several_threads_at_once(layer):
    """Numba's workqueue layer aborts the process when two threads enter it."""
    assert output(CONCURRENT, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == layer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_forked_child_steps_serially(layer):
    """GNU OpenMP kills a child that enters a parallel region."""
    assert output(FORK, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2") == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP is Linux's")
@pytest.mark.parametrize("imported", ["early", "late"])
def test_a_first_step_in_a_forked_worker_is_serial(imported):
    """The parent has used Numba's threads, and may not have imported fastadam."""
    code = f"import sys\nsys.argv.append({imported!r})\n{FIRST}"
    assert output(code, NUMBA_THREADING_LAYER="omp", NUMBA_NUM_THREADS="2") == "0.5"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_child_does_not_wait_for_locks_of_other_threads():
    assert output(CAUGHT) == "0 2.0"


@pytest.mark.skipif(float_mode.DEFAULT == 0 and not float_mode.ARM, reason="no known modes")
@pytest.mark.parametrize("mode", ["flushing", "upward"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_the_float_mode_of_the_caller_changes_nothing(dtype, mode):
    """Subnormal numbers stay, sums are rounded to nearest, whichever thread computes them."""
    modes = {"flushing": 0x9FC0, "upward": 0x5F80}
    modes = {"flushing": 1 << 24, "upward": 1 << 22} if float_mode.ARM else modes
    kind = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    word = np.dtype(f"uint{8 * kind.itemsize}")
    rng = np.random.default_rng(0)
    tiny = int(np.array(ml_dtypes.finfo(kind).tiny, kind).view(word))
    start, grad = rng.integers(1, 2 * tiny, (2, BIG)).astype(word).view(kind)
    grad[: BIG // 2] += np.arange(BIG // 2, dtype=kind)
    results = []
    for number, count in ((None, 1), (modes[mode], 1), (modes[mode], 2)):
        param = start.copy()
        opt = fa.SGD(param, lr=0.5, momentum=0.5, threads=count)
        opt.step(grad)
        if number:
            switch(number)
        try:
            opt.step(grad)
        finally:
            left = entered()
        assert number is None or left & float_mode.MODE == number
        results.append(param.tobytes() + opt.state["momentum_buffer"][0].tobytes())
    assert results[0] == results[1] == results[2]
    assert (param != start).mean() > 0.4


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere its OpenMP has no such entry")
def test_beside_pytorch_steps_run_in_its_threads():
    """Whatever it is set to, all tasks are done; Numba starts no threads, unless it is to."""
    pytest.importorskip("torch")
    assert output(POOL) == "True None"
    assert output(POOL, NUMBA_THREADING_LAYER="omp", NUMBA_NUM_THREADS="2") == "False omp"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_leaves_the_threads_of_pytorch_alone():
    pytest.importorskip("torch")
    assert output(f"import fastadam.torch\n{FORK}") == "0"


def test_threads_that_cannot_be_joined_are_left_alone(monkeypatch):
    monkeypatch.setattr(openmp, "team", None)
    monkeypatch.delenv("NUMBA_THREADING_LAYER", raising=False)
    openmp.use_threads_of("/no/such/module")
    openmp.use_threads_of(_ctypes.__file__)
    assert openmp.team is None


@pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP is Linux's")
def test_nested_openmp_is_not_left_on():
    """Numba turns it on, and a PyTorch imported later would be 1000 times as slow."""
    code = (
        "import ctypes, numpy as np, fastadam as fa\n"
        "w = np.ones(50_000, np.float32)\n"
        "fa.AdamW(w, threads=2).step(np.ones(50_000, np.float32))\n"
        "print(ctypes.CDLL('libgomp.so.1').omp_get_nested())"
    )
    environment = {"NUMBA_THREADING_LAYER": "omp", "NUMBA_NUM_THREADS": "2"}
    assert output(code, **environment) == "0"
    assert output(code, **environment, OMP_NESTED="true") == "1"


def test_the_gil_is_released():
    """Another thread counts on while a long step runs in this one."""
    w = np.ones(20_000_000, np.float32)
    g = np.ones(20_000_000, np.float32)
    opt = fa.AdamW(w, threads=1)
    opt.step(g)
    ran, counted = threading.Event(), []

    def watch():
        ran.wait()
        while ran.is_set():
            counted.append(None)

    watcher = threading.Thread(target=watch)
    watcher.start()
    ran.set()
    for _ in range(3):
        opt.step(g)
    ran.clear()
    watcher.join()
    assert len(counted) > 1000  # with the GIL held it is a handful of switches between steps


def test_set_threads():
    fa.set_threads(3)
    assert fa.get_threads() == 3
    fa.set_threads(np.int64(2))
    assert type(fa.get_threads()) is int
    fa.AdamW(np.ones(BIG), threads=np.uint8(2)).step(np.ones(BIG))
    fa.set_threads(None)
    assert fa.get_threads() >= 1
    wrong = 1.5, True, np.True_, "2"
    for bad, error in ((0, ValueError), (-2, ValueError), *((bad, TypeError) for bad in wrong)):
        with pytest.raises(error, match=re.escape(f"threads={bad!r}")):
            fa.set_threads(bad)


@pytest.mark.parametrize(
    ("asked", "got"), [("1", 1), ("2", 2), ("64", 2), ("", 2), ("1,2", 1), ("²", 2)]
)
def test_the_default_is_that_of_openmp(asked, got, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 2)
    monkeypatch.setattr(threads, "_default", threads._default.__wrapped__)
    assert fa.get_threads() == got


@pytest.mark.parametrize(("size", "limit"), [(BIG, 2), (BIG, 1), (1000, 2), (19_999, 2)])
def test_small_steps_are_serial(size, limit, monkeypatch):
    seen, run = [], threads.run
    monkeypatch.setattr(threads, "run", lambda *args: (seen.append(1), run(*args)))
    w = np.ones(size, np.float32)
    fa.AdamW(w, threads=limit).step(np.ones(size, np.float32))
    assert len(seen) == (size > threads.SERIAL_BELOW)
    assert (w < 1).all()


def test_there_are_no_more_tasks_than_chunks():
    w, v, grad = np.ones(BIG), np.ones(BIG), np.ones(BIG)
    fa.AdamW(w, threads=1 << 70).step(grad)
    fa.AdamW(v).step(grad)
    np.testing.assert_array_equal(w, v)


def test_an_unsafe_layer_is_never_entered_twice(monkeypatch):
    monkeypatch.setattr(openmp, "team", None)
    monkeypatch.setattr(threads, "_layer", "workqueue")
    ran = []

    def other(threaded):
        ran.append(threaded)
        return []

    def operations(threaded):
        thread = threading.Thread(target=threads.run, args=(other,))
        thread.start()
        thread.join()
        return []

    threads.run(operations)
    monkeypatch.setattr(threads, "_layer", "omp")
    threads.run(operations)
    assert ran == [False, True]


def test_one_optimizer_from_several_threads_counts_every_step():
    w, v = np.ones(500), np.ones(500)
    opt, other = fa.AdamW(w), fa.AdamW(v)
    grad = np.ones(500)

    def work():
        for _ in range(100):
            opt.step(grad)

    pool = [threading.Thread(target=work) for _ in range(4)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    for _ in range(400):
        other.step(grad)
    np.testing.assert_array_equal(w, v)


def test_functional_from_several_threads():
    results = []

    def work():
        p, g, m, v = (np.full(1000, x, np.float32) for x in (1, 0.5, 0, 0))
        for step in range(1, 200):
            fa.functional.adamw(p, g, m, v, step=step, lr=1e-2)
        results.append(p)

    pool = [threading.Thread(target=work) for _ in range(4)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    assert all((p == results[0]).all() for p in results)
    assert len(results) == 4


def test_plain_python_under_numba_disable_jit():
    """NUMBA_DISABLE_JIT=1 runs the same template without a compiler, with the same bits."""
    code = (
        "import numpy as np, fastadam as fa\n"
        "w = np.linspace(-1, 1, 50, dtype=np.float32)\n"
        "opt = fa.AdamW({'a': w[:20], 'b': w[20:]}, amsgrad=True)\n"
        "for k in range(3): opt.step({'a': np.sin(w[:20] + k), 'b': np.cos(w[20:] + k)})\n"
        "print(w.tobytes().hex())"
    )
    assert output(code, NUMBA_DISABLE_JIT="1") == output(code)


def test_import_is_lazy():
    code = (
        "import sys, fastadam\n"
        "fastadam.__version__\n"
        "print(sorted({'numba', 'numpy', 'torch'} & sys.modules.keys()))\n"
        "fastadam.AdamW, fastadam.flatten, fastadam.rule, fastadam.functional.adamw\n"
        "print(sorted({'numba', 'torch'} & sys.modules.keys()))"
    )
    lines = output(code).split("\n")
    assert lines == ["[]", "[]"]
    assert python("import fastadam; fastadam.nothing").returncode == 1


@pytest.mark.parametrize(
    ("name", "way_out"), [("adamw", "did you mean 'AdamW'?"), ("torch", "import fastadam.torch")]
)
def test_an_unknown_name_is_answered(name, way_out):
    done = python(f"import fastadam; fastadam.{name}")
    assert f"module 'fastadam' has no attribute '{name}'" in done.stderr
    assert way_out in done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are bound on Linux only")
def test_launches_run_on_chosen_cores_with_the_same_bits():
    core = min(os.sched_getaffinity(0))
    grad = np.linspace(-1, 1, BIG, dtype=np.float32)
    params = [np.ones(BIG, np.float32) for _ in range(3)]
    bound, free, switched = (
        fa.SGD(p, lr=0.1, **k) for p, k in zip(params, ({"cores": [core]}, {}, {}), strict=True)
    )
    for each in (bound, free):
        each.step(grad)
    fa.set_threads(None, cores=[core])
    assert fa.get_threads() == 1
    switched.step(grad)
    fa.set_threads(None)
    assert all((param == params[0]).all() for param in params)
    tasks = [os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task")]
    assert {core} in tasks


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are bound on Linux only")
def test_errors_of_launches_on_cores_reach_the_caller():
    def fails(threaded):
        raise ArithmeticError("on purpose")

    with pytest.raises(ArithmeticError, match="on purpose"):
        threads.run(fails, cores.Team(None, (min(os.sched_getaffinity(0)),)))


@pytest.mark.parametrize("wrong", [[], [0, 0], [10**6], [-1], "0", 0, [0.5]])
def test_cores_that_cannot_be_used_are_refused(wrong):
    with pytest.raises((TypeError, ValueError), match="cores="):
        fa.set_threads(None, cores=wrong)


def test_threads_have_rooms_of_their_own_in_plain_python():
    room = plain_python.Memory.reserve(4)
    places = [room()]
    thread = threading.Thread(target=lambda: places.append(room()))
    thread.start()
    thread.join()
    assert places[0] == room() != places[1]
