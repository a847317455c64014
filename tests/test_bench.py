"""The benchmark: what is timed is right, how it is timed is sane, what is written can be read."""

import argparse
import gc
import importlib.util
import os
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import oracles
import pytest
from fastadam.bench.contenders import Case, many_arrays, one_array
from processes import output

from fastadam import optimizers
from fastadam.bench import contenders, kinds, machine, passes, report, tables, timing, validation
from fastadam.bench.limit import limit
from fastadam.bench.timing import Timing
from fastadam.bench.variants import variants
from fastadam.cli import bench

ROOT = Path(__file__).resolve().parent.parent
HAS_TORCH = contenders.load_torch()
NAMES = contenders.names_for(one_array(1), HAS_TORCH)
STEPS = 4

SERIAL = one_array(257)
PARALLEL = one_array(passes.SERIAL_BELOW + 3)
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
        for name in contenders.names_for(case, HAS_TORCH)
    ],
)
def test_contender_agrees_with_the_oracle(case, name):
    (contender,) = contenders.contenders(case, [name])
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
        contenders.numpy_adam(
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
    np.testing.assert_allclose(validation.from_paper(param, grads)[-1], expected, rtol=1e-13)


@each_variant
def test_references_agree_with_the_papers(variant):
    rng = np.random.default_rng(0)
    param, grads = rng.normal(size=100), list(rng.normal(size=(validation.STEPS, 100)))
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


@each_variant
def test_validation_accepts(variant):
    for case in validation.cases(variant):
        for name in contenders.names_for(case, HAS_TORCH):
            validation.validate(case, name, HAS_TORCH)


def nudged(**changes):
    """The NumPy contender with other hyperparameters."""
    memory = contenders.Memory(SERIAL)
    hyper = {**contenders.HYPER, "decoupled": True, **changes}
    arrays = [side[0] for side in (memory.params, memory.grads, *memory.states)]
    steps = iter(range(1, 100))

    def step():
        contenders.numpy_adam(*arrays, step=next(steps), **hyper)

    return contenders.Contender("nudged", step, memory.params, memory.grads)


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
    (contender,) = contenders.contenders(one_array(257, *variants([wrong])), ["fused"])
    with pytest.raises(RuntimeError, match="'fused' is wrong"):
        validation.check(contender, reference)


def test_validation_refuses_nan():
    contender = nudged()
    contender.params[0][3] = np.nan
    with pytest.raises(RuntimeError, match="'nudged' is wrong"):
        validation.check(contender, validation.from_paper)


@pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if "centered" not in v.hyper], ids=lambda variant: variant.label
)
def test_timing_memory_stays_normal(variant):
    """A thousand steps, all contenders on the memory that they share when they are timed."""
    subnormal = np.finfo(np.float32).tiny
    case = one_array(257, variant)
    together = contenders.contenders(case, contenders.names_for(case, HAS_TORCH))
    for _ in range(1000):
        for contender in together:
            contender.step()
    for contender in together:
        for param in contender.params:
            assert np.isfinite(param).all()
    memory = contenders.Memory(SERIAL)
    assert all(np.abs(grad).min() ** 2 * 1e-3 > subnormal for grad in memory.grads)


@pytest.mark.parametrize("size", [1, 257, passes.SERIAL_BELOW + 3])
@pytest.mark.parametrize("states", [0, 1, 4])
def test_the_limit_changes_nothing(size, states):
    arrays = [np.random.default_rng(k).normal(size=size).astype(np.float32) for k in range(6)]
    before = [array.copy() for array in arrays]
    limit(arrays[0], arrays[1], arrays[2 : 2 + states])()
    np.testing.assert_array_equal(arrays, before)


@each_variant
def test_the_limit_has_the_streams_of_the_optimizer(variant):
    memory = contenders.Memory(one_array(8, variant))
    arrays = [*memory.params, *memory.grads, *(state for (state,) in memory.states)]
    opt = variant.optimizer(memory.params[0], **variant.hyper)
    opt.step(memory.grads[0])
    assert len(arrays) == 2 + len(opt.state)
    written_twice = 2 * (len(arrays) - 1) + 1  # all but the gradient are read and written
    assert variant.bytes == 4 * written_twice


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


