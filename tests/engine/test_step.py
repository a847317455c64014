"""The interface of a step: gradients in many shapes, groups, schedules, return values."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from cases import gradients, parameters
from package_calls import depths_of_calls

import fastadam as fa


def test_step_info():
    opt = fa.AdamW(np.ones(3), 0.5)
    info = opt.step(np.ones(3))
    assert info == fa.StepInfo(step=1, lr=0.5, grad_norm=None, skipped=False, updated=True)
    assert info._fields == ("step", "lr", "grad_norm", "skipped", "updated")
    assert opt.step(np.ones(3), lr=0.25)[:2] == (2, 0.25)
    assert opt.step(np.ones(3)).lr == 0.5


def test_a_step_without_any_gradient_is_not_counted():
    w = [np.ones(3), np.ones(2)]
    opt = fa.AdamW(w)
    assert opt.step([None, None]) == (0, 1e-3, None, False, False)
    assert opt.step([np.ones(3), None]).step == 1
    np.testing.assert_array_equal(w[1], np.ones(2))


def test_a_learning_rate_for_one_step():
    a, b = np.ones(3), np.ones(3)
    one, other = fa.Adam(a, 0.1), fa.Adam(b, 0.2)
    one.step(np.ones(3), lr=0.2)
    other.step(np.ones(3))
    np.testing.assert_array_equal(a, b)
    for bad in (-1, float("nan"), "x", lambda step: 1):
        with pytest.raises((TypeError, ValueError), match="lr="):
            one.step(np.ones(3), lr=bad)
    np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("in_plain_python")
def test_one_launch_serves_every_group_of_a_variant():
    params = [np.ones(3, np.float32) for _ in range(6)]
    opt = fa.AdamW(
        [{"params": [p], "lr": 0.1 * k, "weight_decay": 0.01 * k} for k, p in enumerate(params)]
    )
    opt.step([np.ones(3, np.float32)] * 6)
    assert len(opt._engine.plan._launches) == 1
    opt.param_groups[2]["amsgrad"] = True
    opt.step([np.ones(3, np.float32)] * 6)
    assert len(opt._engine.plan._launches) == 2


def test_groups_are_read_again_at_every_step():
    w, v = np.ones(3), np.ones(3)
    opt, other = fa.Adam(w, 0.1), fa.Adam(v, 0.1)
    opt.step(np.ones(3))
    other.step(np.ones(3))
    opt.param_groups[0]["lr"] = 0.5
    opt.step(np.ones(3))
    other.step(np.ones(3), lr=0.5)
    np.testing.assert_array_equal(w, v)
    opt.param_groups[0]["lr"] = np.float32(0.25)
    opt.param_groups[0]["betas"] = [0.5, 0.5]
    assert opt.step(np.ones(3)).lr == 0.25


def late_momentum(grads, on, dampening):
    """PyTorch's result for ones: the buffer starts with the first gradient under momentum."""
    param, buffer = np.ones(2), None
    for step, grad in enumerate(grads, start=1):
        if grad is None:
            continue
        if step in on:
            buffer = grad if buffer is None else 0.5 * buffer + (1 - dampening) * grad
        param = param - (buffer if step in on else grad)
    return param


