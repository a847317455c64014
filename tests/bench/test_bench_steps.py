"""Contenders of the suite of steps: each is right, and so is the check that says so."""

from functools import partial

import numpy as np
import oracles
import pytest

from fastadam import optimizers
from fastadam.bench import limit, machine, peers, steps, validation
from fastadam.bench.measurement import OURS
from fastadam.bench.numpy_adam import numpy_adam
from fastadam.bench.torch_contenders import load_torch
from fastadam.bench.variants import ALL_TEXTS, parsed, variants
from fastadam.bench.workload import HYPER, Case, Contender, Memory, Request, many_arrays, one_array
from fastadam.kernels.cpu.threads import SERIAL_BELOW
from fastadam.kernels.transforms import STATE

HAS_TORCH = load_torch()
NAMES = steps.names_for(one_array(1), HAS_TORCH)
STEPS = 4

SERIAL = one_array(257)
PARALLEL = one_array(SERIAL_BELOW + 3)
SEVERAL = Case("several", (5, 64, 1, 33))

VARIANTS = variants(
    [
        "all",
        "sgd:momentum=0.9,dampening=0.1,weight_decay=0.1",
        "sgd:momentum=0.9,nesterov=True,maximize=True",
        "adam:amsgrad=True,weight_decay=0.1",
        "adam:lr=1.0,betas=(0.5,0.6),eps=0.1",
        "adamw:eps_mode='hat'",
        "nadam:decoupled_weight_decay=True,weight_decay=0.1",
        "rmsprop:momentum=0.9,centered=True,lr=0.001",
        "adagrad:initial_accumulator_value=0.5,lr_decay=0.1",
        "lion:weight_decay=0.1",
    ]
)
each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.label)
some_variants = pytest.mark.parametrize(  # what is timed is the same code for all
    "variant",
    [each for each in VARIANTS if each.label in ("AdamW", "Adafactor", "AdEMAMix", "SGD")],
    ids=lambda variant: variant.label,
)


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_validation_accepts_other_libraries():
    """Others take long to compile; that of JAX is among the checks of tests/jax."""
    for case in validation.small_cases(steps.ADAMW):
        steps.validate(case, "torch default", HAS_TORCH)


def test_other_libraries_are_timed_if_they_run(monkeypatch, capsys):
    def broken(name, memory):
        raise OSError("no compiler\nin two lines")

    found = {"broken": peers.Peer((), broken), "fine": peers.Peer((), steps._limit)}
    all_cores = peers.Peer((), steps._limit, limited=False)
    absent = peers.Peer(("no_such_module",), broken)
    monkeypatch.setattr(peers, "PEERS", {**found, "cores": all_cores, "absent": absent})
    monkeypatch.setattr(peers, "_cores", lambda: 2)
    plan = steps.plan(Request([10], small=False, threads=1, peers=True))
    assert plan.turns[0].make()[0].name == "fine"
    told = capsys.readouterr().err
    assert "broken does not run here, and is left out: no compiler\n" in told
    assert "cores takes a thread for each core, and is left out with 1" in told
    monkeypatch.setitem(peers.PEERS, "few", peers.Peer((), steps._limit, many=False))
    one, many = steps.plan(Request([10], threads=1, peers=True)).turns
    found = [{each.name for each in turn.make()} for turn in (one, many)]
    assert "few" in found[0] - found[1]


def oracle(param, grads, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, decay=1e-2, decoupled=True):
    """Adam, or AdamW, in float64 with the moments as explicit weighted sums."""
    theta, history = param.astype(np.float64), []
    for grad in grads:
        history.append(grad.astype(np.float64) + (0 if decoupled else decay * theta))
        ages = np.arange(len(history))[::-1, None]
        first = np.average(history, axis=0, weights=beta1 ** ages[:, 0])
        second = np.average(np.square(history), axis=0, weights=beta2 ** ages[:, 0])
        if decoupled:
            theta = theta - lr * decay * theta
        theta = theta - lr * first / (np.sqrt(second) + eps)
    return theta


