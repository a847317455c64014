"""Training as PyTorch does it: loss scaling, the compiler, what fastadam does around a step."""

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402


def net(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16), torch.nn.Linear(16, 2)
    )


def batches(count):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(8, 6, generator=generator) for _ in range(count)]


def loss_of(model, batch):
    return (model(batch) - batch[:, :2]).square().mean()


def train(model, opt, count=6):
    for batch in batches(count):
        opt.zero_grad()
        loss_of(model, batch).backward()
        opt.step()
    return model


def assert_same(one, other, tolerance=2e-6):
    """Within the roundings of a few float32 steps; the network is smooth."""
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-5, atol=tolerance)


# Loss scaling


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize("name", ["AdamW", "SGD", "Adagrad"])
def test_grad_scaler(name, fused, unscale):
    made = []
    for cls in (getattr(ft, name), getattr(torch.optim, name)):
        model = net()
        opt = cls(model.parameters(), lr=0.05, fused=fused)
        assert getattr(opt, "_step_supports_amp_scaling", False) is bool(fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
        for number, batch in enumerate(batches(8)):
            opt.zero_grad()
            scaler.scale(loss_of(model, batch)).backward()
            if number in (0, 4):
                model[0].weight.grad[0, 0] = float("inf")
            if unscale:
                scaler.unscale_(opt)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            before = model[0].weight.detach().clone()
            scaler.step(opt)
            assert torch.equal(before, model[0].weight) == (number in (0, 4))
            scaler.update()
        if name != "SGD":
            assert {entry["step"].item() for entry in opt.state.values()} == {6}
        made.append((model, scaler.get_scale()))
    assert_same(made[0][0], made[1][0])
    assert made[0][1] == made[1][1]


def test_a_skipped_first_step_makes_state_of_step_zero():
    model = net()
    opt = ft.AdamW(model.parameters())
    loss_of(model, batches(1)[0]).backward()
    opt.found_inf = torch.tensor(1.0)
    opt.step()
    assert opt.info.skipped
    assert {entry["step"].item() for entry in opt.state.values()} == {0}
    assert not any(entry["exp_avg"].any() for entry in opt.state.values())
    del opt.found_inf
    opt.step()
    assert {entry["step"].item() for entry in opt.state.values()} == {1}


def test_autocast_with_clipping_inside_the_step():
    model, clipped = net(), net()
    opt = ft.SGD(model.parameters(), lr=0.5, momentum=0.9, clip_norm=0.1)
    twin = torch.optim.SGD(clipped.parameters(), lr=0.5, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    for batch in batches(5):
        for one, each in ((model, opt), (clipped, twin)):
            each.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(one, batch)
            if one is model:
                scaler.scale(loss).backward()
                scaler.step(opt)
                scaler.update()
            else:
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(clipped.parameters(), 0.1)
                twin.step()
        assert opt.info.grad_norm == pytest.approx(norm.item(), rel=1e-2)
    assert_same(model, clipped, 1e-2)  # bfloat16 keeps 8 bits


# What fastadam does around a step


def test_clipping_is_that_of_torch():
    model, twin = net(), net()
    opt = ft.Adam(model.parameters(), lr=0.05, clip_norm=0.1, clip_value=0.01)
    reference = torch.optim.Adam(twin.parameters(), lr=0.05)
    train(model, opt)
    for batch in batches(6):
        reference.zero_grad()
        loss_of(twin, batch).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
        torch.nn.utils.clip_grad_value_(twin.parameters(), 0.01)
        reference.step()
    assert_same(model, twin)


def test_averages_and_their_exchange():
    model = net()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)
    )
    opt = ft.SGD(model.parameters(), lr=0.1, ema_decay=0.5)
    average.update_parameters(model)  # its first update copies
    for batch in batches(4):
        opt.zero_grad()
        loss_of(model, batch).backward()
        opt.step()
        average.update_parameters(model)
    params = [p.detach().clone() for p in model.parameters()]
    saved = opt.state_dict()
    with opt.swap_ema():
        assert_same(model, average.module)
        averages = [p.detach().clone() for p in model.parameters()]
        for refused in (
            opt.step,
            opt.state_dict,
            lambda: opt.load_state_dict(saved),
            lambda: opt.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]}),
            lambda: pickle.dumps(opt),
            lambda: copy.copy(opt),
            lambda: copy.deepcopy(opt),
            lambda: opt.swap_ema().__enter__(),
        ):
            with pytest.raises(RuntimeError, match="averages are exchanged; leave swap_ema"):
                refused()
        for param, kept in zip(model.parameters(), averages, strict=True):
            assert torch.equal(param, kept)
    for param, kept in zip(model.parameters(), params, strict=True):
        assert torch.equal(param, kept)
    assert len(opt.param_groups) == 1
    again = ft.SGD(net().parameters(), ema_decay=0.5)
    again.load_state_dict(opt.state_dict())
    for one, other in zip(again.ema, opt.ema, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_copies_in_low_precision(dtype):
    model = net()
    opt = ft.AdamW(model.parameters(), lr=0.05, shadow_dtype=dtype)
    assert opt.shadow[0].dtype == getattr(torch, dtype)
    train(model, opt)
    for param, shadow in zip(model.parameters(), opt.shadow, strict=True):
        assert torch.equal(shadow, param.detach().to(shadow.dtype))
    opt.load_state_dict(opt.state_dict())
    assert opt.shadow[0].dtype == getattr(torch, dtype)
    param = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
    param.grad = torch.ones_like(param)
    with pytest.raises(TypeError, match="float32 parameters"):
        ft.AdamW([param], shadow_dtype=dtype).step()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_copies_follow_an_exchange(dtype):
    model = net()
    opt = ft.SGD(model.parameters(), lr=0.1, ema_decay=0.5, shadow_dtype=dtype)

    def assert_rounded():
        for param, shadow in zip(model.parameters(), opt.shadow, strict=True):
            assert torch.equal(shadow, param.detach().to(getattr(torch, dtype)))

    model[0].requires_grad_(False)  # its parameters are their own averages
    train(model, opt)
    raw = [shadow.clone() for shadow in opt.shadow]
    with opt.swap_ema():
        assert_rounded()
        assert not torch.equal(opt.shadow[-1], raw[-1])
    assert_rounded()
    for shadow, before in zip(opt.shadow, raw, strict=True):
        assert torch.equal(shadow, before)


def test_what_is_not_asked_for_is_not_there():
    opt = ft.AdamW(net().parameters())
    for name in ("ema", "shadow"):
        with pytest.raises(AttributeError, match=f"{name} is not available"):
            getattr(opt, name)


def test_steps_with_gradients_that_are_not_finite_are_left_out():
    model = net()
    opt = ft.AdamW(model.parameters(), skip_nonfinite=True, zero_grads=True)
    loss_of(model, batches(1)[0]).backward()
    opt.step()
    assert not any(p.grad.any() for p in model.parameters())
    before = [p.detach().clone() for p in model.parameters()]
    model[0].bias.grad[0] = float("nan")
    opt.step()
    assert opt.info.skipped
    assert not any(p.grad.any() for p in model.parameters())
    for param, kept in zip(model.parameters(), before, strict=True):
        assert torch.equal(param, kept)
    assert opt.state[model[0].bias]["step"] == 1


@pytest.mark.parametrize("options", [{}, {"state_dtype": "int8", "min_quantized_size": 0}], ids=str)
def test_state_is_made_beside_the_parameters(options):
    model = net()
    opt = ft.AdamW(model.parameters(), **options)
    loss_of(model, batches(1)[0]).backward()
    with torch.device("meta"):
        opt.step()
    assert {v.device.type for entry in opt.state.values() for v in entry.values()} == {"cpu"}


# The compiler


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", ["model", "step", "whole"])
def test_compiled(what):
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        torch._dynamo.reset()
        model = net()
        opt = cls(model.parameters(), lr=0.05)
        call = torch.compile(model, backend="eager") if what == "model" else model

        def whole(batch, call=call, opt=opt):
            opt.zero_grad()
            loss_of(call, batch).backward()
            opt.step()

        step = torch.compile(opt.step, backend="eager") if what == "step" else opt.step
        run = torch.compile(whole, backend="eager") if what == "whole" else whole
        for batch in batches(5):
            if what == "step" and cls is ft.AdamW:
                opt.zero_grad()
                loss_of(call, batch).backward()
                step()
            else:
                (run if cls is ft.AdamW else whole)(batch)
        made.append(model)
    assert_same(*made)
