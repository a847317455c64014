"""Everything a kernel could not walk through is refused before any element changes."""

import numpy as np
import pytest

import fastadam as fa


def misaligned(n, dtype=np.float32):
    return np.frombuffer(bytearray(n * np.dtype(dtype).itemsize + 1), np.uint8)[1:].view(dtype)


def read_only(array):
    array.flags.writeable = False
    return array


F32 = np.float32
BAD_PARAMS = {
    "strided": (lambda: np.ones((4, 4), F32)[:, ::2], ValueError, "not C-contiguous"),
    "fortran": (lambda: np.ones((4, 3), F32).T, ValueError, "not C-contiguous"),
    "negative strides": (lambda: np.ones(4, F32)[::-1], ValueError, "not C-contiguous"),
    "broadcast": (lambda: np.broadcast_to(F32(1), (4,)), ValueError, "not C-contiguous"),
    "read-only": (lambda: read_only(np.ones(4, F32)), ValueError, "read-only"),
    "misaligned": (lambda: misaligned(4), ValueError, "misaligned"),
    "byte-swapped": (lambda: np.ones(4, ">f4"), TypeError, "native byte order"),
    "int": (lambda: np.ones(4, int), TypeError, "int64"),
    "bool": (lambda: np.ones(4, bool), TypeError, "bool"),
    "complex": (lambda: np.ones(4, complex), TypeError, "complex128"),
    "longdouble": (lambda: np.ones(4, np.longdouble), TypeError, "longdouble|float128"),
    "object": (lambda: np.ones(4, object), TypeError, "object"),
    "text": (lambda: np.array(["a"]), TypeError, "<U1"),
    "a float": (lambda: 1.0, TypeError, "type float, not a NumPy array; give one, such as np"),
    "a numpy scalar": (lambda: F32(1), TypeError, "not a NumPy array"),
    "None": (lambda: None, TypeError, "not a NumPy array"),
    "a string": (lambda: "weights", TypeError, "not a NumPy array"),
}
params_table = pytest.mark.parametrize("bad", BAD_PARAMS.values(), ids=BAD_PARAMS)


@params_table
def test_parameters(bad):
    make, error, message = bad
    good = np.ones(3, F32)
    for params, name in (
        (make(), "params"),
        ({"w": good, "b": make()}, r"params\['b'\]"),
        ([good, (make(),)], r"params\[1\]\[0\]"),
        ([{"params": [good]}, {"params": make()}], r"param_groups\[1\]\['params'\]"),
    ):
        with pytest.raises(error, match=f"{name}.*{message}"):
            fa.AdamW(params)


BAD_GRADS = {
    key: value for key, value in BAD_PARAMS.items() if key not in ("read-only", "None")
} | {
    "another shape": (lambda: np.ones(5, F32), ValueError, r"\(5,\).*\(4,\)"),
    "a row": (lambda: np.ones((1, 4), F32), ValueError, r"\(1, 4\).*\(4,\)"),
    "another dtype": (lambda: np.ones(4), TypeError, "float64.*float32"),
}


@pytest.mark.parametrize("bad", BAD_GRADS.values(), ids=BAD_GRADS)
def test_gradients(bad):
    make, error, message = bad
    w, v = np.ones(4, F32), np.ones(4, F32)
    opt = fa.AdamW({"w": w, "v": v})
    for _ in range(2):
        with pytest.raises(error, match=f"grads\\['v'\\].*{message}"):
            opt.step({"w": np.ones(4, F32), "v": make()})
        assert (w == 1).all()
        assert (v == 1).all()
        assert opt.state["exp_avg"] == [None, None]
    assert opt.step({"w": np.ones(4, F32), "v": np.ones(4, F32)}).step == 1


@pytest.mark.parametrize(
    ("grads", "message"),
    [
        ({"w": 1}, r"keys \['w'\]"),
        ({"w": 1, "b": [1, 2], "c": 1}, "keys"),
        ({"w": 1, "b": [1]}, r"grads\['b'\] is a list of 1.*a list of 2"),
        ({"w": 1, "b": {"x": 1}}, r"grads\['b'\] is a dict"),
        ([1, 2], "grads is a list of 2.*a dict"),
        (np.ones(3), "grads is a ndarray"),
    ],
)
def test_structures(grads, message):
    opt = fa.AdamW({"w": np.ones(1), "b": [np.ones(1), np.ones(1)]})
    with pytest.raises(ValueError, match=message):
        opt.step(grads)


