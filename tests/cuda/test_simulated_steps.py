"""Optimizers over arrays on a device, in Numba's simulator, against the same on the host."""

import copy
import math
import pickle
import weakref

import ml_dtypes
import numpy as np
import pytest
from cases import BY_ROW, DEFAULTS, EVERY, SUMMED
from numba import cuda as numba_cuda

import fastadam as fa
from fastadam.checkpoint import write
from fastadam.cuda import target as cuda
from fastadam.cuda import transfer as cuda_memory
from fastadam.cuda.array import DeferredScalar, DeviceArray, zeros
from fastadam.cuda.backend import CUDA
from fastadam.kernels import factory

pytestmark = [
    pytest.mark.simulated,
    # np.errstate does not reach the threads of the simulator
    pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning"),
]

SHAPES = ((2, 3), (), (0, 4), (9,))
TAIL = {
    "clip_norm": 0.5,
    "clip_norm_per": "tensor",
    "clip_value": 0.1,
    "skip_nonfinite": True,
    "ema_decay": 0.9,
    "shadow_dtype": "float16",
    "zero_grads": True,
    "accumulate_steps": 2,
}
CASES = [(case, {}) for case in DEFAULTS[::3]]  # every rule is in test_simulated_kernels.py
CASES += [(case, options) for case in DEFAULTS[:1] for options in ({"clip_norm": 0.5}, TAIL)]
CASES += [(SUMMED[0], options) for options in ({}, TAIL)]
CASES += [(case, {}) for case in SUMMED if case.optimizer is fa.Prodigy]
CASES += [(BY_ROW[-1], {}), (BY_ROW[0], TAIL)]
CASES += [(case, {}) for case in EVERY if case.optimizer is fa.Adafactor]


@pytest.fixture(autouse=True)
def device(monkeypatch):
    assert cuda.SIMULATED, "set NUMBA_ENABLE_CUDASIM=1"
    monkeypatch.setattr(cuda, "THREADS", 2)
    monkeypatch.setattr(factory, "_made", {})


def arrays(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in SHAPES]


def on_device(each):
    return [None if array is None else numba_cuda.to_device(array) for array in each]


def same(host, device):
    for one, other in zip(host, device, strict=True):
        np.testing.assert_array_equal(one, getattr(other, "_ary", other))


class Foreign:
    """An array of another library, known by the interface that all share."""

    def __init__(self, array, **changes):
        self._kept = array
        place = array.__array_interface__
        keys = ("shape", "typestr", "data", "strides", "version")
        self.__cuda_array_interface__ = {key: place[key] for key in keys} | changes


@pytest.mark.parametrize(
    ("case", "options"), CASES, ids=[f"{case.id}-{len(options)} options" for case, options in CASES]
)
def test_a_step_has_the_bits_of_the_host(case, options):
    host = arrays(0)
    params = on_device(host)
    opt, twin = case.optimizer(host, **options), case.optimizer(params, **options)
    for step in range(4):
        grads = arrays(step + 1)
        if step == 2:
            grads[1] = None
        given = on_device(grads)
        mask = [np.asarray(g > 0) for g in arrays(9)] if step == 3 else None
        infos = (
            opt.step(grads, mask=mask, grad_scale=2.0),
            twin.step(given, mask=mask and on_device(mask), grad_scale=2.0),
        )
        assert infos[0] == infos[1]
        if "zero_grads" in options:
            assert not any(grad._ary.any() for grad in given if grad is not None)
    same(host, params)
    for name, state in opt.state.items():
        same(state, map(np.asarray, twin.state[name]))
    if options is TAIL:
        np.testing.assert_array_equal(opt.ema.buffer, np.asarray(twin.ema.buffer))
        np.testing.assert_array_equal(opt.shadow.buffer, np.asarray(twin.shadow.buffer))


