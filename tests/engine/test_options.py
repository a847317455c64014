"""Options of a step: clipping, norms, masks."""

import math
import pickle

import numpy as np
import pytest
from cases import DEFAULTS, gradients, parameters

import fastadam as fa
from fastadam.engine.grad_norm import GradNorm
from fastadam.kernels.formats import Formats

each_default = pytest.mark.parametrize("case", DEFAULTS, ids=lambda case: case.id)
SHAPES = ((3, 50), (), (0, 4), (30_000,), (1025,))


def arrays(seed, dtype=np.float32, scale=1.0):
    rng = np.random.default_rng(seed)
    return [np.asarray(scale * rng.standard_normal(shape), dtype) for shape in SHAPES]


def exact_norm(grads):
    return math.sqrt(math.fsum(float(x) ** 2 for grad in grads for x in np.ravel(grad)))


# Norms


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_the_norm_is_accurate(dtype, scale):
    grads = arrays(0, dtype, scale)
    info = fa.SGD(arrays(1, dtype), clip_norm=1.0).step(grads)
    # pairs are added: an error of 1e-16 per level of a tree of 16, and the root halves it
    assert info.grad_norm == pytest.approx(exact_norm(grads), rel=1e-15)


def test_the_bits_of_a_norm_depend_on_nothing_else():
    grads = arrays(0)
    infos = [fa.SGD(arrays(1), clip_norm=1.0, threads=n).step(grads) for n in (1, 2, 3, 8)]
    flat = fa.flatten(arrays(1))
    opt = fa.SGD(flat, clip_norm=1.0)
    for leaf, grad in zip(opt.grads.leaves, grads, strict=True):
        leaf[...] = grad
    assert {info.grad_norm for info in [*infos, opt.step()]} == {infos[0].grad_norm}


def test_blocks_are_summed_alike_in_chunks_of_any_length():
    grad = gradients(200_000, 1, np.float32)[0]
    sums = []
    for parts in ([grad], [grad, np.ones(5_000_000, np.float32)]):  # longer chunks
        formats = [Formats.alike("float32")] * len(parts)
        norm = GradNorm([np.empty_like(part) for part in parts], formats, None)
        norm.place([part.ctypes.data for part in parts], [True] * len(parts))
        norm.run()
        sums.append(norm.squares[0])
    assert sums[0] == sums[1]


def test_missing_gradients_do_not_count():
    params, grads = arrays(1), arrays(0)
    opt = fa.SGD(params, clip_norm=1.0)
    opt.step(grads)
    some = [grads[0], None, grads[2], None, grads[4]]
    # sums of float64 in a tree: a few last bits
    assert opt.step(some).grad_norm == pytest.approx(exact_norm(some[::2]), rel=1e-15)
    assert opt.step([None] * 5).grad_norm == 0


def test_dtypes_can_be_mixed():
    grads = [np.full(5, 3.0, np.float32), np.full(5, 4.0)]
    opt = fa.SGD([np.zeros(5, np.float32), np.zeros(5)], lr=1.0, clip_norm=5.0)
    assert opt.step(grads).grad_norm == pytest.approx(5 * math.sqrt(5), rel=1e-15)
    np.testing.assert_allclose(opt.params[1], -4 / math.sqrt(5), rtol=1e-6)  # of the 1e-6


def test_a_norm_that_nobody_asked_for_is_not_taken():
    assert fa.SGD(np.zeros(3)).step(np.ones(3)).grad_norm is None
    assert fa.SGD(np.zeros(3), clip_value=1.0).step(np.ones(3)).grad_norm is None


def test_an_infinite_bound_only_measures():
    param = np.zeros(3)
    info = fa.SGD(param, lr=1.0, clip_norm=math.inf).step(np.array([2.0, 3.0, 6.0]))
    assert info.grad_norm == 7
    assert param.tolist() == [-2, -3, -6]


# Clipping


@pytest.mark.parametrize("per", ["global", "tensor"])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6])
def test_clipping_is_that_of_torch(per, max_norm):
    torch = pytest.importorskip("torch")
    params = arrays(1)
    theirs = [torch.nn.Parameter(torch.from_numpy(param.copy())) for param in params]
    reference = torch.optim.AdamW(theirs, lr=0.1, foreach=False)
    opt = fa.AdamW(params, lr=0.1, clip_norm=max_norm, clip_norm_per=per)
    for step in range(5):
        grads = arrays(step + 2)
        kept = [grad.copy() for grad in grads]
        for param, grad in zip(theirs, grads, strict=True):
            param.grad = torch.from_numpy(grad.copy())
        total = torch.nn.utils.get_total_norm([param.grad for param in theirs])
        for group in [theirs] if per == "global" else [[param] for param in theirs]:
            torch.nn.utils.clip_grad_norm_(group, max_norm)
        reference.step()
        info = opt.step(grads)
        assert info.grad_norm == pytest.approx(float(total), rel=1e-5)  # theirs is in float32
        for grad, old in zip(grads, kept, strict=True):
            np.testing.assert_array_equal(grad, old)
    for param, want in zip(params, theirs, strict=True):
        # a factor that differs by 1e-7 moves a ratio of moments by as much; steps of 0.1
        np.testing.assert_allclose(param, want.detach().numpy(), rtol=1e-5, atol=1e-6)