def allowed(param, steps):
    """Bound of the error of float32 steps: the parameter is rounded when it decays and when it is
    updated, the factor of decay is itself rounded, each by half of 2**-23 of at most |param| + 0.1;
    what rounding does to an update of about 1e-3 is a thousandth of that. Doubled for safety."""
    return 2 * 3 * steps * 2.0**-24 * (np.abs(param) + 0.1)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param(case, name, id=f"{case.label}-{name}")
        for case in (SERIAL, PARALLEL, SEVERAL)
        for name in steps.names_for(case, HAS_TORCH)
    ],
)
def test_contender_agrees_with_the_oracle(case, name):
    (contender,) = steps.contenders(case, [name])
    start = [param.copy() for param in contender.params]
    history = []
    for number in range(STEPS):
        for grad in contender.grads:
            grad[...] = np.random.default_rng(number).normal(size=grad.size)
        history.append([grad.copy() for grad in contender.grads])
        contender.step()
    for k, (param, old) in enumerate(zip(contender.params, start, strict=True)):
        expected = oracle(old, [grads[k] for grads in history]) if contender.moves else old
        assert np.all(np.abs(param - expected) <= allowed(old, STEPS))


@pytest.mark.parametrize("decoupled", [True, False])
def test_numpy_adam_in_float64(decoupled):
    rng = np.random.default_rng(0)
    param, exp_avg, exp_avg_sq = rng.normal(size=100), np.zeros(100), np.zeros(100)
    start, grads = param.copy(), rng.normal(size=(STEPS, 100))
    kept = grads.copy()
    for number, grad in enumerate(grads, start=1):
        numpy_adam(
            param,
            grad,
            exp_avg,
            exp_avg_sq,
            step=number,
            lr=1e-3,
            betas=(0.9, 0.999),
            eps=1e-8,
            weight_decay=1e-2,
            decoupled=decoupled,
        )
    # some dozens of float64 roundings
    np.testing.assert_allclose(param, oracle(start, kept, decoupled=decoupled), rtol=1e-13)
    np.testing.assert_array_equal(grads, kept)


def test_the_reference_agrees_with_the_oracle():
    rng = np.random.default_rng(0)
    param, grads = rng.normal(size=100), list(rng.normal(size=(STEPS, 100)))
    expected = oracle(param, grads)
    # some dozens of float64 roundings
    np.testing.assert_allclose(validation.from_paper(param, grads)[-1], expected, rtol=1e-13)


@each_variant
def test_references_agree_with_the_papers(variant):
    rng = np.random.default_rng(0)
    shape = variant.shape_of(96)  # of matrices 8 x 12
    param, grads = rng.normal(size=shape), list(rng.normal(size=(validation.STEPS, *shape)))
    paper = getattr(oracles, variant.optimizer.__name__.lower())
    expected, _ = paper(param, grads, **variant.hyper)
    paths = {1e-13: validation.from_rule(variant, param, grads)}  # some dozens of roundings
    if HAS_TORCH and variant.in_torch:
        # PyTorch keeps a product of NAdam in float32: 6e-8 of each update, which is about 2e-3
        paths[1e-9] = validation.from_torch(variant, param, grads)
    for tolerance, path in paths.items():
        assert len(path) == validation.STEPS + 1
        np.testing.assert_array_equal(path[0], param)
        np.testing.assert_allclose(path[-1], expected, rtol=tolerance, atol=tolerance)


def test_a_sum_over_all_has_a_reference_of_all():
    (variant,) = variants(["prodigy"])
    rng = np.random.default_rng(0)
    start = [rng.normal(size=size) for size in (5, 64, 1)]
    history = [[rng.normal(size=each.size) for each in start] for _ in range(validation.STEPS)]
    contender = Contender("prodigy", print, start, history[0])
    find = partial(validation.expected, contender, validation.reference(variant, HAS_TORCH))
    trails = validation.joined(find, start, history)
    expected, _ = oracles.prodigy(np.concatenate(start), [*map(np.concatenate, history)])
    found = np.concatenate([params[-1] for params, _ in trails])
    np.testing.assert_allclose(found, expected, rtol=1e-13)  # some dozens of roundings
    assert [len(average) for _, average in trails] == [validation.STEPS + 1] * 3


@some_variants
def test_validation_accepts(variant):
    for case in validation.small_cases(variant):
        for name in steps.names_for(case, HAS_TORCH):
            steps.validate(case, name, HAS_TORCH)


