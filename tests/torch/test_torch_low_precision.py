"""Parameters, gradients and state in less memory, in tensors: the bits of the core, kept by what
PyTorch does to optimizers."""

import sys

import pytest
from cases import DEFAULTS
from torch_formats import (
    ADAMW,
    BF16,
    F16,
    F32,
    F64,
    INT8,
    LEAST,
    RULES,
    SMALL,
    SMALLEST,
    arrays_of,
    each_kind,
    give_gradients,
    kept,
    parameters,
    same,
    same_state,
    train,
)

import fastadam as fa

pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402
from fastadam.engine.random_keys import RoundingKeys  # noqa: E402
from fastadam.torch import tensors  # noqa: E402

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
    # both sums are in float64
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