@each_default
@pytest.mark.usefixtures("in_plain_python")
def test_clipped_gradients_give_the_step_of_their_oracle(case):
    param, grads = parameters(50), gradients(50, 5)
    want, _ = case.oracle(
        param, [np.clip(g * min(1, 0.5 / (exact_norm([g]) + 1e-6)), -0.1, 0.1) for g in grads]
    )
    opt = case.optimizer(param, clip_norm=0.5, clip_value=0.1)
    for grad in grads:
        opt.step(grad)
    np.testing.assert_allclose(param, want, rtol=1e-12, atol=1e-14)  # as without clipping


def test_nonfinite_gradients_are_clipped_as_in_torch():
    torch = pytest.importorskip("torch")
    for bad in (np.nan, np.inf, -np.inf):
        for options in ({"clip_norm": 1.0}, {"clip_value": 1.0}):
            param = np.zeros(4, np.float32)
            grad = np.array([1, bad, -2, 0.5], np.float32)
            fa.SGD(param, lr=1.0, **options).step(grad)
            theirs = torch.zeros(4, requires_grad=True)
            theirs.grad = torch.from_numpy(grad.copy())
            if "clip_norm" in options:
                torch.nn.utils.clip_grad_norm_([theirs], 1.0)
            else:
                torch.nn.utils.clip_grad_value_([theirs], 1.0)
            torch.optim.SGD([theirs], lr=1.0).step()
            np.testing.assert_array_equal(param, theirs.detach().numpy())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"clip_norm": -1.0}, ValueError),
        ({"clip_norm": math.nan}, ValueError),
        ({"clip_norm": "1"}, TypeError),
        ({"clip_norm": True}, TypeError),
        ({"clip_value": -1e-9}, ValueError),
        ({"clip_value": math.nan}, ValueError),
        ({"clip_value": [1.0]}, TypeError),
        ({"clip_norm_per": "layer"}, ValueError),
        ({"ema_warmup": np.ones(2)}, TypeError),
        ({"clip_nrom": 1.0}, TypeError),
        ({"zero_grads": 2}, TypeError),
        ({"ema_decay": 1}, ValueError),
    ],
)
def test_bad_options_are_refused(options, error):
    with pytest.raises(error, match=next(iter(options))):
        fa.AdamW(np.zeros(3), **options)


# Options of a group

OF_A_GROUP = {
    "int8": ("float32", {}, {"state_dtype": "int8", "min_quantized_size": 0}),
    "dtype": ("float32", {}, {"state_dtype": np.int8, "min_quantized_size": 300.0}),
    "not int8": (
        "float32",
        {"state_dtype": "int8", "min_quantized_size": 0},
        {"state_dtype": None},
    ),
    "kahan": ("bfloat16", {}, {"compensation": "kahan"}),
    "no kahan": ("bfloat16", {"compensation": "split8"}, {"compensation": None}),
    "noise": ("bfloat16", {"seed": 3}, {"rounding": "stochastic"}),
}


def low(dtype, seed):
    pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in ((3, 50), (350,), (5,))]


@pytest.mark.parametrize("of", OF_A_GROUP.values(), ids=OF_A_GROUP)
@pytest.mark.usefixtures("in_plain_python")
def test_a_group_has_options_of_its_own(of):
    dtype, whole, own = of
    params, plain, special = low(dtype, 0), low(dtype, 0), low(dtype, 0)
    opt = fa.AdamW([{"params": params[:1]}, {"params": params[1:], **own}], lr=0.1, **whole)
    alone = fa.AdamW(plain, lr=0.1, **whole), fa.AdamW(special, lr=0.1, **{**whole, **own})
    for step in range(1, 5):
        grads = low(dtype, step)
        opt.step(grads)
        for each in alone:
            each.step(grads)
        if step == 2:  # goes on the same after a copy, and after a load
            opt = pickle.loads(pickle.dumps(opt))
            saved, params = opt.state_dict(), [*opt.params]
            again = fa.AdamW(params[:1], lr=0.1, **whole)
            again.add_param_group({"params": params[1:], **own})
            again.load_state_dict(saved)
            opt = again
    for k, param in enumerate(params):
        np.testing.assert_array_equal(param, (plain if k < 1 else special)[k])
    for name in opt.state:
        ours = opt.state[name]
        theirs = [each.state.get(name, [None] * 3) for each in alone]
        for k, array in enumerate([theirs[0][0], *theirs[1][1:]]):
            assert (array is None) == (ours[k] is None)
            assert array is None or np.array_equal(array, ours[k])
    assert np.array_equal(opt.master()[1], alone[1].master()[1])
    assert opt.memory().state == sum(
        array.nbytes
        for name in opt.state
        if "comp" not in name
        for array in opt.state[name]
        if array is not None
    )
    shown = repr(opt)
    assert all(f"{name}=" in shown for name in own)


