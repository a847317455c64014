"""Complex tensors: pairs of reals, as in torch.optim."""

import copy

import numpy as np
import pytest

import fastadam as fa

torch = pytest.importorskip("torch")
import fastadam.torch as ft  # noqa: E402

CASES = [
    ("SGD", {"momentum": 0.9}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adagrad", {"initial_accumulator_value": 0.1}),
    ("Adadelta", {}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Rprop", {}),
]


def made(dtype=torch.complex64):
    """Complex parameters: contiguous, of no dimension, real, transposed, with gaps."""
    source = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(shape, dtype=dtype, generator=source)

    bare = [randn(3, 4), randn(), randn(5).real.clone(), randn(4, 3).t(), randn(6, 4)[:, ::2]]
    return [*map(torch.nn.Parameter, bare)]


def gradients(params, seed):
    source = torch.Generator().manual_seed(seed)
    return [torch.randn(p.shape, dtype=p.dtype, generator=source) for p in params]


def train(opt, params, steps, seed=1):
    for step in range(steps):
        for param, grad in zip(params, gradients(params, seed + step), strict=True):
            param.grad = grad
        opt.step()


def close(some, others, atol):
    """Within the float32 roundings of some steps; `atol` is for numbers near zero."""
    for one, other in zip(some, others, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(
            one.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=atol
        )


@pytest.mark.parametrize(("name", "hyper"), CASES, ids=[name for name, _ in CASES])
def test_steps_state_and_checkpoints_are_those_of_torch(name, hyper):
    mine, theirs = made(), made()
    opt = getattr(ft, name)(mine, lr=0.05, **hyper)
    reference = getattr(torch.optim, name)(theirs, lr=0.05, **hyper)
    train(opt, mine, 20)
    train(reference, theirs, 20)
    # roundings in single precision over 20 steps; RMSprop's difference of squares has the most
    close(mine, theirs, 2e-5)
    saved, wanted = opt.state_dict(), reference.state_dict()
    for number, entry in wanted["state"].items():
        for key in entry.keys() - {"step", "mu_product"}:
            close([saved["state"][number][key]], [entry[key]], 2e-5)
    swapped = getattr(ft, name)(theirs, lr=0.05, **hyper)
    swapped.load_state_dict(wanted)
    reference = getattr(torch.optim, name)(mine, lr=0.05, **hyper)
    reference.load_state_dict(saved)
    train(swapped, theirs, 5, 100)
    train(reference, mine, 5, 100)
    close(mine, theirs, 4e-5)


def test_double_precision():
    mine, theirs = made(torch.complex128), made(torch.complex128)
    train(ft.AdamW(mine), mine, 5)
    train(torch.optim.AdamW(theirs), theirs, 5)
    close(mine, theirs, 1e-14)


def test_everything_goes_on_from_copies_files_and_the_core(tmp_path):
    options = {"lr": 0.05, "ema_decay": 0.9, "clip_norm": 1.0, "zero_grads": True}
    params = made()
    opt = ft.AdamW(params, **options)
    train(opt, params, 3)
    assert opt.ema[0].dtype == opt.master()[0].dtype == torch.complex64
    ft.save(tmp_path / "run.safetensors", opt)
    others = [made(), *copy.deepcopy([params])]
    resumed = [ft.AdamW(each, **options) for each in others]
    ft.load(tmp_path / "run.safetensors", resumed[0])
    resumed[1].load_state_dict(opt.state_dict())
    arrays = [np.array(p.detach().numpy(), order="C") for p in params]
    core = fa.AdamW(arrays, lr=0.05, ema_decay=0.9, clip_norm=1.0)
    core.load_state_dict(opt.state_dict())
    assert opt.memory().state == resumed[0].memory().state == core.memory().state
    core.step([grad.numpy() for grad in gradients(params, 9)])
    for each, of in zip((opt, *resumed), (params, *others), strict=True):
        train(each, of, 1, 9)
        assert not any(param.grad.abs().max() for param in of)
        # one step whose norm is added up in another order
        np.testing.assert_allclose(arrays[3], of[3].detach().numpy(), rtol=1e-6, atol=1e-7)
        assert all(map(torch.equal, of, params))
        assert all(map(torch.equal, each.ema, opt.ema))
    with opt.swap_ema():
        assert torch.equal(params[4], resumed[0].ema[4])
    again = ft.AdamW(params, **options)
    again.load_state_dict(core.state_dict())
    assert again.state[params[0]]["exp_avg"].dtype == torch.complex64


def test_conjugates_masks_and_buffers(tmp_path):
    param = torch.nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    opt = ft.SGD([param], lr=1.0, zero_grads=True)
    for _ in range(2):  # the second step compares layouts only
        param.grad = torch.tensor([1 + 2j, 3 - 1j]).conj()
        opt.step(mask=torch.tensor([True, False]))
    assert param.tolist() == [-2 + 4j, 0]
    assert param.grad.tolist() == [0, 0]
    model = torch.nn.Module()
    model.p = param
    model.register_buffer("b", torch.tensor([1 + 1j]))
    ft.save(tmp_path / "run.safetensors", opt, model)
    model.b.zero_()
    ft.load(tmp_path / "run.safetensors", opt, model)
    assert model.b.tolist() == [1 + 1j]


def stepped(make, param):
    opt = make(param)
    for each in opt.param_groups[0]["params"]:
        each.grad = torch.ones(2, 3, dtype=torch.complex64)
    opt.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: ft.AdamW([p], state_dtype="int8"), "state_dtype='int8' is for real"),
        (lambda p: ft.AdamW([p], shadow_dtype="bfloat16"), "shadow_dtype='bfloat16' is for real"),
        (lambda p: ft.SGD([p], lower=0.0), "lower=0.0 is a bound of real numbers"),
        (lambda p: ft.Muon([p]), "Muon does not support complex"),
        (lambda p: ft.AdamW([p.detach().conj()]), "conjugate view.*resolve_conj"),
    ],
)
def test_what_has_no_meaning_for_them_is_refused(make, message):
    param = torch.nn.Parameter(torch.ones(2, 3, dtype=torch.complex64))
    with pytest.raises((ValueError, RuntimeError), match=message):
        stepped(make, param)
    assert torch.equal(param, torch.ones_like(param))


def test_real_state_of_complex_parameters_is_refused():
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.complex64))
    opt = ft.AdamW([param])
    train(opt, [param], 1)
    opt.state[param]["exp_avg"] = torch.zeros(3)
    with pytest.raises(TypeError, match=r"exp_avg.*both must be real, or both complex"):
        train(opt, [param], 1)
