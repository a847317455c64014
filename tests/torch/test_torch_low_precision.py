"""Parameters, gradients and state in less memory, in tensors: the bits of the core, kept by what
PyTorch does to optimizers."""

import copy
import io
import pickle
import sys

import numpy as np
import pytest
from cases import DEFAULTS

import fastadam as fa

pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402
from fastadam.engine.random_keys import RoundingKeys  # noqa: E402
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


# The core


def against_core(case, dtype, options, steps=4, grad_dtype=None):
    params, options = parameters(dtype, SMALL), {**LEAST, **options}
    arrays = arrays_of(params)
    opt = getattr(ft, case.optimizer.__name__)(params, **options, **case.hyper)
    core = case.optimizer(arrays, **options, **case.hyper)
    for seed in range(steps):
        give_gradients(params, seed, grad_dtype)
        core.step(arrays_of([p.grad for p in params]))
        opt.step()
    same(params, arrays)
    same(opt.master(), core.master())
    for number, entry in core.state_dict()["state"].items():
        for name, array in entry.items():
            if name != "step":
                got = opt.state[params[number]][name]
                assert got.shape == array.shape
                if array.shape:  # host numbers are float64 in both
                    same([got], [array])


@RULES
@pytest.mark.usefixtures("in_plain_python")
def test_bits_are_those_of_the_core(case):
    against_core(case, BF16, {**SMALLEST, "seed": 3})


@each_kind
def test_bits_of_every_format_are_those_of_the_core(dtype, options):
    against_core(ADAMW, dtype, options)


@pytest.mark.parametrize(
    ("param", "grad"), [(F32, BF16), (F32, F16), (F64, F32), (F64, BF16), (BF16, F32), (F16, BF16)]
)
@pytest.mark.usefixtures("in_plain_python")
def test_gradients_may_be_of_another_dtype(param, grad):
    against_core(DEFAULTS[0], param, {"clip_norm": 0.5}, grad_dtype=grad)


@pytest.mark.usefixtures("in_plain_python")
def test_dtypes_of_gradients_may_change_from_step_to_step():
    params, twins = parameters(F32, SMALL), parameters(F32, SMALL)
    opt, other = ft.AdamW(params), ft.AdamW(twins)
    for seed, dtype in enumerate([F32, BF16, BF16, F16, F32]):
        train(opt, params, [seed], dtype)
        train(other, twins, [seed])
    same(params, twins)
    same_state(opt, other)


def test_gradients_of_doubles_are_refused_where_arithmetic_is_single():
    params = parameters(BF16)
    opt = ft.AdamW(params)
    give_gradients(params, 0, F64)
    with pytest.raises(RuntimeError, match=r"gradient of .* torch.float64 .* torch.bfloat16"):
        opt.step()
    assert not opt.state


def test_noise_follows_the_number_of_a_parameter_in_the_optimizer():
    """Not who had a gradient first."""
    options = {**SMALLEST, "min_quantized_size": 0}
    params = parameters(BF16)
    arrays = arrays_of(params)
    opt, core = ft.AdamW(params, **options), fa.AdamW(arrays, **options)
    for seed in range(3):
        give_gradients(params, seed)
        params[0].grad = None
        core.step([None, *arrays_of([params[1].grad])])
        opt.step()
    same(params, arrays)


# PyTorch


@pytest.mark.parametrize(
    "case", [case for case in DEFAULTS if case.torch], ids=lambda case: case.id
)
@pytest.mark.usefixtures("in_plain_python")
def test_weights_in_bfloat16_are_those_of_torch(case):
    one, other = parameters(BF16, SMALL), parameters(BF16, SMALL)
    hyper = {"lr": 0.01}
    opt = getattr(ft, case.optimizer.__name__)(one, **hyper)
    twin = getattr(torch.optim, case.torch)(other, **hyper)
    train(opt, one, range(4))
    train(twin, other, range(4))
    for a, b in zip(one, other, strict=True):
        # each of four steps rounds the parameter (2**-8) and, in torch, state and update
        torch.testing.assert_close(a.detach(), b.detach(), rtol=4 * 2.0**-8, atol=4e-2 * 2.0**-4)
    assert {v.dtype for (_, name), v in kept(opt).items() if name != "step"} <= {F32, F64}


@pytest.mark.parametrize("dtype", [BF16, F16])
@pytest.mark.usefixtures("in_plain_python")
def test_state_of_torch_in_sixteen_bits_is_taken_over(dtype):
    params, old = parameters(dtype, SMALL), parameters(dtype, SMALL)
    twin = torch.optim.AdamW(old)
    train(twin, old, range(3))
    opt = ft.AdamW(params)
    opt.load_state_dict(twin.state_dict())
    saved = twin.state[old[0]]["exp_avg"]
    assert saved.dtype == dtype
    assert torch.equal(opt.state[params[0]]["exp_avg"], saved)
    train(opt, params, [3])
    assert opt.state[params[0]]["exp_avg"].dtype == F32
    twin.load_state_dict(opt.dequantized_state())
    assert twin.state[old[0]]["exp_avg"].dtype == dtype
    train(twin, old, [4])


