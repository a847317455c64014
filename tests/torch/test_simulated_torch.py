"""Steps of fastadam.torch on a device, in Numba's simulator, against the same on the host.

PyTorch has no simulator: its tensors of the host pass for those of a GPU.
"""

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from cases import TWO
from deferred import deferring

from fastadam.cuda import launch
from fastadam.cuda import target as cuda
from fastadam.cuda import transfer as cuda_memory
from fastadam.cuda.context import driver, work
from fastadam.kernels import factory

torch = pytest.importorskip("torch")

import fastadam.torch  # noqa: E402
from fastadam.torch import devices  # noqa: E402

pytestmark = [
    pytest.mark.simulated,
    # np.errstate does not reach the threads of the simulator
    pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning"),
]

SHAPES = ((3, 2), (), (0, 4), (9,))
STREAM = 7
TAIL = {
    "clip_norm": 0.5,
    "clip_value": 0.1,
    "skip_nonfinite": True,
    "ema_decay": 0.9,
    "shadow_dtype": "float16",
    "zero_grads": True,
}
CODES = {"state_dtype": "int8", "min_quantized_size": 1}
LOW = {**CODES, "compensation": "split8"}


class Gpu:
    """Lets tensors of the host pass for those of a GPU, from when it is on."""

    on = False

    def __init__(self, monkeypatch):
        stream = SimpleNamespace(cuda_stream=STREAM)
        monkeypatch.setattr(devices, "on_gpu", lambda tensor: self.on)
        monkeypatch.setattr(devices, "number_of_device", lambda: None)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    assert cuda.SIMULATED, "set NUMBA_ENABLE_CUDASIM=1"
    monkeypatch.setattr(cuda, "THREADS", 2)
    monkeypatch.setattr(factory, "_made", {})
    return Gpu(monkeypatch)


@pytest.fixture
def streams(monkeypatch):
    """The streams in which kernels were launched."""
    used, launch = [], driver.launch
    monkeypatch.setattr(driver, "launch", lambda *each: (used.append(work.stream), launch(*each)))
    return used


def parameters(dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in SHAPES]


def train(opt, params, seeds, bad=()):
    for seed in seeds:
        torch.manual_seed(seed)
        for number, param in enumerate(params):
            param.grad = torch.randn(param.shape).to(param.dtype)
            if (seed, number) in bad:
                param.grad.view(-1)[-1:] = torch.nan
        opt.step()


def values(tensor):
    return tensor.detach().to(torch.float64).numpy()


def same(one, other, params, others):
    for ours, theirs in zip(params, others, strict=True):
        np.testing.assert_array_equal(values(ours), values(theirs))
        mine, yours = one.state[ours], other.state[theirs]
        assert mine.keys() == yours.keys()
        for name in mine:
            np.testing.assert_array_equal(values(mine[name]), values(yours[name]), err_msg=name)


def both(gpu, name, hyper, dtype=torch.float32, seeds=range(1, 4), bad=()):
    """The same run on the host and on the device."""
    runs = []
    for gpu.on in (False, True):
        params = parameters(dtype)
        opt = getattr(fastadam.torch, name)(params, **hyper)
        train(opt, params, seeds, bad)
        runs.append((opt, params))
    (opt, params), (twin, others) = runs
    same(opt, twin, params, others)
    return opt, twin, params, others


@pytest.mark.parametrize("case", TWO, ids=lambda case: case.id)
def test_bits_are_those_of_the_host(gpu, case, streams):
    both(gpu, case.optimizer.__name__, case.hyper)
    assert {*streams} == {STREAM}


@pytest.mark.parametrize("mask_state", [False, True])
def test_masks(gpu, mask_state):
    runs = []
    for gpu.on in (False, True):
        params = parameters()
        opt = fastadam.torch.AdamW(params, mask_state=mask_state)
        for seed in (1, 2):
            torch.manual_seed(seed)
            masks = [None, *(torch.rand(param.shape) < 0.5 for param in params[1:])]
            for param in params:
                param.grad = torch.randn(param.shape)
            opt.step(mask=masks)
        runs.append((opt, params))
    (opt, params), (twin, others) = runs
    same(opt, twin, params, others)