@pytest.mark.parametrize("per", ["tensor", "global"])
def test_a_group_is_clipped_by_itself(per):
    other = {"tensor": "global", "global": "tensor"}[per]
    params, grads = arrays(1), arrays(0, scale=3.0)
    groups = [{"params": params[:2], "clip_norm_per": per}, {"params": params[2:]}]
    opt = fa.SGD(groups, lr=1.0, clip_norm=0.5, clip_norm_per=other)
    want = arrays(1)
    apart = [
        fa.SGD(want[:2], lr=1.0, clip_norm=0.5, clip_norm_per=per),
        fa.SGD(want[2:], lr=1.0, clip_norm=0.5, clip_norm_per=other),
    ]
    for _ in range(2):
        info = opt.step(grads)
        apart[0].step(grads[:2])
        apart[1].step(grads[2:])
        assert info.grad_norm == pytest.approx(exact_norm(grads), rel=1e-15)  # of all
    for one, two in zip(params, want, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)  # sums in another order


@pytest.mark.parametrize(
    "option",
    [{"clip_norm": 1.0}, {"clip_value": 1.0}, {"ema_decay": 0.9}, {"ema_warmup": True}]
    + [{"shadow_dtype": "float16"}, {"zero_grads": True}, {"accumulate_steps": 2}]
    + [{"skip_nonfinite": True}, {"threads": 1}, {"seed": 1}],
)
def test_other_options_belong_to_the_whole_optimizer(option):
    (name,) = option
    with pytest.raises(TypeError, match=rf"param_groups\[0\]: {name} .*give it to the constructor"):
        fa.AdamW([{"params": np.zeros(3), **option}])
    opt = fa.AdamW(np.zeros(3))
    with pytest.raises(TypeError, match=rf"param_groups\[1\]: {name} "):
        opt.add_param_group({"params": np.zeros(3), **option})
    opt.param_groups[0].update(option)
    with pytest.raises(TypeError, match=name):
        opt.step(np.zeros(3))
    with pytest.raises(ValueError, match=name):
        type("Taken", (fa.SGD,), {"defaults": fa.SGD.defaults | option})


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"state_dtype": "int4"}, "state_dtype='int4' must be"),
        ({"rounding": "stochastic"}, "for bfloat16 and float16 parameters; these are float32"),
        ({"compensation": "kahan"}, "for bfloat16 parameters; these are float32"),
        ({"min_quantized_size": -1}, "min_quantized_size=-1"),
        ({"clip_norm_per": "layer"}, "clip_norm_per='layer'"),
        ({"state_dtpe": "int8"}, "did you mean 'state_dtype'"),
    ],
)
def test_bad_options_of_a_group_are_refused(own, message):
    opt = fa.AdamW(np.zeros(3, np.float32))
    group = {"params": np.zeros(3, np.float32), **own}
    with pytest.raises((TypeError, ValueError), match=rf"param_groups\[1\].*{message}"):
        opt.add_param_group(group)
    assert len(opt.param_groups) == 1
    with pytest.raises((TypeError, ValueError), match=rf"param_groups\[0\].*{message}"):
        fa.AdamW([group])


def test_options_of_a_group_are_fixed():
    param = np.ones(3, np.float32)
    opt = fa.AdamW([{"params": param, "state_dtype": "bfloat16"}])
    for value in ("int8", None):
        opt.param_groups[0]["state_dtype"] = value
        with pytest.raises(ValueError, match=r"state_dtype=.* cannot be changed.*'bfloat16'"):
            opt.step([np.ones(3, np.float32)])
    opt.param_groups[0]["state_dtype"] = "bfloat16"
    opt.step([np.ones(3, np.float32)])
    opt.param_groups[0]["compensation"] = "kahan"
    with pytest.raises(ValueError, match="compensation='kahan' cannot be changed"):
        opt.state_dict()
    assert opt.state["exp_avg"][0].dtype.name == "bfloat16"


