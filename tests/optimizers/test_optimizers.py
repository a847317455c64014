"""Every optimizer, in every variant, through every contract."""

import pickle
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from cases import CASES, COMPILED, DOUBLE, EVERY, Case, gradients, parameters

import fastadam as fa

STEPS = 10
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
each_compiled = pytest.mark.parametrize("case", COMPILED, ids=lambda case: case.id)
each_torch_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case.torch_hyper is not None], ids=lambda case: case.id
)
each_default = pytest.mark.parametrize("case", EVERY, ids=lambda case: case.id)
each_alone = pytest.mark.parametrize(  # where parameters do not depend on each other
    "case", [c for c in EVERY if c.optimizer.rule.over != "all"], ids=lambda case: case.id
)


def run(case: Case, param, grads, **more):
    opt = case.optimizer(param, **{**case.hyper, **more})
    for grad in grads:
        opt.step(grad)
    return opt


@pytest.fixture
def most_in_plain_python(request, case):
    """Compile one of each kind in float64; others have the same bits as their float32 kernels."""
    if case not in DOUBLE:
        request.getfixturevalue("in_plain_python")


@each_case
@pytest.mark.usefixtures("most_in_plain_python")
def test_float64_equals_the_oracle(case):
    param, grads = parameters((7, 11)), gradients((7, 11), STEPS)
    want, state = case.oracle(param, grads, **case.hyper)
    opt = run(case, param, grads)
    # a few roundings of 1.1e-16 per step, at values of order one
    np.testing.assert_allclose(param, want, rtol=1e-13, atol=1e-14)
    assert opt.state.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_allclose(opt.state[name][0], array, rtol=1e-12, atol=1e-18)


@each_compiled
def test_float32_stays_near_the_oracle(case):
    param, grads = parameters(999, np.float32), gradients(999, STEPS, np.float32)
    want, _ = case.oracle(param, grads, **case.hyper)
    run(case, param, grads)
    # half an ulp of the parameter per step, and 2e-7 relative in each update of at most lr * 3
    lr = case.hyper.get("lr", case.optimizer.defaults["lr"])
    np.testing.assert_allclose(param, want, rtol=STEPS * 6e-8, atol=STEPS * (6e-8 + lr * 3e-6))


@each_torch_case
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 1e-5)])
def test_torch_computes_the_same(case, dtype, rtol, request):
    torch = pytest.importorskip("torch")
    if dtype == "float64" or case not in COMPILED:
        request.getfixturevalue("in_plain_python")
    param, grads = parameters((13, 5), dtype), gradients((13, 5), STEPS, dtype)
    theirs = torch.nn.Parameter(torch.from_numpy(param.copy()))
    reference = getattr(torch.optim, case.torch)([theirs], foreach=False, **case.torch_hyper)
    for grad in grads:
        theirs.grad = torch.from_numpy(grad.copy())
        reference.step()
    run(case, param, grads)
    # float32: both round every operation, torch in another order
    np.testing.assert_allclose(param, theirs.detach().numpy(), rtol=rtol, atol=rtol)


