"""Schedule-free optimizers: the modes of training and evaluation, and state of the package."""

import pytest

torch = pytest.importorskip("torch")

import fastadam.torch as ours  # noqa: E402

HYPER = {"lr": 0.05, "weight_decay": 0.1, "warmup_steps": 10}


def trained(opt, param, steps, seed=0):
    rng = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        param.grad = torch.randn(10, dtype=param.dtype, generator=rng)
        opt.step()


def made(cls, start=None, **options):
    rng = torch.Generator().manual_seed(9)
    start = torch.randn(10, dtype=torch.float64, generator=rng) if start is None else start
    param = torch.nn.Parameter(start.detach().clone())
    return cls([param], **HYPER, **options), param


@pytest.mark.parametrize("name", ["AdamW", "SGD"])
@pytest.mark.usefixtures("in_plain_python")
def test_modes_and_state_are_those_of_the_package(name):
    package = pytest.importorskip("schedulefree")
    theirs = getattr(package, f"{name}ScheduleFree")
    one, mine = made(getattr(ours, f"ScheduleFree{name}"))
    other, param = made(theirs, foreach=False)
    other.train()
    for opt, each in ((one, mine), (other, param)):
        trained(opt, each, 30)
        opt.eval()
    torch.testing.assert_close(mine, param, rtol=0, atol=1e-14)  # float64, a few roundings
    with pytest.raises(ValueError, match="saved after eval"):
        made(getattr(ours, f"ScheduleFree{name}"))[0].load_state_dict(other.state_dict())
    other.train()
    again, copy = made(getattr(ours, f"ScheduleFree{name}"), param)
    again.load_state_dict(other.state_dict())
    for opt, each in ((again, copy), (other, param)):
        trained(opt, each, 20, seed=1)
    torch.testing.assert_close(copy, param, rtol=0, atol=1e-14)


def test_training_goes_on_where_it_was():
    opt, param = made(ours.ScheduleFreeAdamW)
    opt.eval()
    opt.train()
    trained(opt, param, 3)
    before = param.detach().clone()
    for _ in range(2):
        opt.eval()
    assert not torch.equal(param, before)
    for refused in (opt.step, opt.state_dict):
        param.grad = torch.ones_like(param)
        with pytest.raises(RuntimeError, match=r"call opt\.train\(\) first"):
            refused()
    for _ in range(2):
        opt.train()
    torch.testing.assert_close(param, before, rtol=0, atol=0)
    assert not hasattr(ours.AdamW, "eval")