def test_files_travel_between_host_and_device(gpu, tmp_path):
    opt, twin, params, others = both(gpu, "AdamW", {**CODES, "ema_decay": 0.9}, torch.bfloat16)
    paths = tmp_path / "host", tmp_path / "device"
    for gpu.on, path, each in ((False, paths[0], opt), (True, paths[1], twin)):
        fastadam.torch.save(path, each)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    train(twin, others, [5])
    fastadam.torch.load(paths[0], twin)
    gpu.on = False
    same(opt, twin, params, others)


@pytest.mark.parametrize("bad", [(), [(2, 3)]], ids=["finite", "not finite"])
def test_with_options(gpu, bad):
    opt, twin, _, _ = both(gpu, "AdamW", TAIL, bad=bad)
    assert tuple(opt.info) == tuple(twin.info)
    assert opt.info.step == 3 - len(bad)
    opt, twin, _, _ = both(gpu, "AdamW", {"clip_norm": 0.5}, bad=bad)
    np.testing.assert_array_equal(opt.info.grad_norm, twin.info.grad_norm)  # NaN is NaN


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (torch.float32, CODES),
        (torch.bfloat16, LOW),
        (torch.bfloat16, {"rounding": "stochastic"}),
        (torch.float16, {"ema_decay": 0.9}),
    ],
    ids=["int8", "bf16 split8 int8", "bf16 stochastic", "f16 ema"],
)
def test_low_precision(gpu, dtype, options):
    opt, twin, _, _ = both(gpu, "AdamW", options, dtype)
    gpu.on = False
    wanted, saved = opt.master(), opt.dequantized_state()
    gpu.on = True
    for one, other in zip(wanted, twin.master(), strict=True):
        np.testing.assert_array_equal(values(one), values(other))
    for number, entry in twin.dequantized_state()["state"].items():
        for name, tensor in entry.items():
            np.testing.assert_array_equal(values(tensor), values(saved["state"][number][name]))


@pytest.mark.parametrize("options", [{}, CODES], ids=["floats", "codes"])
def test_runs_move_between_host_and_device(gpu, options):
    opt, twin, params, others = both(gpu, "AdamW", {})
    for one, target, moving in ((opt, twin, others), (twin, opt, params)):
        fresh = fastadam.torch.AdamW(moving, **options)
        fresh.load_state_dict(copy.deepcopy(one.state_dict()))
        gpu.on = target is twin
        train(fresh, moving, [9])
    finished = [fresh.state[param]["step"] for param in params]
    assert finished == [4.0] * len(params)
    for one, other in zip(params, others, strict=True):
        np.testing.assert_array_equal(values(one), values(other))


def test_layouts_and_missing_gradients(gpu):
    runs = []
    for gpu.on in (False, True):
        torch.manual_seed(0)
        params = [
            torch.nn.Parameter(torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last)),
            torch.nn.Parameter(torch.randn(4, 6)[:, ::2].detach()),  # with gaps
            torch.nn.Parameter(torch.randn(5)),
        ]
        opt = fastadam.torch.AdamW(params, clip_norm=0.5)
        for seed in range(3):
            torch.manual_seed(seed)
            for param in params:
                param.grad = torch.randn(param.shape)
            params[seed].grad = None
            opt.step()
        runs.append((opt, params))
    (opt, params), (twin, others) = runs
    same(opt, twin, params, others)


def test_the_scale_and_the_flag_of_a_scaler(gpu):
    runs = []
    for gpu.on in (False, True):
        params = parameters()
        opt = fastadam.torch.AdamW(params, fused=True)
        for flag in (0.0, 1.0, 0.0):
            opt.grad_scale, opt.found_inf = torch.tensor(8.0), torch.tensor(flag)
            train(opt, params, [1])
        runs.append((opt, params))
    (opt, params), (twin, others) = runs
    same(opt, twin, params, others)
    assert opt.info == twin.info
    assert opt.info.step == 2


