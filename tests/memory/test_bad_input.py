"""Everything a kernel could not walk through is refused before any element changes."""

import copy
import pickle
import re
from collections import OrderedDict, UserDict, UserList

import numpy as np
import pytest

import fastadam as fa
from fastadam.memory.tree import mapped


def misaligned(n, dtype=np.float32):
    return np.frombuffer(bytearray(n * np.dtype(dtype).itemsize + 1), np.uint8)[1:].view(dtype)


def read_only(array):
    array.flags.writeable = False
    return array


class Foreign:
    """An array of another library."""

    def __init__(self, protocol):
        setattr(self, protocol, lambda *args, **kwargs: np.ones(4, F32))


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
    "longdouble": (lambda: np.ones(4, np.longdouble), TypeError, "longdouble|float128"),
    "masked": (lambda: np.ma.masked_array(np.ones(4, F32)), TypeError, r"np\.asarray\("),
    "matrix": (lambda: np.ones(4, F32).view(np.matrix), TypeError, r"np\.asarray\("),
    "bytes of bfloat16": (lambda: np.ones(4, np.float16).view("V2"), TypeError, r"\.view\(ml_"),
    "dlpack": (lambda: Foreign("__dlpack__"), TypeError, r"np\.from_dlpack\("),
    "another library's": (lambda: Foreign("__array__"), TypeError, r"np\.(as)?array\("),
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
        with pytest.raises(error, match=f"{name}.*{message}") as raised:
            fa.AdamW(params)
        assert "it is updated in place" in str(raised.value)  # a copy would be lost


BAD_GRADS = {
    key: value for key, value in BAD_PARAMS.items() if key not in ("read-only", "None")
} | {
    "another shape": (lambda: np.ones(5, F32), ValueError, r"\(5,\).*\(4,\)"),
    "a row": (lambda: np.ones((1, 4), F32), ValueError, r"\(1, 4\).*\(4,\)"),
    "another dtype": (lambda: np.ones(4), TypeError, "float64.*float32"),
    "a list": (lambda: [np.ones(4, F32)], TypeError, "one array is expected.*without the list"),
    "a dict": (lambda: {"v": np.ones(4, F32)}, TypeError, "one array is expected"),
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


def rebound(params, path):
    """Another array of the same values at a place in the caller's containers."""
    *outer, last = path
    for key in outer:
        params = params[key]
    params[last] = params[last].copy()


@pytest.mark.parametrize("size", [0, 1, 3])
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize(
    ("make", "path", "name"),
    [
        (lambda w: {"w": w}, ["w"], "params['w']"),
        (lambda w: OrderedDict(w=w), ["w"], "params['w']"),
        (lambda w: UserDict(w=w), ["w"], "params['w']"),
        (lambda w: [w], [0], "params[0]"),
        (lambda w: UserList([w]), [0], "params[0]"),
        (lambda w: {"a": ({"b": [w]},)}, ["a", 0, "b", 0], "params['a'][0]['b'][0]"),
        (lambda w: [{"params": {"w": w}}], [0, "params", "w"], "param_groups[0]['params']['w']"),
    ],
)
def test_an_array_put_in_the_place_of_a_parameter(size, steps, make, path, name):
    w = np.ones(size)
    params, grad = make(w), np.ones(size)
    opt = fa.SGD(params, lr=0.25)
    flat_list = path[0] == 0
    grads = [grad] if flat_list else mapped(lambda _: grad, params)
    for _ in range(steps):
        opt.step(grads)
    before = w.copy()
    rebound(params, path)
    with pytest.raises(ValueError, match=re.escape(f"{name} is another array") + r".*\.\.\.\] = v"):
        opt.step(grads)
    np.testing.assert_array_equal(w, before)
    for again in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        np.testing.assert_array_equal(again.param_groups[0]["params"][0], before)
        assert again.step(grads).step == steps + 1


@pytest.mark.parametrize("name", ["params", "ema", "shadow"])
def test_an_array_put_in_the_place_of_one_that_was_handed_out(name):
    opt = fa.SGD([np.ones(2, F32), np.ones(3, F32)], ema_decay=0.5, shadow_dtype="float16")
    grads = [np.ones(2, F32), np.ones(3, F32)]
    opt.step(grads)
    handed = getattr(opt, name)
    tree, where = (handed, "") if name == "params" else (handed.tree, r"\.tree")
    tree[0] = kept = tree[0]
    opt.step(grads)
    tree[0] = kept.copy()
    with pytest.raises(ValueError, match=rf"opt\.{name}{where}\[0\] is another array"):
        opt.step(grads)
    assert opt.state_dict()["state"][0]["step"] == 2
    assert copy.deepcopy(opt).step(grads).step == 3


def test_arrays_of_a_flat_that_were_exchanged():
    flat = fa.flatten([np.ones(2)])
    flat.buffer *= 2  # the same array
    for name in ("buffer", "tree", "leaves"):
        with pytest.raises(AttributeError, match=r"flat\.buffer\[\.\.\.\] = value"):
            setattr(flat, name, [np.ones(2)])
    for bad in (np.ones(3), np.ones((2, 1)), np.ones(4)[::2], [1.0, 2.0]):
        with pytest.raises((TypeError, ValueError), match=r"Flat\.over\(\)"):
            flat.over(bad)
    assert flat.over(np.zeros(2)).tree[0].tolist() == [0, 0]


@pytest.mark.parametrize("grads_of", [dict.values, lambda params: (g for g in params.values())])
def test_values_of_a_dict(grads_of):
    params = {"a": np.ones(2), "b": np.ones(3)}
    opt = fa.SGD(params.values(), lr=0.5)
    for _ in range(2):
        opt.step(grads_of({"a": np.ones(2), "b": np.ones(3)}))
    assert params["b"].tolist() == [0, 0, 0]
    params["b"] = np.ones(3)
    with pytest.raises(ValueError, match=r"params\[1\] is another array"):
        opt.step([np.ones(2), np.ones(3)])
    fa.SGD([{"params": iter(params.values())}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda params: params.append(np.ones(2)), r"params\[2\] was added.*add_param_group"),
        (lambda params: params.pop(), r"params\[1\] was removed"),
        (lambda params: params[1].setflags(write=False), r"params\[1\] is read-only now"),
        (lambda params: setattr(params[1], "dtype", np.int64), "dtype from float64 to int64"),
        (lambda params: setattr(params[1], "shape", (2, 1)), r"shape from \(1, 2\) to \(2, 1\)"),
        (lambda params: params[1].resize(9, refcheck=False), "cannot resize"),
        (lambda params: params[1].base.resize(9, refcheck=False), "cannot resize"),
    ],
)
@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_parameters_that_were_changed_in_place(change, message, steps):
    whole = np.ones(8)
    params, grads = [np.ones(2), whole[2:4].reshape(1, 2)], [np.ones(2), np.ones((1, 2))]
    opt = fa.SGD(params, lr=0.25)
    for _ in range(steps):
        opt.step(grads)
    before = whole.copy()

    def changed_step():
        change(params)
        opt.step(grads)

    with pytest.raises(ValueError, match=message):
        changed_step()
    np.testing.assert_array_equal(whole, before)