def nudged(**changes):
    """The NumPy contender with other hyperparameters."""
    memory = Memory(SERIAL)
    hyper = {**HYPER, "decoupled": True, **changes}
    arrays = [side[0] for side in (memory.params, memory.grads, *memory.states)]
    steps = iter(range(1, 100))

    def step():
        numpy_adam(*arrays, step=next(steps), **hyper)

    return Contender("nudged", step, memory.params, memory.grads)


@pytest.mark.parametrize(
    "change",
    [{"betas": (0.9, 0.99)}, {"weight_decay": 0.0}, {"eps": 1e-3}, {"decoupled": False}],
    ids=str,
)
def test_validation_refuses_a_wrong_step(change):
    validation.check(nudged(), validation.from_paper)
    with pytest.raises(RuntimeError, match="'nudged' is wrong"):
        validation.check(nudged(**change), validation.from_paper)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("sgd:momentum=0.9", "sgd:momentum=0.9,nesterov=True"),
        ("adam:amsgrad=True", "adam"),
        ("radam", "adam"),
        ("rmsprop", "rmsprop:alpha=0.98"),
        ("lion", "lion:betas=(0.9,0.9)"),
        ("adagrad", "adagrad:eps=1e-5"),
    ],
)
def test_validation_refuses_another_variant(right, wrong):
    reference = validation.reference(*variants([right]), HAS_TORCH)
    (contender,) = steps.contenders(one_array(257, *variants([wrong])), [OURS])
    with pytest.raises(RuntimeError, match=r"'fastadam'.* is wrong"):
        validation.check(contender, reference)


def test_validation_refuses_nan():
    contender = nudged()
    contender.params[0][3] = np.nan
    with pytest.raises(RuntimeError, match="'nudged' is wrong"):
        validation.check(contender, validation.from_paper)


@pytest.mark.parametrize(
    "variant",
    [v for v in VARIANTS if "centered" not in v.hyper][::8],
    ids=lambda variant: variant.label,
)
def test_timing_memory_stays_normal(variant):
    """A thousand steps, all contenders on the memory that they share when they are timed."""
    subnormal = np.finfo(np.float32).tiny
    case = one_array(257, variant)
    together = steps.contenders(case, steps.names_for(case, HAS_TORCH))
    for _ in range(1000):
        for contender in together:
            contender.step()
    for contender in together:
        for param in contender.params:
            assert np.isfinite(param).all()
    memory = Memory(SERIAL)
    assert all(np.abs(grad).min() ** 2 * 1e-3 > subnormal for grad in memory.grads)


@pytest.mark.parametrize("size", [1, 257, SERIAL_BELOW + 3])
@pytest.mark.parametrize("text", ["sgd", "lamb", "adafactor"])
def test_the_limit_changes_nothing(size, text):
    (variant,) = variants([text])
    names = ["param", "grad", *(STATE + name for name in variant.states)]
    arrays = {
        n: np.random.default_rng(k).normal(size=size).astype(np.float32)
        for k, n in enumerate(names)
    }
    before = {name: array.copy() for name, array in arrays.items()}
    limit.limit(arrays, variant.passes)()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


@each_variant
def test_the_limit_reads_and_writes_what_the_optimizer_does(variant, monkeypatch):
    """Four bytes for each number that a pass reads, and for each that it writes."""
    launched = []
    monkeypatch.setattr(limit, "_pass", lambda *arrays: launched.append(arrays))
    memory = Memory(one_array(8, variant))
    assert [array.size for (array,) in memory.states] == [8] * len(variant.states)
    arrays = ["param", "grad", *(STATE + name for name in variant.states)]
    limit.limit({name: name for name in arrays}, variant.passes)
    assert {*launched[-1][0], *launched[-1][1]} == {*arrays}
    assert variant.bytes == 4 * sum(2 * len(written) + len(read) for written, read in launched)
    assert all(read for _, read in launched)


@pytest.mark.parametrize(
    ("text", "size", "label", "shape"),
    [
        ("adafactor", 10**7, "1e7 (3125 x 3200)", (3125, 3200)),
        ("adammini", 1000, "1e3 (25 x 40)", (25, 40)),
        ("rowwiseadagrad", 17, "17 (1 x 17)", (1, 17)),
        ("lamb", 1000, "1e3", (1000,)),
        ("rowwiseadagrad", 0, "0 (0 x 0)", (0, 0)),
    ],
)
def test_shapes_of_arrays(text, size, label, shape):
    case = one_array(size, *variants([text]))
    assert (case.label, case.shapes) == (label, [shape])
    assert many_arrays(3, size, case.variant).shapes == [shape] * 3