def test_copies_keep_their_options():
    opt = fa.SGD(np.zeros(2), lr=1.0, clip_norm=1.0)
    assert pickle.loads(pickle.dumps(opt)).step(np.array([3.0, 4.0])).grad_norm == 5


# Masks


@each_default
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("in_plain_python")
def test_only_marked_elements_move_and_the_state_sees_all(case, dtype):
    params = [parameters(50, dtype), parameters((4, 7), dtype, seed=3)]
    full = [param.copy() for param in params]
    opt, unmasked = case.optimizer(params), case.optimizer(full)
    rng = np.random.default_rng(4)
    for step in range(4):
        grads = [gradients(param.shape, 1, dtype, step)[0] for param in params]
        mask = [rng.random(param.shape) < 0.5 for param in params]
        start = [param.copy() for param in params]
        opt.step(grads, mask=mask)
        for whole, old in zip(full, start, strict=True):
            whole[...] = old
        unmasked.step(grads)
        for param, whole, old, moves in zip(params, full, start, mask, strict=True):
            np.testing.assert_array_equal(param, np.where(moves, whole, old))
    for name, state in unmasked.state.items():
        for ours, theirs in zip(opt.state[name], state, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_masks_come_and_go():
    param = np.zeros(3, np.float32)
    opt = fa.SGD(param, lr=1.0)
    grad = np.ones(3, np.float32)
    for mask in (None, [True, False, False], None, [False, True, True], [False, False, True]):
        opt.step(grad, mask=None if mask is None else np.array(mask))
    assert param.tolist() == [-3, -3, -4]
    assert opt.state_dict()["state"][0]["step"] == 5


def test_masks_in_every_form():
    tree = {"w": np.zeros((2, 2)), "b": np.zeros(2)}
    mask = {"b": np.array([True, False]), "w": np.array([[True, False], [False, True]])}
    grads = {"w": np.ones((2, 2)), "b": np.ones(2)}
    flat = fa.flatten(tree)
    opt = fa.SGD(flat, lr=1.0)
    opt.step(grads, mask=mask)
    opt.step(np.ones(6), mask=np.array([True, False, False, True, True, False]))
    assert flat.buffer.tolist() == [-2, 0, 0, -2, -2, 0]
    groups = fa.SGD([{"params": tree["w"]}, {"params": tree["b"]}], lr=1.0)
    groups.step([grads["w"], None], mask=[mask["w"], mask["b"]])
    assert tree["w"].tolist() == [[-1, 0], [0, -1]]
    read_only = np.array([True, False])
    read_only.flags.writeable = False
    fa.SGD(tree["b"], lr=1.0).step(grads["b"], mask=read_only)
    assert tree["b"].tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ([np.ones(3, bool)], ValueError, "mask"),
        ({"w": np.ones(3, bool)}, ValueError, "mask"),
        ({"w": np.ones(3, bool), "b": np.ones(3, bool)}, ValueError, r"mask\['b'\].*shape"),
        ({"w": np.ones(3), "b": np.ones(2, bool)}, TypeError, r"mask\['w'\].*bool"),
        ({"w": None, "b": np.ones(2, bool)}, TypeError, r"mask\['w'\] is None"),
        ({"w": True, "b": False}, TypeError, r"mask\['w'\] is True"),
        ({"w": np.ones(6, bool)[::2], "b": np.ones(2, bool)}, ValueError, "contiguous"),
    ],
)
def test_bad_masks_are_refused_before_anything_moves(mask, error, message):
    params = {"w": np.zeros(3), "b": np.zeros(2)}
    opt = fa.AdamW(params)
    with pytest.raises(error, match=message):
        opt.step({"w": np.ones(3), "b": np.ones(2)}, mask=mask)
    assert not params["w"].any()
    assert not opt.state_dict()["state"]
    opt.step({"w": np.ones(3), "b": np.ones(2)})
    assert params["w"].all()


# Variants that follow from schedules


def test_a_flag_that_a_schedule_switches_is_followed():
    param, want = np.ones(3), np.ones(3)
    opt = fa.SGD(param, lr=0.1, momentum=lambda step: 0.0 if step < 3 else 0.9)
    by_hand = fa.SGD(want, lr=0.1)
    for step in range(1, 6):
        if step == 3:
            by_hand.param_groups[0]["momentum"] = 0.9
        opt.step(param.copy())
        by_hand.step(want.copy())
    np.testing.assert_array_equal(param, want)
    assert opt.state["momentum_buffer"][0] is not None
    opt = fa.SGD(param, momentum=lambda step: 0.9 if step < 2 else 0.0, nesterov=True)
    opt.step(np.ones(3))
    kept = param.copy()
    with pytest.raises(ValueError, match="nesterov"):
        opt.step(np.ones(3))
    np.testing.assert_array_equal(param, kept)
