"""Tensors whose memory moves, is shared or is wrapped; never silently wrong."""

import copy
import gc
import random
import weakref

import numpy as np
import pytest
from torch_layouts import assert_same

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402
from fastadam.torch import change_detection  # noqa: E402


def test_tensors_that_move_are_found():
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        param = torch.nn.Parameter(torch.randn(4, 4))
        opt = cls([param], lr=0.1)
        for change in (
            lambda p, o: None,
            lambda p, o: setattr(p, "data", p.data.clone()),
            lambda p, o: setattr(p, "data", p.data.t()),
            lambda p, o: o.state[p]["exp_avg"].set_(torch.ones(4, 4)),
        ):
            change(param, opt)
            param.grad = torch.randn(4, 4)
            opt.step()
        made.append([param])
    assert_same(*made)


def test_gradients_like_those_before_are_not_looked_at_one_by_one(monkeypatch):
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in [(3, 2), (), (0, 3)]]
    opt = ft.SGD(params, lr=0.5)

    def step():
        for param in params:
            param.grad = torch.ones_like(param)
        opt.step()

    step()
    monkeypatch.setattr(type(opt._tensor_step.gradients), "_careful", None)
    step()
    assert not any(param.any() for param in params)


@pytest.mark.parametrize("guards", [change_detection.GUARDS, None])
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.t(),
        lambda t: t.reshape(-1),
        lambda t: t[:2],
        lambda t: t.view(torch.int32),
        lambda t: t.clone().requires_grad_(),
        lambda t: t.to("meta"),
        lambda t: t.to_sparse(),
        lambda t: torch.complex(t, t).conj().imag,
        lambda t: torch.nn.Parameter(t, requires_grad=False),
        lambda t: None,
    ],
)
def test_what_no_longer_fits_a_layout(monkeypatch, guards, change):
    monkeypatch.setattr(change_detection, "GUARDS", guards)
    tensors = [torch.ones(3, 3), torch.ones(())]
    known = change_detection.TensorLayouts(tensors)
    assert known.match(tensors)
    assert known.match([torch.zeros(3, 3), torch.zeros(())])
    assert not known.match([change(tensors[0]), tensors[1]])


def test_state_that_changes_its_strides_in_place():
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        param = torch.nn.Parameter(torch.randn(4, 4))
        opt = cls([param], lr=0.1)
        for change in (
            lambda e: None,
            lambda e: setattr(e["exp_avg"], "data", e["exp_avg"].data.t()),
            lambda e: e.update(exp_avg=e["exp_avg"].t()),
            lambda e: e["exp_avg"].as_strided_((4, 4), (1, 4)),
        ):
            change(opt.state[param])
            param.grad = torch.randn(4, 4)
            opt.step()
        made.append([param, opt.state[param]["exp_avg"]])
    assert_same(*made)


@pytest.mark.parametrize(
    "change", [lambda t: t.resize_(2, 8), lambda t: t.resize_(3), lambda t: t.t_()]
)
def test_state_that_changes_its_shape_in_place_is_refused(change):
    param = torch.nn.Parameter(torch.ones(8, 2))
    param.grad = torch.ones(8, 2)
    opt = ft.SGD([param], momentum=0.9)
    opt.step()
    change(opt.state[param]["momentum_buffer"])
    before = param.detach().clone()
    for _ in range(2):
        with pytest.raises(ValueError, match="state 'momentum_buffer' has shape"):
            opt.step()
    assert torch.equal(param, before)


def test_state_that_changes_its_dtype_in_place():
    param = torch.nn.Parameter(torch.ones(4))
    param.grad = torch.ones(4)
    opt = ft.SGD([param], lr=0.5, momentum=1.0)
    opt.step()
    buffer = opt.state[param]["momentum_buffer"]
    buffer.data = torch.full((4,), 3, dtype=torch.int32)
    opt.step()
    assert opt.state[param]["momentum_buffer"].tolist() == [4.0] * 4
    assert param.tolist() == [-1.5] * 4


def test_a_model_that_is_converted():
    model = torch.nn.Linear(3, 2)
    opt = ft.AdamW(model.parameters())
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        model.zero_grad()
        model(torch.ones(1, 3, dtype=dtype)).sum().backward()
        opt.step()
    assert opt.state[model.weight]["exp_avg"].dtype == torch.float64


