"""Tensors in formats of few bits, their gradients, and comparisons of them bit for bit."""

import io

import pytest
from cases import DEFAULTS

import fastadam as fa

pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")

from fastadam.torch import tensors  # noqa: E402

BF16, F16, F32, F64 = torch.bfloat16, torch.float16, torch.float32, torch.float64
RULES = pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.id)
SMALLEST = {"compensation": "split8", "state_dtype": "int8", "rounding": "stochastic"}
INT8 = {"state_dtype": "int8"}
KINDS = [
    (F32, INT8),
    (F32, {"state_dtype": "bfloat16"}),
    (F64, {"state_dtype": "int8", "min_quantized_size": 0}),
    (BF16, {"compensation": "kahan"}),
    (BF16, {"compensation": "split16"}),
    (BF16, {"rounding": "stochastic", "seed": 5}),
    (F16, {"rounding": "stochastic", "ema_decay": 0.9}),
    (BF16, SMALLEST),
]
ADAMW = next(case for case in DEFAULTS if case.optimizer is fa.AdamW)
each_kind = pytest.mark.parametrize(("dtype", "options"), KINDS, ids=str)
SMALL = (6, 50), (30,)  # for plain Python: more and less than LEAST elements
LEAST = {"min_quantized_size": 250}


def parameters(dtype=F32, shapes=((50, 100), (300,))):
    """Tensors of which bfloat16 keeps every bit."""
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator).to(BF16).to(dtype) for shape in shapes]
    return [torch.nn.Parameter(tensor) for tensor in made]


def give_gradients(params, seed, dtype=None):
    generator = torch.Generator().manual_seed(1000 + seed)
    for param in params:
        grad = torch.randn(param.shape, generator=generator).to(BF16).to(dtype or param.dtype)
        if grad.dtype != param.dtype:
            param.grad_dtype = None
        param.grad = grad


def train(opt, params, seeds, dtype=None):
    for seed in seeds:
        give_gradients(params, seed, dtype)
        opt.step()


def arrays_of(some):
    """Copies as NumPy arrays, which share no memory with the tensors."""
    return [tensors.flat(t.detach()).copy().reshape(t.shape) for t in some]


def same(ours, theirs):
    """Bit for bit."""
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, torch.Tensor):
            one = tensors.flat(one)
        if isinstance(other, torch.Tensor):
            other = tensors.flat(other)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def kept(opt):
    """All that is kept of the parameters, by number and name."""
    return {
        (number, name): value
        for number, entry in opt.state_dict()["state"].items()
        for name, value in entry.items()
    }


def same_state(one, other):
    one, other = kept(one), kept(other)
    assert one.keys() == other.keys()
    same(one.values(), [other[key] for key in one])


def by_state_dict(opt, params, make):
    file = io.BytesIO()
    torch.save(opt.state_dict(), file)
    file.seek(0)
    params = [torch.nn.Parameter(p.detach().clone()) for p in params]
    other = make(params)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other, params
