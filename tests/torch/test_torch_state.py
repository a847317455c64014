"""State of the optimizers for PyTorch: copies, saved dicts, and what others write into it."""

import copy
import multiprocessing
import pickle
import sys
import threading
import warnings

import numpy as np
import pytest
from torch_twins import assert_same, parameters, steps

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402


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


@pytest.mark.parametrize(
    ("name", "of_group"),
    [("AdamW", 3), ("LAMB", torch.tensor(3.0)), ("Lion", None), ("LARS", None)],
)
def test_states_of_packages_that_count_in_groups_or_not_at_all(name, of_group):
    params = parameters()
    opt = getattr(ft, name)(params)
    steps(opt, params, range(3))
    saved = copy.deepcopy(opt.state_dict())
    for entry in saved["state"].values():
        del entry["step"]
    if of_group is not None:
        saved["param_groups"][0]["step"] = of_group
    others = [torch.nn.Parameter(param.detach().clone()) for param in params]
    resumed = getattr(ft, name)(others)
    resumed.load_state_dict(saved)
    assert "step" not in resumed.param_groups[0]
    assert {float(entry["step"]) for entry in resumed.state.values()} == {3 if of_group else 1}
    for one, its in ((opt, params), (resumed, others)):
        steps(one, its, range(3, 5))
    assert_same(params, others, 0, 0)


def test_counts_of_groups_are_numbers_and_needed():
    params = parameters()
    opt = ft.AdamW(params)
    steps(opt, params, range(1))
    saved = copy.deepcopy(opt.state_dict())
    saved["param_groups"][0]["step"] = 7  # something of the user's: states have counts of their own
    opt.load_state_dict(saved)
    assert opt.param_groups[0].pop("step") == 7
    saved["param_groups"][0]["step"] = "three"
    with pytest.raises(TypeError, match=r"'step' of param_groups.0. is 'three', not a number"):
        opt.load_state_dict(saved)
    del saved["param_groups"][0]["step"]
    for entry in saved["state"].values():
        del entry["step"]
    opt.load_state_dict(saved)
    with pytest.raises(ValueError, match=r"lacks .'step'."):
        steps(opt, params, range(1))
