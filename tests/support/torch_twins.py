"""Pairs of optimizers, of fastadam and of PyTorch, over equal parameters."""

import pytest
from cases import CASES, DEFAULTS

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402

TWINS = [case for case in CASES if case.torch_hyper is not None]
each_twin = pytest.mark.parametrize("case", TWINS, ids=lambda case: case.id)
each_default = pytest.mark.parametrize(
    "case", [case for case in DEFAULTS if case.torch], ids=lambda case: case.id
)
SHAPES = [(7, 5), (5,), (), (0, 3), (1, 6), (130,)]


def ours(case):
    return getattr(ft, case.optimizer.__name__)


def theirs(case):
    return getattr(torch.optim, case.torch)


def parameters(dtype=torch.float32, shapes=SHAPES):
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(s, dtype=dtype, generator=generator)) for s in shapes]


def give_gradients(params, seed):
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, dtype=param.dtype, generator=generator)


def steps(opt, params, seeds):
    for seed in seeds:
        give_gradients(params, seed)
        opt.step()


def pair(case, dtype=torch.float32, **more):
    """Both optimizers over parameters of their own."""
    shapes = [s for s in SHAPES if 0 not in s] if case.torch == "Adafactor" else SHAPES
    one, other = parameters(dtype, shapes), parameters(dtype, shapes)  # it divides by the size
    hyper = case.torch_hyper | more
    return (ours(case)(one, **hyper), one), (theirs(case)(other, **hyper), other)


def assert_same(one, other, rtol=1e-5, atol=2e-6):
    """Within the roundings of some ten float32 steps, of which torch orders some otherwise."""
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=rtol, atol=atol)
