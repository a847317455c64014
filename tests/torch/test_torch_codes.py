"""State of few bits in tensors: saved, resumed, in any layout, and refused."""

import copy
import pickle

import numpy as np
import pytest
from torch_formats import (
    BF16,
    F32,
    INT8,
    LEAST,
    SMALL,
    SMALLEST,
    arrays_of,
    by_state_dict,
    each_kind,
    give_gradients,
    parameters,
    same,
    same_state,
    train,
)

import fastadam as fa

pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402
from fastadam.torch import tensors  # noqa: E402

COPIES = {
    "state_dict": by_state_dict,
    "deepcopy": lambda opt, params, make: copy.deepcopy((opt, params)),
    "pickle": lambda opt, params, make: pickle.loads(pickle.dumps((opt, params))),
}


@each_kind
@pytest.mark.parametrize("copied", COPIES)
def test_a_resumed_run_has_the_same_bits(dtype, options, copied):
    params = parameters(dtype)
    opt = ft.AdamW(params, lr=0.01, **options)
    train(opt, params, range(3))
    other, its = COPIES[copied](opt, params, lambda given: ft.AdamW(given, lr=0.01, **options))
    same_state(other, opt)
    train(other, its, range(3, 6))
    train(opt, params, range(3, 6))
    same(its, params)
    same_state(other, opt)


@pytest.mark.parametrize("name", ["SGD", "Lion"])
@pytest.mark.usefixtures("in_plain_python")
def test_runs_of_optimizers_that_count_no_steps_in_torch_resume(name):
    hyper = {"lr": 0.01, "rounding": "stochastic"} | ({"momentum": 0.9} if name == "SGD" else {})
    params = parameters(BF16)
    opt = getattr(ft, name)(params, **hyper)
    train(opt, params, range(3))
    other, its = by_state_dict(opt, params, lambda given: getattr(ft, name)(given, **hyper))
    for each, some in ((opt, params), (other, its)):
        train(each, some, range(3, 5))
    same(its, params)


def test_parameters_that_take_turns_resume():
    """The noise of a parameter follows its own count of steps, which is saved."""
    options = {"lr": 0.01, **SMALLEST, "min_quantized_size": 0}

    def turns(opt, params, seeds):
        for seed in seeds:
            give_gradients(params, seed)
            params[seed % 3 == 0].grad = None
            opt.step()

    params = parameters(BF16)
    opt = ft.AdamW(params, **options)
    turns(opt, params, range(5))
    other, its = by_state_dict(opt, params, lambda given: ft.AdamW(given, **options))
    turns(opt, params, range(5, 9))
    turns(other, its, range(5, 9))
    same(its, params)
    same_state(other, opt)


def test_noise_differs_where_a_parameter_stands_still():
    params = parameters(BF16, ((4096,), (4096,)))
    opt = ft.SGD(params, lr=1e-3, rounding="stochastic")
    moved = []
    for step in range(4):
        for number, param in enumerate(params):
            param.data.fill_(1)
            param.grad = torch.ones_like(param) if number == 0 or step < 2 else None
        opt.step()
        moved += [(p != 1).double() for p in params if p.grad is not None]
    table = torch.corrcoef(torch.stack(moved)) - torch.eye(len(moved))
    assert table.abs().max() < 5 / 64  # 5 deviations of 4096 draws


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda entry: entry.pop("exp_avg_scale"),
            "scales 'exp_avg_scale' are missing",
        ),
        (lambda entry: entry.update(exp_avg_scale=torch.ones(3)), r"\(3,\), expected \(20,\)"),
        (
            lambda entry: entry.update(exp_avg_scale=entry["exp_avg_scale"].bfloat16()),
            "without casting it",
        ),
        (lambda entry: entry.update(exp_avg=entry["exp_avg"].float()), "without casting it"),
        (lambda entry: entry.update(exp_avg=entry["exp_avg"].t()), r"\(100, 50\)"),
        (
            lambda entry: entry.update(compensation=torch.ones(50, 100, dtype=torch.int16)),
            "split16.*None",
        ),
    ],
)
@pytest.mark.parametrize("options", [INT8, {}], ids=str)
def test_saved_codes_that_do_not_fit_are_refused(change, message, options):
    params = parameters()
    opt = ft.AdamW(params, **INT8)
    train(opt, params, range(2))
    saved = copy.deepcopy(opt.state_dict())
    change(saved["state"][0])
    other = ft.AdamW(params, **options)
    other.load_state_dict(saved)
    before = arrays_of(params)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            train(other, params, [2])
    same(params, before)


