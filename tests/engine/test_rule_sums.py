"""Rules with sums: over tensors and over all, in every format, and what is refused."""

import math

import numpy as np
import pytest
from cases import FORMATS, gradients, parameters

import fastadam as fa
from fastadam.engine import tensor_groups
from fastadam.kernels import plain_python
from fastadam.kernels.cpu import threads
from fastadam.kernels.elements import names_read
from fastadam.kernels.factory import kernel
from fastadam.kernels.formats import Formats
from fastadam.kernels.rule_streams import streams, streams_of_terms
from fastadam.kernels.transforms import SUM, staged, staged_terms
from fastadam.memory.launch_table import Table

SHAPES = ((3, 50), (), (0, 4), (25_000,), (1025,))


def absolute(param, grad, state, h):
    return abs(grad), np.float64(1.0)


@fa.rule(hyper=("lr",), sums=("total", "count"), over="all", prepare=absolute)
def centred(param, grad, state, h, s):
    return param - h.lr * (grad - s.total / s.count), state


class Centred(fa.Optimizer):
    rule = centred
    defaults = {"lr": 0.5}

    def hyper(self, group, step):
        return {"lr": group["lr"]}


def arrays(seed, dtype=np.float32, shapes=SHAPES):
    return [parameters(shape, dtype, seed + k) for k, shape in enumerate(shapes)]


@pytest.mark.parametrize("dtypes", [("float32",), ("float32", "float64")], ids=str)
def test_sums_over_all_parameters_that_have_a_gradient(dtypes):
    params = [array.astype(dtypes[k % len(dtypes)]) for k, array in enumerate(arrays(0))]
    want = [param.astype(float) for param in params]
    opt = Centred([{"params": params[:3]}, {"params": params[3:], "lr": 0.25}])
    rates = [0.5] * 3 + [0.25] * 2
    for step in range(4):
        grads = [array.astype(param.dtype) for array, param in zip(arrays(9), params, strict=True)]
        if step == 2:
            grads[3] = None
        there = [g.astype(float) for g in grads if g is not None]
        mean = sum(np.abs(g).sum() for g in there) / sum(g.size for g in there)
        for k, grad in enumerate(grads):
            if grad is not None:
                want[k] = want[k] - rates[k] * (grad - mean)
        opt.step(grads)
    for param, each in zip(params, want, strict=True):
        # roundings of the parameter, the mean and the difference in each step, of numbers below 8
        np.testing.assert_allclose(param, each, rtol=0, atol=16 * np.finfo(param.dtype).eps)


@pytest.mark.parametrize(
    ("text", "options", "names"),
    [
        ("LAMB", (), "param grad state:exp_avg state:exp_avg_sq"),
        ("MARS", (), "grad state:last_grad"),
        ("StableAdamW", ("grad_scale",), "grad state:exp_avg_sq grad_scale"),
        ("LARS", (), "param grad"),
        ("Adafactor", ("grad_sum",), "param grad state:variance grad_sum unscale"),
    ],
)
def test_a_pass_over_terms_prefetches_only_what_it_reads(text, options, names):
    rule, formats = getattr(fa, text).rule, Formats.alike("float32")
    terms = streams_of_terms(rule, options, formats)
    assert list(names_read(staged_terms(rule, options), terms)) == names.split()
    update = streams(rule, options, formats)
    every = [stream.name for stream in update if stream.mode != "w"]
    assert list(names_read(staged(rule, options), update)) == every


def test_terms_may_be_undefined_for_some_constants():
    def inverse(param, grad, state, h):
        return (1.0 / math.sqrt(h.eps) + math.sqrt(h.eps - 1.0) * grad,)

    @fa.rule(hyper=("eps",), sums=("total",), prepare=inverse)
    def undefined(param, grad, state, h, s):
        return param - s.total, state

    terms = streams_of_terms(undefined, (), Formats.alike("float32"))
    assert "param" not in names_read(staged_terms(undefined, ()), terms)


READ = ("double, single state", "split8, int8, rounded")


@pytest.mark.parametrize("formats", [FORMATS[name] for name in READ], ids=READ)
def test_terms_have_the_same_bits_on_both_targets(formats):
    """All streams are only read but the sums, with state of any format in blocks of 1024."""
    from columns import contents

    read = streams_of_terms(fa.LAMB.rule, ("clip_value",), formats)
    rule, sums = staged_terms(fa.LAMB.rule, ("clip_value",)), []
    for target in (None, plain_python):
        made, rng = kernel(rule, read, target), np.random.default_rng(0)
        table, kept = Table(made, [1500], 1), {}
        for stream in read:
            for part, column in enumerate(stream.storage.stored):
                values = contents(rng, stream, part, 1500).astype(column.dtype)
                kept[stream.name, part] = values
                table.place(stream.name, values.ctypes.data, part)
        before = {key: values.copy() for key, values in kept.items()}
        table.pack(0, *[0.5] * len(rule.hyper))
        table.serial()
        sums.append([kept.pop((SUM + name, 0)) for name in fa.LAMB.rule.sums])
        for key, values in kept.items():
            np.testing.assert_array_equal(values, before[key])
    np.testing.assert_array_equal(sums[0], sums[1])
    assert 0 < np.min(sums) < np.max(sums) < np.inf


