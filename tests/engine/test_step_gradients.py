"""Gradients of a step: of a flat buffer, read-only, shared, empty and exchanged."""

import gc
import weakref

import numpy as np
import pytest
from cases import gradients, parameters

import fastadam as fa


def test_own_gradients():
    flat = fa.flatten({"w": np.ones((2, 2), np.float32), "b": np.zeros(2, np.float32)})
    opt = fa.AdamW(flat)
    for call in (opt.step, lambda: opt.step(None)):
        with pytest.raises(ValueError, match=r"opt\.grads.*not been used yet"):
            call()
    assert not opt.grads.buffer.any()
    assert opt.grads.tree["w"].shape == (2, 2)
    assert opt.grads is opt.grads
    opt.grads.tree["w"][...] = 1
    opt.step()
    assert (flat.tree["w"] != 1).all()
    assert (flat.tree["b"] == 0).all()
    opt.zero_grad()
    assert not opt.grads.buffer.any()
    assert np.shares_memory(opt.params["w"], flat.buffer)


@pytest.mark.parametrize(
    ("exchange", "where"),
    [
        (lambda tree: tree.update(w=np.ones((2, 2))), r"\['w'\]"),
        (lambda tree: tree["b"].__setitem__(1, np.ones(())), r"\['b'\]\[1\]"),
        (lambda tree: tree["b"].append(np.ones(1)), r"\['b'\]\[2\]"),
        (lambda tree: tree.update(w={"w": tree["w"], "v": np.ones(1)}), r"\['w'\]\['w'\]"),
    ],
)
def test_arrays_put_in_the_place_of_views_are_refused(exchange, where):
    """Nobody would look at them, or at the buffer any more."""
    flat = fa.flatten({"w": np.ones((2, 2)), "b": [np.zeros(2), np.ones(())]})
    opt = fa.AdamW(flat)
    opt.grads.tree["w"] -= 1.0  # puts the same view back
    opt.step()
    before = flat.buffer.copy()
    exchange(opt.grads.tree)
    with pytest.raises(ValueError, match=rf"opt\.grads\.tree{where} is another array.*\.\.\.\] ="):
        opt.step()
    np.testing.assert_array_equal(flat.buffer, before)
    exchange(flat.tree)
    with pytest.raises(ValueError, match=rf"params\.tree{where} is another array"):
        fa.AdamW(flat)


def test_gradients_of_a_flat_in_every_form():
    tree = {"w": parameters((2, 3)), "b": [parameters(4), parameters(())]}
    grads = {"w": gradients((2, 3), 1)[0], "b": (gradients(4, 1)[0], gradients((), 1)[0])}
    results = []
    for form in ("tree", "Flat", "buffer", "own"):
        flat = fa.flatten(tree)
        opt = fa.AdamW(flat)
        given = fa.flatten(grads)
        if form == "own":
            opt.grads.buffer[:] = given.buffer
            opt.step()
        else:
            opt.step({"tree": grads, "Flat": given, "buffer": given.buffer}[form])
        results.append(flat.buffer.copy())
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    with pytest.raises(ValueError, match="a Flat of 11 elements"):
        opt.step(np.ones(12))


def test_what_is_passed_is_what_moves():
    w = np.ones(3)
    tree = {"layer": [{"w": w}]}
    opt = fa.AdamW(tree)
    opt.step({"layer": ({"w": np.ones(3)},)})
    assert opt.params["layer"][0]["w"] is w
    assert (w < 1).all()


def test_parameters_from_an_iterator():
    arrays = [np.ones(2), np.ones(3)]
    opt = fa.AdamW(iter(arrays))
    opt.step([np.ones(2), np.ones(3)])
    assert (arrays[1] < 1).all()


def test_dtypes_can_be_mixed_in_place():
    params = [np.ones(3, np.float32), np.ones(3), np.ones(4, np.float32)]
    alone = [param.copy() for param in params]
    opt = fa.AdamW(params, 0.1)
    opt.step([np.ones_like(param) for param in params])
    for param, other in zip(params, alone, strict=True):
        fa.AdamW(other, 0.1).step(np.ones_like(other))
        np.testing.assert_array_equal(param, other)
    with pytest.raises(TypeError, match=r"grads is one buffer.*float32.*float64"):
        opt.grads  # noqa: B018