@each_compiled
def test_float32_bits_are_those_of_the_rule_in_numpy_scalars(case):
    n, rng = 67, np.random.default_rng(3)
    param, grads = parameters(n, np.float32), gradients(n, 3, np.float32)
    grads[1][:4] = [np.inf, np.nan, 1e-42, -3e38]
    opt = case.optimizer(param.copy(), **case.hyper)
    rule, names = opt.rule, opt.rule.state
    start = opt.initial(opt.param_groups[0])
    want = param.copy()
    states = [np.full(n, start.get(name, 0), np.float32) for name in names]
    length = rule.row_length((n,)) if rule.over == "row" else n
    group = dict(opt.param_groups[0]) | (opt.carried if opt.carries_sums else {})
    for step, grad in enumerate(grads, start=1):
        constants = opt.hyper(group, step)
        h = SimpleNamespace(**{k: np.float32(v) for k, v in constants.items()})
        parts, s = [slice(k, k + length) for k in range(0, n, length)], []
        for part in parts if rule.sums else ():
            sums = sums_of(rule, want[part], grad[part], [state[part] for state in states], h)
            with np.errstate(over="ignore"):
                rounded = {name: np.float32(value) for name, value in sums.items()}
            s.append([SimpleNamespace(**rounded, size=np.float32(length))])
        for i in rng.permutation(n):
            old = tuple(state[i] for state in states)
            want[i], new = rule(want[i], grad[i], old, h, *(s[i // length] if s else ()))
            for state, value in zip(states, new, strict=True):
                state[i] = value
        opt.step(grad)
        group |= opt.carry_sums(group, step, sums) if opt.carries_sums else {}
    np.testing.assert_array_equal(opt.params, want)
    for name, state in zip(names, states, strict=True):
        numbers = state[::length] if name in rule.row_state else state
        np.testing.assert_array_equal(opt.state[name][0], numbers)


def sums_of(rule, param, grad, states, h):
    """The sums of a rule over a block: elements an eighth of its length apart are added, those four
    apart first, then those of the rest, until one is left."""
    each = [
        rule.prepare(param[i], grad[i], tuple(state[i] for state in states), h)
        for i in range(param.size)
    ]
    sums = {}
    for name, terms in zip(rule.sums, np.float64(each).T, strict=True):
        while terms.size > 1:
            eighth = -(-terms.size // 8)
            a, b, c, d, e, f, g, h = np.pad(terms, (0, 8 * eighth - terms.size)).reshape(8, -1)
            terms = ((a + e) + (c + g)) + ((b + f) + (d + h))
        sums[name] = terms[0]
    return sums


@each_default
def test_flat_in_place_and_functional_have_the_same_bits(case):
    shapes = {"a": (3, 50), "b": (), "c": (0, 4), "d": (130,)}
    tree = {name: parameters(shape, np.float32) for name, shape in shapes.items()}
    steps = [
        {n: gradients(s, 1, np.float32, seed)[0] for n, s in shapes.items()} for seed in range(4)
    ]
    flat = fa.flatten(tree)
    buffer = flat.buffer.copy()
    ends = np.cumsum([0, *(leaf.size for leaf in tree.values())])
    together = [slice(0, buffer.size)]
    if case.optimizer.rule.over == "tensor":
        together = [slice(a, b) for a, b in pairwise(ends)]
    carries_sums = case.optimizer.without_arrays().carries_sums
    elementwise = not (carries_sums or case.optimizer.rule.over == "row")
    elementwise = elementwise and case.optimizer.rule.matrices is None  # some arrays are matrices
    bare = fa.functional.bare(case.optimizer) if elementwise else None
    opt_flat, opt_tree = (case.optimizer(p, **case.hyper) for p in (flat, tree))
    state = [
        np.full_like(buffer, opt_tree.initial(opt_tree.param_groups[0]).get(name, 0))
        for name in opt_tree.rule.state
    ]
    for step, grads in enumerate(steps, start=1):
        opt_tree.step(grads)
        for name, grad in grads.items():
            opt_flat.grads.tree[name][...] = grad
        opt_flat.step()
        for part in together if bare else ():
            arrays = [array[part] for array in (buffer, opt_flat.grads.buffer, *state)]
            bare(*arrays, step=step, **case.hyper)
    if bare:
        np.testing.assert_array_equal(flat.buffer, buffer)
    for name in shapes:
        np.testing.assert_array_equal(flat.tree[name], tree[name])


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        *((case, "float32") for case in EVERY),
        *((case, "float64") for case in DOUBLE),
    ],
    ids=lambda each: getattr(each, "id", each),
)
def test_bits_do_not_depend_on_threads_or_slicing(case, dtype):
    n = 70_001
    grads = gradients(n, 2, dtype)
    whole = parameters(n, dtype)
    run(case, whole, grads, threads=1)
    for threads in (2, 3, 8):
        other = parameters(n, dtype)
        run(case, other, grads, threads=threads)
        np.testing.assert_array_equal(other, whole)
    if case.optimizer.rule.sums:  # they are others for other arrays
        return
    sliced = parameters(n, dtype)
    cuts = [0, 1, 18, 5000, 5003, n]
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    opt = case.optimizer([sliced[part] for part in parts], **case.hyper)
    for grad in grads:
        opt.step([grad[part] for part in parts])
    np.testing.assert_array_equal(sliced, whole)


@each_alone
@pytest.mark.usefixtures("in_plain_python")
def test_a_missing_gradient_leaves_everything_alone(case):
    params = [parameters(5), parameters(5, seed=2)]
    alone = params[0].copy()
    before = params[1].copy()
    grads = gradients(5, 4)
    opt = case.optimizer(params)
    single = case.optimizer(alone)
    for step, grad in enumerate(grads):
        opt.step([grad, grad if step == 2 else None])
        single.step(grad)
        if step < 2:
            np.testing.assert_array_equal(params[1], before)
            assert all(arrays[1] is None for arrays in opt.state.values())
            assert 1 not in opt.state_dict()["state"]
    np.testing.assert_array_equal(params[0], alone)
    want, _ = case.oracle(before, grads[2:3])  # its own first step, not the third
    np.testing.assert_allclose(params[1], want, rtol=1e-13)
    assert [opt.state_dict()["state"][i]["step"] for i in (0, 1)] == [4, 1]


@each_case
@pytest.mark.usefixtures("in_plain_python")
def test_saved_state_goes_on_bit_for_bit(case):
    grads = gradients((4, 6), 8, np.float32)
    straight = parameters((4, 6), np.float32)
    run(case, straight, grads)
    param = parameters((4, 6), np.float32)
    saved = pickle.loads(pickle.dumps(run(case, param, grads[:3]).state_dict()))
    resumed = case.optimizer(param, **case.hyper)
    resumed.load_state_dict(saved)
    for grad in grads[3:]:
        resumed.step(grad)
    np.testing.assert_array_equal(param, straight)


@each_torch_case
@pytest.mark.usefixtures("in_plain_python")
def test_torch_state_goes_on_here_and_back(case):
    torch = pytest.importorskip("torch")
    param, grads = parameters(9), gradients(9, 9)
    theirs = torch.nn.Parameter(torch.from_numpy(param))  # shares memory with param
    reference = getattr(torch.optim, case.torch)([theirs], **case.torch_hyper)

    def torch_steps(some):
        for grad in some:
            theirs.grad = torch.from_numpy(grad)
            reference.step()

    want, _ = case.oracle(param.copy(), grads, **case.hyper)
    torch_steps(grads[:3])
    ours = case.optimizer(param)
    ours.load_state_dict(reference.state_dict())
    for grad in grads[3:6]:
        ours.step(grad)
    saved = ours.state_dict()
    for entry in saved["state"].values():
        entry.update({k: torch.from_numpy(np.asarray(v)) for k, v in entry.items()})
    reference.load_state_dict(saved)
    torch_steps(grads[6:])
    # torch keeps NAdam's product of momenta in float32, 6e-8
    rtol = 1e-7 if case.optimizer.carried else 1e-9
    np.testing.assert_allclose(param, want, rtol=rtol, atol=1e-12)


@each_alone
@pytest.mark.usefixtures("in_plain_python")
def test_groups_have_their_own_hyperparameters(case):
    params = [parameters(6), parameters(6, seed=5), parameters(6, seed=6)]
    start = [param.copy() for param in params]
    opt = case.optimizer([{"params": params[0]}, {"params": params[1:2], "lr": 0.5}], lr=0.01)
    least = 0.1 if {"lr": 0.0} in case.bad else 0.0
    opt.add_param_group({"params": {"w": params[2]}, "lr": least})
    grads = gradients(6, 3)
    for grad in grads:
        opt.step([grad, grad, grad])
    for param, old, lr in zip(params, start, (0.01, 0.5, least), strict=True):
        want, _ = case.oracle(old, grads, lr=lr)
        # float64: some dozens of roundings
        np.testing.assert_allclose(param, want, rtol=1e-13, atol=1e-15)


@each_default
@pytest.mark.usefixtures("in_plain_python")
def test_bad_hyperparameters_are_refused_before_anything_moves(case):
    for bad in case.bad:
        param = parameters(4)
        with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
            case.optimizer(param, **bad)
        opt = case.optimizer(param)
        opt.step(np.ones(4))
        before = param.copy()
        opt.param_groups[0].update(bad)
        with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
            opt.step(np.ones(4))
        np.testing.assert_array_equal(param, before)
        for name in bad:
            if name in case.optimizer.defaults:
                opt.param_groups[0][name] = case.optimizer.defaults[name]
            else:
                del opt.param_groups[0][name]
        assert opt.step(np.ones(4)).step == 2


@each_default
@pytest.mark.usefixtures("in_plain_python")
def test_it_converges(case):
    target = np.linspace(-1, 1, 8)
    param = np.zeros(8)
    opt = case.optimizer(param, **case.quick)
    first = np.sum((param - target) ** 2)
    for _ in range(300):
        opt.step(2 * (param - target))
    assert np.sum((param - target) ** 2) < 0.01 * first
