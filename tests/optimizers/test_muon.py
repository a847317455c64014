"""Muon, and rules with a matrix: their results, and what they refuse."""

import copy

import numpy as np
import oracles
import pytest
from cases import gradients, parameters

import fastadam as fa
from fastadam.engine.matrices import check_matrices

SHAPES = ((9, 5), (4, 12), (3, 3), (0, 4), (1, 7))
VARIANTS = (
    {},
    {"nesterov": False, "momentum": 0.5, "ns_steps": 3, "adjust_lr_fn": "match_rms_adamw"},
    {"maximize": True, "eps": 0.1, "ns_coefficients": (1.5, -0.5, 0.0)}
    | {"cautious_weight_decay": True, "weight_decay_mode": "AdamC", "peak_lr": 0.2},
)
ENDS = ({"momentum": 0.0, "weight_decay": 0.0}, {"ns_steps": 0, "momentum": 0.0})  # of their ranges
# The iteration multiplies singular values by up to 3.4 in each of 5 steps, and rounding errors with
# them, in at most 10 products of 12 terms: 3.4**5 * 10 * 12 * 2.2e-16 is 1.2e-11.
TOLERANCE = {"rtol": 0, "atol": 1e-11}


def arrays(dtype=np.float64):
    return [parameters(shape, dtype, seed) for seed, shape in enumerate(SHAPES)]


def series(steps, dtype=np.float64):
    return [gradients(shape, steps, dtype, seed) for seed, shape in enumerate(SHAPES)]


def trained(params, steps=4, **keywords):
    opt = fa.Muon(params, **{"lr": 0.05, **keywords})
    for grads in [*zip(*series(4), strict=True)][:steps]:
        opt.step([*grads])
    return opt


@pytest.mark.usefixtures("in_plain_python")
@pytest.mark.parametrize("hyper", VARIANTS, ids=str)
def test_it_computes_what_its_sources_say(hyper):
    params = arrays()
    opt = trained(params, **hyper)
    for k, (start, grads) in enumerate(zip(arrays(), series(4), strict=True)):
        if start.size:
            want, state = oracles.muon(start, grads, **{"lr": 0.05, **hyper})
            np.testing.assert_allclose(params[k], want, **TOLERANCE)
            np.testing.assert_allclose(  # float64, a rounding or two per step
                opt.state["momentum_buffer"][k], state["momentum_buffer"], rtol=1e-13
            )


