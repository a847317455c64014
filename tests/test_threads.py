"""Threads: how many, from where, and in a forked child; results never depend on it."""

import _ctypes
import os
import sys
import threading

import numpy as np
import pytest
from processes import output, python

import fastadam as fa
from fastadam.kernels import pool, threads

BIG = 50_000
CONCURRENT = """
import threading
import numpy as np, fastadam as fa
from fastadam.kernels import pool, threads
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
POOL = """
import os, threading
import numpy as np, torch, fastadam as fa, fastadam.torch
from fastadam.kernels import pool, threads
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
print(pool.joined is not None, threads.threading_layer())
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
    monkeypatch.setattr(pool, "joined", None)
    monkeypatch.delenv("NUMBA_THREADING_LAYER", raising=False)
    pool.join("/no/such/module")
    pool.join(_ctypes.__file__)
    assert pool.joined is None


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
    fa.set_threads(None)
    assert fa.get_threads() >= 1
    for bad, error in ((0, ValueError), (-2, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=f"threads={bad!r}"):
            fa.set_threads(bad)


@pytest.mark.parametrize(
    ("asked", "got"), [("1", 1), ("2", 2), ("64", 2), ("", 2), ("1,2", 1), ("²", 2)]
)
def test_the_default_is_that_of_openmp(asked, got):
    code = "import fastadam as fa; print(fa.get_threads())"
    assert output(code, OMP_NUM_THREADS=asked, NUMBA_NUM_THREADS="2") == str(got)


@pytest.mark.parametrize(
    ("size", "limit", "count"), [(BIG, 2, 2), (BIG, 1, None), (1000, 2, None), (19_999, 2, None)]
)
def test_small_steps_are_serial(size, limit, count, monkeypatch):
    seen = []
    monkeypatch.setattr(threads, "launch", lambda parallel, serial: (seen.append(1), serial()))
    w = np.ones(size, np.float32)
    fa.AdamW(w, threads=limit).step(np.ones(size, np.float32))
    assert len(seen) == (count is not None)
    assert (w < 1).all()


def test_there_are_no_more_tasks_than_chunks():
    w, v, grad = np.ones(BIG), np.ones(BIG), np.ones(BIG)
    fa.AdamW(w, threads=1 << 70).step(grad)
    fa.AdamW(v).step(grad)
    np.testing.assert_array_equal(w, v)


def test_an_unsafe_layer_is_never_entered_twice(monkeypatch):
    monkeypatch.setattr(pool, "joined", None)
    monkeypatch.setattr(threads, "_layer", "workqueue")
    ran = []
    threads.launch(
        lambda: threads.launch(lambda: ran.append("no"), lambda: ran.append("serial")), ran.clear
    )
    assert ran == ["serial"]
    monkeypatch.setattr(threads, "_layer", "omp")
    threads.launch(lambda: threads.launch(lambda: ran.append("both"), ran.clear), ran.clear)
    assert ran == ["serial", "both"]


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
    ("name", "way_out"), [("adamw", "Did you mean: 'AdamW'?"), ("torch", "import fastadam.torch")]
)
def test_an_unknown_name_is_answered(name, way_out):
    done = python(f"import fastadam; fastadam.{name}")
    assert f"module 'fastadam' has no attribute '{name}'" in done.stderr
    assert way_out in done.stderr
