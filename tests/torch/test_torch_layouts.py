"""Tensors in any layout: updated in place, or copied; never silently wrong."""

from functools import partial

import pytest
from cases import EVERY, SUMMED
from torch_layouts import LAYOUTS, assert_same, each_grad_layout, each_layout, gradient, trained

torch = pytest.importorskip("torch")

import fastadam as fa  # noqa: E402
import fastadam.torch as ft  # noqa: E402

DENSE = [case for case in EVERY if case.optimizer is not fa.SparseAdam]  # which takes rows only
SMALL = {
    "contiguous": torch.Tensor.clone,
    "column": lambda x: torch.stack([x, x + torch.nan], -1)[..., 0],
    "row": lambda x: torch.stack([x, x + torch.nan], 1)[:, 0],
    "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
}


@each_layout
@each_grad_layout
def test_every_layout_with_every_other(layout, grad_layout):
    grads = [grad_layout, layout, grad_layout, "contiguous"]
    one, opt = trained(ft.AdamW, layout, grads, amsgrad=True)
    other, twin = trained(torch.optim.AdamW, layout, grads, amsgrad=True)
    assert_same(one, other)
    for name, value in twin.state[other[0]].items():  # float32 roundings, as above
        torch.testing.assert_close(opt.state[one[0]][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("in_plain_python")
@pytest.mark.parametrize("case", DENSE, ids=lambda c: c.id)
@pytest.mark.parametrize("layout", ["column", "row", "transposed"])
def test_every_optimizer_in_a_layout(case, layout):
    """With the bits of contiguous parameters, but for sums in another order of elements."""
    cls, made = getattr(ft, case.optimizer.__name__), []
    values = torch.linspace(-1, 1, 24).reshape(2, 3, 4)
    for chosen in ("contiguous", layout):
        torch.manual_seed(0)
        param = torch.nn.Parameter(SMALL[chosen](values))
        assert torch.equal(param, values)
        opt = cls([param])
        for _ in range(3):
            param.grad = torch.randn(values.shape)
            opt.step()
        made.append([param.detach(), *opt.state_dict()["state"].get(0, {}).values()])
    bits = layout != "transposed" or case not in SUMMED
    tolerance = {"rtol": 0, "atol": 0} if bits else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(*made, **tolerance)


@pytest.mark.usefixtures("in_plain_python")
def test_rules_over_rows_keep_state_in_the_order_of_rows():
    """Codes, averages, low bits and loaded state of a parameter in another memory order."""
    values = torch.linspace(-1, 1, 2 * 3 * 256).reshape(2, 3, 256).bfloat16()
    options = {"state_dtype": "int8", "min_quantized_size": 0, "ema_decay": 0.5}
    make = partial(ft.AdamMini, compensation="kahan", **options)
    params = [torch.nn.Parameter(SMALL[layout](values)) for layout in ("contiguous", "transposed")]
    one, other = (make([param]) for param in params)
    for step in range(4):
        grad = torch.randn(values.shape).bfloat16()
        for param, opt in zip(params, (one, other), strict=True):
            param.grad = grad.clone()
            opt.step()
        if step == 1:  # each goes on with the state of the other
            saved = other.state_dict(), one.state_dict()
            one, other = (make([param]) for param in params)
            for opt, state_dict in zip((one, other), saved, strict=True):
                opt.load_state_dict(state_dict)
    assert torch.equal(*params)
    assert torch.equal(one.ema[0], other.ema[0])
    assert torch.equal(one.master()[0], other.master()[0])
    assert torch.equal(*(o.dequantized_state()["state"][0]["exp_avg"] for o in (one, other)))


@each_layout
def test_no_copies_where_all_share_a_layout(layout):
    _, opt = trained(ft.AdamW, layout, [layout] * 2)
    dense = "gapped" not in layout and layout not in ("column", "row")
    assert len(opt._tensor_step.gradients.copies) == (not dense)
    assert len(opt._tensor_step.active.gapped) == (not dense)


@each_layout
def test_state_saved_in_another_layout(layout):
    one, opt = trained(ft.AdamW, layout, [layout] * 2)
    saved = opt.state_dict()
    for entry in saved["state"].values():
        entry.update({k: v.clone(memory_format=torch.contiguous_format) for k, v in entry.items()})
    for make in (ft.AdamW, torch.optim.AdamW):
        torch.manual_seed(7)
        copies = [torch.nn.Parameter(p.detach().clone()) for p in one]
        again = make(copies, lr=0.1)
        again.load_state_dict(saved)
        for _ in range(3):
            for param in copies:
                param.grad = torch.randn_like(param)
            again.step()
        if make is ft.AdamW:
            want = copies
    assert_same(want, copies)


@pytest.mark.parametrize("grad_layout", ["column", "expanded", "channels_last"])
def test_zero_grads_clears_gradients_in_any_layout(grad_layout):
    param = torch.nn.Parameter(torch.randn(4, 3, 5, 5))
    opt = ft.SGD([param], zero_grads=True)
    param.grad = gradient(grad_layout, param)
    opt.step()
    assert not param.grad.any()


def test_averages_in_any_layout():
    for layout in LAYOUTS:
        params, opt = trained(ft.SGD, layout, [layout] * 2, ema_decay=0.0)
        assert torch.equal(opt.ema[0], params[0])


def test_a_gradient_in_the_memory_of_a_parameter():
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        param = torch.nn.Parameter(torch.arange(1.0, 7.0))
        opt = cls([param], lr=0.1)
        param.grad = param.detach()
        opt.step()
        opt.step()
        made.append([param])
    assert_same(*made)


def test_a_negated_gradient_of_one_element():
    made = []
    for cls in (ft.SGD, torch.optim.SGD):
        param = torch.nn.Parameter(torch.ones(()))
        opt = cls([param], lr=0.1)
        for value in (1.0, 2.0):
            param.grad = torch.complex(torch.tensor(0.0), torch.tensor(value)).conj().imag
            assert param.grad.is_neg()
            opt.step()
        made.append([param])
    assert_same(*made)


def test_a_negated_gradient_of_one_element_that_is_not_finite():
    param = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    opt = ft.SGD([param], skip_nonfinite=True, zero_grads=True)
    real = torch.tensor(0.0, dtype=torch.float64)
    param.grad = torch.complex(real, torch.tensor(float("nan"), dtype=torch.float64)).conj().imag
    assert param.grad.is_neg()
    opt.step()
    assert opt.info.skipped
    assert param.item() == 1
    assert param.grad.item() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_skipped_step_clears_gradients_in_any_layout(dtype):
    param = torch.nn.Parameter(torch.ones(4, 3, dtype=dtype))
    opt = ft.SGD([param], skip_nonfinite=True, zero_grads=True)
    param.grad = torch.full((3, 4), float("inf"), dtype=dtype).t()
    opt.step()
    assert opt.info.skipped
    assert not param.grad.any()


@pytest.mark.parametrize(
    "grad", [torch.ones(2), torch.ones(12), torch.ones(1, 6), torch.ones(6, 2)[:, :1]]
)
@pytest.mark.parametrize("shape", [(6,), (3, 2)])
def test_a_gradient_that_changes_its_shape_is_refused(shape, grad):
    param = torch.nn.Parameter(torch.ones(shape))
    opt = ft.SGD([param], lr=0.1)
    param.grad = torch.ones(shape)
    opt.step()
    before = param.detach().clone()
    param.grad.data = grad
    with pytest.raises(RuntimeError, match=r"gradient of .* shape"):
        opt.step()
    assert torch.equal(param, before)


def test_a_parameter_that_becomes_shorter():
    base = torch.ones(10)
    param = torch.nn.Parameter(base)
    opt = ft.SGD([param], lr=0.5)
    param.grad = torch.ones(10)
    opt.step()
    param.data = param.data[:5]
    with pytest.raises(RuntimeError, match=r"gradient of .* shape"):
        opt.step()
    param.grad = torch.ones(5)
    opt.step()
    assert base.tolist() == [0.0] * 5 + [0.5] * 5