@RULES
@pytest.mark.usefixtures("in_plain_python")
def test_plain_state_becomes_codes_and_floats_again(case):
    """Codes stand for the same floats in the core, in an optimizer that keeps floats, and again."""
    cls, int8 = getattr(ft, case.optimizer.__name__), INT8 | LEAST
    source, plain, coded = (parameters(F32, SMALL) for _ in range(3))
    opt = cls(source, **int8, **case.hyper)
    train(opt, source, range(3))
    floats = opt.dequantized_state()
    assert all(v.dtype != torch.int8 for entry in floats["state"].values() for v in entry.values())
    loaded = {name: cls(params, **more, **case.hyper) for name, params, more in (
        ("codes", plain, {}), ("floats", coded, int8))}  # fmt: skip
    loaded["codes"].load_state_dict(opt.state_dict())  # codes into floats
    loaded["floats"].load_state_dict(floats)  # floats into codes
    for each, params in ((loaded["codes"], plain), (loaded["floats"], coded)):
        each.found_inf = torch.tensor(1.0)  # a step that is left out moves nothing
        give_gradients(params, 9)
        each.step()
    for number, entry in floats["state"].items():
        for name, value in entry.items():
            got = loaded["codes"].state_dict()["state"][number][name]
            assert torch.equal(got, value)
            assert got.dtype == value.dtype
    same_state(loaded["floats"], opt)  # what codes stand for is exact


# Checkpoints


def by_state_dict(opt, params, make):
    file = io.BytesIO()
    torch.save(opt.state_dict(), file)
    file.seek(0)
    params = [torch.nn.Parameter(p.detach().clone()) for p in params]
    other = make(params)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other, params


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


def test_the_smallest_configuration_has_seven_bytes_for_each_parameter():
    params = parameters(BF16, ((300, 100),))
    opt = ft.AdamW(params, **SMALLEST)
    train(opt, params, range(1))
    (entry,) = opt.state.values()
    stored = [*params, params[0].grad, *(v for k, v in entry.items() if k != "step")]
    assert sum(t.numel() * t.element_size() for t in stored) <= 7.1 * params[0].numel()


def test_small_parameters_keep_their_state():
    params = parameters(F32, ((4096,), (4095,), (0, 3)))
    opt = ft.AdamW(params, **INT8)
    train(opt, params, range(2))
    assert [opt.state[p]["exp_avg"].dtype for p in params] == [torch.int8, F32, F32]
    assert ["exp_avg_scale" in opt.state[p] for p in params] == [True, False, False]
    every = ft.AdamW(params, **INT8, min_quantized_size=0)
    every.load_state_dict(opt.state_dict())
    train(every, params, range(2, 4))
    assert {every.state[p]["exp_avg"].dtype for p in params} == {torch.int8}


@pytest.mark.usefixtures("in_plain_python")
def test_a_model_that_is_converted():
    model = torch.nn.Linear(10, 50)
    opt = ft.AdamW(model.parameters(), **INT8, **LEAST)
    for dtype in (F32, BF16, F32):
        model.to(dtype)
        give_gradients(model.parameters(), 0)
        opt.step()
    assert opt.state[model.weight]["exp_avg"].dtype == torch.int8
    assert opt.state[model.weight]["step"] == 3


# Around the step


def net(dtype):
    torch.manual_seed(0)
    layers = torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)
    return torch.nn.Sequential(*layers).to(dtype)


def loss_of(model, seed):
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randn(8, 6, generator=generator).to(model[0].weight.dtype)
    return (model(batch) - batch[:, :2]).square().mean()


def test_grad_scaler_with_a_model_of_float16():
    made = []
    for scale in (1.0, 1024.0):
        model = net(F16)
        opt = ft.AdamW(model.parameters(), lr=0.05, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=100)
        for seed in range(6):
            opt.zero_grad()
            scaler.scale(loss_of(model, seed)).backward()
            if seed == 3:
                model[0].weight.grad[0, 0] = float("inf")
            before = arrays_of(model.parameters())
            scaler.step(opt)
            assert opt.info.skipped == (seed == 3)
            if seed == 3:
                same(model.parameters(), before)
            scaler.update()
        assert scaler.get_scale() == scale / 2
        made.append([p.detach().float() for p in model.parameters()])
    for one, other in zip(*made, strict=True):
        # gradients of float16 lose their last bits below 6e-5 without a scale
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2)