def test_variants_come_once_and_in_order():
    chosen = variants(["lion", "all", "Lion", "sgd:momentum=0.9"])
    rest = [name for name in optimizers.__all__ if name != "Lion"]
    assert [variant.label for variant in chosen] == ["Lion", *rest, "SGD:momentum=0.9"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adamv", "'adamv' is no optimizer; give all, or some of SGD"),
        ("", "is no optimizer"),
        ("all:lr=1.0", "is no optimizer"),
        ("sgd:momentum", "cannot read the options 'momentum'"),
        ("sgd:momentum=", "cannot read"),
        ("sgd:momentum=x", "cannot read"),
        ("sgd:lr=0.1)+f(x=1", "cannot read"),
        ("sgd:rho=0.9", "unknown 'rho'; it knows lr, momentum"),
        ("sgd:clip_norm=1.0", "unknown 'clip_norm'"),
        ("sgd:nesterov=True", "needs a momentum"),
        ("sgd:lr='fast'", "lr='fast' is not a number"),
    ],
)
def test_variants_refuse(text, message):
    with pytest.raises((TypeError, ValueError), match=message):
        variants([text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adamw", NAMES),
        ("adamw:lr=0.1", ["torch for-loop", *contenders.OVERVIEW]),
        ("sgd", ["torch for-loop", *contenders.OVERVIEW]),
        ("nadam", ["torch for-loop", "torch foreach", "fused", "limit"]),
        ("adam:eps_mode='hat'", ["fused", "limit"]),
        ("lion", ["fused", "limit"]),
    ],
)
def test_who_can_make_a_step(text, expected):
    pytest.importorskip("torch")
    assert contenders.names_for(one_array(1, *variants([text])), torch=True) == expected


def test_threads_are_put_back():
    import numba

    before = numba.get_num_threads()
    with contenders.using_threads(1, HAS_TORCH):
        assert numba.get_num_threads() == 1
    assert numba.get_num_threads() == before
    with (
        pytest.raises(ValueError, match="NUMBA_NUM_THREADS"),
        contenders.using_threads(contenders.most_threads() + 1, HAS_TORCH),
    ):
        pass


@pytest.mark.parametrize(
    ("size", "label"), [(1, "1"), (500, "500"), (1000, "1e3"), (20_000, "2e4"), (12_000, "12000")]
)
def test_labels(size, label):
    assert one_array(size).label == label


# Timing, with a clock that only moves when a step is taken


class Clock:
    def __init__(self):
        self.now, self.taken = 0.0, []

    def __call__(self):
        return self.now

    def step(self, name, *durations):
        """A step that takes these times in turn."""
        count = iter(range(1 << 30))

        def step():
            self.taken.append(name)
            self.now += durations[next(count) % len(durations)]

        return step


def test_quantiles_of_constant_steps():
    clock = Clock()
    steps = [clock.step("a", 0.010), clock.step("b", 0.00025)]
    slow, quick = timing.measure(steps, seconds=1.0, clock=clock)
    assert slow[:3] == pytest.approx((0.010,) * 3)
    assert quick[:3] == pytest.approx((0.00025,) * 3)
    assert timing.FEW_ROUNDS <= slow.rounds == quick.rounds <= timing.MANY_ROUNDS


def test_quantiles_are_in_order():
    clock = Clock()
    (result,) = timing.measure([clock.step("a", 0.01, 0.03, 0.02, 0.05, 0.04)], clock=clock)
    assert 0.01 <= result.p20 <= result.p50 <= result.p80 <= 0.05
    assert result.p20 < result.p80


def test_samples_last_a_millisecond():
    clock = Clock()
    timing.measure([clock.step("a", 1e-6)], rounds=1, clock=clock)
    sample = partial(timing._sample, clock=clock)
    assert 1000 <= timing._repeats(clock.step("a", 1e-6), sample) < 3000
    assert timing._repeats(clock.step("a", 1.0), sample) == 1
    assert timing._repeats(clock.step("a", 0.0), sample) == timing.MOST_REPEATS


@pytest.mark.parametrize(
    ("duration", "seconds", "rounds", "expected"),
    [
        (0.001, 1000.0, None, timing.MANY_ROUNDS),
        (10.0, 1.0, None, timing.FEW_ROUNDS),
        (10.0, 1.0, 3, 3),
        (0.001, 1e9, 500, 500),
    ],
)
def test_rounds_follow_the_budget(duration, seconds, rounds, expected):
    clock = Clock()
    step = clock.step("a", duration)
    (result,) = timing.measure([step], seconds=seconds, rounds=rounds, clock=clock)
    assert result.rounds == expected