def test_read_only_parameters_without_a_gradient():
    frozen, free = np.ones(2), np.ones(2)
    flat = fa.flatten([frozen, free])
    opt = fa.SGD([frozen, free], lr=0.25)
    frozen.flags.writeable = False
    for _ in range(3):
        opt.step([None, np.ones(2)])
    frozen.flags.writeable = True
    opt.step([np.ones(2), np.ones(2)])
    assert (frozen.tolist(), free.tolist()) == ([0.75, 0.75], [0, 0])
    opt = fa.SGD(flat)
    flat.buffer.flags.writeable = False
    with pytest.raises(ValueError, match=r"params\.buffer is read-only"):
        opt.step(np.ones(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda grad: grad.setflags(write=False), "read-only"),
        (lambda grad: setattr(grad, "dtype", np.int64), "dtype int64"),
        (lambda grad: setattr(grad, "shape", (3, 2)), r"shape \(3, 2\)"),
        (lambda grad: setattr(grad, "strides", (0, 8)), "not C-contiguous"),
    ],
)
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_gradients_that_were_changed_in_place(change, message, steps, several):
    params = [np.ones((2, 3)), np.ones(1)][: 1 + several]
    grads = [np.ones((2, 3)), np.ones(1)][: 1 + several]
    opt = fa.SGD(params if several else params[0], zero_grads=True)
    for _ in range(steps):
        opt.step(grads if several else grads[0])
    before, grad = params[0].copy(), grads[0]
    change(grad)
    with pytest.raises((TypeError, ValueError), match=message):
        opt.step(grads if several else grad)
    np.testing.assert_array_equal(params[0], before)


def test_known_arrays_of_a_bare_kernel_that_were_changed_in_place():
    arrays = [np.ones(3) for _ in range(4)]
    for step in (1, 2, 3):
        fa.functional.adamw(*arrays, step=step)
    arrays[2].flags.writeable = False
    with pytest.raises(ValueError, match="exp_avg is read-only"):
        fa.functional.adamw(*arrays, step=4)


def test_subclasses_that_are_only_arrays(tmp_path):
    class Named(np.ndarray):
        name = "w"

    mapped_file = np.memmap(tmp_path / "w", F32, "w+", shape=4)
    for array in (mapped_file, np.zeros(4, F32).view(Named)):
        fa.SGD(array, lr=1.0).step(-np.ones(4, F32).view(type(array)))
        assert array.tolist() == [1] * 4
    masked = np.ma.masked_array(np.ones(4, bool))
    with pytest.raises(TypeError, match=r"mask is a numpy\.ma"):
        fa.SGD(mapped_file).step(np.ones(4, F32), mask=masked)
    for bad in (masked, np.ma.ones(3), np.ones((1, 2)).view(np.matrix)):
        with pytest.raises(TypeError, match="tree"):
            fa.flatten([bad])


def test_containers_that_hold_themselves():
    tree = [np.ones(2)]
    tree.append({"again": tree})
    for make in (fa.SGD, fa.flatten, lambda tree: fa.SGD([{"params": tree}])):
        with pytest.raises(ValueError, match="holds itself"):
            make(tree)


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