LITTLE = {
    "int8": (np.float32, {"state_dtype": "int8", "min_quantized_size": 0}),
    "bfloat16 state": (np.float32, {"state_dtype": "bfloat16"}),
    "float16": (np.float16, {"rounding": "stochastic"}),
    "all": (
        ml_dtypes.bfloat16,
        {
            "state_dtype": "int8",
            "min_quantized_size": 0,
            "compensation": "split8",
            "rounding": "stochastic",
            "clip_norm": 0.5,
            "ema_decay": 0.9,
        },
    ),
}


@pytest.mark.parametrize(("dtype", "options"), LITTLE.values(), ids=LITTLE)
def test_little_memory_has_the_bits_of_the_host(dtype, options):
    host = arrays(0, dtype)
    params = on_device(host)
    opt, twin = fa.AdamW(host, **options), fa.AdamW(params, **options)
    for step in range(3):
        given = arrays(step + 1, dtype if step else np.float32)
        opt.step(given)
        twin.step(on_device(given))
    same(host, params)
    saved = twin.state_dict()
    for number, entry in opt.state_dict()["state"].items():
        for name, array in entry.items():
            assert saved["state"][number][name].dtype == array.dtype
            np.testing.assert_array_equal(saved["state"][number][name], array)
    for one, other in zip(opt.master(), twin.master(), strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))
    opt.load_state_dict(saved)
    twin.load_state_dict(saved)
    opt.step(arrays(7, dtype))
    twin.step(on_device(arrays(7, dtype)))
    same(host, params)


def test_states_travel_between_host_and_device():
    host = arrays(0)
    opt = fa.AdamW(host, **TAIL)
    for step in range(3):
        opt.step(arrays(step))
    params = on_device(host)
    twin = fa.AdamW(params, **TAIL)
    twin.load_state_dict(opt.state_dict())
    opt.step(arrays(3))
    twin.step(on_device(arrays(3)))
    same(host, params)
    saved = pickle.loads(pickle.dumps(twin.state_dict()))
    assert isinstance(saved["state"][0]["exp_avg"], np.ndarray)
    opt.load_state_dict(saved)
    np.testing.assert_array_equal(opt.ema.buffer, np.asarray(twin.ema.buffer))


def test_files_travel_between_host_and_device(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "PIECE", 16)  # several pieces of each array
    options = {"ema_decay": 0.9, "shadow_dtype": "float16", "accumulate_steps": 2}
    host = fa.AdamW(arrays(0), lr=0.1, **options)
    for seed in range(3):
        host.step(arrays(seed + 1))
    paths = tmp_path / "host", tmp_path / "device"
    fa.save(paths[0], host)
    params = on_device(arrays(5))
    twin = fa.AdamW(params, lr=0.1, **options)
    fa.load(paths[0], twin)
    fa.save(paths[1], twin)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    host.step(arrays(7))
    twin.step(on_device(arrays(7)))
    same(host.params, params)
    fa.load(paths[1], host)
    saved = fa.load(paths[0])
    same(host.params, [saved[f"param/{number}"] for number, _ in enumerate(SHAPES)])


@pytest.mark.parametrize("size", [1, 4, 5, 8, 13, 40])
def test_large_arrays_go_through_pinned_memory(size, monkeypatch):
    monkeypatch.setattr(cuda_memory.Staging, "PLACE", 4)
    monkeypatch.setattr(cuda_memory.Staging, "LEAST", 1)
    numbers = np.arange(size, dtype=np.uint8)
    there = zeros(size, np.uint8)
    there[...] = numbers
    np.testing.assert_array_equal(np.asarray(there), numbers)


def test_trees_are_brought_to_a_device_and_back():
    tree = {"w": np.arange(6.0).reshape(2, 3), "b": np.ones(3)}
    flat = fa.flatten(tree, device="cuda")
    assert isinstance(flat.buffer, DeviceArray)
    opt = fa.SGD(flat, lr=1.0)
    opt.grads.buffer[...] = 1.0
    opt.step()
    opt.step({"w": numba_cuda.to_device(tree["w"]), "b": None})
    opt.step(numba_cuda.to_device(np.ones(9)))
    back = fa.flatten(flat.tree, device="cpu")
    np.testing.assert_array_equal(back.tree["w"], -2.0 * np.ones((2, 3)))
    np.testing.assert_array_equal(back.tree["b"], -np.ones(3))
    opt.zero_grad()
    assert not np.asarray(opt.grads.buffer).any()
    with pytest.raises(ValueError, match="device='gpu'"):
        fa.flatten(tree, device="gpu")


