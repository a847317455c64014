"""fastadam.torch on a GPU: `pytest -m gpu`.

Bits are those of the CPU, see test_gpu.py.
"""

import copy
import os

import pytest
from cases import DEFAULTS

torch = pytest.importorskip("torch")

import fastadam.torch  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # those of torch and Numba are their affair
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0",
        reason="this PyTorch has no GPU",
    ),
]
SHAPES = ((70, 50), (50,), (), (0, 3), (3, 4, 5, 5))
LONG = 1_000_000_000  # clock ticks, half a second
TAIL = {"clip_norm": 0.5, "ema_decay": 0.9, "shadow_dtype": "float16", "zero_grads": True}
CODES = {"state_dtype": "int8", "min_quantized_size": 1}


def parameters(device, dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape).to(device, dtype)) for shape in SHAPES]


def train(opt, params, seeds):
    for seed in seeds:
        torch.manual_seed(seed)
        for param in params:
            param.grad = torch.randn(param.shape).to(param.device, param.dtype)
        opt.step()


def same(params, others):
    for one, other in zip(params, others, strict=True):
        torch.testing.assert_close(one.cpu(), other.cpu(), rtol=0, atol=0, equal_nan=True)


def both(make, dtype=torch.float32, seeds=range(5)):
    """The same run on the CPU and on the GPU."""
    runs = []
    for device in ("cpu", "cuda"):
        params = parameters(device, dtype)
        opt = make(params)
        train(opt, params, seeds)
        runs += [opt, params]
    opt, params, twin, others = runs
    same(params, others)
    for one, other in zip(params, others, strict=True):
        assert opt.state[one].keys() == twin.state[other].keys()
        same(opt.state[one].values(), twin.state[other].values())
    return opt, params, twin, others


@pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.id)
def test_bits_are_those_of_the_cpu(case):
    both(lambda params: getattr(fastadam.torch, case.optimizer.__name__)(params, **case.hyper))


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (torch.float32, TAIL),
        (torch.float32, {"skip_nonfinite": True, "clip_norm_per": "tensor", "clip_norm": 0.5}),
        (torch.float32, CODES),
        (torch.bfloat16, {**CODES, "compensation": "split8"}),
        (torch.bfloat16, {"rounding": "stochastic"}),
        (torch.float16, {}),
        (torch.float64, {}),
    ],
    ids=str,
)
def test_bits_of_options_are_those_of_the_cpu(dtype, options):
    opt, _, twin, _ = both(lambda params: fastadam.torch.AdamW(params, **options), dtype)
    assert tuple(opt.info) == tuple(twin.info)
    same(opt.master(), twin.master())


