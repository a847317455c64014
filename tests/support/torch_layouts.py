"""Tensors in any layout, and optimizers over them."""

import pytest

torch = pytest.importorskip("torch")


def channels_last(x):
    return x.to(memory_format=torch.channels_last)


LAYOUTS = {
    "contiguous": lambda: torch.randn(4, 3, 5, 5),
    "channels_last": lambda: channels_last(torch.randn(4, 3, 5, 5)),
    "transposed": lambda: torch.randn(3, 4, 5, 5).transpose(0, 1),
    "column": lambda: torch.randn(4, 3, 5, 10)[..., ::2],
    "row": lambda: torch.randn(8, 3, 5, 5)[::2],
    "gapped and transposed": lambda: torch.randn(3, 8, 5, 5)[:, ::2].transpose(0, 1),
    "of a larger one": lambda: torch.randn(6, 3, 5, 5)[1:5],
    "sides of length 1": lambda: torch.randn(300).as_strided((4, 75, 1, 1), (75, 1, 75, 75)),
}
each_layout = pytest.mark.parametrize("layout", LAYOUTS)
each_grad_layout = pytest.mark.parametrize("grad_layout", [*LAYOUTS, "expanded", "negated"])


def gradient(layout, like):
    if layout == "expanded":
        return torch.randn(()).expand(like.shape)
    if layout == "negated":
        return torch.complex(torch.randn(like.shape), torch.randn(like.shape)).conj().imag
    made = LAYOUTS[layout]()
    return made if made.shape == like.shape else torch.randn(like.shape)


def trained(cls, layout, grad_layouts, **hyper):
    torch.manual_seed(0)
    base = LAYOUTS[layout]()
    params = [torch.nn.Parameter(base), torch.nn.Parameter(torch.randn(5))]
    opt = cls(params, lr=0.1, **hyper)
    for grad_layout in grad_layouts:
        params[0].grad = gradient(grad_layout, params[0])
        params[1].grad = torch.randn(5)
        opt.step()
    assert params[0].data_ptr() == base.data_ptr()
    assert params[0].stride() == base.stride()
    return params, opt


def assert_same(one, other):
    """Within the roundings of a few float32 steps."""
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-5, atol=1e-6)