@pytest.mark.parametrize("way", ["in place", "flat", "scheduled", "saved", "copied", "torch"])
@pytest.mark.usefixtures("in_plain_python")
def test_momentum_that_starts_late_starts_from_the_gradient(way):
    """For each parameter by itself, whatever its step; switched off meanwhile, the buffer stays."""
    on, grads = {3, 4, 6, 7}, [np.array([1.0, -2.0]) * k for k in range(1, 8)]
    second = [None, *grads[1:3], None, *grads[4:]]  # its buffer starts at step 3 as well
    third = [None if k in on - {6, 7} else g for k, g in enumerate(grads, start=1)]  # at step 6
    arrays = [np.ones(2) for _ in range(3)]
    if way == "torch":
        torch = pytest.importorskip("torch")
        tensors = [torch.nn.Parameter(torch.from_numpy(array)) for array in arrays]
        cls = pytest.importorskip("fastadam.torch").SGD
        opt = cls(tensors, lr=1.0, dampening=0.25, ema_decay=0.5, ema_warmup=True)
    else:
        momentum = (lambda step: 0.5 if step in on else 0.0) if way == "scheduled" else 0.0
        flat = fa.flatten(arrays)
        opt = fa.SGD(flat if way == "flat" else arrays, lr=1.0, dampening=0.25, momentum=momentum)
        arrays = flat.tree if way == "flat" else arrays
    for step, given in enumerate(zip(grads, second, third, strict=True), start=1):
        if way != "scheduled":
            opt.param_groups[0]["momentum"] = 0.5 if step in on else 0.0
        if way == "torch":
            for tensor, grad in zip(tensors, given, strict=True):
                tensor.grad = None if grad is None else torch.from_numpy(grad.copy())
            opt.step()
            continue
        if way == "saved":
            saved = opt.state_dict()
            opt = fa.SGD(arrays, lr=1.0, dampening=0.25)
            opt.load_state_dict(saved)
        elif way == "copied":
            opt = copy.deepcopy(opt)
            arrays = opt.params
        opt.step(list(given))
    for array, each in zip(arrays, (grads, second, third), strict=True):
        np.testing.assert_allclose(array, late_momentum(each, on, 0.25), rtol=1e-15)


def test_nadam_with_a_product_of_zero():
    """A value, and no sign that there is none: as PyTorch's."""
    torch = pytest.importorskip("torch")
    ours, theirs = np.ones(3), torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    opt, reference = fa.NAdam(ours, lr=0.1), torch.optim.NAdam([theirs], lr=0.1)
    for beta in (0.0, 0.9, 0.9):
        opt.param_groups[0]["betas"] = reference.param_groups[0]["betas"] = (beta, 0.9)
        theirs.grad = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
        opt.step(theirs.grad.numpy())
        reference.step()
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)
    again = fa.NAdam(ours, lr=0.1)
    again.load_state_dict(reference.state_dict())
    again.step(theirs.grad.numpy())
    reference.step()
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-7)  # its step is float32


@pytest.mark.usefixtures("in_plain_python")
def test_amsgrad_may_be_switched_on_between_steps():
    w = np.ones(3)
    opt = fa.Adam(w)
    opt.step(np.ones(3))
    opt.param_groups[0]["amsgrad"] = True
    opt.step(np.ones(3))
    state = opt.state
    np.testing.assert_array_equal(state["max_exp_avg_sq"][0], state["exp_avg_sq"][0])
    assert opt.state_dict()["state"][0]["step"] == 2


def test_replaced_arrays_are_refused():
    w = [np.ones(3), np.ones(3)]
    opt = fa.AdamW(w)
    opt.param_groups[0]["params"] = [w[0], np.ones(3)]
    with pytest.raises(ValueError, match="were replaced"):
        opt.step([np.ones(3), np.ones(3)])
    opt.param_groups[0]["params"] = w
    assert opt.step([np.ones(3), np.ones(3)]).step == 1
    kept, opt.param_groups[0] = opt.param_groups[0], dict(opt.param_groups[0])
    with pytest.raises(ValueError, match="other groups"):
        opt.step([np.ones(3), np.ones(3)])
    opt.param_groups[0] = kept
    opt.param_groups.append({"params": [np.ones(3)], "lr": 1.0})
    with pytest.raises(ValueError, match="add_param_group"):
        opt.step([np.ones(3), np.ones(3)])


def test_adding_a_group():
    a, b = np.ones(3), np.ones(2)
    opt = fa.AdamW({"a": a})
    opt.step({"a": np.ones(3)})
    opt.grads.tree["a"][...] = 1
    opt.add_param_group({"params": {"b": b}, "lr": 0.5, "name": "late"})
    with pytest.raises(ValueError, match="not been used yet"):
        opt.step()
    opt.step([np.ones(3), np.ones(2)])
    assert all(x is y for x, y in zip(opt.params, (a, b), strict=True))
    assert [int(s["step"]) for s in opt.state_dict()["state"].values()] == [2, 1]
    assert opt.grads.tree[1].shape == (2,)
    for bad in ({"lr": 1.0}, [np.ones(2)], {"params": b}, {"params": np.ones(1), "momentum": 1}):
        with pytest.raises((TypeError, ValueError)):
            opt.add_param_group(bad)
    assert len(opt.param_groups) == 2