# Layouts


def channels_last(tensor):
    return tensor.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("gaps", [False, True])
def test_blocks_are_in_the_order_of_storage(gaps):
    torch.manual_seed(0)
    base = channels_last(torch.randn(32, 12, 5, 5)).to(BF16)
    param = torch.nn.Parameter(base[::2] if gaps else base[:16])
    order = (0, 2, 3, 1)
    array = arrays_of([param.detach().permute(order).contiguous()])[0]
    opt, core = ft.AdamW([param], **SMALLEST), fa.AdamW(array, **SMALLEST)
    for _ in range(3):
        param.grad = channels_last(torch.randn(16, 12, 5, 5)).to(BF16)
        core.step(arrays_of([param.grad.permute(order).contiguous()])[0])
        opt.step()
    entry = opt.state[param]
    assert entry["exp_avg"].stride() == entry["compensation"].stride()
    same([param.detach().permute(order).contiguous()], [array])
    same([entry["exp_avg_scale"]], core.state["exp_avg_scale"])
    same([entry["exp_avg"]], core.state["exp_avg"])
    same([opt.master()[0].permute(order).contiguous()], [core.master()])


def test_codes_in_another_order_are_read_in_theirs():
    torch.manual_seed(0)
    param = torch.nn.Parameter(channels_last(torch.randn(16, 12, 5, 5)))
    opt = ft.AdamW([param], **INT8)
    param.grad = torch.randn_like(param)
    opt.step()
    floats = opt.dequantized_state()["state"][0]
    other = torch.nn.Parameter(param.detach().contiguous())
    again = ft.AdamW([other], **INT8)
    again.load_state_dict(opt.state_dict())
    again.found_inf = torch.tensor(1.0)
    other.grad = torch.zeros_like(other)
    again.step()
    assert again.state[other]["exp_avg"].is_contiguous()
    got = again.dequantized_state()["state"][0]
    for name in ("exp_avg", "exp_avg_sq"):  # a step of a code is an eighth
        torch.testing.assert_close(got[name], floats[name], rtol=1 / 8, atol=1e-6)


def in_rows(entry):
    return {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in entry.items()
    }


@pytest.mark.parametrize("saved_as", [dict, in_rows], ids=["strides", "contiguous"])
@pytest.mark.parametrize("before", [channels_last, torch.Tensor.contiguous], ids=["last", "rows"])
@pytest.mark.parametrize("after", [channels_last, torch.Tensor.contiguous], ids=["last", "rows"])
def test_codes_know_the_order_of_their_blocks(saved_as, before, after):
    """Through formats that keep strides and through those that do not."""
    torch.manual_seed(0)
    param = torch.nn.Parameter(before(torch.randn(64, 32, 3, 3)))
    sizes = torch.logspace(-6, 0, 64).view(64, 1, 1, 1)
    opt = ft.AdamW([param], **INT8)
    for _ in range(3):
        param.grad = before(torch.randn(64, 32, 3, 3) * sizes)
        opt.step()
    saved = opt.state_dict()
    entry = saved_as(saved["state"][0])
    want = opt.dequantized_state()["state"][0]
    other = torch.nn.Parameter(after(param.detach()).clone())
    again = ft.AdamW([other], **INT8)
    again.load_state_dict({**saved, "state": {0: entry}})
    core = fa.AdamW(param.detach().contiguous().numpy().copy(), **INT8)
    for name in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(again.dequantized_state()["state"][0][name], want[name])
    core.load_state_dict({**saved, "state": {0: entry}})
    again.found_inf = torch.tensor(1.0)
    other.grad = torch.zeros_like(other)
    again.step()
    for got, layout in ((again, after), (core, torch.Tensor.contiguous)):
        floats = got.dequantized_state()["state"][0]
        coded = before is not layout  # anew, to a step of an eighth in other blocks
        near = {"rtol": 1 / 8, "atol": 1e-6} if coded else {"rtol": 0, "atol": 0}
        for name in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(torch.as_tensor(floats[name]), want[name], **near)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (None, "but 'codes_order'"),
        ([0, 1, 2], "not an order of the dimensions"),
        ([0, 2, 2, 1], "not an order"),
    ],
)
def test_codes_of_an_unknown_order_are_refused(order, message):
    param = torch.nn.Parameter(channels_last(torch.randn(16, 12, 5, 5)))
    opt = ft.AdamW([param], **INT8)
    param.grad = torch.randn_like(param)
    opt.step()
    saved = copy.deepcopy(opt.state_dict())
    del saved["state"][0]["codes_order"]
    if order:
        saved["state"][0]["codes_order"] = torch.tensor(order)
    opt.load_state_dict(saved)
    before = param.detach().clone()
    for wrong in (opt.step, opt.dequantized_state):
        with pytest.raises(ValueError, match=message):
            wrong()
    assert torch.equal(param, before)


