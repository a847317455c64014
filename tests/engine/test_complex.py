"""Parameters of complex numbers: pairs of reals, as PyTorch's optimizers take them."""

import math
import pickle

import numpy as np
import pytest

import fastadam as fa

SHAPES = {"w": (3, 4), "b": (), "e": (0, 2)}


def numbers(seed, shape, dtype=np.complex64):
    rng = np.random.default_rng(seed)
    return np.asarray(rng.standard_normal(shape) + 1j * rng.standard_normal(shape), dtype)


def tree(seed, dtype=np.complex64):
    """Complex arrays, and a real one among them."""
    arrays = {name: numbers(seed, shape, dtype) for name, shape in SHAPES.items()}
    return {**arrays, "real": np.array(numbers(seed, (5,), dtype).real)}


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", ["AdamW", "SGD", "Adagrad", "RMSprop"])
def test_steps_and_state_are_those_of_torch(name, dtype):
    torch = pytest.importorskip("torch")
    params = tree(0, dtype)
    opt = getattr(fa, name)(params, lr=0.1, clip_norm=0.5)
    theirs = [torch.nn.Parameter(torch.from_numpy(array.copy())) for array in params.values()]
    reference = getattr(torch.optim, name)(theirs, lr=0.1)
    for step in range(3):
        grads = tree(step + 1, dtype)
        for param, grad in zip(theirs, grads.values(), strict=True):
            param.grad = torch.from_numpy(grad.copy())
        norm = torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        reference.step()
        info = opt.step(grads)
        assert info.grad_norm == pytest.approx(float(norm), rel=1e-6)  # torch adds in single
    for mine, param in zip(params.values(), theirs, strict=True):
        # a few roundings in single precision of numbers around 1
        np.testing.assert_allclose(mine, param.detach().numpy(), rtol=0, atol=1e-6)
    saved, wanted = opt.state_dict()["state"], reference.state_dict()["state"]
    for number, entry in wanted.items():
        for key, value in entry.items():
            if key != "step" and value is not None:
                assert saved[number][key].dtype == value.numpy().dtype
                np.testing.assert_allclose(saved[number][key], value.numpy(), rtol=0, atol=1e-6)
    again = getattr(fa, name)(tree(0, dtype), lr=0.1, clip_norm=0.5)
    again.load_state_dict(reference.state_dict())
    assert again.steps == 3 or name in ("SGD", "RMSprop")


def test_everything_goes_on_from_state_dicts_files_and_pickles(tmp_path):
    options = {"lr": 0.1, "ema_decay": 0.9, "accumulate_steps": 2}
    opt = fa.AdamW(fa.flatten(tree(0)), **options)
    for step in range(3):
        opt.step(tree(step + 1))
    fa.save(tmp_path / "run.safetensors", opt)
    copies = [fa.AdamW(fa.flatten(tree(0)), **options), pickle.loads(pickle.dumps(opt))]
    fa.load(tmp_path / "run.safetensors", copies[0])
    other = fa.AdamW(fa.flatten(opt.params), **options)
    other.load_state_dict(opt.state_dict())
    for each in (opt, *copies, other):
        assert each.step(tree(9)).updated
    for each in (*copies, other):
        for name, array in opt.params.items():
            np.testing.assert_array_equal(each.params[name], array)
            np.testing.assert_array_equal(each.ema[name], opt.ema[name])
            np.testing.assert_array_equal(
                each.state["exp_avg_sq"][name], opt.state["exp_avg_sq"][name]
            )
    assert opt.ema["w"].dtype == opt.master()["w"].dtype == np.complex64
    assert opt.state["exp_avg"]["w"].shape == (3, 4)
    with opt.swap_ema():
        np.testing.assert_array_equal(opt.params["w"], copies[0].ema["w"])


def test_a_flat_has_complex_views():
    flat = fa.flatten(tree(0))
    assert flat.buffer.dtype == np.float32
    assert flat["w"].dtype == np.complex64
    opt = fa.SGD(flat, lr=1.0)
    opt.grads["w"][...] = 1 - 2j
    opt.step()
    np.testing.assert_array_equal(flat["w"], tree(0)["w"] - np.complex64(1 - 2j))
    np.testing.assert_array_equal(flat["b"], tree(0)["b"])


@pytest.mark.usefixtures("in_plain_python")
def test_targets_inputs_and_groups():
    param, goal = numbers(0, 5), numbers(1, 5)
    opt = fa.SGD([{"params": [param]}, {"params": [np.ones(2, np.float32)]}], lr=1.0)
    opt.step(target=[goal, None])
    np.testing.assert_allclose(param, goal, rtol=0, atol=1e-6)  # p - (p - t), in single
    param[...] = 0
    for count in (2, 20):
        opt.step(inputs=[(0.5, [np.full(5, 1j, np.complex64), None])] * count)
    np.testing.assert_array_equal(param, np.full(5, -11j))
    assert opt.params[0].dtype == np.complex64
    finite = fa.SGD(numbers(0, 2, np.complex128), skip_nonfinite=True)
    assert finite.step(np.full(2, 1e300 + 0j)).updated
    assert finite.step(np.full(2, complex(1.0, math.inf))).skipped


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fa.SGD(numbers(0, 3), lower=0.0), ValueError, "bound of real numbers"),
        (lambda: fa.SGD(numbers(0, 3)).step(np.ones(3, np.float32)), TypeError, "of complex"),
        (lambda: fa.SGD(np.ones(3)).step(np.ones(3) * 1j), TypeError, "parameter is real"),
        (lambda: fa.SGD(numbers(0, 3)).step(numbers(0, 4)), ValueError, r"shape \(4,\), but"),
        (lambda: fa.SGD(numbers(0, (4, 4))[:, :2]), ValueError, r"shape \(4, 2\) and strides"),
        (
            lambda: fa.SGD(numbers(0, 3)).step(numbers(0, 3), mask=np.ones(3, bool)),
            TypeError,
            "mask",
        ),
        (
            lambda: fa.SGD(numbers(0, (3, 2))).step(fa.Rows([0], np.ones((1, 2), np.float32))),
            TypeError,
            "Rows are for real",
        ),
        (lambda: fa.SGD(numbers(0, 3).astype(np.clongdouble)), TypeError, "are supported"),
    ],
)
def test_what_cannot_be_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