def test_a_size_without_a_matrix_is_refused():
    message = "1000003 elements are at best a matrix of 1 x 1000003, .* such as 1000000"
    with pytest.raises(ValueError, match=message):
        steps.plan(Request([1000003], variants(["adamw", "adammini"])))


@pytest.mark.parametrize(
    ("text", "label", "moved"),
    [
        ("sgd", "SGD", 12),
        ("LION", "Lion", 20),
        ("sgd:momentum=0.9", "SGD:momentum=0.9", 20),
        ("adam:amsgrad=True, lr=1e-2", "Adam:amsgrad=True,lr=0.01", 36),
        ("adamw:betas=(0.9,0.95)", "AdamW:betas=(0.9, 0.95)", 28),
        ("rmsprop:momentum=0.9,centered=True", "RMSprop:momentum=0.9,centered=True", 36),
    ],
)
def test_variants_are_read_and_told(text, label, moved):
    (variant,) = variants([text])
    assert (variant.label, variant.bytes) == (label, moved)
    assert variants([label]) == [variant]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adamW", ("AdamW", {})),
        ("sgd:", ("SGD", {})),
        ("adam:betas=(0.9,0.95), amsgrad=True", ("Adam", {"betas": (0.9, 0.95), "amsgrad": True})),
        ("adam:betas=[0.9, 0.95],lr=1", ("Adam", {"betas": [0.9, 0.95], "lr": 1})),
        ("lion:shadow_dtype=bfloat16", ("Lion", {"shadow_dtype": "bfloat16"})),
    ],
)
def test_one_syntax_for_optimizers(text, expected):
    assert parsed(text) == expected


def test_variants_come_once_and_in_order():
    chosen = variants(["lion", "all", "Lion", "sgd:momentum=0.9"])
    rest = [
        ALL_TEXTS.get(name, name) for name in optimizers.__all__ if name not in ("Lion", "Muon")
    ]
    assert [variant.label for variant in chosen] == ["Lion", *rest, "SGD:momentum=0.9"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adamv", r"unknown optimizer 'adamv'; did you mean Adam or AdamW\? There are ADOPT"),
        ("", "unknown optimizer ''; choose from ADOPT"),
        ("all:lr=1.0", "unknown optimizer 'all'"),
        ("muon", "Muon multiplies matrices"),
        ("sgd:momentum", "'momentum' is not NAME=VALUE"),
        ("sgd:momentum=", "'momentum=' is not NAME=VALUE"),
        ("sgd:momentum=x", "momentum='x'"),
        ("sgd:lr=0.1)+f(x=1", r"lr='0\.1\)\+f\(x=1'"),
        ("sgd:rho=0.9", "'rho'"),
        ("sgd:clip_norm=1.0", "'clip_norm'"),
        ("sgd:nesterov=True", "requires a momentum"),
        ("sgd:lr='fast'", "lr='fast'"),
    ],
)
def test_variants_refuse(text, message):
    with pytest.raises((TypeError, ValueError), match=message):
        variants([text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adamw", NAMES),
        ("adamw:lr=0.1", ["torch for-loop", *steps.OVERVIEW]),
        ("sgd", ["torch for-loop", *steps.OVERVIEW]),
        ("nadam", ["torch for-loop", "torch foreach", OURS, "limit"]),
        ("adam:eps_mode='hat'", [OURS, "limit"]),
        ("lion", [OURS, "limit"]),
    ],
)
def test_who_can_make_a_step(text, expected):
    pytest.importorskip("torch")
    assert steps.names_for(one_array(1, *variants([text])), torch=True) == expected


def test_threads_are_put_back():
    import numba

    before = numba.get_num_threads()
    with machine.using_threads(1, HAS_TORCH):
        assert numba.get_num_threads() == 1
    assert numba.get_num_threads() == before
    with (
        pytest.raises(ValueError, match="NUMBA_NUM_THREADS"),
        machine.using_threads(machine.most_threads() + 1, HAS_TORCH),
    ):
        pass


@pytest.mark.parametrize(
    ("size", "label"), [(1, "1"), (500, "500"), (1000, "1e3"), (20_000, "2e4"), (12_000, "12000")]
)
def test_labels(size, label):
    assert one_array(size).label == label