@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_the_groups_of_tensors(monkeypatch, threads):
    """With a group for each tensor, one for all, and all sums before the first update."""
    dtypes, found = [np.float32, np.float32, np.float32, np.float32, np.float64], []
    for group in (1 << 12, 1 << 30, None):
        with monkeypatch.context() as patch:
            patch.setattr(tensor_groups, "GROUP", group)
            if group is None:
                patch.setattr(tensor_groups.TensorGroups, "used", False)
            params = [each.astype(t) for each, t in zip(arrays(0), dtypes, strict=True)]
            params += [parameters(30_000, np.float64, 7)]
            opt = fa.LAMB(params, lr=0.1, threads=threads)
            for step in range(3):
                grads = [gradients(p.shape, 3, p.dtype, 5)[step] for p in params]
                opt.step([None if step == 1 and k in (0, 3) else g for k, g in enumerate(grads)])
            found.append([*params, *opt.state["exp_avg_sq"]])
    for one, two, three in zip(*found, strict=True):
        np.testing.assert_array_equal(one, three)
        np.testing.assert_array_equal(two, three)


def twins(in_two):
    """A rule whose new state takes a division, with a direction or in one part."""

    def direction(param, grad, state, h):
        average = state[0] + 0.5 * grad
        return average / (abs(average) + 1.0) + param, (average,)

    def total(param, grad, state, h):
        return (abs(direction(param, grad, state, h)[0]),)

    def finish(param, number, h, s):
        return param - h.lr * number / (s.total / s.size)

    def whole(param, grad, state, h, s):
        number, state = direction(param, grad, state, h)
        return finish(param, number, h, s), state

    parts = {"direction": direction} if in_two else {}
    names = {"state": ("average",), "hyper": ("lr",), "sums": ("total",), "prepare": total}

    class Twin(fa.Optimizer):
        rule = fa.rule(**names, **parts)(finish if in_two else whole)
        defaults = {"lr": 0.5}

        def hyper(self, group, step):
            return {"lr": group["lr"]}

    return Twin


@pytest.mark.usefixtures("in_plain_python")
@pytest.mark.parametrize(
    ("options", "split"),
    [
        ({}, True),
        ({"clip_norm": 0.5, "skip_nonfinite": True}, True),
        ({"clip_value": 0.5, "accumulate_steps": 2, "zero_grads": True}, True),
        ({"state_dtype": "bfloat16"}, True),
        ({"state_dtype": "int8", "min_quantized_size": 0}, False),
        ({"ema_decay": 0.9}, False),
    ],
    ids=str,
)
def test_a_direction_gives_the_bits_of_one_part(monkeypatch, options, split):
    """Small arrays in groups of their own; one is too large for the cache."""
    monkeypatch.setattr(tensor_groups, "GROUP", 1 << 10)
    monkeypatch.setattr(tensor_groups, "LARGEST", 1 << 14)
    monkeypatch.setattr(threads, "SERIAL_BELOW", 0)
    shapes, found = [(3, 50), (), (0, 4), (1025,), (1500,)], []
    for in_two in (True, False):
        params = arrays(0, shapes=shapes)
        opt = twins(in_two)(params, **options)
        for step in range(4):
            grads = [np.array(gradients(p.shape, 4, p.dtype, 5)[step], p.dtype) for p in params]
            opt.step([None if step == 1 and k in (0, 3) else g for k, g in enumerate(grads)])
        if not options:
            opt.step(inputs=[(0.5, grads), (0.25, grads)])
            opt.step(target=[np.asarray(p + g) for p, g in zip(params, grads, strict=True)])
        used = {kernel.rule.name for kernel in opt._engine.plan.kernels}
        assert ("finish_finish" in used) == (in_two and split)
        found.append([*params, *grads, *opt.state["average"]])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("in_plain_python")
