"""The optimizers for PyTorch against those of torch.optim: same weights, same keys, same words."""

import collections
import copy
import inspect
import multiprocessing
import pickle
import re
import sys
import threading
import warnings

import numpy as np
import pytest
from cases import CASES, DEFAULTS
from heavy_ball import HeavyBall
from processes import output, python

import fastadam as fa

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
    one, other = parameters(dtype), parameters(dtype)
    hyper = case.torch_hyper | more
    return (ours(case)(one, **hyper), one), (theirs(case)(other, **hyper), other)


def assert_same(one, other, rtol=1e-5, atol=2e-6):
    """Within the roundings of some ten float32 steps, of which torch orders some otherwise."""
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=rtol, atol=atol)


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
        opt.add_param_group({"params": params[4:], "amsgrad": True, "betas": [0.5, 0.9]})
        steps(opt, params, range(3, 6))
        opt.param_groups[0]["lr"] = 0.01
        opt.param_groups[2]["amsgrad"] = False
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


# Copies of optimizers, and what is saved


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies_go_on_alone(copied):
    params = parameters()
    opt = ft.NAdam(params, lr=0.1, clip_value=0.5, ema_decay=0.9)
    steps(opt, params, range(3))
    other, its = copied((opt, params))
    steps(other, its, range(3, 6))
    before = [p.detach().clone() for p in params]
    assert_same(before, params, 0, 0)
    steps(opt, params, range(3, 6))
    assert_same(its, params, 0, 0)
    assert_same(other.ema, opt.ema, 0, 0)