def test_a_list_of_dicts_without_params_is_a_tree():
    layers = [{"w": np.ones(2)}, {"w": np.ones(3)}]
    opt = fa.AdamW(layers)
    assert len(opt.param_groups) == 1
    opt.step([{"w": np.ones(2)}, {"w": None}])
    assert (layers[1]["w"] == 1).all()


def test_schedules():
    def halved(step):
        return 0.5**step

    opt = fa.AdamW(np.ones(3), halved, betas=(0.9, lambda step: 1 - 0.5**step), weight_decay=halved)
    assert [opt.step(np.ones(3)).lr for _ in range(3)] == [0.5, 0.25, 0.125]
    again = fa.AdamW(np.ones(3), halved)
    saved = opt.state_dict()
    assert saved["param_groups"][0]["lr"] == 0.125
    assert saved["param_groups"][0]["betas"] == (0.9, 0.875)
    again.load_state_dict(saved)
    assert again.step(np.ones(3)).lr == 0.0625


@pytest.mark.parametrize(
    "bad", [-1.0, float("nan"), "x", np.True_, np.array("0.1"), np.complex64(1 + 1j), np.ones(1)]
)
def test_a_bad_schedule_is_refused_before_anything_moves(bad):
    w = np.ones(3)
    opt = fa.AdamW(w, lambda step: 0.1 if step < 2 else bad)
    opt.step(np.ones(3))
    before = w.copy()
    with pytest.raises((TypeError, ValueError), match="at step 2 lr="):
        opt.step(np.ones(3))
    np.testing.assert_array_equal(w, before)


def test_an_optimizer_is_not_kept_alive():
    opt = fa.AdamW([np.ones(30_000), np.ones(3)], threads=2)
    opt.step([np.ones(30_000), np.ones(3)])
    table = weakref.ref(opt._engine.plan._launches[0].table)
    del opt
    gc.collect()
    assert table() is None


def test_state_is_created_on_first_use_aligned_and_is_live():
    w = [np.ones(5, np.float32), np.ones((3, 3), np.float32)]
    opt = fa.AdamW(w)
    assert opt.state == {"exp_avg": [None, None], "exp_avg_sq": [None, None]}
    opt.step([np.ones(5, np.float32), None])
    first = opt.state["exp_avg"][0]
    assert first.ctypes.data % 64 == 0
    assert opt.state["exp_avg"][1] is None
    first[...] = 0
    opt.step([np.zeros(5, np.float32), np.ones((3, 3), np.float32)])
    assert not opt.state["exp_avg"][0].any()
    assert opt.state["exp_avg"][1].ctypes.data % 64 == 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("kind", ["flat", "tree", "groups"])
def test_copies_of_an_optimizer_are_apart_and_go_on_alike(duplicate, kind):
    tree = {"a": parameters(5), "b": [parameters((2, 2))]}
    grads = {"a": gradients(5, 1)[0], "b": [gradients((2, 2), 1)[0]]}
    if kind == "groups":
        params = [{"params": tree["a"], "lr": 0.1}, {"params": tree["b"], "name": "late"}]
        grads = [grads["a"], grads["b"][0]]
    else:
        params = fa.flatten(tree) if kind == "flat" else tree
    opt = fa.AdamW(params, amsgrad=True)
    opt.note = "mine"
    opt.step(grads)
    other = duplicate(opt)
    assert other.note == "mine"
    assert repr(other) == repr(opt)
    mine, theirs = (fa.flatten(o.params).buffer for o in (opt, other))
    np.testing.assert_array_equal(mine, theirs)
    opt.step(grads)
    np.testing.assert_array_equal(fa.flatten(other.params).buffer, theirs)
    other.step(grads)
    np.testing.assert_array_equal(fa.flatten(other.params).buffer, fa.flatten(opt.params).buffer)


