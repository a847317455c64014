"""State_dicts of other packages, which load here; some of them load there again.

`python tests/support/package_states.py` records them, with the parameters some steps later.
"""

import copy
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from package_states import LATER, parameters, train  # noqa: E402

import fastadam.torch as ft  # noqa: E402

RECORDED = json.loads((Path(__file__).parent / "package_states.json").read_text())


def state_dict(case):
    def tensors(entry):
        return {k: v if k == "step" else torch.tensor(v, dtype=torch.double) for k, v in entry}

    groups = case["param_groups"]
    return {
        "param_groups": [{**g, "betas": tuple(g["betas"])} if "betas" in g else g for g in groups],
        "state": {int(n): tensors(entry.items()) for n, entry in case["state"].items()},
    }


def started(cls, values, **hyper):
    params = [torch.nn.Parameter(torch.tensor(v, dtype=torch.double)) for v in values]
    return cls(params, **hyper), params


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: f"{case['ours']}-{case['package']}")
@pytest.mark.usefixtures("in_plain_python")
def test_their_state_continues_here(case):
    opt, params = started(getattr(ft, case["ours"]), case["params"])
    opt.load_state_dict(state_dict(case))
    train(opt, params, LATER, 2)
    for param, wanted in zip(params, case["later"], strict=True):
        # float64: a few roundings, of sums in Prodigy
        torch.testing.assert_close(param.data, torch.tensor(wanted).double(), rtol=0, atol=1e-7)
    again, copies = started(type(opt), [param.tolist() for param in params])
    again.load_state_dict(opt.dequantized_state())
    for each, of in ((opt, params), (again, copies)):
        train(each, of, 3, 5)
    for param, other in zip(params, copies, strict=True):
        torch.testing.assert_close(param, other, rtol=0, atol=1e-15)  # d may be rounded anew


@pytest.mark.parametrize(
    ("name", "package", "theirs", "hyper"),
    [
        ("Prodigy", "prodigyopt", "Prodigy", {"d0": 1e-3}),
        ("ScheduleFreeAdamW", "schedulefree", "AdamWScheduleFree", {"lr": 0.05}),
        ("ScheduleFreeSGD", "schedulefree", "SGDScheduleFree", {"lr": 0.05}),
    ],
)
def test_our_state_continues_there(name, package, theirs, hyper):
    cls = getattr(pytest.importorskip(package), theirs)
    params = parameters()
    opt = getattr(ft, name)(params, **hyper)
    train(opt, params, 10, 1)
    there, copies = started(cls, [param.tolist() for param in params], **hyper)
    if hasattr(there, "train"):
        there.train()
    there.load_state_dict(copy.deepcopy(opt.dequantized_state()))  # PyTorch shares tensors
    for each, of in ((opt, params), (there, copies)):
        train(each, of, LATER, 2)
    for param, other in zip(params, copies, strict=True):
        torch.testing.assert_close(param, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, {"slice_p": 11}, "slice_p=11.*one of 11 elements.*d0="),
        (0, {"beta3": 0.5}, r"beta3=0.5, which is the root of betas\[1\]"),
        (3, {"weight_decouple": False}, "weight_decouple=False, which the optimizer does not"),
        (5, {"caution": True}, "caution=True, which the optimizer does not have"),
    ],
)
def test_what_has_no_counterpart_is_refused(number, change, message):
    opt, _ = started(getattr(ft, RECORDED[number]["ours"]), RECORDED[number]["params"])
    saved = state_dict(RECORDED[number])
    saved["param_groups"][0] = {**saved["param_groups"][0], **change}
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(saved)
    assert not opt.state


def test_a_buffer_without_lr_is_not_one_that_includes_it():
    theirs = torch.optim.SGD(parameters(), momentum=0.9)
    train(theirs, theirs.param_groups[0]["params"], 2, 1)
    opt = ft.SGD(parameters(), momentum=0.9, lr_in_momentum=True)
    with pytest.raises(ValueError, match=r"param_groups\[0\] has 'momentum_buffer'.*lr_in_mom"):
        opt.load_state_dict(theirs.state_dict())
    assert not opt.state


def test_no_limit_of_growth_may_be_infinite():
    opt = ft.Prodigy(parameters(), growth_rate=float("inf"))
    train(opt, opt.param_groups[0]["params"], 2, 1)
    assert opt.info.step == 2