def test_old_dicts_without_new_flags_and_with_plain_steps():
    params, old = parameters(), parameters()
    reference = torch.optim.AdamW(old)
    steps(reference, old, range(3))
    saved = copy.deepcopy(reference.state_dict())
    for entry in saved["state"].values():
        entry["step"] = int(entry["step"])
    for name in ("maximize", "foreach", "capturable", "fused", "decoupled_weight_decay"):
        del saved["param_groups"][0][name]
    opt = ft.AdamW(params)
    opt.load_state_dict(saved)
    for target, source in zip(params, old, strict=True):
        target.data.copy_(source.data)
    for each, some in ((opt, params), (reference, old)):
        steps(each, some, range(3, 5))
    assert_same(params, old)
    assert opt.state[params[0]]["step"] == 5


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("AdamW", lambda entry: entry.pop("exp_avg"), r"\['params'\]\[1\] lacks \['exp_avg'\]"),
        ("AdamW", lambda entry: entry.pop("step"), r"lacks \['step'\], it has \['exp_avg', "),
        ("AdamW", lambda entry: entry.update(exp_avg_sq=None), r"lacks \['exp_avg_sq'\]"),
        ("NAdam", lambda entry: entry.pop("mu_product"), r"lacks \['mu_product'\]"),
        (
            "AdamW",
            lambda entry: entry["step"].fill_(2.5),
            "step=2.5; a step must be",
        ),
        ("Lion", lambda entry: entry.update(step=torch.tensor(-1.0)), "step=-1.0"),
        ("Adagrad", lambda entry: entry.update(step=torch.tensor(np.nan)), "step=nan"),
    ],
)
def test_state_of_which_something_is_missing_is_refused(name, change, message):
    params = parameters()
    opt = getattr(ft, name)(params)
    steps(opt, params, range(2))
    before = [p.detach().clone() for p in params]
    saved = copy.deepcopy(opt.state_dict())
    change(saved["state"].setdefault(1, {}))
    opt.load_state_dict(saved)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            steps(opt, params, [2])
    assert_same(params, before, 0, 0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_old_dicts_with_a_momentum_of_none(momentum):
    made = []
    for cls in (ft.SGD, torch.optim.SGD):
        params = parameters()
        groups = [{"params": params[:3], "momentum": momentum}, {"params": params[3:]}]
        opt = cls(groups, lr=0.1, momentum=0.5)
        saved = opt.state_dict()
        saved["state"] = {i: {"momentum_buffer": None} for i in range(len(params))}
        opt.load_state_dict(saved)
        steps(opt, params, range(3))
        opt.state[params[4]]["momentum_buffer"] = None
        steps(opt, params, range(3))
        made.append(params)
    assert_same(*made)


def test_adamw_stays_adamw_with_the_state_of_adam():
    made = []
    for cls, first in ((ft.AdamW, ft.Adam), (torch.optim.AdamW, torch.optim.Adam)):
        params = parameters()
        adam = first(params, lr=0.1, weight_decay=0.5)
        steps(adam, params, range(2))
        opt = cls(params)
        opt.load_state_dict(adam.state_dict())
        assert opt.param_groups[0]["decoupled_weight_decay"]
        steps(opt, params, range(2, 4))
        made.append(params)
    assert_same(*made)


def test_two_optimizers_may_load_the_same_dict():
    params, other = parameters(), parameters()
    opt = ft.AdamW(params)
    steps(opt, params, range(2))
    saved = opt.state_dict()
    second = ft.AdamW(other)
    second.load_state_dict(saved)
    before = copy.deepcopy(saved)
    steps(second, other, range(3))
    for number, entry in before["state"].items():
        for name, value in entry.items():
            assert torch.equal(saved["state"][number][name], value)


def test_state_that_others_write_is_seen():
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        params = parameters()
        opt = cls(params, lr=0.1)
        steps(opt, params, range(2))
        opt.state[params[0]]["exp_avg"] = torch.ones_like(params[0])
        opt.state[params[1]]["exp_avg_sq"].mul_(4)
        opt.state[params[2]]["step"] = torch.tensor(7.0)
        opt.state[params[5]]["step"].fill_(9)
        steps(opt, params, range(2, 4))
        opt.state.clear()
        steps(opt, params, range(4, 6))
        made.append(params)
    assert_same(*made)


MOVES = {
    "exchanged": lambda entry: entry.update({k: v.clone() * 2 for k, v in entry.items()}),
    "moved": lambda entry: [v.share_memory_() for v in entry.values()],
    "steps exchanged": lambda entry: entry.update(step=entry["step"] + 2) if "step" in entry else 0,
    "repointed": lambda entry: [setattr(v, "data", v.data * 2) for v in entry.values() if v.ndim],
}


@pytest.mark.parametrize("change", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("through", ["state_dict", "copy", "hook"])
@pytest.mark.parametrize(("name", "hyper"), [("AdamW", {}), ("SGD", {"momentum": 0.9})])
def test_state_that_is_changed_through_what_shares_it(name, hyper, through, change):
    """A state_dict has the entries of `state` themselves, as in PyTorch."""
    made = []
    for module in (ft, torch.optim):
        params = parameters()
        opt = getattr(module, name)(params, lr=0.1, **hyper)
        steps(opt, params, range(2))
        if through == "hook":
            opt.register_state_dict_pre_hook(lambda o: [change(e) for e in o.state.values()])
            opt.state_dict()
        else:
            held = opt.state_dict() if through == "state_dict" else vars(copy.copy(opt))
            for entry in held["state"].values():
                change(entry)
        steps(opt, params, range(2, 5))
        made.append([*params, *(v for e in opt.state_dict()["state"].values() for v in e.values())])
    assert_same(*made)


def test_copies_that_share_their_state_take_turns():
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        params = parameters()
        opt = cls(params, lr=0.1)
        steps(opt, params, range(2))
        other = copy.copy(opt)
        for seed in range(2, 8):
            steps((opt, other)[seed % 2], params, [seed])
        made.append([*params, opt.state[params[0]]["step"]])
    assert_same(*made)


def test_single_numbers_of_others_are_counted_in():
    """Step counts as in A3C's SharedAdam, which other processes write to as well."""
    for start in (torch.zeros(()), torch.zeros(1), torch.zeros((), dtype=torch.int64)):
        params = parameters()
        opt = ft.Adam(params, lr=0.1)
        for param in params:
            moments = {name: torch.zeros_like(param) for name in ("exp_avg", "exp_avg_sq")}
            opt.state[param].update({"step": start.clone().share_memory_(), **moments})
        held = [opt.state[param]["step"] for param in params]
        steps(opt, params, range(3))
        assert [step.item() for step in held] == [3.0] * len(params)
        assert all(opt.state[p]["step"] is step for p, step in zip(params, held, strict=True))
        loaded = ft.Adam(params)
        loaded.load_state_dict(opt.state_dict())
        steps(loaded, params, range(1))
        assert loaded.state[params[0]]["step"].item() == 4.0
        assert held[0].item() == 3.0
    one = torch.zeros(())
    for param in params:  # of all parameters at once: each counts for itself
        opt.state[param]["step"] = one
    steps(opt, params, range(2))
    assert [opt.state[param]["step"].item() for param in params] == [2.0] * len(params)


def refused(opt, params):
    """End a forked process with 3 if a step is refused that another thread might be in."""
    with pytest.raises(RuntimeError, match="forked while another thread"):
        steps(opt, params, [1])
    sys.exit(3)


def test_threads_take_turns():
    params = parameters()
    opt = ft.SGD(params, lr=0.5)
    inside = []

    def back(optimizer, *args):  # a hook may call back
        inside.append(optimizer.state_dict())
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})

    opt.register_state_dict_pre_hook(lambda o: inside.append(o.memory()))
    opt.register_step_post_hook(back)
    steps(opt, params, range(1))
    assert len(inside) == 2
    held, done = threading.Event(), threading.Event()

    def hold():
        with opt._lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    waits = threading.Thread(target=steps, args=(opt, params, range(1)))
    waits.start()
    waits.join(0.05)
    assert waits.is_alive()
    assert copy.deepcopy(opt)._lock is not opt._lock
    child = multiprocessing.get_context("fork").Process(target=refused, args=(opt, params))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python, that a fork may hang
        child.start()
    child.join(30)
    done.set()
    assert child.exitcode == 3
    waits.join()
    assert len(opt.param_groups) == 3