def test_calling_it_wrongly():
    w = np.ones(2)
    with pytest.raises(TypeError, match=r"^AdamW\(\) .* positional.*not 1 more.*by name"):
        fa.AdamW(w, 1e-3, (0.9, 0.99))
    with pytest.raises(TypeError, match="multiple values"):
        fa.AdamW(w, 1e-3, lr=1e-3)
    with pytest.raises(TypeError, match=r"unexpected keyword 'momentum'; valid: lr, betas"):
        fa.AdamW(w, momentum=0.9)
    with pytest.raises(ValueError, match=r"use fastadam\.Adam"):
        fa.AdamW(w, decoupled_weight_decay=False)
    for threads in (0, -1, 1.5, True):
        with pytest.raises((TypeError, ValueError), match="threads"):
            fa.AdamW(w, threads=threads)


@pytest.mark.parametrize("edit", ["clear", "reverse", "sort", "pop"])
def test_every_edit_of_the_list_of_groups_is_seen(edit):
    opt = fa.AdamW([{"params": [np.ones(2)]}, {"params": [np.ones(3)]}])
    opt.step([np.ones(2), np.ones(3)])
    arguments = {"key": lambda group: -len(group["params"][0])} if edit == "sort" else {}
    getattr(opt.param_groups, edit)(**arguments)
    with pytest.raises(ValueError, match="other groups"):
        opt.step([np.ones(2), np.ones(3)])


def test_edits_before_a_new_group_are_not_lost():
    w = np.ones(2)
    opt = fa.SGD(w, lr=0.1)
    opt.param_groups[0]["lr"] = 0.5
    opt.add_param_group({"params": np.ones(3)})
    opt.step([np.ones(2), np.ones(3)])
    assert (w == 0.5).all()


def test_state_cannot_become_a_parameter():
    opt = fa.AdamW([np.ones(3)])
    opt.step([np.ones(3)])
    with pytest.raises(ValueError, match="same memory"):
        opt.add_param_group({"params": [opt.state["exp_avg"][0]]})
    assert opt.step([np.ones(3)]).step == 2


def test_a_flat_of_one_array_takes_all_elements_in_a_row():
    flat, tree = fa.flatten(np.ones((2, 3))), np.ones((2, 3))
    grad = np.arange(6.0)
    fa.AdamW(flat).step(grad)
    fa.AdamW(tree).step(grad.reshape(2, 3))
    np.testing.assert_array_equal(flat.tree, tree)


@pytest.mark.parametrize(
    "initial", [{"exp_avg": "x"}, {"other": 1.0}, {"exp_avg": np.nan}, {"exp_avg": 1e39}, None]
)
def test_what_state_starts_at_is_checked_before_there_is_any(initial):
    class Wrong(fa.AdamW):
        def initial(self, group):
            return initial

    opt = Wrong(np.ones(3, np.float32))
    with pytest.raises((TypeError, ValueError), match="initial"):
        opt.step(np.ones(3, np.float32))
    assert opt.state == {"exp_avg": [None], "exp_avg_sq": [None]}


def test_hyper_may_ask_its_own_optimizer():
    class Asking(fa.SGD):
        def hyper(self, group, step):
            assert step == 1 + int(self.state_dict()["state"].get(0, {"step": 0})["step"])
            return super().hyper(group, step) | {"lr": float(np.abs(self.master()).max())}

    w = np.ones(2)
    opt = Asking(w)
    thread = threading.Thread(target=lambda: [opt.step(w / 2) for _ in range(2)], daemon=True)
    thread.start()
    thread.join(60)  # it would wait for its own lock
    assert not thread.is_alive()
    np.testing.assert_array_equal(w, np.full(2, 0.375))


def test_copies_keep_what_a_subclass_keeps():
    class Own(fa.SGD):
        def __init__(self, params, scale):
            self._scale = scale
            super().__init__(params, 1.0)

        def hyper(self, group, step):
            return super().hyper(group, step) | {"lr": self._scale}

    opt = Own(np.ones(2), 0.25)
    other = copy.deepcopy(opt)
    other.step(np.ones(2))
    assert (other.params == 0.75).all()