@pytest.mark.parametrize("dtype", [F32, BF16])
@pytest.mark.parametrize("name", ["AdamW", "SGD"])
@pytest.mark.usefixtures("in_plain_python")
def test_codes_that_were_copied_into_floats_are_refused(name, dtype):
    """As a distributed checkpoint does, whose scales nobody asks for."""
    hyper = {"momentum": 0.9} if name == "SGD" else {}
    params = parameters(F32, SMALL)
    opt = getattr(ft, name)(params, **INT8, **LEAST, **hyper)
    train(opt, params, range(2))
    plain = getattr(ft, name)(parameters(), state_dtype=str(dtype)[6:], **hyper)
    saved = copy.deepcopy(opt.state_dict())
    for entry in saved["state"].values():
        for key in [key for key in entry if key + "_scale" in entry]:
            entry[key] = entry[key].to(dtype)
            del entry[key + "_scale"]
    with pytest.raises(ValueError, match=r"state\[0\]: '.*' has codes of state_dtype='int8' as"):
        plain.load_state_dict(saved)
    assert not plain.state
    whole = {"step": torch.tensor(1.0), "momentum_buffer": torch.full((300,), -1.0)}
    mine = ft.SGD([torch.nn.Parameter(torch.ones(300))], momentum=0.9)
    mine.load_state_dict({**mine.state_dict(), "state": {0: whole}})  # numbers, though whole


@each_kind
@pytest.mark.usefixtures("in_plain_python")
def test_state_of_the_core_goes_both_ways(dtype, options):
    hyper = {"lr": 0.01, "ema_decay": 0.9, **LEAST, **options}
    params = parameters(dtype, SMALL)
    arrays = arrays_of(params)
    core = fa.AdamW(arrays, **hyper)

    def both(opt, seeds):
        for seed in seeds:
            give_gradients(params, seed)
            core.step(arrays_of([p.grad for p in params]))
            opt.step()

    class Idle:
        def step(self):
            pass

    both(Idle(), range(3))
    for param, array in zip(params, arrays, strict=True):
        tensors.flat(param.detach())[...] = array.reshape(-1)
    opt = ft.AdamW(params, **hyper)
    opt.load_state_dict(core.state_dict())
    both(opt, range(3, 5))
    same(params, arrays)
    same(opt.ema, core.ema.leaves)
    core = fa.AdamW(arrays, **hyper)
    core.load_state_dict(opt.state_dict())
    both(opt, range(5, 7))
    same(params, arrays)
    same(opt.ema, core.ema.leaves)


def test_names_of_the_core_find_their_parameters():
    arrays = {"a": np.ones(3, np.float32), "b": np.ones(2, np.float32)}
    core = fa.AdamW(arrays)
    core.step({name: array * 2 for name, array in arrays.items()})
    named = [(name, torch.nn.Parameter(torch.ones(arrays[name].shape))) for name in ("b", "a")]
    opt = ft.AdamW(named)
    opt.load_state_dict(core.state_dict())
    assert [opt.state[p]["exp_avg"].shape for _, p in named] == [(2,), (3,)]
    assert opt.param_groups[0]["param_names"] == ["b", "a"]
    with pytest.raises(ValueError, match="other param_names"):
        ft.AdamW([("x", named[0][1]), named[1]]).load_state_dict(core.state_dict())
    summed = fa.AdamW(np.ones(3, np.float32), accumulate_steps=2)
    summed.step(np.ones(3, np.float32))
    averaged = fa.AdamW(np.ones(3, np.float32), ema_decay=0.9)
    averaged.step(np.ones(3, np.float32))
    for other, message in ((summed, "accumulated gradients"), (averaged, "no ema_decay")):
        with pytest.raises(ValueError, match=message):
            ft.AdamW([torch.nn.Parameter(torch.ones(3))]).load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("saved", "error"),
    [
        (None, TypeError),
        (3, TypeError),
        ({}, ValueError),
        ({"state": 3, "param_groups": []}, TypeError),
    ],
)
def test_what_is_no_state_dict_is_refused(saved, error):
    with pytest.raises(error, match="state"):
        ft.AdamW(parameters()).load_state_dict(saved)