def test_parameters_and_average_change_places_on_the_device():
    params = on_device(arrays(0))
    opt = fa.AdamW(params, lr=0.1, ema_decay=0.5)
    opt.step(on_device(arrays(1)))
    before = [param.copy_to_host() for param in params]
    averages = [np.asarray(leaf) for leaf in opt.ema.leaves]
    with opt.swap_ema():
        same(averages, params)
    same(before, params)
    opt.add_param_group({"params": numba_cuda.to_device(np.ones(3, np.float32))})
    same([*averages, np.ones(3)], opt.ema.leaves)


def test_bare_kernels_take_device_arrays():
    host = [np.ones(5, np.float32), np.ones(5, np.float32), *np.zeros((2, 5), np.float32)]
    there = on_device(host)
    for step in (1, 2):
        fa.functional.adamw(*host, step=step)
        fa.functional.adamw(*there, step=step)
    same(host, there)
    with pytest.raises(TypeError, match="grad lies on a device, but param on the host"):
        fa.functional.adamw(host[0], *there[1:], step=3)


def test_arrays_of_other_libraries_are_taken_as_they_are():
    param, grad = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    opt = fa.SGD(Foreign(param), lr=0.5)
    opt.step(Foreign(grad))
    assert (param == 0.5).all()
    assert opt.state == {}
    moment = fa.Lion(Foreign(param))
    moment.step(Foreign(grad))
    shared = moment.state["exp_avg"][0].__cuda_array_interface__
    assert shared["shape"] == (2, 3)
    assert shared["typestr"] == "<f4"


@pytest.mark.parametrize(
    ("grad", "message"),
    [
        (np.ones(4, np.float32), "grads lies on the host, but params on a device"),
        (Foreign(np.ones(8, np.float32)[::2]), "not C-contiguous"),
        (Foreign(np.ones(4)), "dtype float64"),
        (Foreign(np.ones((2, 2), np.float32)), "shape"),
    ],
)
def test_bad_gradients_are_refused_before_anything_moves(grad, message):
    param = np.ones(4, np.float32)
    opt = fa.AdamW(Foreign(param))
    with pytest.raises((TypeError, ValueError), match=message):
        opt.step(grad)
    assert (param == 1).all()


def test_bad_parameters_are_refused():
    fixed = np.ones(4, np.float32)
    data = (fixed.ctypes.data, True)
    with pytest.raises(ValueError, match="read-only"):
        fa.AdamW(Foreign(fixed, data=data))
    with pytest.raises(TypeError, match=r"params\[1\] lies on a device, but params\[0\] on the"):
        fa.AdamW([fixed, Foreign(np.ones(3, np.float32))])
    with pytest.raises(TypeError, match="lies on the host"):
        fa.flatten({"a": Foreign(fixed), "b": np.ones(3, np.float32)})
    with pytest.raises(TypeError, match="mask lies on the host"):
        fa.SGD(Foreign(fixed)).step(Foreign(fixed.copy()), mask=np.ones(4, bool))
    with pytest.raises(ValueError, match="memory of params"):
        fa.SGD(Foreign(fixed)).step(Foreign(fixed))