def test_a_step_leaves_storages_resizable():
    param = torch.nn.Parameter(torch.ones(3))
    param.grad = torch.ones(3)
    opt = ft.SGD([param], momentum=0.9)
    opt.step()
    param.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="without memory"):
        opt.step()


def test_an_expanded_parameter_is_refused():
    param = torch.nn.Parameter(torch.ones(1).expand(3))
    param.grad = torch.ones(3)
    with pytest.raises(RuntimeError, match="expanded"):
        ft.SGD([param]).step()


@pytest.mark.parametrize(
    ("shape", "strides", "shared"),
    [
        ((4, 2), (1, 1), True),
        ((4, 3), (1, 2), True),
        ((2, 1, 2), (2, 0, 2), True),
        ((2, 3), (3, 2), False),  # dims that interleave
        ((2, 1, 3), (1, 0, 2), False),
    ],
)
def test_elements_of_one_parameter_that_share_memory_are_refused(shape, strides, shared):
    base = torch.ones(12)
    param = torch.nn.Parameter(base.as_strided(shape, strides))
    param.grad = torch.ones(shape)
    opt = ft.SGD([param], lr=0.5)
    if shared:
        with pytest.raises(RuntimeError, match="several of its elements share memory"):
            opt.step()
    else:
        opt.step()
    assert base.sum() == 12 - (not shared) * 3


def test_a_refused_first_step_leaves_no_state():
    shared = torch.ones(6)
    pairs = {
        "sparse": [torch.ones(3), torch.ones(3)],
        "share": [shared[:4], shared[2:]],
        "without memory": [torch.ones(3), torch.ones(3)],
    }
    for message, (one, other) in pairs.items():
        params = [torch.nn.Parameter(one), torch.nn.Parameter(other)]
        for param in params:
            param.grad = torch.ones_like(param)
        if message == "sparse":
            params[1].grad = torch.ones(3).to_sparse()
        if message == "without memory":
            params[1].grad.untyped_storage().resize_(0)
        opt = ft.AdamW(params)
        with pytest.raises((RuntimeError, ValueError), match=message):
            opt.step()
        assert not opt.state
        assert params[0].sum() == params[0].numel()


@pytest.mark.parametrize("earlier", [0, 2])
def test_a_refused_step_leaves_state_as_it_was(earlier):
    refusals = {
        "too large": lambda opt, params: opt.param_groups[0].update(lr=1e39),
        "grad_scale": lambda opt, params: setattr(opt, "grad_scale", torch.tensor(0.0)),
        "shape|lacks": lambda opt, params: opt.state[params[1]].update(exp_avg=torch.ones(7)),
    }
    for message, spoil in refusals.items():
        params = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
        opt = ft.AdamW(params, ema_decay=0.9)
        for param in params[1:] if earlier else params:
            param.grad = torch.ones(3)
        for _ in range(earlier):
            opt.step()
        params[0].grad = torch.ones(3)
        spoil(opt, params)
        before = {p: dict(entry) for p, entry in opt.state.items()}
        copies = copy.deepcopy([*before.values()])
        for _ in range(2):
            with pytest.raises(ValueError, match=message):
                opt.step()
        assert opt.state == before  # the same tensors
        assert str([*opt.state.values()]) == str(copies)


def test_tensors_that_move_change_no_count():
    """Of steps in which one parameter or another moved, which `ema_warmup` follows."""
    made = []
    for moves in (False, True):
        params = [torch.nn.Parameter(torch.ones(3) * k) for k in range(2)]
        opt = ft.AdamW(params, lr=0.1, ema_decay=0.9, ema_warmup=True)
        for number in range(6):
            for param in params:
                param.grad = torch.ones(3)
            params[number % 2].grad = None
            if moves:
                params[0].data = params[0].data.clone()
            opt.step()
            assert opt.info.step == number + 1
        made.append([*params, *opt.ema])
    assert all(map(torch.equal, *made))


def test_parameters_that_take_turns_and_lose_their_memory():
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        params = [torch.nn.Parameter(torch.ones(3) * k) for k in range(1, 4)]
        opt = cls(params, lr=0.1)
        for turn in (0, 1, 2, 0, 2, 1, 1, 0):
            for number, param in enumerate(params):
                param.grad = torch.ones(3) if number == turn else None
            opt.step()
        params[2].untyped_storage().resize_(0)  # no gradient: not of interest
        params[0].grad = torch.ones(3)
        opt.step()
        made.append(params[:2])
    assert_same(*made)