@pytest.mark.usefixtures("in_plain_python")
def test_flat_parameters_subsets_and_a_saved_state_give_the_same_bits():
    straight, resumed, parts = arrays(), arrays(), arrays()
    flat = fa.flatten(arrays())
    trained(straight)
    trained(flat)
    first = trained(resumed, steps=2)
    opt = fa.Muon(resumed)
    opt.load_state_dict(first.state_dict())
    by_parts = fa.Muon(parts, lr=0.05)
    subsets = [by_parts.subset([0, 2]), by_parts.subset([1, 3, 4])]
    for step, grads in enumerate(zip(*series(4), strict=True)):
        for subset in subsets:
            subset.step([grads[k] for k in subset.numbers])
        if step >= 2:
            opt.step([*grads])
    for others in (flat.tree, resumed, parts):
        for one, other in zip(straight, others, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("in_plain_python")
def test_a_missing_gradient_leaves_its_matrix_alone():
    one, other = parameters((3, 2)), parameters((2, 3))
    before = other.copy()
    opt = fa.Muon([one, other])
    opt.step([np.ones((3, 2)), None])
    np.testing.assert_array_equal(other, before)
    assert opt.state["momentum_buffer"][1] is None
    assert opt.step([None, np.ones((2, 3))]).updated
    assert not np.array_equal(other, before)


@pytest.mark.usefixtures("in_plain_python")
def test_options_change_the_gradient_ahead_of_the_products():
    grads = [[100 * g for g in each] for each in zip(*series(3, np.float32), strict=True)]
    clipped, scaled, micro, masked = (arrays(np.float32) for _ in range(4))
    first = fa.Muon(clipped, clip_norm=1.0, zero_grads=True, ema_decay=0.9)
    second, third = fa.Muon(scaled), fa.Muon(micro, accumulate_steps=2)
    fourth = fa.Muon(masked)
    for each in grads:
        norm = np.sqrt(sum(np.sum(g.astype(float) ** 2) for g in each))
        fourth.step(each, mask=[np.zeros(g.shape, bool) for g in each])
        second.step([g * np.float32(8 / (norm + 1e-6)) for g in each], grad_scale=8.0)
        third.step([g * np.float32(2 / (norm + 1e-6)) for g in each])
        third.step([np.zeros_like(g) for g in each])
        first.step([g.copy() for g in each])
    for one, two, three, four, start in zip(
        clipped, scaled, micro, masked, arrays(np.float32), strict=True
    ):
        # rounding of the gradients, 6e-8, grows with the singular values as above, times lr
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
        np.testing.assert_allclose(one, three, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(four, start)


@pytest.mark.parametrize("state_dtype", ["bfloat16", "int8"])
@pytest.mark.usefixtures("in_plain_python")
def test_state_in_low_precision_stays_near(state_dtype):
    exact, rounded = parameters((32, 16), np.float32), parameters((32, 16), np.float32)
    low = {"state_dtype": state_dtype, "min_quantized_size": 1}
    opts = fa.Muon(exact, lr=0.02), fa.Muon(rounded, lr=0.02, **low)
    rng = np.random.default_rng(0)
    for _ in range(10):
        grad = rng.standard_normal((32, 16)).astype(np.float32)
        for opt in opts:
            opt.step(grad)
    # ten steps of size 0.02 * sqrt(2) along singular vectors; codes are off by some per cent
    assert np.linalg.norm(exact - rounded) < 0.1 * np.linalg.norm(exact)
    assert opts[1].state["momentum_buffer"].__getitem__(0).dtype.itemsize < 4


@pytest.mark.usefixtures("in_plain_python")
def test_a_step_that_is_refused_or_skipped_changes_nothing():
    param = parameters((3, 2), np.float32)
    opt = fa.Muon(param, skip_nonfinite=True)
    opt.step(np.ones((3, 2), np.float32))
    before, state = param.copy(), opt.state["momentum_buffer"][0].copy()
    assert opt.step(np.full((3, 2), np.nan, np.float32)).skipped
    with pytest.raises(ValueError, match="shape"):
        opt.step(np.ones((2, 3), np.float32))
    opt.transform = lambda group, matrix: 1 / 0
    with pytest.raises(ZeroDivisionError):
        opt.step(np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(param, before)
    np.testing.assert_array_equal(opt.state["momentum_buffer"][0], state)
    fa.Muon(param).step(np.full((3, 2), np.nan, np.float32))
    assert np.isnan(param).all()


@pytest.mark.usefixtures("in_plain_python")
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": np.ones((2, 2)), "b": np.ones(3)}, r"params\['b'\] has shape \(3,\) and is 1-dim"),
        (np.ones((2, 2, 2)), r"shape \(2, 2, 2\).*fastadam.AdamW"),
        (np.ones((2, 2), complex), r"shape \(2, 2\) and is complex"),
    ],
)
def test_parameters_that_are_no_matrices_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        fa.Muon(params)
    opt = fa.Muon(np.ones((2, 2)))
    with pytest.raises(ValueError, match="Muon is for matrices"):
        opt.add_param_group({"params": params})
    assert len(opt.param_groups) == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"ns_steps": -1},
        {"ns_steps": 100},
        {"ns_steps": 2.5},
        {"adjust_lr_fn": "other"},
        {"ns_coefficients": (1.0, 2.0)},
        {"momentum": -1.0},
        {"eps": -1.0},
        {"weight_decay": -1.0},
    ],
)
def test_bad_hyperparameters_are_refused(bad):
    with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
        fa.Muon(np.ones((2, 2)), **bad)


def test_what_has_no_matrices_refuses_it():
    with pytest.raises(TypeError, match="multiplies matrices; use the class Muon"):
        fa.functional.bare(fa.Muon)
    with pytest.raises(TypeError, match="use the class Muon"):
        fa.Muon.constants(step=1)
    with pytest.raises(ValueError, match="muon computes matrices in a pass of its own"):
        fa.compiled(fa.Muon, dtype="float32")
    with pytest.raises(ValueError, match="transforms whole arrays; give an array"):
        fa.Muon(np.ones((2, 2))).step(fa.Rows(np.array([0]), np.ones((1, 2))))
    assert "muon" not in dir(fa.functional)
    author = fa.Muon.without_arrays()
    with pytest.raises(ValueError, match="is cut into pieces for several processes"):
        check_matrices(author, author.rule, [np.ones(4)], ["w"], True)


