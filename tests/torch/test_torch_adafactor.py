"""Adafactor in PyTorch: its state goes to torch.optim.Adafactor and back."""

import copy

import pytest

torch = pytest.importorskip("torch")

import fastadam.torch  # noqa: E402
from fastadam.torch.offload import CPUOffload  # noqa: E402

SHAPES = ((6, 5), (2, 3, 4), (7,), ())


def params(dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in SHAPES]


def step(opt, *seeds):
    for seed in seeds:
        torch.manual_seed(seed)
        for group in opt.param_groups:
            for param in group["params"]:
                param.grad = torch.randn(param.shape, dtype=torch.float64).to(param.dtype)
        opt.step()


def test_state_of_torch(in_plain_python):
    """In float64 to 1e-12, hundreds of roundings."""
    mine, theirs, back = params(), params(), params()
    keywords = {"lr": 0.05, "weight_decay": 0.1}
    own = fastadam.torch.Adafactor(mine, **keywords)
    other = torch.optim.Adafactor(theirs, **keywords)
    step(own, 1, 2)
    step(other, 1, 2)
    saved, known = own.state_dict()["state"], other.state_dict()["state"]
    for number, entry in known.items():
        assert saved[number].keys() == entry.keys()
        for name, value in entry.items():
            torch.testing.assert_close(saved[number][name], value, rtol=1e-12, atol=0)
    own.load_state_dict(copy.deepcopy(other.state_dict()))
    for param, twin in zip(back, mine, strict=True):
        param.data.copy_(twin.data)
    again = torch.optim.Adafactor(back, **keywords)
    again.load_state_dict({**again.state_dict(), "state": copy.deepcopy(saved)})
    for opt in (own, other, again):
        step(opt, 3)
    for one, two, three in zip(mine, theirs, back, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(three, two, rtol=1e-12, atol=1e-12)


def test_offload(in_plain_python):
    """The bits of a step without it, also after a checkpoint."""
    every = [params(torch.float32) for _ in range(3)]
    plain = fastadam.torch.Adafactor(every[0], lr=0.05)
    first, second = (CPUOffload(each, fastadam.torch.Adafactor, lr=0.05) for each in every[1:])
    step(plain, 1, 2)
    step(first, 1)
    for param, twin in zip(every[2], every[1], strict=True):
        param.data.copy_(twin.data)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for opt in (first, second):
        step(opt, 2)
    for one, two, three in zip(*every, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_bfloat16_and_refusals(in_plain_python):
    half = params(torch.bfloat16)
    opt = fastadam.torch.Adafactor(half, lr=0.05)
    step(opt, 1)
    assert opt.state[half[0]]["row_var"].dtype == torch.float32
    saved = copy.deepcopy(opt.state_dict())
    saved["state"][0]["col_var"] = torch.zeros(5, 1)
    opt.load_state_dict(saved)
    with pytest.raises(ValueError, match=r"col_var.* has shape \(5, 1\)"):
        step(opt, 2)
    across, along = torch.nn.Parameter(torch.randn(4, 6).T), torch.nn.Parameter(torch.empty(6, 4))
    along.data.copy_(across.data)
    for param in (across, along):
        step(fastadam.torch.Adafactor([param]), 1)
    assert torch.equal(across, along)