def test_what_wraps_an_optimizer_as_its_class():
    """As the optimizers of Lightning and Fabric."""

    class Wrapper:
        def __init__(self, optimizer):
            self._optimizer = optimizer
            self.__class__ = type("Wrapped", (Wrapper, type(optimizer)), {})

        def __getattr__(self, name):
            return getattr(self._optimizer, name)

        def step(self):
            return self._optimizer.step()

    params = parameters()
    opt = ft.AdamW(params, ema_decay=0.5)
    wrapped = Wrapper(opt)
    steps(wrapped, params, range(2))
    assert wrapped.info is opt.info
    assert wrapped.state is opt.state
    averages = [average.clone() for average in wrapped.ema]
    with wrapped.swap_ema():
        assert_same(params, averages, 0, 0)
        for each in (wrapped, opt):
            with pytest.raises(RuntimeError, match="leave swap_ema"):
                each.step()
    assert len(wrapped.master()) == len(params)


def test_what_others_keep_in_state_stays():
    params = parameters()
    opt = ft.AdamW(params)
    steps(opt, params, range(2))
    opt.state[params[0]].update(mine=torch.ones(2), text="kept")
    last = opt._tensor_step
    steps(opt, params, range(2))
    assert opt._tensor_step is last
    params[0].data = torch.empty(1, 5).repeat(7, 2)[:, ::2].copy_(params[0].data)  # with gaps
    steps(opt, params, range(2))
    assert opt._tensor_step is not last
    assert opt.state[params[0]]["text"] == "kept"
    assert opt.state_dict()["state"][0]["mine"].tolist() == [1, 1]


def test_steps_are_saved_as_torch_saves_them(tmp_path):
    params = parameters()
    opt = ft.AdamW(params)
    steps(opt, params, range(2))
    torch.save(opt.state_dict(), tmp_path / "opt.pt")
    saved = torch.load(tmp_path / "opt.pt", weights_only=True)
    step = saved["state"][0]["step"]
    assert (step.shape, step.dtype, step.item()) == ((), torch.float32, 2.0)