def in_the_memory_of_a_gradient(params, state):
    params[1].data = params[1].grad


REPOINTED = {
    "parameters": lambda params, state: [setattr(p, "data", p.data.clone()) for p in params],
    "one vector": lambda params, state: torch.nn.utils.vector_to_parameters(
        torch.nn.utils.parameters_to_vector(params), params
    ),
    "gradient": in_the_memory_of_a_gradient,
    "state": lambda params, state: [e.update({k: v * 2 for k, v in e.items()}) for e in state],
    "state and parameters": lambda params, state: (
        REPOINTED["state"](params, state),
        REPOINTED["parameters"](params, state),
    ),
    "shared": lambda params, state: [v.share_memory_() for e in state for v in e.values()],
    "step": lambda params, state: [e["step"].add_(3) for e in state],
    "other step": lambda params, state: state[1].update(step=torch.tensor(9.0)),
}


@pytest.mark.parametrize("change", REPOINTED.values(), ids=REPOINTED)
@pytest.mark.parametrize("hyper", [{}, {"ema_decay": 0.5, "state_dtype": "bfloat16"}], ids=str)
def test_tensors_like_those_before_want_no_plan(monkeypatch, change, hyper):
    """A step that is planned anew at each change is the reference."""
    made = []
    for planned in (True, False):
        torch.manual_seed(0)
        params = [torch.nn.Parameter(torch.randn(shape)) for shape in [(4, 3), (), (5,), (0, 2)]]
        grads = [torch.randn_like(p) for p in params]
        opt = ft.AdamW(params, lr=0.1, **hyper)
        for number in range(6):
            for param, grad in zip(params, grads, strict=True):
                param.grad = grad.clone()
            if number:
                change(params, [opt.state[p] for p in params])
                if planned:
                    opt._tensor_step = None
                else:
                    monkeypatch.setattr(ft.optimizer, "TensorStep", None)
            opt.step()
        monkeypatch.undo()
        made.append([*params, *(v for e in opt.state.values() for v in e.values())])
    for one, other in zip(*made, strict=True):
        assert torch.equal(one, other)


def test_parameters_that_come_to_share_memory_are_refused():
    params = [torch.nn.Parameter(torch.ones(3) * k) for k in range(2)]
    for param in params:
        param.grad = torch.ones(3)
    opt = ft.SGD(params, lr=0.5, momentum=0.9)
    opt.step()
    before, mine = params[1].detach().clone(), params[0].data
    for other in (params[1].data, opt.state[params[1]]["momentum_buffer"]):
        params[0].data = other
        for _ in range(2):
            with pytest.raises(ValueError, match="are the same memory"):
                opt.step()
    assert torch.equal(params[1], before)
    params[0].data = mine
    opt.step()
    assert not torch.equal(params[1], before)


def test_no_memory_is_kept_of_parameters_that_moved():
    array = np.ones(4, np.float32)
    param = torch.nn.Parameter(torch.from_numpy(array))
    param.grad = torch.ones(4)
    opt = ft.AdamW([param], ema_decay=0.9)
    opt.step()
    memory = weakref.ref(array)
    del array
    param.data = param.data.clone()
    assert memory() is not None
    opt.step()
    gc.collect()
    assert memory() is None


