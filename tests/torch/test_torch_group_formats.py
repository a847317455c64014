"""Options of parameter groups for PyTorch."""

import copy
import pickle

import pytest
from torch_formats import BF16, F32, SMALL, arrays_of, give_gradients, parameters, same, train

pytest.importorskip("ml_dtypes")
torch = pytest.importorskip("torch")

import fastadam as fa  # noqa: E402
import fastadam.torch as ft  # noqa: E402

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


@pytest.mark.usefixtures("in_plain_python")
def test_groups_by_name():
    rules = {"*bias": {"weight_decay": 0.0}, "1.*": {"weight_decay": 0.0}}
    models, results = [], []
    for made in (ft.AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        models.append(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)).double())
        groups = fa.by_name(models[-1].named_parameters(), rules)
        opt = made(groups, lr=0.1, weight_decay=0.5)
        for _ in range(2):
            opt.zero_grad()
            models[-1](torch.ones(4, 2).double()).square().sum().backward()
            opt.step()
        results.append(opt.state_dict()["param_groups"])
    assert [group["param_names"] for group in results[0]] == [
        ["0.weight"],
        ["0.bias", "1.weight", "1.bias"],
    ]
    assert [group["weight_decay"] for group in results[0]] == [0.5, 0.0]
    assert results[0] == results[1]
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)  # two steps of a few roundings
    for params in (models[0].parameters(), models[0]):
        with pytest.raises(TypeError, match=r"has no names; .*model\.named_parameters\(\)"):
            fa.by_name(params, rules)
