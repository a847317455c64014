"""Models on a GPU with the optimizer on the host: `pytest -m gpu`."""

import os

import pytest

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402
from fastadam.torch.offload import CPUOffload  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # those of torch and Numba are their affair
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0",
        reason="this PyTorch has no GPU",
    ),
]
SHAPES = ((70, 50), (50,), (), (3, 4, 5))
LONG = 200_000_000  # clock ticks, a tenth of a second
HOW = {
    "step": {},
    "overlap": {"overlap": True},
    "freed": {"offload_gradients": True, "clip_norm": 0.5},
    "freed early": {"offload_gradients": True, "overlap": True},
    "int8": {"state_dtype": "int8", "min_quantized_size": 1, "overlap": True},
    "one bucket": {"bucket_bytes": 1 << 20, "skip_nonfinite": True},
    "not pinned": {"pin_memory": False},
}


def parameters(dtype):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(s).to("cuda", dtype)) for s in SHAPES]


def backward(params, seed, scaler=None):
    """Gradients that arrive while the GPU works; the same in every run."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(p.shape, generator=generator).to(p.device, p.dtype) for p in params]
    loss = sum(((p * x).float().sum() for p, x in zip(params, inputs, strict=True)))
    torch.cuda._sleep(LONG)
    (scaler.scale(loss) if scaler else loss).backward()


def beside(params):
    """Weights in float32 on the host, of the same values."""
    return [torch.nn.Parameter(p.detach().cpu().float()) for p in params]


def taken(weights, plain, grads):
    for weight, grad in zip(weights, grads, strict=True):
        weight.grad = grad.cpu().float()
    plain.step()


def same(params, weights, opt):
    for param, weight, master in zip(params, weights, opt.master(), strict=True):
        assert torch.equal(master, weight)
        assert torch.equal(param.cpu(), weight.to(param.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("how", HOW)
def test_bits_are_those_of_the_host(how, dtype):
    settings = {"bucket_bytes": 100} | HOW[how]
    of_step = {k: v for k, v in settings.items() if k in ft.AdamW.__signature__.parameters}
    params, others = parameters(dtype), parameters(dtype)
    opt = CPUOffload(params, ft.AdamW, lr=0.01, **settings)
    weights = beside(params)
    plain = ft.AdamW(weights, lr=0.01, **of_step)
    for seed in range(4):
        backward(params, seed)
        backward(others, seed)  # gradients of a linear loss, which do not depend on the weights
        opt.step()
        opt.zero_grad()
        taken(weights, plain, [other.grad for other in others])
        for other in others:
            other.grad = None
        same(params, weights, opt)


def test_host_memory_is_page_locked_in_few_pieces():
    opt = CPUOffload(parameters(torch.bfloat16), ft.AdamW)
    for host in opt._host.hosts:
        assert host.slot.is_pinned()
        assert host.copy.is_pinned()
    assert len(opt._host.memory._pieces) == 2


def test_gradients_add_up_and_scalers_unscale():
    params, others = parameters(torch.float16), parameters(torch.float16)
    opt, scaler = CPUOffload(params, ft.AdamW, lr=0.01), torch.amp.GradScaler(init_scale=64.0)
    weights = beside(params)
    plain = ft.AdamW(weights, lr=0.01)
    for seed in range(3):
        for micro_batch in range(2):
            backward(params, 10 * seed + micro_batch, scaler)
            backward(others, 10 * seed + micro_batch, scaler)
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
        taken(weights, plain, [other.grad.cpu().float() / 64 for other in others])
        for other in others:
            other.grad = None
        same(params, weights, opt)


def test_an_infinite_gradient_skips_the_step():
    params = parameters(torch.float16)
    opt, scaler = CPUOffload(params, ft.AdamW, lr=0.01), torch.amp.GradScaler(init_scale=64.0)
    before = [p.detach().clone() for p in params]
    backward(params, 0, scaler)
    params[0].grad[0, 0] = torch.inf
    scaler.step(opt)
    scaler.update()
    assert opt.info.skipped
    assert all(map(torch.equal, params, before))


def test_memory_of_the_gpu_does_not_grow():
    params = parameters(torch.bfloat16)
    opt = CPUOffload(params, ft.AdamW, offload_gradients=True, overlap=True)
    found = []
    for step in range(30):
        sum(p.float().sum() for p in params).backward()
        opt.step()
        torch.cuda.synchronize()
        if step in (9, 29):
            found.append(torch.cuda.memory_allocated())
    assert found[0] == found[1]


def test_state_goes_to_an_optimizer_on_the_gpu_and_back():
    params = parameters(torch.float32)
    opt = CPUOffload(params, ft.AdamW, lr=0.01)
    backward(params, 0)
    opt.step()
    opt.zero_grad()
    others = [torch.nn.Parameter(p.detach().clone()) for p in params]
    plain = torch.optim.AdamW(others, lr=0.01)
    plain.load_state_dict(opt.state_dict())
    for param, other in zip(params, others, strict=True):
        assert plain.state[other]["exp_avg"].device.type == "cuda"
        held = opt.state[param]["exp_avg"]
        assert held.device.type == "cpu"
        assert torch.equal(plain.state[other]["exp_avg"].cpu(), held)
    again = parameters(torch.float32)
    resumed = CPUOffload(again, ft.AdamW)
    with torch.no_grad():
        for mine, theirs in zip(again, params, strict=True):
            mine.copy_(theirs)
    resumed.load_state_dict(plain.state_dict())
    for each, optimizer in ((params, opt), (again, resumed)):
        backward(each, 1)
        optimizer.step()
    torch.cuda.synchronize()
    assert all(map(torch.equal, params, again))