class Wrapper(torch.Tensor):
    """A subclass around a tensor, as of torchao's weights that are gathered in float8."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), dtype=inner.dtype, device=inner.device
        )

    def __init__(self, inner):
        self._tensor = inner

    def __repr__(self):
        return f"Wrapper({self._tensor})"

    def __tensor_flatten__(self):
        return ["_tensor"], None

    @staticmethod
    def __tensor_unflatten__(inner, meta, size, stride):
        return Wrapper(inner["_tensor"])

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def inner(value):
            return value._tensor if isinstance(value, Wrapper) else value

        result = func(*map(inner, args), **{k: inner(v) for k, v in (kwargs or {}).items()})
        kept = {torch.ops.aten.detach, torch.ops.aten.clone, torch.ops.aten.view}
        return Wrapper(result) if func.overloadpacket in kept else result


@pytest.mark.parametrize("wrapped_grad", [False, True])
@pytest.mark.parametrize(
    "hyper",
    [
        {},
        {"ema_decay": 0.5, "clip_norm": 1.0, "zero_grads": True},
        {"state_dtype": "int8", "min_quantized_size": 50},
    ],
    ids=str,
)
@pytest.mark.usefixtures("in_plain_python")
def test_wrappers_of_one_tensor_are_looked_into(wrapped_grad, hyper):
    made = []
    for wrap in (lambda t: t, Wrapper):
        torch.manual_seed(0)
        params = [torch.nn.Parameter(wrap(torch.randn(10, 6))), torch.nn.Parameter(torch.ones(3))]
        inner = params[0]._tensor if wrap is Wrapper else params[0]
        opt = ft.AdamW(params, lr=0.1, **hyper)
        for number in range(4):
            grad = torch.randn(10, 6)
            if number == 2:
                grad = torch.randn(6, 10).t()
            params[0].grad = wrap(grad) if wrapped_grad else grad
            params[1].grad = torch.ones(3)
            opt.step()
            assert not hyper.get("zero_grads") or not grad.any()
        entry = opt.state[params[0]]
        made.append([inner.detach(), *entry.values(), *opt.master(), opt.memory().total])
        if "ema_decay" in hyper:
            before = inner.detach().clone()
            with opt.swap_ema():
                assert torch.equal(entry["ema"], before)
            assert torch.equal(inner.detach(), before)
    for one, other in zip(*made, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_wrappers_of_several_tensors_are_refused():
    from torch.testing._internal.two_tensor import TwoTensor

    two = torch.nn.Parameter(TwoTensor(torch.ones(3), torch.ones(3)))
    plain = torch.nn.Parameter(torch.ones(3))
    for param in (two, plain):
        param.grad = TwoTensor(torch.ones(3), torch.ones(3))
        with pytest.raises(RuntimeError, match=r"is a TwoTensor, .* leave the parameter to"):
            ft.SGD([param]).step()
    assert torch.equal(plain, torch.ones(3))


def in_rows_of_a_larger_one(x):
    return torch.empty(2 * len(x), *x.shape[1:])[::2].copy_(x)


CHANGES = {
    "moved": lambda p, e, o: setattr(p, "data", p.data.clone()),
    "transposed": lambda p, e, o: setattr(p, "data", p.data.t()),
    "with gaps": lambda p, e, o: setattr(p, "data", in_rows_of_a_larger_one(p.data)),
    "frozen": lambda p, e, o: p.requires_grad_(not p.requires_grad),
    "no gradient": lambda p, e, o: setattr(p, "grad", None),
    "gradient in another order": lambda p, e, o: setattr(p, "grad", p.grad.t()),
    "expanded gradient": lambda p, e, o: setattr(p, "grad", torch.ones(()).expand(p.shape)),
    "gradient moved": lambda p, e, o: setattr(p.grad, "data", p.grad.data.clone()),
    "other state": lambda p, e, o: e.update(exp_avg=e["exp_avg"].clone()),
    "state moved": lambda p, e, o: setattr(e["exp_avg"], "data", e["exp_avg"].data.clone()),
    "state written": lambda p, e, o: e["exp_avg_sq"].mul_(2),
    "step written": lambda p, e, o: e["step"].add_(3),
    "loaded": lambda p, e, o: o.load_state_dict(copy.deepcopy(o.state_dict())),
    "other lr": lambda p, e, o: o.param_groups[0].update(lr=0.03),
}


@pytest.mark.parametrize("guards", [change_detection.GUARDS, None])
def test_changes_between_steps_in_any_order(monkeypatch, guards):
    monkeypatch.setattr(change_detection, "GUARDS", guards)
    made = []
    for cls in (ft.AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        choose = random.Random(0)
        params = [torch.nn.Parameter(torch.randn(4, 4)) for _ in range(4)]
        opt = cls(params, lr=0.05, amsgrad=True)
        for number in range(100):
            for param in params:
                param.grad = torch.randn(4, 4)
            if number:
                param = choose.choice(params)
                CHANGES[choose.choice([*CHANGES])](param, opt.state[param], opt)
            opt.step()
        made.append(params)
    torch.testing.assert_close(*made, rtol=1e-4, atol=1e-5)  # a hundred float32 steps of 0.05