@pytest.mark.parametrize("empty", [[], {}, (), {"a": []}, [{}, [[]]], [{"params": []}]])
def test_no_parameters(empty):
    with pytest.raises(ValueError, match="no array"):
        fa.AdamW(empty)
    with pytest.raises((ValueError, TypeError)):
        fa.flatten(empty)


def test_shared_memory():
    buffer = np.ones(10, F32)
    for params in (
        [buffer, buffer],
        {"a": buffer[:6], "b": buffer[5:]},
        [{"params": [buffer]}, {"params": [buffer[2:3]]}],
    ):
        with pytest.raises(ValueError, match="same memory"):
            fa.AdamW(params)
    fa.AdamW([buffer[:5], buffer[5:]])
    opt = fa.AdamW(buffer)
    with pytest.raises(ValueError, match=r"param_groups\[1\].*same memory|same memory"):
        opt.add_param_group({"params": buffer[:2]})
    assert len(opt.param_groups) == 1


def test_a_gradient_in_memory_that_the_step_writes():
    w, other = np.ones(8, F32), np.ones(4, F32)
    opt = fa.AdamW([w, other])
    good = [np.ones(8, F32), np.ones(4, F32)]
    opt.step(good)
    kept = w.copy()
    for bad, owner in (
        ([w, good[1]], r"params\[0\]"),
        ([good[0], w[4:]], r"params\[0\]"),
        ([opt.state["exp_avg"][0], good[1]], r"state\['exp_avg'\]\[0\]"),
        ([good[0], opt.state["exp_avg_sq"][1]], r"state\['exp_avg_sq'\]\[1\]"),
        ([read_only(w.view()), good[1]], r"params\[0\]"),
    ):
        with pytest.raises(ValueError, match=f"lies in the memory of {owner}"):
            opt.step(bad)
    np.testing.assert_array_equal(w, kept)
    assert opt.step(good).step == 2


def test_frameworks_are_named_in_the_message():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"torch\.Tensor.*fastadam\.torch.*numpy\(\)"):
        fa.AdamW([torch.ones(2)])
    opt = fa.AdamW([np.ones(2, F32)])
    with pytest.raises(TypeError, match=r"grads\[0\].*torch\.Tensor"):
        opt.step([torch.ones(2)])


def test_flatten():
    with pytest.raises(TypeError, match=r"tree\['b'\] has dtype float64.*tree\['a'\] has float32"):
        fa.flatten({"a": np.ones(2, F32), "b": np.ones(2)})
    for bad in (np.ones(2, int), [1.0], np.ones(2, ">f8"), None):
        with pytest.raises(TypeError, match="tree"):
            fa.flatten(bad)
    w = np.ones(3)
    with pytest.raises(ValueError, match="no longer be tied"):
        fa.flatten([w, w])
    with pytest.raises(ValueError, match="no longer be tied"):
        fa.flatten([np.ones((2, 2)).T, (square := np.ones((2, 2))), square.T])
    halves = np.arange(6.0).reshape(2, 3)
    flat = fa.flatten({"left": halves[:, :2], "right": halves[:, 2:]})  # strided is fine: copies
    np.testing.assert_array_equal(flat.tree["left"], [[0, 1], [3, 4]])


@pytest.mark.parametrize(
    "group",
    [
        {"params": np.ones(2), "param_names": "w"},
        {"params": np.ones(2), "param_names": ["a", "b"]},
        {"params": np.ones(2), "decay": 0.1},
        {"params": np.ones(2), "lr": -1},
    ],
)
def test_groups(group):
    with pytest.raises((TypeError, ValueError), match=r"param_groups\[0\]"):
        fa.AdamW([group])


def test_a_missing_hyperparameter():
    w = np.ones(2)
    opt = fa.AdamW(w)
    del opt.param_groups[0]["eps"]
    with pytest.raises(ValueError, match="'eps' is missing"):
        opt.step(np.ones(2))
    assert (w == 1).all()