@pytest.mark.usefixtures("in_plain_python")
def test_a_rule_of_an_author_may_have_a_matrix():
    def entry(param, grad, state, h):
        return grad

    @fa.rule(hyper=("lr",), matrix=entry)
    def whitened(param, grad, state, h, s):
        return param - h.lr * s.matrix, state

    class Whitened(fa.Optimizer):
        rule = whitened
        defaults = {"lr": 0.5}

        def hyper(self, group, step):
            return {"lr": group["lr"]}

        def transform(self, group, matrix):
            left, _, right = np.linalg.svd(matrix, full_matrices=False)
            matrix[...] = left @ right

    w = np.zeros((2, 2))
    Whitened(w).step(np.array([[0.0, 4.0], [9.0, 0.0]]))
    # singular vectors in float64
    np.testing.assert_allclose(w, [[0, -0.5], [-0.5, 0]], atol=1e-15)
    with pytest.raises(TypeError, match=r"sums=.* and matrix= cannot be given together"):
        fa.rule(sums=("a",), prepare=entry, matrix=entry)


class TestTorch:
    torch = pytest.importorskip("torch")

    @pytest.fixture(autouse=True)
    def _one_thread(self):  # products of small matrices
        before = self.torch.get_num_threads()
        self.torch.set_num_threads(1)
        yield
        self.torch.set_num_threads(before)

    def pair(self, dtype, **keywords):
        import fastadam.torch

        torch = self.torch
        torch.manual_seed(0)
        tensors = [torch.randn(shape, dtype=dtype) for shape in SHAPES]
        tensors += [torch.randn(6, 8, dtype=dtype).T, torch.randn(6, 8, dtype=dtype)[:, ::2]]
        both = [
            [torch.nn.Parameter(t.clone(memory_format=torch.preserve_format)) for t in tensors]
            for _ in range(2)
        ]
        ours = fastadam.torch.Muon(both[0], lr=0.02, **keywords)
        return ours, self.torch.optim.Muon(both[1], lr=0.02, **keywords)

    def step(self, *opts):
        params = [opt.param_groups[0]["params"] for opt in opts]
        for each in zip(*params, strict=True):
            grad = self.torch.randn_like(each[0])
            for param in each:
                param.grad = grad.clone(memory_format=self.torch.preserve_format)
        for opt in opts:
            opt.step()
        return [param.detach() for each in zip(*params, strict=True) for param in each]

    @pytest.mark.parametrize("hyper", [*VARIANTS[:2], *ENDS], ids=str)
    def test_torch_computes_the_same_over_50_steps(self, hyper):
        ours, theirs = self.pair(self.torch.float64, **hyper)
        for _ in range(50):
            found = self.step(ours, theirs)
        for one, other in zip(found[::2], found[1::2], strict=True):
            # sums of float64 products in another order, over 50 steps of updates around 1
            self.torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
        assert {*theirs.param_groups[0]} <= {*ours.param_groups[0]}

    @pytest.mark.usefixtures("in_plain_python")
    def test_state_goes_to_torch_and_back(self):
        ours, theirs = self.pair(self.torch.float64)
        for one, other in ((ours, theirs), (theirs, ours)):
            self.step(one)
            other.load_state_dict(copy.deepcopy(one.state_dict()))
            for a, b in zip(*(o.param_groups[0]["params"] for o in (one, other)), strict=True):
                b.data.copy_(a)
            found = self.step(ours, theirs)
            for a, b in zip(found[::2], found[1::2], strict=True):
                # likewise, over two steps
                self.torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
        assert "step" not in next(iter(ours.state.values()))

    def test_what_is_no_matrix_is_refused(self):
        import fastadam.torch

        with pytest.raises(ValueError, match=r"Muon only supports 2D .* size: \(3,\); give biases"):
            fastadam.torch.Muon(self.torch.nn.Linear(2, 3).parameters())
        opt = fastadam.torch.Muon([self.torch.nn.Parameter(self.torch.ones(2, 2))])
        with pytest.raises(ValueError, match="2D"):
            opt.add_param_group({"params": [self.torch.nn.Parameter(self.torch.ones(2))]})
        assert len(opt.param_groups) == 1
        from fastadam.torch.offload import CPUOffload

        with pytest.raises(ValueError, match="optimizer_class=Muon"):
            CPUOffload([self.torch.nn.Parameter(self.torch.ones(2, 2))], fastadam.torch.Muon)


@pytest.mark.usefixtures("in_plain_python")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_matrices_are_counted_as_memory(dtype):
    opt = trained(arrays(dtype), steps=0)
    opt.step(arrays(dtype))
    there = sum(room.nbytes for room in opt._engine.plan._matrices._kept)
    assert opt.memory().matrices == there == sum(param.nbytes for param in opt.params)