def test_a_captured_step_is_refused_before_anything_moves(gpu, monkeypatch):
    gpu.on, params = True, parameters()
    opt = fastadam.torch.AdamW(params)
    train(opt, params, [1])
    before = [param.detach().clone() for param in params]
    monkeypatch.setattr(driver, "capturing", lambda stream: stream == STREAM)
    with pytest.raises(RuntimeError, match="captured in a CUDA graph only with capturable"):
        train(opt, params, [2])
    monkeypatch.undo()
    assert all(map(torch.equal, params, before))
    assert opt.state[params[0]]["step"] == 1


# Steps about which the device decides


@pytest.fixture
def deferred(monkeypatch):
    """A device that puts off whatever it may."""
    launch.loaded_on.cache_clear()
    with deferring(driver):
        allocate = cuda_memory.allocate

        def kept(nbytes):
            driver.kept.append(allocate(nbytes))
            return driver.kept[-1]

        monkeypatch.setattr(cuda_memory, "allocate", kept)
        yield


def with_gradients(**options):
    """Parameters with gradients that stay, and an optimizer."""
    params = parameters()
    for param in params:
        param.grad = torch.randn(param.shape)
    return params, fastadam.torch.AdamW(params, **options)


@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 0.5}, {"capturable": True, "ema_decay": 0.9}], ids=str
)
def test_a_scaler_does_not_make_the_host_wait(gpu, deferred, options):
    runs, scales = [], [torch.tensor(2.0**k) for k in range(8)]
    flags = [torch.tensor(float(k in (0, 4, 6))) for k in range(8)]
    for gpu.on in (False, True):
        options = {**options, "capturable": gpu.on and "capturable" in options}
        (params, opt), infos = with_gradients(fused=True, **options), []
        for k, (opt.grad_scale, opt.found_inf) in enumerate(zip(scales, flags, strict=True)):
            if k == 4:
                driver.finish_all()
                before = driver.waits
            opt.step()
            infos.append(opt.info)
            assert k < 4 or driver.waits == before
        driver.finish_all()
        runs.append((opt, params, infos))
    (opt, params, infos), (twin, others, late) = runs
    same(opt, twin, params, others)
    assert infos == late
    assert opt.state[params[0]]["step"] == 5
    del twin.grad_scale, twin.found_inf, opt.grad_scale, opt.found_inf
    twin.step()  # of which the host knows that it counts
    driver.finish_all()
    gpu.on = False
    opt.step()
    same(opt, twin, params, others)


def test_what_is_not_finite_is_skipped_without_a_wait(gpu, deferred):
    runs = []
    for gpu.on in (False, True):
        params, opt = with_gradients(skip_nonfinite=True)
        for k in range(6):
            if k == 4:
                driver.finish_all()
                params[0].grad[0, 0] = torch.nan
                before = driver.waits
            opt.step()
            assert k < 4 or driver.waits == before
        driver.finish_all()
        runs.append((opt, params))
    (opt, params), (twin, others) = runs
    assert repr(opt.info) == repr(twin.info)  # a norm of NaN
    assert twin.info.skipped
    same(opt, twin, params, others)
    saved = copy.deepcopy(twin.state_dict())
    assert saved["state"][0]["step"] == 4
    twin.load_state_dict(saved)
    params[0].grad = others[0].grad = torch.ones(3, 2)
    others[1].grad = params[1].grad = None  # a count of its own
    twin.step()
    driver.finish_all()
    gpu.on = False
    opt.step()
    same(opt, twin, params, others)