def test_rounds_stop_when_the_time_is_over():
    clock = Clock()
    # a round is a step that is not timed and one that is: 2 s
    (result,) = timing.measure([clock.step("a", 1.0)], seconds=99.0, clock=clock)
    assert result.rounds == 50


def test_contenders_take_turns():
    clock = Clock()
    timing.measure([clock.step(name, 1.0) for name in "abc"], rounds=6, clock=clock)
    samples = clock.taken[-2 * 3 * 6 :: 2]
    rounds = ["".join(samples[k : k + 3]) for k in range(0, 18, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    for place in range(3):  # each is as often first, second and last
        assert sorted(each[place] for each in rounds) == ["a", "a", "b", "b", "c", "c"]


def test_progress_rises_to_one():
    clock, seen = Clock(), []
    timing.measure([clock.step("a", 1.0)], seconds=30.0, progress=seen.append, clock=clock)
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] == 1


def test_a_sample_may_be_taken_otherwise():
    calls = []

    def sample(step, repeats):
        calls.append((step, repeats))
        return 0.5

    (timing_of,) = timing.measure([print], rounds=3, sample=sample)
    assert timing_of == Timing(0.5, 0.5, 0.5, 3)
    assert calls == [(print, 1)] * 6  # three to find how many steps take a millisecond


def test_garbage_collection_comes_back():
    states = []

    def fail():
        states.append(gc.isenabled())
        raise KeyError

    with pytest.raises(KeyError):
        timing.measure([fail])
    assert states == [False]
    assert gc.isenabled()


# Reports


def measured(cases, names_for):
    """A report with times of a plausible shape."""
    rows = []
    for case in cases:
        names = names_for(case)
        times = {name: (9 - k) * (1e-6 + case.elements * 1e-9) for k, name in enumerate(names)}
        times = {name: Timing(0.9 * t, t, 1.25 * t, 41) for name, t in times.items()}
        rows += report.rows_of(case, times)
    return report.Report(machine.describe(2), rows)


@pytest.fixture
def sample():
    """A report of AdamW."""
    cases = [*(one_array(10**power) for power in range(3, 8)), many_arrays()]
    everyone = ("numpy", "numba unfused", "torch for-loop", *contenders.OVERVIEW)
    return measured(cases, lambda case: everyone)


@pytest.fixture
def overview():
    """A report of three optimizers, of which PyTorch has one, and fused, at two sizes."""
    chosen = variants(["lion", "sgd:momentum=0.9,nesterov=True", "nadam"])
    rivals = {"Lion": (), "NAdam": ("torch foreach",)}
    return measured(
        [one_array(size, variant) for variant in chosen for size in (10**6, 10**7)],
        lambda case: (
            *rivals.get(case.variant.label, ("torch foreach", "torch fused")),
            "fused",
            "limit",
        ),
    )


def test_rows_derive_from_the_median():
    times = {"fused": Timing(1e-3, 2e-3, 3e-3, 9), "limit": Timing(1e-3, 1e-3, 1e-3, 9)}
    fused, limit = report.rows_of(one_array(10**6), times)
    assert fused.gb_per_s == pytest.approx(14.0)  # 28 bytes * 1e6 in 2 ms
    assert (fused.of_limit, limit.to_fused) == (0.5, 0.5)


@pytest.mark.parametrize("kind", ["sample", "overview"])
def test_csv_round_trip(kind, tmp_path, request):
    sample, path = request.getfixturevalue(kind), tmp_path / "sample.csv"
    report.write_csv(sample, path)
    again = kinds.read_csv(path)
    assert again.machine == sample.machine
    assert [row.contender for row in again.rows] == [row.contender for row in sample.rows]
    for row, old in zip(again.rows, sample.rows, strict=True):
        assert (row.case, row.arrays, row.elements) == (old.case, old.arrays, old.elements)
        assert (row.optimizer, row.bytes) == (old.optimizer, old.bytes)
        assert row.p50 == pytest.approx(old.p50, rel=1e-5)  # six digits are written
    assert report.to_csv(again) == report.to_csv(sample)
    assert again.digest == sample.digest


def test_csv_without_optimizers_is_of_adamw(sample):
    lines = report.to_csv(sample).splitlines()
    old = [line if line.startswith("#") else line.rsplit(",", 2)[0] for line in lines]
    assert "optimizer" not in "".join(old)
    again = kinds.from_csv("\n".join(old))
    assert {(row.optimizer, row.bytes) for row in again.rows} == {("AdamW", 28)}
    assert report.to_csv(again) == report.to_csv(sample)


def test_several_optimizers_are_reports_of_their_own(overview):
    labels = ["Lion", "SGD:momentum=0.9,nesterov=True", "NAdam"]
    assert [*overview.optimizers] == labels
    for label, single in overview.optimizers.items():
        assert {row.optimizer for row in single.rows} == {label}
        assert [*single.cases] == ["1e6", "1e7"]
    with pytest.raises(ValueError, match="one optimizer is wanted, but there are"):
        overview.cases  # noqa: B018


def test_csv_refuses_what_lacks_a_column():
    with pytest.raises(ValueError, match=r"lacks.*p50"):
        kinds.from_csv("case,arrays\n1e3,1\n")


def test_machine_names_no_host_and_no_path():
    import platform

    text = "\n".join(machine.describe(1).values())
    assert str(Path.home()) not in text
    assert platform.node() not in text.split()


@pytest.mark.parametrize(("load", "said"), [(0.0, None), (1e3, "busy (load 1000.0, cores ")])
def test_a_busy_machine_is_noticed(load, said, monkeypatch):
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert machine.busy() is None if said is None else said in machine.busy()


def test_tables(sample):
    text = tables.to_text(table := tables.table(sample))
    assert "28 bytes per element" in table.caption
    assert all(name in text for name in sample.contenders)
    assert max(map(len, text.splitlines())) <= 80
    markdown = tables.to_markdown(sample)
    assert markdown.count("\n| ") == len(sample.cases)
    assert len(tables.summary(sample).splitlines()) == 2
    assert tables.headline(sample).startswith("An AdamW step over 1e6 float32 elements is ")


def test_overview(overview):
    header, groups, *_ = tables.table(overview)
    assert header[:6] == ("optimizer", "elements", "bytes", "fused", "GB/s", "of limit")
    assert header[6:] == ("torch fused", "torch foreach")
    assert [[row[0] for row in group] for group in groups] == [[*overview.optimizers]] * 2
    lion, sgd, _ = groups[1]  # fused takes 9 ms and the limit 8 ms, then 7 ms and 6 ms
    assert lion[1:] == ["1e7", "20", "90.0 ms", "2.22", "89%", "", ""]
    assert sgd[1:] == ["1e7", "20", "70.0 ms", "2.86", "86%", "1.14x", "1.29x"]
    markdown = tables.to_markdown(overview)
    assert markdown.startswith("| optimizer | elements | bytes |")
    assert markdown.count("\n| ") == 6
    low, high = "86% (SGD:momentum=0.9,nesterov=True at 1e6)", "89% (Lion at 1e7)"
    assert tables.summary(overview) == f"fused reaches {low} to {high} of the limit's speed."


@pytest.mark.parametrize("names", [("fused", "limit"), ("torch foreach", "fused", "limit")])
def test_one_optimizer_is_told_in_detail(names):
    single = measured([one_array(1000, *variants(["lion"]))], lambda case: names)
    header, ((first, *_),), *_ = tables.table(single)
    assert header[:2] == ("elements", "contender")
    assert first[:2] == ["1e3", names[0]]
    rival = "limit" if len(names) == 2 else names[0]
    assert tables.summary(single).startswith(f"{rival} takes, relative to fused: ")
    assert "| elements | fused | limit |" in tables.to_markdown(single)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5e-7, "250 ns"), (9.99e-7, "999 ns"), (0.99996e-6, "1.00 us"), (1.5e-3, "1.50 ms")]
    + [(0.0123, "12.3 ms"), (0.4, "400 ms"), (12.0, "12.0 s")],
)
def test_durations(seconds, text):
    assert tables.duration(seconds) == text