# What is refused


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"fused": True, "foreach": True}, "cannot be `True` together"),
        ({"differentiable": True}, "^AdamW does not support `differentiable`"),
        ({"lr": torch.tensor(0.1), "foreach": True}, "lr as a Tensor is not supported"),
        ({"lr": -1.0}, r"lr=-1.0 must be >= 0 \(Invalid learning rate: -1.0\)"),
        ({"lr": lambda step: 0.1}, "torch.optim.lr_scheduler"),
        ({"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ({"eps": -1}, "Invalid epsilon value: -1"),
        ({"weight_decay": -1}, "Invalid weight_decay value: -1"),
        ({"lr": "1e-3"}, "lr='1e-3' must be a number; give a number$"),
        ({"wd": 0.1}, "did you mean 'weight_decay'"),
        (
            {"betas": (torch.ones(2), torch.ones(1))},
            r"Tensor betas\[0\] must be 1-element, not of shape \(2,\)",
        ),
        ({"unknown": 1}, "unexpected keyword 'unknown'"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0"),
        ({"accumulate_steps": 2}, "accumulates gradients in .grad"),
        ({"decoupled_weight_decay": False}, "is Adam"),
    ],
)
def test_what_the_constructor_refuses(flags, message):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        ft.AdamW(parameters(), **flags)


@pytest.mark.parametrize("flags", [{"differentiable": True}, {"lr": torch.tensor(0.1)}])
def test_flags_of_a_group_are_refused_as_those_of_all(flags):
    groups = [{"params": parameters(), **flags}]
    with pytest.raises((ValueError, RuntimeError), match=r"differentiable|capturable"):
        ft.AdamW(groups, foreach=True)
    opt = ft.AdamW(parameters(), foreach=True)
    with pytest.raises((ValueError, RuntimeError), match=r"differentiable|capturable"):
        opt.add_param_group(groups[0])
    assert len(opt.param_groups) == 1


@pytest.mark.parametrize("flag", [{"fused": True}, {"foreach": True}, {"capturable": False}])
def test_flags_are_taken(flag):
    assert ft.AdamW(parameters(), **flag).param_groups[0].items() >= flag.items()
    with pytest.raises(TypeError, match="fused"):
        ft.NAdam(parameters(), fused=True)


@pytest.mark.parametrize(
    "case",
    [c for c in DEFAULTS if c.optimizer.__name__ not in ("SGD", "Adagrad", "SparseAdam")],
    ids=lambda case: case.id,
)
def test_sparse_gradients_are_refused_in_the_words_of_torch(case):
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError) as mine:
        ours(case)(embedding.parameters()).step()
    assert "does not support sparse gradients" in str(mine.value)
    if case.torch:
        with pytest.raises(RuntimeError) as its:
            theirs(case)(embedding.parameters()).step()
        assert str(mine.value) == re.sub("^Adam ", f"{case.torch} ", str(its.value))


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("exp_avg", [1.0], TypeError),
        ("exp_avg", 3, TypeError),
        ("exp_avg", np.ones(3), TypeError),
        ("exp_avg", torch.ones(3, dtype=torch.complex64), TypeError),
        ("exp_avg", torch.ones(3).to_sparse(), TypeError),
        ("exp_avg", torch.ones(3, device="meta"), TypeError),
        ("ema", "x", TypeError),
        ("step", "x", TypeError),
        ("step", torch.ones(3), TypeError),
        ("step", 1.5, ValueError),
        (None, "x", TypeError),
        (None, 3, TypeError),
    ],
)
def test_state_of_the_wrong_kind_is_refused(key, value, error):
    param = torch.nn.Parameter(torch.ones(3))
    param.grad = torch.ones(3)
    opt = ft.AdamW([param], ema_decay=0.9)
    opt.step()
    before = param.detach().clone()
    opt.state[param] = value if key is None else {**opt.state[param], key: value}
    for _ in range(2):
        with pytest.raises(error, match=r"(step|'exp_avg'|'ema'|the state).* of param_groups"):
            opt.step()
    assert torch.equal(param, before)


def test_what_is_no_parameter_and_no_optimizer_is_refused():
    opt = ft.AdamW(parameters())
    for wrong in (lambda: ft.AdamW([None]), lambda: ft.AdamW([3.0]), lambda: ft.AdamW([{"lr": 1}])):
        with pytest.raises(TypeError, match=r"NoneType|float|'params'"):
            wrong()
    for group in (3, {"lr": 1}, {"params": [None]}):
        with pytest.raises(TypeError, match=r"'params'|NoneType"):
            opt.add_param_group(group)
    assert len(opt.param_groups) == 1
    with pytest.raises(TypeError, match="use a subclass"):
        ft.Optimizer(parameters())
    with pytest.raises(TypeError, match="core is None"):
        type("Mine", (ft.Optimizer,), {})


def test_no_message_names_a_flag_that_was_not_given():
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.complex64))
    param.grad = torch.ones_like(param)
    for wrong in (lambda: ft.SGD([param]).step(), lambda: ft.AdamW([param], differentiable=True)):
        with pytest.raises(RuntimeError) as refused:
            wrong()
        assert "fused" not in str(refused.value)