def test_an_infinite_parameter_without_decay_stays_as_in_torch():
    for optimizer in (fa.Adam, fa.AdamW, fa.SGD):
        w = np.array([np.inf, -np.inf, 1.0])
        optimizer(w, lr=0.1, weight_decay=0).step(np.ones(3))
        assert w[0] == np.inf
        assert w[1] == -np.inf


def test_without_memory_the_first_moment_is_the_gradient():
    opt = fa.Adam(np.ones(1, np.float32), betas=(0.0, 0.9))
    for grad in (1e8, 1.0):
        opt.step(np.array([grad], np.float32))
    assert opt.state["exp_avg"][0] == 1


def test_host_numbers_are_per_parameter_and_saved():
    grads = gradients(4, 6)
    w, alone = [parameters(4), parameters(4, seed=3)], parameters(4, seed=3)
    opt, single = fa.NAdam(w), fa.NAdam(alone)
    for step, grad in enumerate(grads):
        late = grad if step > 2 else None
        opt.step([grad, late])
        if late is not None:
            single.step(late)
        if step == 3:
            saved = opt.state_dict()
            opt = fa.NAdam(w)
            opt.load_state_dict(saved)
    np.testing.assert_array_equal(w[1], alone)
    products = [entry["mu_product"] for entry in opt.state_dict()["state"].values()]
    assert products[0] < products[1] < 1


@pytest.mark.parametrize(
    ("sizes", "options", "most", "depth"),
    [
        ((3,), {}, 9, 2),
        ((3, 3), {}, 12, 3),
        ((30_000,), {"threads": 1}, 12, 4),
        ((3,), {"clip_norm": 1.0, "ema_decay": 0.9, "skip_nonfinite": True}, 14, 5),
    ],
    ids=["one array", "two arrays", "large", "clipped and averaged"],
)
def test_a_steady_step_makes_few_calls(sizes, options, most, depth):
    params, grads = [[np.ones(size, np.float32) for size in sizes] for _ in range(2)]
    given = (params, grads) if len(sizes) > 1 else (params[0], grads[0])
    opt = fa.AdamW(given[0], **options)
    for _ in range(4):
        opt.step(given[1])
    depths = depths_of_calls(lambda: opt.step(given[1]))
    assert len(depths) <= most
    assert max(depths) <= depth


def test_a_step_after_an_edit_makes_few_calls():
    grad = np.ones(3, np.float32)
    opt = fa.AdamW(np.ones(3, np.float32))
    for _ in range(3):
        opt.step(grad)

    def edited_step():
        opt.param_groups[0]["lr"] = 0.25
        assert opt.step(grad).lr == 0.25

    assert len(depths_of_calls(edited_step)) <= 13


def test_edits_of_numbers_are_checked_in_all_groups_before_one_is_taken():
    params, grads = [np.ones(3), np.ones(2)], [np.ones(3), np.ones(2)]
    opt = fa.AdamW([{"params": param} for param in params])
    opt.step(grads)
    opt.param_groups[0]["lr"] = 0.25
    opt.param_groups[1]["lr"] = -1.0
    with pytest.raises(ValueError, match=r"param_groups\[1\].*lr"):
        opt.step(grads)
    opt.param_groups[1]["lr"] = 0.5
    assert opt.step(grads).lr == 0.25


@pytest.mark.usefixtures("in_plain_python")
def test_skipping_and_clipping_after_steps_of_the_same_kind():
    options = {"clip_norm": 1.0, "skip_nonfinite": True, "ema_decay": 0.5}
    w, grad = parameters(5), np.ones(5, np.float32)
    alone = w.copy()
    opt, other = fa.AdamW(w, **options), fa.AdamW(alone, **options)
    for step in range(8):
        grad[:] = np.nan if step in (3, 4) else step
        info = opt.step(grad)
        assert info.skipped is (step in (3, 4))
        if not info.skipped:
            other.step(grad.copy(), grad_scale=1.0)  # prepared anew at each step
    np.testing.assert_array_equal(w, alone)
    np.testing.assert_array_equal(opt.ema.buffer, other.ema.buffer)
