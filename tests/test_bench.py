"""The benchmark: what is timed is right, how it is timed is sane, what is written can be read."""

import argparse
import gc
import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fastadam.bench import contenders, machine, passes, report, timing
from fastadam.bench.contenders import Case, many_arrays, one_array
from fastadam.bench.timing import Timing
from fastadam.cli import bench

ROOT = Path(__file__).resolve().parent.parent
HAS_TORCH = contenders.load_torch()
NAMES = contenders.names_for(one_array(1), HAS_TORCH)
STEPS = 4

SERIAL = one_array(257)
PARALLEL = one_array(passes.SERIAL_BELOW + 3)
SEVERAL = Case("several", (5, 64, 1, 33))


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
    np.testing.assert_allclose(contenders.reference(param, grads), oracle(param, grads), rtol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_validation_accepts(name):
    for case in contenders.VALIDATED:
        if name in contenders.names_for(case, HAS_TORCH):
            contenders.validate(case, name)


def nudged(**changes):
    """The NumPy contender with other hyperparameters."""
    memory = contenders.Memory(SERIAL.sizes)
    hyper = {**contenders.HYPER, "decoupled": True, **changes}
    arrays = [side[0] for side in (memory.params, memory.grads, *memory.moments)]
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
    contenders.check(nudged())
    with pytest.raises(RuntimeError, match="'nudged' is wrong"):
        contenders.check(nudged(**change))


def test_validation_refuses_nan():
    contender = nudged()
    contender.params[0][3] = np.nan
    with pytest.raises(RuntimeError, match="'nudged' is wrong"):
        contenders.check(contender)


def test_timing_memory_stays_normal():
    """A thousand steps, all contenders on the memory that they share when they are timed."""
    subnormal = np.finfo(np.float32).tiny
    together = contenders.contenders(SERIAL, NAMES)
    for _ in range(1000):
        for contender in together:
            contender.step()
    for contender in together:
        for param in contender.params:
            assert np.isfinite(param).all()
    memory = contenders.Memory(SERIAL.sizes)
    assert all(np.abs(grad).min() ** 2 * 1e-3 > subnormal for grad in memory.grads)


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
    assert 1000 <= timing._repeats(clock.step("a", 1e-6), clock) < 3000
    assert timing._repeats(clock.step("a", 1.0), clock) == 1
    assert timing._repeats(clock.step("a", 0.0), clock) == timing.MOST_REPEATS


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


@pytest.fixture
def sample():
    """A report with times of a plausible shape."""
    rows = []
    for case in [*(one_array(10**power) for power in range(3, 8)), many_arrays()]:
        names = contenders.names_for(case, torch=True)
        times = {name: (9 - k) * (1e-6 + case.elements * 1e-9) for k, name in enumerate(names)}
        times = {name: Timing(0.9 * t, t, 1.25 * t, 41) for name, t in times.items()}
        rows += report.rows_of(case, times)
    return report.Report(machine.describe(2), rows)


def test_rows_derive_from_the_median():
    times = {"fused": Timing(1e-3, 2e-3, 3e-3, 9), "limit": Timing(1e-3, 1e-3, 1e-3, 9)}
    fused, limit = report.rows_of(one_array(10**6), times)
    assert fused.gb_per_s == pytest.approx(14.0)  # 28 bytes * 1e6 in 2 ms
    assert (fused.of_limit, limit.to_fused) == (0.5, 0.5)


def test_csv_round_trip(sample, tmp_path):
    path = tmp_path / "sample.csv"
    report.write_csv(sample, path)
    again = report.read_csv(path)
    assert again.machine == sample.machine
    assert [row.contender for row in again.rows] == [row.contender for row in sample.rows]
    for row, old in zip(again.rows, sample.rows, strict=True):
        assert (row.case, row.arrays, row.elements) == (old.case, old.arrays, old.elements)
        assert row.p50 == pytest.approx(old.p50, rel=1e-5)  # six digits are written
    assert report.to_csv(again) == report.to_csv(sample)
    assert again.digest == sample.digest


def test_csv_refuses_what_lacks_a_column():
    with pytest.raises(ValueError, match=r"lacks.*p50"):
        report.from_csv("case,arrays\n1e3,1\n")


def test_machine_names_no_host_and_no_path():
    import platform

    text = "\n".join(machine.describe(1).values())
    assert str(Path.home()) not in text
    assert platform.node() not in text.split()


def test_tables(sample):
    text = report.to_text(sample)
    assert all(name in text for name in sample.contenders)
    assert max(map(len, text.splitlines())) <= 80
    markdown = report.to_markdown(sample)
    assert markdown.count("\n| ") == len(sample.cases)
    assert len(report.summary(sample).splitlines()) == 2
    assert report.headline(sample).startswith("An AdamW step over 1e6 float32 elements is ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5e-7, "250 ns"), (9.99e-7, "999 ns"), (0.99996e-6, "1.00 us"), (1.5e-3, "1.50 ms")]
    + [(0.0123, "12.3 ms"), (0.4, "400 ms"), (12.0, "12.0 s")],
)
def test_durations(seconds, text):
    assert report.duration(seconds) == text


def test_table_without_rich(sample, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.table", None)
    report.show(sample)
    assert report.to_text(sample) in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_chart_is_written(sample, tmp_path, ending):
    pytest.importorskip("matplotlib")
    from fastadam.bench.chart import write_chart

    path = tmp_path / f"chart.{ending}"
    write_chart(sample, path)
    assert sample.digest.encode() in path.read_bytes()
    first = path.read_bytes()
    write_chart(sample, path)
    assert path.read_bytes() == first


def test_labels_of_a_chart_do_not_touch():
    from fastadam.bench.chart import spread

    placed = spread([1.0, 1.01, 1.02, 50.0], 1.5)
    assert all(b / a >= 1.49 for a, b in pairwise(placed))
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


@pytest.mark.parametrize(
    ("block", "message"), [("pie", "no view; there are headline"), ("table moon", r"moon\.csv")]
)
def test_documents_refuse_what_there_is_not(charts, documents, block, message):
    (documents / "README.md").write_text(f"<!-- bench:{block} -->\n<!-- /bench -->\n")
    with pytest.raises(ValueError, match=message):
        charts.main(["--check"], documents)


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
    assert list(report.read_csv(table).cases) == ["100", "300", "1000 x 1000"]
    assert chart.stat().st_size > 1000


def test_command_without_rich(capsys, monkeypatch):
    for name in ("rich.table", "rich.progress"):
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