def test_a_norm_is_fetched_when_it_is_looked_at(monkeypatch):
    monkeypatch.setattr(DeferredScalar, "PLACES", 4)
    opt = fa.SGD(Foreign(np.zeros(2)), clip_norm=math.inf)
    infos = [opt.step(Foreign(np.array([3.0 * k, 4.0 * k]))) for k in range(10)]
    assert [info.grad_norm for info in infos] == [5.0 * k for k in range(10)]
    step, lr, norm, skipped, updated = infos[3]
    assert (step, lr, norm, skipped, updated) == (4, 1e-3, 15.0, False, True)
    assert infos[3] == (4, 1e-3, 15.0, False, True)
    assert repr(pickle.loads(pickle.dumps(infos[3]))) == repr(infos[3])
    assert infos[3] != infos[4]
    assert 15.0 in infos[3]
    assert (infos[3] + (1,))[2:] == (15.0, False, True, 1)
    assert infos[3]._replace(step=9) == (9, 1e-3, 15.0, False, True)
    assert hash(infos[3]) == hash(tuple(infos[3]))


def test_device_arrays_behave():
    array = zeros(6, np.float32).reshape(2, -1)
    array[...] = np.arange(6).reshape(2, 3)
    copy = array.copy()
    array.fill(7)
    assert np.asarray(copy).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.asarray(array, np.float64).dtype == np.float64
    assert (array.shape, array.strides, array.ndim, array.nbytes) == ((2, 3), (12, 4), 2, 24)
    assert len(array) == 2
    flat = array.reshape(-1)
    flat[1:3] = 0
    assert np.asarray(flat[:4]).tolist() == [7, 0, 0, 7]
    assert "DeviceArray" in repr(flat)
    empty = zeros(0, np.float32)
    empty[...] = 1
    assert np.asarray(empty).size == 0


def test_device_arrays_are_copied_with_their_numbers():
    array = zeros(3, np.float32)
    array[...] = [1, 2, 3]
    for twin in (copy.deepcopy(array), pickle.loads(pickle.dumps(array))):
        array[...] = 0
        assert np.asarray(twin).tolist() == [1, 2, 3]
        array[...] = [1, 2, 3]
    params = on_device(arrays(0))
    opt = fa.AdamW([{"params": params[:2]}, {"params": params[2:], "lr": 0.5}])
    opt.step(on_device(arrays(1)))
    twin, before = copy.deepcopy(opt), [param.copy_to_host() for param in params]
    twin.step(on_device(arrays(2)))
    same(before, params)
    flat = copy.deepcopy(fa.flatten(params))
    assert isinstance(flat.buffer, DeviceArray)
    same(before, map(np.asarray, flat.leaves))


@pytest.mark.parametrize(
    "source",
    [np.ones((2, 3), np.int32), np.ones((3, 2), np.float32), np.ones((3, 2), np.float32).T],
)
def test_sources_that_do_not_fit_are_refused(source):
    array = zeros(6, np.float32).reshape(2, 3)
    with pytest.raises(ValueError, match=r"fit|contiguous"):
        array[...] = Foreign(source)
    assert not np.asarray(array).any()


@pytest.mark.parametrize("part", [slice(None, None, 2), 1, (0, 1)])
def test_only_runs_can_be_taken(part):
    with pytest.raises(IndexError, match=r"np\.asarray"):
        zeros(6, np.float32)[part]
    with pytest.raises(IndexError, match=r"np\.asarray"):
        zeros(6, np.float32).reshape(2, 3)[1:2]


def test_warmup_on_a_device():
    fa.warmup(fa.SGD, device="cuda")
    with pytest.raises(ValueError, match="device='cuda' is not where this SGD runs"):
        fa.warmup(fa.SGD(np.ones(3, np.float32)), device="cuda")


def test_a_step_gives_no_memory_back(monkeypatch):
    """The driver would wait for the device, whenever garbage happens to be collected."""
    rooms = [np.zeros(3) for _ in range(2)]
    dropped = weakref.ref(rooms[0])
    monkeypatch.setattr(cuda_memory, "_allocated", lambda nbytes: (0, rooms.pop(0)))
    (_, owner), (_, other) = (cuda_memory.allocate(24) for _ in range(2))
    with CUDA.lock():
        del owner
        assert dropped() is not None
    assert dropped() is not None
    del other
    assert dropped() is None