def test_gradients_are_not_kept_alive():
    opt = fa.AdamW(np.ones(3))
    grad = np.ones(3)
    seen = weakref.ref(grad)
    opt.step(grad)
    del grad
    gc.collect()
    assert seen() is None
    opt.step(np.ones(3))


def test_fresh_gradients_are_found_again():
    w, v = np.ones(1000), np.ones(1000)
    opt, other = fa.AdamW(w), fa.AdamW(v)
    same = np.empty(1000)
    for step in range(20):
        grad = np.full(1000, float(step - 10))
        same[:] = grad
        opt.step(grad)
        other.step(same)
    np.testing.assert_array_equal(w, v)


def test_read_only_gradients_will_do():
    grad = np.ones(3)
    grad.flags.writeable = False
    w = np.ones(3)
    fa.AdamW(w).step(grad)
    assert (w < 1).all()


def test_the_same_gradient_for_two_parameters_will_do():
    w, g = [np.ones(3), np.ones(3)], np.ones(3)
    fa.AdamW(w).step([g, g])
    np.testing.assert_array_equal(w[0], w[1])


def test_empty_arrays_are_fine():
    w = [np.ones((0, 3)), np.ones(2), np.ones(0)]
    opt = fa.AdamW(w)
    for _ in range(2):
        assert opt.step([np.ones((0, 3)), np.ones(2), np.ones(0)]).updated
    assert opt.state["exp_avg"][0].shape == (0, 3)
    assert fa.AdamW(np.ones(0)).step(np.ones(0)).step == 1


def test_nonfinite_gradients_propagate_as_in_torch():
    torch = pytest.importorskip("torch")
    w = np.ones(6, np.float32)
    theirs = torch.nn.Parameter(torch.ones(6))
    opt, reference = fa.AdamW(w, amsgrad=True), torch.optim.AdamW([theirs], amsgrad=True)
    for values in ([1, np.nan, np.inf, -np.inf, 0, 1e20], [1, 1, 1, 1, np.nan, 1]):
        grad = np.array(values, np.float32)
        opt.step(grad)
        theirs.grad = torch.from_numpy(grad.copy())
        reference.step()
    np.testing.assert_array_equal(np.isfinite(w), np.isfinite(theirs.detach().numpy()))


def test_a_gradient_that_died_is_not_taken_for_none():
    w = [np.ones(3), np.ones(3)]
    opt = fa.AdamW(w)
    kept = np.ones(3)
    opt.step([kept, np.ones(3)])
    before = w[1].copy()
    opt.step([kept, None])
    np.testing.assert_array_equal(w[1], before)
    single = fa.AdamW(np.ones(3))
    single.step({"grads": np.ones(3)}["grads"])
    assert not fa.AdamW([np.ones(3)]).step([None]).updated


@pytest.mark.parametrize(("kind", "count"), [(list, 20), (tuple, 20), (list, 300)])
def test_other_arrays_in_the_same_container_are_found(kind, count):
    shapes = [(1,) if k % 2 else (1, 1) for k in range(count)]
    params = [np.zeros(shape) for shape in shapes]
    grads = [np.full(shape, float(k)) for k, shape in enumerate(shapes)]
    opt, given = fa.SGD(params, lr=1.0), kind(grads)
    for _ in range(3):
        opt.step(given)
    others = [grads[k ^ 2] for k in range(count)]  # of the same shape
    if kind is list:
        given[:] = others
    else:
        given = kind(others)
    for _ in range(3):
        opt.step(given)
    assert [p.item() for p in params] == [-3.0 * k - 3 * (k ^ 2) for k in range(count)]
    others[4].shape = (1,)
    with pytest.raises(ValueError, match=r"grads\[4\]"):
        opt.step(given)
    others[4].shape = (1, 1)
    opt.step(given)
    params[6].flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        opt.step(given)