@pytest.mark.usefixtures("in_plain_python")
def test_clipping_and_the_finite_check_of_bfloat16_gradients():
    params = parameters(BF16, SMALL)
    opt = ft.SGD(params, lr=0.01, clip_norm=0.5, skip_nonfinite=True, zero_grads=True)
    give_gradients(params, 0)
    norm = torch.cat([p.grad.double().flatten() for p in params]).norm().item()
    opt.step()
    assert opt.info.grad_norm == pytest.approx(norm, rel=1e-12)
    assert not any(p.grad.any() for p in params)
    before = arrays_of(params)
    give_gradients(params, 1)
    params[1].grad[7] = float("nan")
    opt.step()
    assert opt.info.skipped
    assert not any(p.grad.any() for p in params)
    same(params, before)


@pytest.mark.parametrize("dtype", [BF16, F16])
@pytest.mark.usefixtures("in_plain_python")
def test_the_average_of_sixteen_bits_is_kept_in_float32(dtype):
    params = [*parameters(dtype, SMALL), torch.nn.Parameter(torch.ones(0, dtype=dtype))]
    params[2].grad = torch.ones_like(params[2])
    params[1].requires_grad_(False)  # its own average
    opt = ft.AdamW(params, lr=0.01, ema_decay=0.9)
    train(opt, params[:1], range(4))
    assert {average.dtype for average in opt.ema} == {F32}
    before, averages = arrays_of(params), arrays_of(opt.ema)
    with opt.swap_ema():
        same(params, [average.to(dtype) for average in opt.ema])
        with pytest.raises(RuntimeError, match="leave swap_ema"):
            opt.master()
    same(params, before)
    same(opt.ema, averages)


# What is refused


@pytest.mark.parametrize(
    ("options", "dtype", "error", "message"),
    [
        ({"rounding": "stochastic"}, F32, ValueError, "bfloat16 and float16 parameters.*float32"),
        ({"compensation": "split8"}, F32, ValueError, "bfloat16 parameters.*float32"),
        ({"compensation": "kahan"}, F16, ValueError, "bfloat16 parameters.*float16"),
        ({"shadow_dtype": "bfloat16"}, BF16, TypeError, "float32 parameters"),
    ],
    ids=str,
)
def test_options_that_go_with_no_parameter_are_refused_at_the_first_step(
    options, dtype, error, message
):
    params = parameters(dtype)
    opt = ft.AdamW(params, **options)
    before = arrays_of(params)
    with pytest.raises(error, match=message):
        train(opt, params, [0])
    same(params, before)
    assert not opt.state


def test_bfloat16_needs_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    tensors.in_numpy.cache_clear()
    with pytest.raises(ImportError, match=r"fastadam\[bfloat16\].*ml_dtypes"):
        train(ft.AdamW(params := parameters(BF16)), params, [0])
    train(ft.AdamW(params := parameters()), params, [0])


def test_state_that_may_not_be_rounded_is_refused():
    weight = torch.nn.Parameter(torch.ones(5000))
    with pytest.raises(ValueError, match=r"state_dtype='int8'.*rmsprop"):
        ft.RMSprop([weight], centered=True, state_dtype="int8")


def test_noise_is_new_beyond_what_float32_can_count(monkeypatch):
    """PyTorch's float32 steps stay at 2**24; here they become wider, and noise follows them."""
    drawn, advance = [], RoundingKeys.advance

    def noted(self, step):
        advance(self, step)
        drawn.append(int(self._launches[0].numbers["noise"].flat[0]))

    params = [torch.nn.Parameter(torch.ones(8, dtype=torch.bfloat16)) for _ in range(2)]
    opt = ft.SGD(params, lr=1e-3, rounding="stochastic")
    for param in params:
        param.grad = torch.ones_like(param)
    opt.step()
    saved = opt.state_dict()
    for entry in saved["state"].values():
        entry["step"] = torch.tensor(2.0**24 - 2)
    opt.load_state_dict(saved)
    monkeypatch.setattr(RoundingKeys, "advance", noted)
    for step in range(6):
        params[1].grad = None if step == 1 else torch.ones_like(params[1])
        if step == 4:
            opt.load_state_dict(opt.state_dict())
        opt.step()
    assert len({*drawn}) == len(drawn) == 6
    assert [opt.state[param]["step"].item() for param in params] == [2**24 + 4, 2**24 + 3]


# Options of a group

OF_A_GROUP = [
    (F32, {}, {"state_dtype": "int8", "min_quantized_size": 0}),
    (F32, {}, {"state_dtype": torch.int8, "min_quantized_size": 300}),
    (F32, {"state_dtype": "bfloat16"}, {"state_dtype": None}),
    (BF16, {}, {"compensation": "split8"}),
    (BF16, {"compensation": "kahan"}, {"compensation": None, "rounding": "stochastic"}),
]