@pytest.mark.parametrize(("columns", "plain"), [(100, False), (40, True)])
def test_table_on_a_terminal(sample, capsys, monkeypatch, columns, plain):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    table = tables.table(sample)
    tables.show(table)
    assert (tables.to_text(table) in capsys.readouterr().out) is plain


def test_table_without_rich(sample, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    table = tables.table(sample)
    tables.show(table)
    assert tables.to_text(table) in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("kind", ["sample", "overview"])
def test_chart_is_written(kind, tmp_path, ending, request):
    pytest.importorskip("matplotlib")
    from fastadam.bench.chart import is_drawn_from, write_chart

    sample, path = request.getfixturevalue(kind), tmp_path / f"chart.{ending}"
    assert not is_drawn_from(sample.digest, path)
    write_chart(sample, path)
    assert is_drawn_from(sample.digest, path)
    first = path.read_bytes()
    write_chart(sample, path)
    assert path.read_bytes() == first


def test_labels_of_a_chart_do_not_touch():
    from fastadam.bench.chart import spread

    placed = spread([1.0, 1.01, 1.02, 50.0], 1.5)
    assert all(b - a >= 1.49 for a, b in pairwise(placed))
    assert placed[-1] == 50.0


@pytest.fixture
def charts():
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("charts", ROOT / "bench/charts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def documents(tmp_path):
    """A repository with one page and no results."""
    (tmp_path / "bench/results").mkdir(parents=True)
    blocks = [f"<!-- bench:{view} -->\n<!-- /bench -->" for view in ("headline", "table")]
    (tmp_path / "README.md").write_text("\n\n".join(["before", *blocks, "after\n"]))
    return tmp_path


def test_documents_follow_the_results(charts, sample, documents, capsys):
    readme, empty = documents / "README.md", (documents / "README.md").read_text()
    assert charts.main(["--check"], documents) == 0
    report.write_csv(sample, documents / "bench/results/bench.csv")
    assert charts.main(["--check"], documents) == 1
    assert charts.main([], documents) == 0
    assert charts.main(["--check"], documents) == 0
    assert (documents / "docs/assets/bench.png").exists()
    assert "\n| 1e3 | " in readme.read_text()
    assert "\nAn AdamW step over 1e6 float32 elements is " in readme.read_text()
    paths = ["docs/assets/bench.png", "README.md"]
    expected = [f"{word} {path}" for word in ("stale:", "wrote") for path in paths]
    assert capsys.readouterr().out.splitlines() == expected
    (documents / "bench/results/bench.csv").unlink()
    charts.main([], documents)
    assert readme.read_text() == empty


def test_documents_show_an_overview(charts, overview, documents):
    readme = documents / "README.md"
    readme.write_text("<!-- bench:table three -->\n<!-- /bench -->\n")
    report.write_csv(overview, documents / "bench/results/three.csv")
    assert charts.main([], documents) == 0
    assert charts.main(["--check"], documents) == 0
    assert (documents / "docs/assets/three.png").exists()
    assert "\n| NAdam | 1e7 | 28 | " in readme.read_text()


@pytest.mark.parametrize(
    ("block", "message"), [("pie", "no view; there are headline"), ("table moon", r"moon\.csv")]
)
def test_documents_refuse_what_there_is_not(charts, documents, block, message):
    (documents / "README.md").write_text(f"<!-- bench:{block} -->\n<!-- /bench -->\n")
    with pytest.raises(ValueError, match=message):
        charts.main(["--check"], documents)


def test_documents_show_every_gpu(charts, sample, documents):
    page = documents / "docs/benchmarks.md"
    page.parent.mkdir()
    page.write_text("<!-- bench:gpus -->\n<!-- /bench -->\n")
    assert charts.main(["--check"], documents) == 0  # none was measured
    about = {
        "gpu": "GPU 9",
        "dtype": "float32",
        "copy bandwidth": "9 GB/s",
        "host time of a step": "fused 9 us at 1e4",
    }
    rows = [row for row in sample.rows if row.contender != "numpy"]
    report.write_csv(report.Report(about, rows), documents / "bench/results/gpu-nine.csv")
    assert charts.main([], documents) == 0
    assert charts.main(["--check"], documents) == 0
    text = page.read_text()
    assert "### GPU 9, float32\n\ntorch fused takes, relative to fused: " in text
    assert "numba unfused takes, relative to fused: " in text
    assert "(assets/gpu-nine.png)" in text
    assert "\n| 1e3 | " in text
    assert (documents / "docs/assets/gpu-nine.png").exists()


# On a GPU

SCRIPT = ROOT / "bench/gpu.py"


def script(*arguments):
    """Run the benchmark for GPUs in a process of its own."""
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_gpu_script_in_the_simulator(tmp_path):
    done = script("--dry-run", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    written = kinds.read_csv(tmp_path / "gpu-simulator.csv")
    assert {*written.contenders} == {"numba unfused", "fused", "limit"}
    assert [*written.cases] == ["40", "100", "3 arrays"]
    assert written.machine["gpu"] == "simulator"
    assert tables.conditions(written.machine).startswith("simulator, ")
    assert "copy bandwidth: " in done.stdout
    assert str(Path.home()) not in report.to_csv(written)


def test_gpu_script_is_polite_without_a_gpu():
    done = script()
    assert done.returncode == 2
    assert "There is no GPU" in done.stderr
    assert "--dry-run" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--sizes", "many"), ("--seconds", "0")])
def test_gpu_script_refuses(arguments):
    done = script(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_shapes_of_gpt2():
    """As its authors count them: 148 tensors, 124,439,808 numbers."""
    code = "import gpu_contenders as g; c = g.gpt2(); print(len(c.sizes), c.elements)"
    path = os.pathsep.join(map(str, (ROOT, SCRIPT.parent)))
    assert output(code, NUMBA_ENABLE_CUDASIM="1", PYTHONPATH=path) == "148 124439808"


# The command


def parse(*arguments):
    parser = argparse.ArgumentParser(prog="fastadam bench")
    bench.add_arguments(parser)
    return parser.parse_args(arguments)


def test_command_end_to_end(tmp_path, capsys):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    table, chart = tmp_path / "b.csv", tmp_path / "b.svg"
    arguments = ["--sizes", "1e2", "300", "--rounds", "2", "--threads", "1"]
    files = ["--csv", str(table), "--plot", str(chart)]
    assert bench.run(parse(*arguments, *files, "--no-torch")) == 0
    assert "relative to fused" in capsys.readouterr().out
    assert list(kinds.read_csv(table).cases) == ["100", "300", "1000 x 1000"]
    assert chart.stat().st_size > 1000


def test_command_for_several_optimizers(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    table, chart = tmp_path / "b.csv", tmp_path / "b.png"
    arguments = ["--optimizer", "lion", "sgd:momentum=0.9", "--sizes", "100", "1e3"]
    files = ["--csv", str(table), "--plot", str(chart)]
    assert bench.run(parse(*arguments, "--rounds", "2", *files)) == 0
    assert "of the limit's speed" in capsys.readouterr().out
    saved = kinds.read_csv(table)
    assert [*saved.optimizers] == ["Lion", "SGD:momentum=0.9"]
    for single in saved.optimizers.values():
        assert [*single.cases] == ["100", "1e3"]
    assert {*saved.contenders} <= {*contenders.OVERVIEW}
    assert ("torch fused" in saved.contenders) is HAS_TORCH
    assert chart.stat().st_size > 1000


def test_command_for_another_optimizer(capsys):
    arguments = ["--optimizer", "adagrad", "--sizes", "1e3", "--rounds", "1", "--no-torch"]
    assert bench.run(parse(*arguments)) == 0
    out = capsys.readouterr().out
    assert "1000 x 1000" in out
    assert "limit takes, relative to fused: " in out


def test_command_without_rich(capsys, monkeypatch):
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    arguments = ["--sizes", "10", "--rounds", "1", "--no-torch", "--no-small"]
    assert bench.run(parse(*arguments)) == 0
    assert "numba unfused" in capsys.readouterr().out


def test_command_skips_what_does_not_fit(capsys, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 100_000)
    arguments = ["--sizes", "10", "1e8", "--rounds", "1", "--no-torch"]
    assert bench.run(parse(*arguments)) == 0
    assert "Skipping 1e8: it takes 5.2 GB" in capsys.readouterr().err
    with pytest.raises(ValueError, match="smaller --sizes"):
        bench.run(parse("--sizes", "1e8", "--no-torch"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "adamv"], "no optimizer; give all"),
        (["--optimizer", "sgd:nesterov=True"], "needs a momentum"),
        (["--sizes", "many"], "write 1000000 or 1e6"),
        (["--sizes", "0"], "not a count"),
        (["--sizes", "1.5"], "not a count"),
        (["--sizes", "inf"], "not a count"),
        (["--threads", "0"], "at least 1"),
        (["--threads", "9999"], "NUMBA_NUM_THREADS"),
        (["--rounds", "-1"], "at least 1"),
        (["--seconds", "nan"], "no time"),
        (["--csv", "no/such/folder.csv"], "does not exist"),
        (["--plot", "chart.bmp"], r"\.png or \.svg"),
    ],
)
def test_command_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        bench.run(parse(*arguments, "--no-torch"))


def test_command_wants_matplotlib_for_a_plot(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"fastadam\[bench\]"):
        bench.run(parse("--plot", str(tmp_path / "chart.png")))


def test_help_has_examples():
    parser = argparse.ArgumentParser(prog="fastadam bench")
    bench.add_arguments(parser)
    assert "fastadam bench --csv" in parser.format_help()
    assert "\n" not in bench.HELP
