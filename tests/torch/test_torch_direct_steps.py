"""Steps that are taken directly, since nothing but numbers changed, and what ends them."""

import copy

import pytest

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402

ROUNDINGS = {"rtol": 1e-6, "atol": 1e-6}  # of a few float32 steps


def made(cls):
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(4, 4)) for _ in range(3)]
    for param in params:
        param.grad = torch.randn(4, 4)
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.02}]
    return params, cls(groups, lr=0.01)


def swap(params, opt):
    one, other = (group["params"] for group in opt.param_groups)
    one[0], other[0] = other[0], one[0]


def move_to_other_group(params, opt):
    opt.param_groups[1]["params"].insert(0, opt.param_groups[0]["params"].pop())


def new_gradients(params, opt):
    kept = [param.grad for param in params]
    for param in params:
        param.grad = param.grad.clone() * 2
    return kept  # so that they have other addresses


def add_group(params, opt):
    params.append(torch.nn.Parameter(torch.ones(3)))
    params[-1].grad = torch.ones(3)
    opt.add_param_group({"params": params[-1:]})


DISTURBANCES = {
    "lr": lambda params, opt: opt.param_groups[1].update(lr=0.5),
    "lr of NumPy": lambda params, opt: opt.param_groups[0].update(lr=torch.tensor(0.5).numpy()[()]),
    "lr a hair below zero": lambda params, opt: opt.param_groups[0].update(lr=-1e-18),
    "betas": lambda params, opt: opt.param_groups[0].update(betas=(0.5, 0.75)),
    "weight_decay": lambda params, opt: opt.param_groups[1].update(weight_decay=0.5),
    "amsgrad": lambda params, opt: (
        [
            opt.state[param].update(max_exp_avg_sq=opt.state[param]["exp_avg_sq"].clone())
            for param in params[:2]
        ]
        and opt.param_groups[0].update(amsgrad=True)
    ),
    "gradients written": lambda params, opt: params[1].grad.mul_(-2),
    "other gradients": new_gradients,
    "no gradient": lambda params, opt: setattr(params[1], "grad", None),
    "no gradients": lambda params, opt: [setattr(param, "grad", None) for param in params],
    "transposed": lambda params, opt: setattr(params[1], "grad", params[1].grad.t()),
    "expanded": lambda params, opt: setattr(params[2], "grad", torch.ones(1, 1).expand(4, 4)),
    "data": lambda params, opt: setattr(params[0], "data", params[0].data + 1),
    "transposed data": lambda params, opt: setattr(params[0], "data", params[0].data.t()),
    "written": lambda params, opt: params[0].data.mul_(2),
    "step": lambda params, opt: opt.state[params[0]]["step"].fill_(2),
    "exp_avg": lambda params, opt: opt.state[params[0]].update(exp_avg=torch.ones(4, 4)),
    "no state": lambda params, opt: opt.state.pop(params[2]),
    "state_dict": lambda params, opt: opt.load_state_dict(copy.deepcopy(opt.state_dict())),
    "swapped": swap,
    "in the other group": move_to_other_group,
    "fewer": lambda params, opt: opt.param_groups[0]["params"].pop(0),
    "one more": add_group,
}


@pytest.mark.parametrize("disturb", DISTURBANCES.values(), ids=DISTURBANCES)
def test_direct_steps_end_where_something_else_changes(disturb):
    (params, ours), (others, theirs) = made(ft.AdamW), made(torch.optim.AdamW)
    for _ in range(8):
        ours.step()
        theirs.step()
    assert ours._tensor_step.known  # steps are direct ones by now
    kept = disturb(params, ours), disturb(others, theirs)
    for _ in range(3):
        ours.step()
        theirs.step()
    del kept
    for param, other in zip(params, others, strict=True):
        torch.testing.assert_close(param, other, **ROUNDINGS)
        entry, known = ours.state.get(param, {}), theirs.state.get(other, {})
        assert entry.get("step") == known.get("step")


def test_a_group_that_is_wrong_keeps_no_edit_of_another_from_being_seen():
    params, opt = made(ft.SGD)
    opt.step()
    before = [param.clone() for param in params]
    opt.param_groups[0]["lr"], opt.param_groups[1]["lr"] = 0.5, -1.0
    for _ in range(2):
        with pytest.raises(ValueError, match=r"param_groups\[1\].*lr"):
            opt.step()
    opt.param_groups[1]["lr"] = 0.25
    opt.step()
    for param, start, lr in zip(params, before, [0.5, 0.5, 0.25], strict=True):
        torch.testing.assert_close(param, start - lr * param.grad, **ROUNDINGS)


def test_a_gradient_that_is_its_parameter_is_copied():
    params, opt = made(ft.SGD)
    for _ in range(8):
        opt.step()
    before = params[0].clone()
    params[0].grad = params[0].data  # would be read while it is written
    opt.step()
    torch.testing.assert_close(params[0], before - 0.01 * before, **ROUNDINGS)
    assert opt.info.step == 9


def test_a_mistake_ends_direct_steps_and_the_next_one_is_right():
    params, opt = made(ft.AdamW)
    for _ in range(8):
        opt.step()
    before, good = params[0].clone(), params[0].grad
    params[0].grad = torch.ones(4, 4).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        opt.step()
    torch.testing.assert_close(params[0], before, rtol=0, atol=0)
    params[0].grad = good
    opt.step()
    assert not torch.equal(params[0], before)
    assert opt.info.step == 9