@pytest.mark.parametrize(("dtype", "whole", "own"), OF_A_GROUP, ids=str)
@pytest.mark.usefixtures("in_plain_python")
def test_a_group_has_options_of_its_own(dtype, whole, own):
    made = [parameters(dtype, SMALL) for _ in range(3)]

    def both(params):
        return ft.AdamW([{"params": params[:1]}, {"params": params[1:], **own}], lr=0.1, **whole)

    opt, apart = both(made[0]), [ft.AdamW(made[1], lr=0.1, **whole)]
    apart.append(ft.AdamW(made[2], lr=0.1, **{**whole, **own}))
    for seed in range(4):
        train(opt, made[0], [seed])
        for one, params in zip(apart, made[1:], strict=True):
            train(one, params, [seed])
        if seed == 1:
            saved = copy.deepcopy(opt.state_dict())
            opt = both(made[0])
            opt.load_state_dict(saved)
        if seed == 2:
            opt = pickle.loads(pickle.dumps(opt))
            made[0] = [p for group in opt.param_groups for p in group["params"]]
    for k, param in enumerate(made[0]):
        expected = made[1 + k][k]
        assert torch.equal(param, expected)
        entry, theirs = opt.state[param], apart[k].state[expected]
        assert entry.keys() == theirs.keys()
        assert all(torch.equal(entry[name], theirs[name]) for name in entry)
        assert torch.equal(opt.master()[k], apart[k].master()[k])
    assert "state_dtype" in repr(opt) or "compensation" in repr(opt)
    loaded = ft.AdamW([{"params": made[0][:1]}, {"params": made[0][1:]}], **whole)
    if dtype == F32:  # the loading optimizer's own options are in force
        loaded.load_state_dict(opt.state_dict())
        train(loaded, made[0], [5])
        assert not own.keys() & loaded.param_groups[1].keys()
        kind = BF16 if whole else F32
        assert all(loaded.state[p]["exp_avg"].dtype == kind for p in made[0])


@pytest.mark.usefixtures("in_plain_python")
def test_edited_options_of_a_group_are_followed():
    params = parameters(F32, SMALL)
    opt = ft.AdamW([{"params": params[:1]}, {"params": params[1:]}], min_quantized_size=0)
    train(opt, params, [0])
    opt.param_groups[1]["state_dtype"] = "int8"
    train(opt, params, [1])
    assert opt.state[params[0]]["exp_avg"].dtype == F32
    assert opt.state[params[1]]["exp_avg"].dtype == torch.int8
    opt.param_groups[1]["state_dtype"] = "bfloat16"
    train(opt, params, [2])
    assert opt.state[params[1]]["exp_avg"].dtype == BF16
    assert "exp_avg_scale" not in opt.state[params[1]]
    before = arrays_of(params)
    for wrong, message in (
        ({"state_dtype": "int4"}, r"param_groups\[1\]: state_dtype='int4'"),
        ({"clip_norm": 1.0}, r"param_groups\[1\]: clip_norm is an option of the whole"),
        ({"accumulate_steps": 2}, r"param_groups\[1\]: accumulate_steps: PyTorch"),
    ):
        kept = dict(opt.param_groups[1])
        opt.param_groups[1].update(wrong)
        with pytest.raises((TypeError, ValueError), match=message):
            train(opt, params, [3])
        opt.param_groups[1].clear()
        opt.param_groups[1].update(kept)
        with pytest.raises((TypeError, ValueError), match=message.replace("1", "2", 1)):
            opt.add_param_group({"params": parameters(), **wrong})
    same(params, before)
    assert len(opt.param_groups) == 2


@pytest.mark.parametrize("per", ["tensor", "global"])
def test_a_group_is_clipped_by_itself(per):
    other = {"tensor": "global", "global": "tensor"}[per]
    params = parameters(shapes=((30,), (7,), (50,), (4,)))
    start = [p.detach().clone() for p in params]
    groups = [{"params": params[:2], "clip_norm_per": per}, {"params": params[2:]}]
    opt = ft.SGD(groups, lr=1.0, clip_norm=0.5, clip_norm_per=other)
    train(opt, params, [0])
    give_gradients(params, 0)
    grads = [p.grad for p in params]
    torch.testing.assert_close(opt.info.grad_norm, float(torch.nn.utils.get_total_norm(grads)))
    for part, how in ((slice(0, 2), per), (slice(2, 4), other)):
        some = params[part]
        for together in [some] if how == "global" else [[p] for p in some]:
            torch.nn.utils.clip_grad_norm_(together, 0.5)
    for p, before in zip(params, start, strict=True):
        torch.testing.assert_close(p.detach(), before - p.grad)