def test_sums_see_the_gradient_as_options_leave_it():
    """Scaled, clipped and accumulated gradients are like others that were so beforehand."""
    shapes = [shape for shape in SHAPES if np.prod(shape) < 2000]
    params, twins, scale = arrays(0, shapes=shapes), arrays(0, shapes=shapes), 8.0
    opt = fa.LAMB(params, lr=0.1, clip_value=0.5, accumulate_steps=2)
    twin = fa.LAMB(twins, lr=0.1)
    for step in range(3):
        grads = [gradients(shape, 2, np.float32, step) for shape in shapes]
        for k in range(2):
            opt.step([np.asarray(each[k] * np.float32(scale)) for each in grads], grad_scale=scale)
        mean = [(one + other) * np.float32(0.5) for one, other in grads]
        twin.step([np.asarray(np.clip(g, -0.5, 0.5)) for g in mean])
    for one, other in zip(params, twins, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("in_plain_python")
def test_functions_without_an_optimizer_take_options_and_formats():
    p, q, g = parameters(2100, np.float32), parameters(2100, np.float32), gradients(2100, 2)
    opt = fa.LAMB(q, state_dtype="int8", ema_decay=0.9, seed=3)
    opt.step(np.float32(g[0]))
    ema, blocks = p.copy(), -(-p.size // 256)
    state = [a for _ in range(2) for a in (np.zeros(p.size, np.int8), np.zeros(blocks, np.float32))]
    norm = fa.functional.lamb(
        p, np.float32(4 * g[0]), *state, step=1, grad_scale=4.0, norm=True, ema=ema, ema_decay=0.9,
        seed=3,
    )  # fmt: skip
    np.testing.assert_array_equal(p, q)
    np.testing.assert_array_equal(ema, opt.ema.buffer)
    assert norm == pytest.approx(math.sqrt(np.sum(np.float32(g[0]).astype(float) ** 2)), rel=1e-12)


def test_a_plan_counts_both_passes():
    assert fa.plan(1024, "lamb").moved == 1024 * (4 * 4 + 7 * 4)
    assert fa.plan(1024, "lars").moved == 1024 * (2 * 4 + 5 * 4)  # no pass of the momentum
    assert fa.plan(1024, "lamb", adapt=False).moved == 1024 * 7 * 4


def test_what_is_refused():
    opt = fa.LAMB(np.ones((4, 2)))
    with pytest.raises(ValueError, match="grads is Rows, but lamb adds up"):
        opt.step(fa.Rows([1], np.ones((1, 2))))
    with pytest.raises(ValueError, match="grad is Rows, but lamb adds up"):
        fa.functional.lamb(
            np.ones((4, 2)), fa.Rows([1], np.ones((1, 2))), *np.zeros((2, 4, 2)), step=1
        )
    with pytest.raises(ValueError, match=r"compiled\(\): lamb adds up param_squares"):
        fa.compiled(fa.LAMB)
    for wrong, message in (
        ({"sums": ("a",)}, "sums=.* and prepare=None need each other"),
        ({"prepare": absolute}, "need each other"),
        ({"sums": ("size",), "prepare": absolute}, "'size' is reserved"),
        ({"sums": "ab", "prepare": absolute}, "one string"),
        ({"sums": ("a", "b"), "prepare": absolute, "over": "rows"}, "over='rows' is unknown"),
        ({"sums": ("a", "b"), "prepare": abs}, "not a plain Python function"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            fa.rule(**wrong)(lambda param, grad, state, h, s: (param, state))

    @fa.rule(hyper=("lr",), sums=("one",), prepare=absolute)
    def short(param, grad, state, h, s):
        return param, state

    class Short(Centred):
        rule = short

    w = np.ones(3)
    with pytest.raises(TypeError, match=r"absolute returns .* tuple of 1 numbers"):
        Short(w).step(w)


@pytest.mark.usefixtures("in_plain_python")
def test_what_follows_from_sums_is_carried_by_all_parameters():
    """Those without a gradient as well, and behind a checkpoint of some of them."""

    def stepped(opt, numbers, steps):
        for step in steps:
            opt.step([np.ones(9) if k in numbers(step) else None for k in range(3)])

    params, later = ([parameters(9, seed=k) for k in range(3)] for _ in range(2))
    opt = fa.Prodigy(params, d0=1e-3)
    stepped(opt, lambda step: {0, 1, 2} if step > 5 else {1 + step % 2}, range(8))
    saved = opt.state_dict()["state"]
    assert saved[0]["d"] == saved[1]["d"] == saved[2]["d"] > 1e-3
    assert [saved[k]["step"] for k in range(3)] == [2, 5, 5]
    first = fa.Prodigy(later, d0=1e-3)
    stepped(first, lambda step: {1 + step % 2}, range(5))
    resumed = fa.Prodigy(later, d0=1e-3)
    resumed.load_state_dict(first.state_dict())
    stepped(resumed, lambda step: {0, 1, 2} if step > 5 else {1 + step % 2}, range(5, 8))
    for one, other in zip(params, later, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_else_keeps_what_follows_from_sums():
    for refused in (
        lambda: fa.functional.bare(fa.Prodigy),
        lambda: fa.Prodigy.constants(step=1),
    ):
        with pytest.raises(TypeError, match="Prodigy carries d, d_max, d_numerator"):
            refused()
    with pytest.raises(AttributeError, match="prodigy"):
        fa.functional.prodigy  # noqa: B018