def test_weights_are_those_of_torch():
    ours, theirs = parameters("cuda"), parameters("cuda")
    train(fastadam.torch.AdamW(ours), ours, range(10))
    train(torch.optim.AdamW(theirs, fused=True), theirs, range(10))
    for one, other in zip(ours, theirs, strict=True):
        # both round every operation to float32, in another order; 1e-5 for ten steps, as on the CPU
        torch.testing.assert_close(one, other, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_grad_scaler(fused):
    weights = []
    for optimizer in (fastadam.torch.AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        model = torch.nn.Linear(8, 4, device="cuda")
        opt = optimizer(model.parameters(), lr=1e-2, fused=fused)
        scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
        for step in range(6):
            data = torch.randn(16, 8, generator=torch.Generator().manual_seed(step)).cuda()
            opt.zero_grad()
            factor = torch.inf if step == 2 else 1.0  # a step that is skipped
            scaler.scale(model(data).square().mean() * factor).backward()
            scaler.step(opt)
            scaler.update()
        weights.append(model.weight)
    torch.testing.assert_close(*weights, rtol=1e-5, atol=2e-6)  # as above


@pytest.mark.parametrize("options", [{}, {"clip_norm": torch.inf}, {"ema_decay": 0.9}], ids=str)
def test_a_step_goes_into_the_current_stream_and_does_not_wait(options):
    params = parameters("cuda")
    opt = fastadam.torch.SGD(params, lr=1.0, **options)
    train(opt, params, range(2))
    before = [param.detach().clone() for param in params]
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(LONG)
        for param in params:
            param.grad.fill_(1.0)
        opt.step()
        assert not torch.cuda.current_stream().query()
    torch.cuda.synchronize()
    for param, old in zip(params, before, strict=True):
        assert torch.equal(param, old - 1.0)


@pytest.mark.parametrize("options", [{}, CODES], ids=["floats", "codes"])
def test_runs_move_between_cpu_and_gpu(options):
    make = fastadam.torch.AdamW
    opt, params, twin, others = both(lambda each: make(each, **options))
    there, back = make(others, **options), make(params, **options)
    there.load_state_dict(copy.deepcopy(opt.state_dict()))
    back.load_state_dict(copy.deepcopy(twin.state_dict()))
    train(there, others, [9])
    train(back, params, [9])
    same(params, others)
    assert there.state[others[0]]["exp_avg"].is_cuda


@pytest.mark.parametrize("options", [{"clip_norm": 0.5}, {"skip_nonfinite": True}], ids=str)
def test_a_fused_scaler_does_not_wait(options):
    """Scale and flag are on the GPU; the third step is skipped."""
    runs = []
    for device in ("cpu", "cuda"):
        params = parameters(device)
        opt = fastadam.torch.AdamW(params, lr=1e-2, fused=True, **options)
        flags = [torch.tensor(float(k == 2), device=device) for k in range(6)]
        scale = torch.tensor(8.0, device=device)
        for k, flag in enumerate(flags):
            opt.grad_scale, opt.found_inf = scale, flag
            if k == 4 and device == "cuda":
                torch.cuda.synchronize()
                torch.cuda._sleep(LONG)
            train(opt, params, [1]) if k == 0 else opt.step()
        if device == "cuda":
            assert not torch.cuda.current_stream().query()
        runs += [opt, params]
    opt, params, twin, others = runs
    same(params, others)
    assert tuple(opt.info) == tuple(twin.info)
    assert opt.state[params[0]]["step"] == twin.state[others[0]]["step"].cpu() == 5
    assert twin.state[others[0]]["step"].is_cuda


@pytest.mark.parametrize("tensor", [False, True], ids=["number", "tensor"])
def test_a_captured_step_counts_when_it_is_replayed(tensor):
    rate = torch.tensor(0.1, device="cuda")
    params, others = parameters("cpu"), parameters("cuda")
    opt = fastadam.torch.AdamW(params, lr=0.1, clip_norm=0.5)
    twin = fastadam.torch.AdamW(others, lr=rate if tensor else 0.1, clip_norm=0.5, capturable=True)
    for each, those in ((opt, params), (twin, others)):
        train(each, those, [1, 1])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        twin.step()
    info = twin.info
    for k in range(1, 4):
        if tensor:
            rate.fill_(0.1 / k)
            opt.param_groups[0]["lr"] = float(rate)
        graph.replay()
        opt.step()
        assert tuple(info) == tuple(opt.info)
    same(params, others)
    twin.step()  # and so does one between
    graph.replay()
    opt.step()
    opt.step()
    same(params, others)
    assert twin.state[others[0]]["step"] == 7


def test_optimizers_on_two_gpus():
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    runs = []
    for device in ("cuda:0", "cuda:1"):
        params = parameters(device)
        opt = fastadam.torch.AdamW(params, clip_norm=0.5, ema_decay=0.9)
        train(opt, params, range(3))
        runs.append((opt, params))
    (one, params), (other, others) = runs
    same(params, others)
    assert tuple(one.info) == tuple(other.info)
    assert torch.cuda.current_device() == 0


def test_a_captured_step_is_refused():
    params = parameters("cuda")
    opt = fastadam.torch.AdamW(params)
    train(opt, params, range(2))
    before = [param.detach().clone() for param in params]
    with (
        pytest.raises(RuntimeError, match="only with capturable=True"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        opt.step()
    same(params, before)


def test_parameters_of_several_devices_are_refused():
    params = [torch.nn.Parameter(torch.ones(2, device=device)) for device in ("cpu", "cuda")]
    opt = fastadam.torch.AdamW(params)
    with pytest.raises(RuntimeError, match="create one optimizer per device"):
        train(opt, params, [0])