def test_the_budget_is_that_of_the_core():
    params = parameters()
    opt = ft.AdamW(params, ema_decay=0.9, state_dtype="int8", min_quantized_size=100)
    core = fa.AdamW(
        [p.detach().numpy() for p in params],
        ema_decay=0.9,
        state_dtype="int8",
        min_quantized_size=100,
    )
    assert opt.memory() == core.memory()


def test_without_pytorch_the_extra_is_named():
    done = python("import sys; sys.modules['torch'] = None; import fastadam.torch")
    assert 'ImportError: fastadam.torch needs PyTorch: pip install "fastadam[torch]"' in done.stderr


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e5m2])
def test_other_dtypes_are_refused_before_anything_moves(dtype):
    good, bad = (torch.nn.Parameter(torch.ones(3).to(d)) for d in (torch.float32, dtype))
    opt = ft.AdamW([good, bad])
    good.grad, bad.grad = torch.ones_like(good), torch.ones_like(bad)
    with pytest.raises(RuntimeError, match=f"{dtype}"):
        opt.step()
    assert torch.equal(good.detach(), torch.ones(3))
    bad.grad = None
    opt.step()


def test_tensors_without_memory_are_refused():
    param = torch.nn.Parameter(torch.empty(3, device="meta"))
    param.grad = torch.empty(3, device="meta")
    with pytest.raises(RuntimeError, match="meta without memory"):
        ft.SGD([param]).step()
    freed = torch.nn.Parameter(torch.ones(3))
    freed.grad = torch.ones(3)
    opt = ft.SGD([freed])
    opt.step()
    freed.grad.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"gradient of .* without memory"):
        opt.step()
    freed.grad = torch.ones(3)
    freed.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="without memory"):
        opt.step()


def test_memory_that_two_parameters_share_is_refused():
    base = torch.ones(6)
    params = [torch.nn.Parameter(base[:4]), torch.nn.Parameter(base[2:])]
    for param in params:
        param.grad = torch.ones(4)
    with pytest.raises(ValueError, match="share the same memory"):
        ft.SGD(params).step()


def test_elements_that_two_parameters_share_are_refused():
    """Parameters with gaps may interleave in memory."""
    for others, refused in (
        (lambda base: [base[1::2]], False),
        (lambda base: [base[1::4], base[3::4], torch.empty(0)], False),
        (lambda base: [base], True),
        (lambda base: [base[1::2], base[::3]], True),
        (lambda base: [base.view(torch.float64)[2:3]], True),
    ):
        base = torch.ones(12)
        params = [torch.nn.Parameter(part) for part in (base[::2], *others(base))]
        for param in params:
            param.grad = torch.ones_like(param)
        opt = ft.SGD(params, lr=0.5)
        if refused:
            with pytest.raises(ValueError, match="share the same memory"):
                opt.step()
        else:
            opt.step()
        assert base.tolist() == [1.0 if refused else 0.5] * 12


def test_lazy_parameters_join_when_they_have_a_gradient():
    model = torch.nn.Sequential(torch.nn.LazyLinear(4), torch.nn.Linear(4, 1))
    opt = ft.AdamW(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    opt.step()
    assert opt.state[model[0].weight]["exp_avg"].shape == (4, 3)


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
            assert opt._tensor_step._threads == min(threads, fa.get_threads())
    finally:
        torch.set_num_threads(before)


def test_importing_fastadam_does_not_import_torch():
    assert output("import fastadam, sys; fastadam.AdamW; print('torch' in sys.modules)") == "False"


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


# Scalars

BETAS = {
    "list": [0.5, 0.75],
    "array": np.array([0.5, 0.75]),
    "tensor": torch.tensor([0.5, 0.75]),
    "tensors": (torch.tensor(0.5), torch.tensor(0.75)),
    "deque": collections.deque([0.5, 0.75]),
}


@pytest.mark.parametrize("betas", BETAS.values(), ids=BETAS)
def test_any_sequence_of_two_is_a_pair(betas):
    params, lr = parameters(), np.array(0.5)
    opt = ft.AdamW([{"params": params[:1], "betas": betas}, {"params": params[1:]}], lr, betas)
    for group in opt.param_groups:
        assert group["betas"] == (0.5, 0.75)
        assert type(group["betas"]) is tuple  # can be saved
    opt.param_groups[0]["betas"] = betas
    steps(opt, params, [0])
    assert opt.info.lr == 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": -1}, "Invalid learning rate: -1"),
        ({"betas": (0.9, 1.0)}, "Invalid beta parameter at index 1: 1.0"),
        ({"lr": torch.ones(2)}, "Tensor lr must be 1-element"),
        ({"betas": (0.9, torch.tensor(0.9))}, "betas must be either both floats or both Tensors"),
        ({"foreach": True, "betas": (torch.tensor(0.9),) * 2}, r"betas\[0\] as a Tensor is not"),
    ],
)
def test_hyperparameters_are_looked_at_before_parameters(wrong, message):
    for params in (None, [], [None]):
        with pytest.raises(ValueError, match=message):
            ft.AdamW(params, **wrong)
    with pytest.raises(
        ValueError, match="Nesterov momentum requires a momentum and zero dampening"
    ):
        ft.SGD(None, nesterov=True)
    with pytest.raises(ValueError, match=r"Invalid rho value: 1\.1"):
        ft.Adadelta(None, rho=1.1)