@pytest.mark.parametrize(
    ("name", "dtype", "options"),
    [
        ("SGD", torch.float32, {"momentum": 0.9, "zero_grads": True}),
        ("AdamW", torch.bfloat16, {"rounding": "stochastic", "ema_decay": 0.9}),
        ("NAdam", torch.float32, {}),  # what it carries makes the host wait
        ("AdamW", torch.float64, {}),  # so does a second look at squares that overflow
    ],
    ids=["SGD", "rounding", "NAdam", "float64"],
)
def test_other_steps_are_skipped_by_the_device(gpu, name, dtype, options):
    options = {**options, "skip_nonfinite": True, "lr": 0.1}
    both(gpu, name, options, dtype, seeds=range(1, 7), bad=[(3, 0), (5, 3)])


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
def test_a_captured_step_counts_when_it_is_replayed(gpu, deferred, rate):
    options = {"betas": (0.5, 0.9), "clip_norm": 0.5}
    params, opt = with_gradients(lr=0.1, **options)
    opt.step()
    opt.step()
    gpu.on = True
    others, twin = with_gradients(lr=rate, capturable=True, **options)
    twin.step()
    twin.step()
    graph = driver.begin(STREAM)
    twin.step()
    driver.end(STREAM)
    info = twin.info
    for k in range(3):
        if isinstance(rate, torch.Tensor):
            rate.fill_(0.1 / (k + 1))
            opt.param_groups[0]["lr"] = float(rate)
        driver.replay(graph, STREAM)
        driver.finish_all()
        gpu.on = False
        opt.step()
        gpu.on = True
        assert info == opt.info
    same(opt, twin, params, others)
    twin.step()
    driver.finish_all()
    driver.replay(graph, STREAM)
    driver.finish_all()
    gpu.on = False
    opt.step()
    opt.step()
    gpu.on = True
    same(opt, twin, params, others)
    assert twin.state[others[0]]["step"] == 7
    others[0].grad = None
    with pytest.raises(RuntimeError, match="updates other parameters"):
        twin.step()
    others[0].grad = torch.ones(3, 2)
    with pytest.raises(RuntimeError, match="captured in a CUDA graph, which would go on"):
        twin.load_state_dict(copy.deepcopy(twin.state_dict()))


def test_a_kernel_is_loaded_for_each_device(gpu, monkeypatch):
    """And what is asked later is asked on the device of the step."""
    gpu.on, current, used = True, [0], []
    monkeypatch.setattr(driver, "device", lambda: current[0])
    monkeypatch.setattr(driver, "on", lambda device: (used.append(device), nullcontext())[1])
    launch.loaded_on.cache_clear()
    infos = []
    for current[0] in (0, 1):
        _, opt = with_gradients(clip_norm=0.5)
        opt.step()
        infos.append(opt.info)
    one, other = (info.grad_norm for info in infos)
    assert used == [0, 1]
    assert one == other
    assert launch.loaded_on.cache_info().currsize % 2 == 0


def test_what_cannot_be_captured(gpu):
    gpu.on, params = True, parameters()
    with pytest.raises(RuntimeError, match=r"NAdam carries .* on the host"):
        train(fastadam.torch.NAdam(params, capturable=True), params, [1])
    gpu.on = False
    with pytest.raises(RuntimeError, match=r"If capturable=True, params .*\[0\] is on cpu"):
        train(fastadam.torch.AdamW(params, capturable=True), params, [1])


def test_parameters_of_several_devices_are_refused(gpu, monkeypatch):
    monkeypatch.setattr(devices, "on_gpu", lambda tensor: tensor.is_meta)
    params = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(0, device="meta"))]
    for param in params:
        param.grad = torch.ones_like(param)
    with pytest.raises(RuntimeError, match=r"\[0\] is on cpu, but .*\[1\] on meta; create one opt"):
        fastadam.torch.AdamW(params).step()
    assert (params[0] == 1).all()


def test_another_gpu_than_that_of_the_thread_is_refused(gpu, monkeypatch):
    gpu.on, params = True, parameters()
    monkeypatch.setattr(devices, "number_of_device", lambda: 1)
    with pytest.raises(RuntimeError, match="has already used cuda:1; call"):
        train(fastadam.torch.AdamW(params), params, [1])
