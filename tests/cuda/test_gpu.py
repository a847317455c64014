"""Tests on a GPU: `pytest -m gpu`. Without one, in Numba's simulator, with tiny sizes:
`NUMBA_ENABLE_CUDASIM=1 pytest -m gpu`.

Results are those of the CPU, bit for bit: the same operations in the same order, each rounded once
to nearest. Whoever sees a difference of a few units in the last place has met a compiler that joins
a product and a sum, see `fastadam/kernels/cuda.py`.
"""

import threading
import warnings

import numpy as np
import pytest
from cases import gradients, parameters
from gpu_pairs import (
    SIMULATED,
    SIZE,
    STEPS,
    Borrowed,
    Pair,
    device,
    each_default,
    each_dtype,
    host,
    own,
    same,
)

import fastadam as fa
from fastadam.memory.dtypes import named

numba = pytest.importorskip("numba")
cuda = pytest.importorskip("numba.cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # those of torch, CuPy and Numba are their affair
]


# The same rules


@each_default
@each_dtype
def test_agrees_with_the_cpu(case, dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    pair = Pair(case.optimizer, [parameters(SIZE, named(dtype))], make=own)
    for grad in gradients(SIZE, STEPS, named(dtype)):
        pair.step([grad])
    pair.check()


OPTIONS = {
    "clip_norm": {"clip_norm": 0.5},
    "clip_norm_per": {"clip_norm": 0.5, "clip_norm_per": "tensor"},
    "clip_value": {"clip_value": 0.01},
    "ema": {"ema_decay": 0.9, "ema_warmup": True},
    "accumulate": {"accumulate_steps": 2, "clip_norm": 0.5, "zero_grads": True},
    "schedule": {"lr": fa.schedules.cosine(1e-2, steps=STEPS, warmup=1)},
    "all": {"clip_norm": 0.5, "skip_nonfinite": True, "ema_decay": 0.9, "zero_grads": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_options_agree_with_the_cpu(options):
    sizes = (SIZE, 3, 40)
    pair = Pair(fa.AdamW, [parameters(n, np.float32, seed=n) for n in sizes], **options)
    for k in range(STEPS):
        grads = [gradients(n, 1, np.float32, seed=n + k)[0] for n in sizes]
        cpu, gpu = pair.step(grads, grad_scale=8.0)
        assert gpu == cpu  # the norm too, bit for bit
    pair.check()
    if "ema_decay" in options:
        for got, want in zip(pair.gpu.ema.leaves, pair.cpu.ema.leaves, strict=True):
            same(np.asarray(got), want)


def test_masks_agree_with_the_cpu():
    param = parameters(SIZE, np.float32)
    mask = np.random.default_rng(0).random(SIZE) < 0.5
    pair, start = Pair(fa.Adam, [param]), param.copy()
    for grad in gradients(SIZE, STEPS, np.float32):
        pair.step([grad], mask=[mask])
    pair.check()
    np.testing.assert_array_equal(host(pair.device_params[0])[~mask], start[~mask])


def test_zero_grads_clears_the_caller_s_gradients():
    grad = device(np.ones(SIZE, np.float32))
    fa.SGD(device(np.ones(SIZE, np.float32)), zero_grads=True).step(grad)
    assert not host(grad).any()


@pytest.mark.parametrize("lend", [lambda array: array, Borrowed], ids=["owned", "borrowed"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_skipped_step_leaves_no_trace(lend, bad):
    values = np.ones(SIZE, np.float32)
    param, grad = device(values), values.copy()
    grad[-1] = bad
    opt = fa.AdamW(lend(param), skip_nonfinite=True)
    info = opt.step(lend(device(grad)))
    assert (info.skipped, info.updated, info.step) == (True, False, 0)
    np.testing.assert_array_equal(host(param), values)
    assert opt.state_dict()["state"] == {}


@pytest.mark.parametrize("shadow", ["float16", "bfloat16"])
def test_shadow_is_the_parameter_rounded_to_nearest(shadow):
    if shadow == "bfloat16":
        pytest.importorskip("ml_dtypes")
    opt = fa.SGD(device(parameters(SIZE, np.float32)), lr=0.1, shadow_dtype=shadow)
    opt.step(device(gradients(SIZE, 1, np.float32)[0]))
    copy = np.asarray(opt.shadow.leaves[0])
    np.testing.assert_array_equal(copy, host(opt.params).astype(copy.dtype))


def test_norms_have_the_bits_of_the_cpu():
    sizes = (SIZE, 1, 0, 300) if SIMULATED else (300_001, 1, 0, 5003, 70_000)
    grads = [gradients(n, 1, np.float32, seed=n)[0] for n in sizes]
    params = [np.zeros(n, np.float32) for n in sizes]
    cpu = fa.SGD(params, clip_norm=np.inf).step(grads)
    gpu = fa.SGD([device(p) for p in params], clip_norm=np.inf).step([device(g) for g in grads])
    assert cpu.grad_norm.hex() == gpu.grad_norm.hex()


# Arrays as they are


@pytest.mark.parametrize(("first", "second"), [(1, 0), (0, 1), (1, 1), (3, 2)])
def test_unaligned_views(first, second):
    """Views at any element take the way of single numbers, and compute the same."""
    values, grads = parameters(SIZE, np.float32), gradients(SIZE, STEPS, np.float32)
    base = device(np.zeros(SIZE + 3, np.float32))
    view = base[first : first + SIZE]
    view.copy_to_device(values)
    room = device(np.zeros(SIZE + 3, np.float32))
    there = room[second : second + SIZE]
    opt, cpu = fa.AdamW(view), fa.AdamW(values)
    for grad in grads:
        there.copy_to_device(grad)
        opt.step(there)
        cpu.step(grad)
    got = host(base)
    same(got[first : first + SIZE], values)
    assert not got[:first].any()
    assert not got[first + SIZE :].any()


def test_many_arrays():
    rng = np.random.default_rng(5)
    sizes = [*rng.integers(0, 60 if SIMULATED else 3000, 7 if SIMULATED else 400), 0, 1]
    pair = Pair(fa.AdamW, [parameters(n, np.float32, seed=k) for k, n in enumerate(sizes)])
    for k in range(STEPS):
        grads = [gradients(n, 1, np.float32, seed=k + i)[0] for i, n in enumerate(sizes)]
        grads[k % 3] = None
        pair.step(grads)
    pair.check()


def test_arrays_of_two_dtypes():
    pair = Pair(fa.Adam, [parameters(9, np.float32), parameters(9, np.float64)], clip_norm=1.0)
    for k in range(STEPS):
        pair.step([gradients(9, 1, d, seed=k)[0] for d in (np.float32, np.float64)])
    pair.check()


@each_default
def test_a_missing_gradient_leaves_everything_alone(case):
    values = parameters(9, np.float32)
    params = [device(values), device(values)]
    opt = case.optimizer(params)
    opt.step([device(gradients(9, 1, np.float32)[0]), None])
    np.testing.assert_array_equal(host(params[1]), values)
    assert all(arrays[1] is None for arrays in opt.state.values())
    assert {*opt.state_dict()["state"]} <= {0}


def test_more_than_two_to_the_31_elements():
    size = 4096 + 5 if SIMULATED else 2**31 + 5
    if not SIMULATED:
        free = cuda.current_context().get_memory_info()[0]
        if free < 8 * size + 2**29:
            pytest.skip(f"{free / 1e9:.0f} GB are free, and it takes {8 * size / 1e9:.0f}")
    from numba.cuda.cudadrv.driver import device_memset

    param, grad = (cuda.device_array(size, np.float32) for _ in range(2))
    device_memset(param, 0x3F, 4 * size)
    device_memset(grad, 0x3E, 4 * size)
    one, other = np.frombuffer(b"\x3f" * 4 + b"\x3e" * 4, np.float32)
    fa.SGD(param, lr=0.5).step(grad)
    want, piece = np.float32(one - np.float32(0.5) * other), 1 << 28
    for start in range(0, size, piece):
        got = param[start : min(start + piece, size)].copy_to_host()
        assert got.min() == got.max() == want, start  # the product with 0.5 is exact


@pytest.mark.parametrize("borrowed", [True, False])
def test_bare_kernels(borrowed):
    values = [parameters(SIZE, np.float32), gradients(SIZE, 1, np.float32)[0]]
    values += [np.zeros(SIZE, np.float32) for _ in range(2)]
    there = [device(each) for each in values]
    arrays = [Borrowed(each) for each in there] if borrowed else there
    for step in range(1, STEPS + 1):
        fa.functional.adamw(*values, step=step, lr=0.01)
        fa.functional.adamw(*arrays, step=step, lr=0.01)
    same(host(there[0]), values[0])


def test_flat_buffers():
    tree = {"w": parameters((3, SIZE), np.float32), "b": parameters((), np.float32)}
    grads = {"w": gradients((3, SIZE), 1, np.float32)[0], "b": np.float32(0.5)}
    cpu, gpu = fa.flatten(tree), fa.flatten({"w": device(tree["w"]), "b": device(tree["b"])})
    one, other = fa.AdamW(cpu), fa.AdamW(gpu)
    for opt in (one, other):
        opt.grads.tree["w"][...] = grads["w"]
        opt.grads.tree["b"][...] = grads["b"]
        opt.step()
    assert gpu.tree["w"].shape == (3, SIZE)
    same(np.asarray(gpu.buffer), cpu.buffer)


def test_flatten_brings_trees_to_the_device_and_back():
    tree = {"w": parameters((3, 5), np.float32), "b": parameters(4, np.float32)}
    there = fa.flatten(tree, device="cuda")
    assert hasattr(there.buffer, "__cuda_array_interface__")
    back = fa.flatten(there.tree, device="cpu")
    assert isinstance(back.buffer, np.ndarray)
    for name, values in tree.items():
        np.testing.assert_array_equal(back.tree[name], values)


def test_late_norms_are_those_of_their_step():
    """They are fetched when they are looked at, in any order, long after."""
    norms = range(1, 4 if SIMULATED else 1000)
    grad = device(np.zeros(4, np.float32))
    opt, infos = fa.SGD(device(np.ones(4, np.float32)), clip_norm=np.inf), []
    for norm in norms:
        grad.copy_to_device(np.full(4, norm / 2, np.float32))
        infos.append(opt.step(grad))
    assert [info.grad_norm for info in reversed(infos)] == [float(norm) for norm in reversed(norms)]


def test_a_step_warns_of_nothing():
    param, grad = device(np.ones(3, np.float32)), device(np.ones(3, np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fa.SGD(param, momentum=0.5, clip_norm=1.0).step(grad)


def test_warm_up_compiles_for_the_device():
    fa.warmup(fa.AdamW(device(np.ones(3, np.float32)), clip_norm=1.0))


# What is refused


def test_host_and_device_together_are_refused():
    ones = np.ones(5, np.float32)
    there = device(ones)
    for attempt in (
        lambda: fa.AdamW([ones, there]),
        lambda: fa.AdamW(there).step(ones),
        lambda: fa.AdamW(ones.copy()).step(there),
        lambda: fa.AdamW(there).step(device(ones), mask=np.ones(5, bool)),
        lambda: fa.flatten([ones, there]),
        lambda: fa.functional.sgd(there, ones, step=1),
    ):
        with pytest.raises(TypeError, match=r"device.*host|host.*device"):
            attempt()
    np.testing.assert_array_equal(host(there), ones)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda a: a[::2], ValueError, "not C-contiguous"),
        (lambda a: device(np.ones(8, np.int32)), TypeError, "dtype"),
        (lambda a: [a, a], ValueError, "same memory"),
        (lambda a: [a[:5], a[4:]], ValueError, "same memory"),
    ],
)
def test_bad_arrays_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        fa.AdamW(make(device(np.ones(8, np.float32))))


def test_a_gradient_in_the_memory_of_its_parameter_is_refused():
    param = device(np.ones(8, np.float32))
    with pytest.raises(ValueError, match="which the step writes"):
        fa.AdamW(param).step(param)


# State


@each_default
def test_state_goes_to_the_cpu_and_back(case):
    grads = gradients(SIZE, 6, np.float32)
    straight, param = parameters(SIZE, np.float32), parameters(SIZE, np.float32)
    opt = case.optimizer(straight)
    for grad in grads:
        opt.step(grad)
    saved = None
    for first, there in ((0, True), (2, False), (4, True)):
        moved = device(param) if there else param
        opt = case.optimizer(moved)
        if saved:
            opt.load_state_dict(saved)
        for grad in grads[first : first + 2]:
            opt.step(device(grad) if there else grad)
        saved, param = opt.state_dict(), host(moved)
        for entry in saved["state"].values():
            assert all(isinstance(value, np.ndarray | np.generic) for value in entry.values())
    same(param, straight)


def test_average_survives_saving():
    param, grads = device(np.ones(9, np.float32)), gradients(9, 2, np.float32)
    opt = fa.AdamW(param, ema_decay=0.5)
    opt.step(device(grads[0]))
    again = fa.AdamW(device(host(param)), ema_decay=0.5)
    again.load_state_dict(opt.state_dict())
    for each in (opt, again):
        each.step(device(grads[1]))
    np.testing.assert_array_equal(np.asarray(opt.ema.buffer), np.asarray(again.ema.buffer))
    np.testing.assert_array_equal(host(opt.params), host(again.params))


# Order


def test_work_of_numba_s_streams_comes_first():
    """They wait for the stream in which steps are launched, and it for them."""
    values, stream = np.ones(SIZE, np.float32), cuda.stream()
    param, grad = device(values), device(np.zeros(SIZE, np.float32))
    opt = fa.SGD(param, lr=1.0)
    for number in range(1, STEPS + 1):
        grad.copy_to_device(np.full(SIZE, number, np.float32), stream=stream)
        opt.step(grad)
    np.testing.assert_array_equal(host(param), values - STEPS * (STEPS + 1) / 2)


@pytest.mark.parametrize("lazy", ["torch", "rows", "exact"])
def test_rows_have_the_bits_of_the_cpu(lazy):
    rows, count, width = (6, 6, 3) if SIMULATED else (5000, 4000, 65)
    rng = np.random.default_rng(1)
    table = rng.normal(size=(rows, width)).astype(np.float32)
    there = device(table)
    one, two = fa.Adam(table, lazy=lazy), fa.Adam(there, lazy=lazy)
    for dtype in (np.float32, np.float16):
        indices = rng.integers(0, rows, count)
        indices[: count // 3] = 5
        values = rng.normal(size=(count, width)).astype(dtype)
        one.step(fa.Rows(indices, values))
        two.step(fa.Rows(device(indices), device(values)))
    np.testing.assert_array_equal(table, host(there))
    for name, (state,) in one.state.items():
        np.testing.assert_array_equal(state, host(two.state[name][0]))


def test_two_threads_with_an_optimizer_each():
    grads = [gradients(SIZE, STEPS, np.float32, seed=k) for k in range(2)]
    results, errors = {}, []

    def train(name, number):
        try:
            param = device(parameters(SIZE, np.float32, seed=number))
            opt = fa.AdamW(param, clip_norm=1.0)
            for grad in grads[number]:
                opt.step(device(grad))
            results[name] = host(param)
        except Exception as error:  # or the failure would be lost with the thread
            errors.append(error)

    threads = [threading.Thread(target=train, args=(f"thread {k}", k)) for k in range(2)]
    for k in range(2):
        train(f"alone {k}", k)
    if SIMULATED:  # it has one set of thread indices for all: one after the other
        for thread in threads:
            thread.start()
            thread.join()
    else:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    for k in range(2):
        np.testing.assert_array_equal(results[f"thread {k}"], results[f"alone {k}"])