def test_a_setting_that_is_equal_but_of_another_type_is_looked_at_again():
    params = parameters()
    opt = ft.AdamW(params, lr=1.0, betas=(0.0, 0.9))
    steps(opt, params, [0])
    for name, wrong in (("lr", True), ("betas", (False, 0.9)), ("amsgrad", 0.0)):
        kept, opt.param_groups[0][name] = opt.param_groups[0][name], wrong
        with pytest.raises(TypeError, match=name):
            steps(opt, params, [1])
        opt.param_groups[0][name] = kept
    opt.param_groups[0]["amsgrad"] = 0
    steps(opt, params, [1])


def test_names_in_messages():
    params = parameters()
    for wrong, error, message in (
        (lambda: ft.AdamW(params, learning_rate=1), TypeError, "did you mean 'lr'.*Valid: lr"),
        (
            lambda: ft.AdamW([{"lr": 0.1}]),
            TypeError,
            r"param_groups\[0\] must be a dict with 'params'",
        ),
        (
            lambda: ft.AdamW(params).load_state_dict(None),
            TypeError,
            "state_dict=None must be a dict",
        ),
        (lambda: ft.AdamW(params).load_state_dict(3), TypeError, "state_dict=3 must be a dict"),
        (lambda: ft.AdamW(params).load_state_dict({}), ValueError, "state_dict has no 'state'"),
        (
            lambda: ft.AdamW(params).load_state_dict({"state": {}, "param_groups": [{}]}),
            ValueError,
            "has no list 'params'",
        ),
    ):
        with pytest.raises(error, match=message) as raised:
            wrong()
        assert "accumulate_steps" not in str(raised.value)
        assert "fused" not in str(raised.value) or "Valid" in str(raised.value)
    whole = torch.nn.Parameter(torch.ones(2, dtype=torch.int32), requires_grad=False)
    whole.grad = torch.ones(2, dtype=torch.int32)
    with pytest.raises(
        RuntimeError, match=r"has dtype torch\.int32, but parameters must be floating"
    ):
        ft.AdamW([whole]).step()
    assert "Options\n    clip_norm: 1.0\n)" in repr(ft.AdamW(params, clip_norm=1))
    assert "Options" not in repr(ft.AdamW(params))


@pytest.mark.parametrize("options", [{"ema_decay": 0.5}, {"shadow_dtype": "float16"}], ids=str)
def test_state_may_not_be_called_as_the_copies_that_are_kept(options):
    name = next(iter(options)).partition("_")[0]

    @fa.rule(state=(name,), hyper=("lr",))
    def summing(param, grad, state, h):
        return param - h.lr * grad, (state[0] + grad,)

    class Core(fa.Optimizer):
        rule = summing
        defaults = {"lr": 0.1}

        def hyper(self, group, step):
            return {"lr": group["lr"]}

    class Summing(ft.Optimizer):
        core = Core

    with pytest.raises(ValueError, match=rf"state named \['{name}'\].*rename the state"):
        Summing(parameters(), **options)
    params = parameters()
    steps(Summing(params), params, [0])
