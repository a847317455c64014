"""The optimizers for PyTorch against those of torch.optim: same weights, same keys, same words."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from heavy_ball import HeavyBall
from package_calls import depths_of_calls
from processes import output
from torch_twins import (
    assert_same,
    each_default,
    each_twin,
    give_gradients,
    ours,
    pair,
    parameters,
    steps,
    theirs,
)

import fastadam as fa

torch = pytest.importorskip("torch")

from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: E402

import fastadam.torch as ft  # noqa: E402


@each_twin
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_weights_and_state_are_those_of_torch(case, dtype, rtol, request):
    if dtype == torch.float64:
        request.getfixturevalue("in_plain_python")
    (opt, one), (twin, other) = pair(case, dtype)
    steps(opt, one, range(10))
    steps(twin, other, range(10))
    rtol = max(rtol, 1e-6) if case.optimizer.carried else rtol  # torch carries float32
    assert_same(one, other, rtol, rtol)
    mine, its = opt.state_dict(), twin.state_dict()
    assert mine["state"].keys() == its["state"].keys()
    for number, entry in its["state"].items():
        assert mine["state"][number].keys() == entry.keys()
        for name, value in entry.items():
            got = mine["state"][number][name]
            torch.testing.assert_close(got, value, rtol=rtol, atol=rtol, check_dtype=False)
    for group, its_group in zip(mine["param_groups"], its["param_groups"], strict=True):
        assert its_group.keys() == group.keys()


@each_twin
@pytest.mark.usefixtures("in_plain_python")
def test_saved_state_goes_both_ways(case):
    (opt, one), (twin, other) = pair(case)
    steps(opt, one, range(3))
    steps(twin, other, range(3))
    (opt2, one2), (twin2, other2) = pair(case)
    for target, source in zip([*one2, *other2], [*other, *one], strict=True):
        target.data.copy_(source.data)
    opt2.load_state_dict(twin.state_dict())
    twin2.load_state_dict(copy.deepcopy(opt.state_dict()))  # torch would share the tensors
    for each, params in ((opt, one), (twin, other), (opt2, one2), (twin2, other2)):
        steps(each, params, range(3, 8))
    assert_same(one, other)
    assert_same(one2, other)
    assert_same(other2, other)


@each_twin
def test_resuming_changes_no_bit(case):
    (opt, one), _ = pair(case)
    steps(opt, one, range(3))
    (resumed, two), _ = pair(case)
    for target, source in zip(two, one, strict=True):
        target.data.copy_(source.data)
    resumed.load_state_dict(pickle.loads(pickle.dumps(opt.state_dict())))
    for each, params in ((opt, one), (resumed, two)):
        steps(each, params, range(3, 6))
    assert_same(two, one, 0, 0)


@each_default
def test_defaults_and_signature_are_those_of_torch(case):
    its = inspect.signature(theirs(case)).parameters
    mine = inspect.signature(ours(case)).parameters
    assert its.keys() <= mine.keys()
    inline = [name for name, p in its.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [*mine][: len(inline)] == inline
    for name, parameter in its.items():
        assert mine[name].default == parameter.default
    assert issubclass(ours(case), torch.optim.Optimizer)


def test_a_subclass_has_the_signature_of_its_own_constructor():
    class Mine(ft.AdamW):
        def __init__(self, params, mine, **more):
            super().__init__(params, **more)

    class Later(Mine):
        pass

    for cls in (Mine, Later):
        assert [*inspect.signature(cls).parameters] == ["params", "mine", "more"]


def test_arguments_by_position_as_in_torch():
    params = parameters()
    assert ft.AdamW(params, 0.1, (0.5, 0.6)).param_groups[0]["betas"] == (0.5, 0.6)
    assert ft.SGD(params, 0.1, 0.9).param_groups[0]["momentum"] == 0.9
    with pytest.raises(TypeError, match="by position and by keyword"):
        ft.AdamW(params, 0.1, lr=0.1)
    with pytest.raises(TypeError, match="got 7 more"):
        ft.AdamW(params, 1, 2, 3, 4, 5, 6, 7)


def test_lion_moves_as_its_core():
    params = parameters(torch.float64)
    arrays = [p.detach().numpy().copy() for p in params]
    opt, core = ft.Lion(params, lr=0.05), fa.Lion(arrays, lr=0.05)
    for seed in range(5):
        give_gradients(params, seed)
        core.step([p.grad.numpy() for p in params])
        opt.step()
    for param, array in zip(params, arrays, strict=True):
        np.testing.assert_array_equal(param.detach().numpy(), array)


def test_bits_are_those_of_the_core():
    params = parameters()
    arrays = [p.detach().numpy().copy() for p in params]
    options = {"lr": 0.05, "clip_norm": 1.0, "clip_value": 0.1, "ema_decay": 0.9}
    opt, core = ft.AdamW(params, **options), fa.AdamW(arrays, **options)
    for seed in range(5):
        give_gradients(params, seed)
        info = core.step([p.grad.numpy() for p in params])
        opt.step()
        assert opt.info == info
    for param, array in zip([*params, *opt.ema], [*arrays, *core.ema.leaves], strict=True):
        np.testing.assert_array_equal(param.detach().numpy(), array)


@each_default
def test_parameters_without_a_gradient_stay(case):
    for make in (ours(case), theirs(case)):
        params = parameters()
        start = [p.detach().clone() for p in params]
        params[1].requires_grad_(False)
        opt = make(params)
        for step in range(6):
            give_gradients(params, step)
            params[1].grad = None
            if step < 3:
                params[0].grad = None
            if step in (1, 4):
                params[5].grad = None
            opt.step()
            if step == 2:
                assert torch.equal(params[0], start[0])
                if make is ours(case):
                    assert not opt.state.get(params[0])
        assert torch.equal(params[1], start[1])
        if make is ours(case):
            want = params
    assert_same(want, params)


def test_a_step_without_any_gradient_does_nothing():
    params = parameters()
    opt = ft.AdamW(params)
    opt.step()
    assert not opt.state
    assert not opt.info.updated
    assert opt.info.step == 0


def test_the_lr_reported_is_that_of_the_first_group():
    params = parameters()
    groups = [{"params": params[:2], "lr": 0.5}, {"params": params[2:], "lr": 0.25}]
    opt = ft.SGD(groups)
    opt.step()
    assert opt.info.lr == 0.5
    steps(opt, params[2:], [0])
    assert opt.info.lr == 0.5
    opt.param_groups[0]["lr"] = torch.tensor(0.125)
    steps(opt, params[2:], [1])
    assert opt.info.lr == 0.125


# Groups, schedulers, closures, hooks


def test_groups_have_their_own_hyperparameters():
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        params = parameters()
        opt = cls(
            [{"params": params[:2], "weight_decay": 0.5}, {"params": []}, {"params": params[2:4]}],
            lr=0.1,
        )
        steps(opt, params[:4], range(3))
        group = {"params": params[4:], "amsgrad": True, "betas": [0.5, 0.9]}
        opt.add_param_group(group)  # which wrappers such as torchao's keep, and edit
        assert opt.param_groups[-1] is group
        steps(opt, params, range(3, 6))
        opt.param_groups[0]["lr"] = 0.01
        opt.param_groups[2]["amsgrad"] = False
        group["lr"] = 0.05
        steps(opt, params, range(6, 9))
        made.append(params)
    assert_same(*made, rtol=1e-4)


def test_parameters_may_change_their_group():
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        params = parameters()
        opt = cls([{"params": params[:4]}, {"params": params[4:], "lr": 0.1}])
        steps(opt, params, range(2))
        opt.param_groups[1]["params"].insert(0, opt.param_groups[0]["params"].pop())
        steps(opt, params, range(2, 4))
        made.append(params)
    assert_same(*made)


def test_named_parameters_are_called_by_their_names():
    model = torch.nn.Linear(3, 2).to(torch.float8_e5m2)
    opt = ft.SGD(model.named_parameters())
    assert opt.param_groups[0]["param_names"] == ["weight", "bias"]
    model.weight.grad = torch.ones(2, 3).to(torch.float8_e5m2)
    with pytest.raises(RuntimeError, match=r"weight has dtype torch.float8_e5m2.*\.float\(\)"):
        opt.step()


SCHEDULERS = {
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 30},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "cycle_momentum": True, "step_size_up": 3},
    "CosineAnnealingLR": {"T_max": 10},
    "LambdaLR": {"lr_lambda": lambda step: 1 / (1 + step)},
    "StepLR": {"step_size": 2},
    "LinearLR": {"start_factor": 0.1, "end_factor": 0.0, "total_iters": 9},  # ends below zero
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("lr", [0.05, "tensor"])
def test_schedulers(name, lr):
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        params = parameters()
        opt = cls(params, lr=torch.tensor(0.05) if lr == "tensor" else lr, foreach=False)
        scheduler = getattr(torch.optim.lr_scheduler, name)(opt, **SCHEDULERS[name])
        for seed in range(10):
            steps(opt, params, [seed])
            scheduler.step()
        made.append(params)
    assert_same(*made)


def test_a_tensor_as_lr_is_read_anew():
    lr, params = torch.tensor(0.1), parameters()
    opt = ft.SGD(params, lr=lr)
    steps(opt, params, [0])
    lr.fill_(0.0)
    before = [p.detach().clone() for p in params]
    steps(opt, params, [1])
    assert_same(params, before, 0, 0)
    assert opt.param_groups[0]["lr"] is lr
    with pytest.raises(ValueError, match="1-element"):
        ft.SGD(params, lr=torch.ones(2))


@pytest.mark.parametrize("number", [torch.tensor, np.array])
def test_hyperparameters_edited_in_place_are_seen(number):
    """Tensors, arrays and lists are the same objects as before when somebody writes to them."""
    made = []
    for edited in (True, False):
        params, lr, betas = parameters(), number(0.25), [0.5, number(0.5)]
        opt = ft.Adam([{"params": params[:3]}, {"params": params[3:]}], lr=0.25)
        group = opt.param_groups[1]
        steps(opt, params, [0, 1])
        group.update(lr=lr if edited else 0.25, betas=betas if edited else (0.5, 0.5))
        steps(opt, params, [2, 3])
        lr[...], betas[1][...] = 0.125, 0.25
        if not edited:
            group.update(lr=0.125, betas=(0.5, 0.25))
        steps(opt, params, [4])
        betas[0] = 0.75
        if not edited:
            group["betas"] = (0.75, 0.25)
        steps(opt, params, [5])
        made.append(params)
    assert_same(*made, 0, 0)


def test_a_wrong_hyperparameter_of_one_group_stops_all():
    params = parameters()
    opt = ft.Adam([{"params": params[:3]}, {"params": params[3:]}])
    steps(opt, params, [0])
    before = [p.detach().clone() for p in params]
    for bad, error in (
        ("0.1", TypeError),
        (float("nan"), ValueError),
        (lambda step: 0.1, TypeError),
        (np.array(True), TypeError),
    ):
        opt.param_groups[0]["lr"], opt.param_groups[1]["lr"] = 0.5, bad
        for _ in range(2):
            with pytest.raises(error, match=r"param_groups\[1\]: lr="):
                steps(opt, params, [1])
    opt.param_groups[1]["lr"] = np.ones(2)
    with pytest.raises(TypeError, match=r"lr=array.* is an array; give a number"):
        steps(opt, params, [1])
    assert_same(params, before, 0, 0)
    opt.param_groups[1]["lr"] = 0.5
    steps(opt, params, [1])
    assert opt.info.lr == 0.5


def test_closures_and_hooks():
    params, calls = parameters(), []
    opt = ft.Adam(params)
    opt.register_step_pre_hook(lambda *_: calls.append("before"))
    opt.register_step_post_hook(lambda *_: calls.append("after"))

    def closure():
        opt.zero_grad()
        loss = sum(p.square().sum() for p in params)
        loss.backward()
        return loss

    first = opt.step(closure)
    assert opt.step(closure) < first
    assert calls == ["before", "after"] * 2


def test_hooks_run_once_around_each_step():
    class Own(ft.SGD):
        def step(self, closure=None):
            calls.append("step")
            return super().step(closure)

    calls = []
    for kind in (ft.SGD, Own):
        opt = kind(parameters(), lr=0.1)
        give_gradients(opt.param_groups[0]["params"], 0)
        opt.step()
        calls.clear()
        handles = [
            opt.register_step_pre_hook(lambda own, args, kwargs: calls.append(len(args))),
            register_optimizer_step_post_hook(lambda *_: calls.append("all")),
        ]
        opt.step()
        assert calls == [1, *["step"] * (kind is Own), "all"]
        for handle in handles:
            handle.remove()
        calls.clear()
        opt.step()
        assert calls == ["step"] * (kind is Own)


def test_profilers_see_the_step():
    opt = ft.SGD(parameters(), lr=0.1)
    give_gradients(opt.param_groups[0]["params"], 0)
    with torch.autograd.profiler.profile() as seen:
        opt.step()
    assert "Optimizer.step#SGD.step" in [event.name for event in seen.function_events]


def test_steady_steps_make_few_calls():
    params = parameters()
    opt = ft.AdamW(params)
    group = opt.param_groups[0]
    give_gradients(params, 0)
    for _ in range(3):
        opt.step()

    def edited_step():
        group["lr"] *= 0.5
        opt.step()

    assert len(depths_of_calls(opt.step)) <= 33
    assert len(depths_of_calls(edited_step)) <= 46
    assert opt.info.lr == group["lr"]


# Autograd and the compiler


def test_autograd_sees_that_parameters_changed():
    w = torch.nn.Parameter(torch.ones(2))
    opt = ft.SGD([w], lr=0.1)
    loss = (w * w).sum()
    w.grad = torch.ones(2)
    opt.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_rule_of_the_users_own():
    class TorchHeavyBall(ft.Optimizer):
        core = HeavyBall

    params = parameters(torch.float64)
    arrays = [p.detach().numpy().copy() for p in params]
    opt, core = TorchHeavyBall(params, beta=0.5), HeavyBall(arrays, beta=0.5)
    for seed in range(3):
        give_gradients(params, seed)
        core.step([p.grad.numpy() for p in params])
        opt.step()
    for param, array in zip(params, arrays, strict=True):
        np.testing.assert_array_equal(param.detach().numpy(), array)


def test_a_rule_without_a_learning_rate():
    @fa.rule(hyper=("rate",))
    def descent(param, grad, state, h):
        return param - h.rate * grad, state

    class Descent(fa.Optimizer):
        rule = descent
        defaults = {"rate": 0.5}

        def hyper(self, group, step):
            return {"rate": group["rate"]}

    class TorchDescent(ft.Optimizer):
        core = Descent

    param = torch.nn.Parameter(torch.ones(2))
    param.grad = torch.ones(2)
    opt = TorchDescent([param], rate=0.25)
    opt.step()
    assert param.tolist() == [0.75] * 2
    assert opt.info.lr is None
    assert [*inspect.signature(TorchDescent).parameters][:2] == ["params", "rate"]
    with pytest.raises(TypeError):
        TorchDescent([param], 0.25)


def test_threads_follow_torch():
    before = torch.get_num_threads()
    param = torch.nn.Parameter(torch.ones(100_000))
    param.grad = torch.ones(100_000)
    opt = ft.SGD([param])
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            opt.step()
            assert opt._tensor_step.needs.threads == min(threads, fa.get_threads())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("mask_state", [False, True])
def test_masks_have_the_bits_of_the_core(mask_state):
    params = parameters(shapes=[(6, 3), (4,), (2,)])
    params[0].data = params[0].data.t().contiguous().t()  # in another order of storage
    arrays = [np.ascontiguousarray(p.detach().numpy().copy()) for p in params]
    options = {"lr": 0.1, "mask_state": mask_state}
    opt, core = ft.AdamW(params, fused=True, **options), fa.AdamW(arrays, **options)
    scaler, seen = torch.amp.GradScaler("cpu", init_scale=4.0), []
    torch.optim.lr_scheduler.ConstantLR(opt, factor=1.0)  # wraps `step`
    opt.register_step_pre_hook(lambda own, args, keywords: seen.append(keywords["mask"]))
    rows, some = torch.tensor([1, 0, 0, 1, 1, 0]) != 0, torch.tensor([True, False, True, True])
    rows, whole = rows[:, None].expand(6, 3), [np.ones(a.shape, bool) for a in arrays]
    given = [[rows, some, None], None, {params[1]: some}, (rows, None, None)]
    wanted = [[rows, some, None], None, [None, some, None], [rows, None, None]]
    for seed, (mask, masks) in enumerate(zip(given, wanted, strict=True)):
        give_gradients(params[:2], seed)
        grads = [None if p.grad is None else p.grad.numpy().copy() for p in params]
        for param in params[:2]:
            param.grad *= 4  # exact
        scaler.scale(torch.ones(()))
        scaler.step(opt, mask=mask)
        scaler.update()
        if masks is not None:
            pairs = zip(masks, whole, strict=True)
            masks = [w if m is None else np.ascontiguousarray(m.numpy()) for m, w in pairs]
        core.step(grads, mask=masks)
        for number, (param, array) in enumerate(zip(params, arrays, strict=True)):
            np.testing.assert_array_equal(param.detach().numpy(), array)
            for name in ("exp_avg", "exp_avg_sq") if grads[number] is not None else ():
                np.testing.assert_array_equal(opt.state[param][name], core.state[name][number])
    assert seen == given
    assert params[2] not in opt.state


def test_importing_fastadam_does_not_import_torch():
    assert output("import fastadam, sys; fastadam.AdamW; print('torch' in sys.modules)") == "False"


def test_importing_the_adapter_does_not_import_the_compiler():
    assert output("import fastadam.torch, sys; print('torch._dynamo' in sys.modules)") == "False"


def test_state_is_looked_over_once_it_was_handed_out():
    params = parameters()
    opt = ft.AdamW(params)
    saved = opt.state_dict()
    steps(opt, params, range(2))
    opt.load_state_dict(saved)
    assert not opt._handed_out
    steps(opt, params, range(2))
    last = opt._tensor_step
    steps(opt, params, range(2))
    assert opt._tensor_step is last
    entry = opt.state[params[0]]
    steps(opt, params, range(2))
    assert opt._tensor_step is last
    entry["exp_avg"] = torch.zeros_like(params[0])
    steps(opt, params, range(1))
    assert opt._tensor_step is last
    assert entry["exp_avg"].any()
