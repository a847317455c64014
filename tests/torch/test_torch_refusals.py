"""Arguments, parameters and hyperparameters that the optimizers for PyTorch check and refuse."""

import collections
import re

import numpy as np
import pytest
from cases import DEFAULTS
from processes import python
from torch_twins import ours, parameters, steps, theirs

import fastadam as fa

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402

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


WHOLE, FOUR = torch.ones(7, 5, dtype=torch.bool), torch.ones(4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (WHOLE, ValueError, "mask is one tensor, but the optimizer has 2 parameters; give a list"),
        ([WHOLE], ValueError, "mask has length 1, but the optimizer has 2"),
        (True, TypeError, "mask is of type bool; give a tensor of bool for the only parameter"),
        ([True, None], TypeError, r"the mask of param_groups\[0\].*\[0\] is of type bool"),
        ([WHOLE.byte(), None], TypeError, r"is of torch.uint8 .* such as mask != 0"),
        ([WHOLE[:, 0], None], ValueError, r"shape \(7,\).*: mask.reshape\(7, 1\).expand_as"),
        ([None, FOUR], ValueError, r"\[1\] has shape \(4,\), but its parameter \(5,\); they must"),
        ([WHOLE.to("meta"), None], RuntimeError, "is on meta, but its parameter on cpu"),
        ({"weight": WHOLE}, ValueError, "a key, 'weight', that is not a parameter"),
        ({FOUR: None}, ValueError, r"a key, a tensor of shape \(4,\), that is not a parameter"),
        (
            lambda params: [None, params[1].detach().view(torch.bool)[:5]],
            ValueError,
            r"the mask of (param_groups\[0\]\['params'\]\[1\]) lies in the memory of \1, which",
        ),
    ],
)
def test_masks_that_are_refused_before_anything_changes(mask, error, message):
    params = parameters(shapes=[(7, 5), (5,)])
    opt = ft.AdamW(params)
    steps(opt, params, [0])
    before, count = [p.detach().clone() for p in params], opt.info.step
    with pytest.raises(error, match=message):
        opt.step(mask=mask(params) if callable(mask) else mask)
    assert all(map(torch.equal, params, before))
    assert opt.info.step == count
    opt.step(mask=[None, None])
    assert opt.info.step == count + 1


def test_masks_do_not_go_with_everything():
    params = parameters(shapes=[(3, 2)])
    with pytest.raises(ValueError, match=r"mask_state=True .* rowwise_adagrad has one number"):
        ft.RowwiseAdagrad(params, mask_state=True)
    with pytest.raises(TypeError, match="mask_state is an option of the whole optimizer"):
        ft.AdamW([{"params": params, "mask_state": True}])


@pytest.mark.parametrize("name", ["Lion", "Muon", "Prodigy"])
def test_differentiable_is_refused_by_its_name(name):
    with pytest.raises(RuntimeError, match=f"^{name} does not support `differentiable`"):
        getattr(ft, name)([torch.nn.Parameter(torch.ones(2, 2))], differentiable=True)


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
    param = torch.nn.Parameter(torch.ones(3).to(torch.float8_e5m2))
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


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
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
