"""The benchmark of the tail: what is timed is right, and its bytes are counted."""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import oracles
import pytest
from fastadam.bench.contenders import Case, load_torch, many_arrays, one_array
from fastadam.bench.tail import validation
from fastadam.bench.tail.contenders import Contender, contenders, names_for, needed
from fastadam.bench.tail.report import Report, rows_of
from fastadam.bench.tail.tails import ALL, OPTIONS, PLAIN, TAILS, Tail

from fastadam.bench import kinds, machine, passes, report, tables, timing
from fastadam.bench.timing import Timing
from fastadam.cli import bench

pytest.importorskip("ml_dtypes")
ROOT = Path(__file__).resolve().parent.parent
HAS_TORCH = load_torch()
NAMES = names_for(HAS_TORCH)
SMALL, SEVERAL = one_array(257), Case("several", (5, 64, 1, 33))
CASES = (SMALL, SEVERAL, one_array(passes.SERIAL_BELOW + 3))

each_contender = pytest.mark.parametrize("name", NAMES)
each_tail = pytest.mark.parametrize("tail", TAILS, ids=lambda tail: tail.label)


def made(tail, name, case=SMALL):
    (contender,) = contenders(case, [name], [tail])
    return contender


@each_contender
@each_tail
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_validation_accepts(tail, name, case):
    validation.validate(case, tail, name)


@pytest.mark.parametrize("clipped", [True, False])
def test_the_reference_agrees_with_the_oracle(clipped):
    rng = np.random.default_rng(0)
    start = [rng.normal(size=n) for n in (7, 3)]
    history = [[rng.normal(size=p.size) for p in start] for _ in range(4)]
    history[2][1][0] = np.nan
    norms = [np.sqrt((a @ a) + (b @ b)) for a, b in history]
    bound = 0.5 if clipped else 1e9
    scales = [min(1, bound / (norm / 8 + 1e-6)) / 8 for norm in norms]
    options = {"grad_scale": 8.0, "clip_norm": bound, "skip_nonfinite": True, "ema_decay": 0.9}
    found = list(validation.expected(Tail("some", options), start, history))
    for number, (params, averages) in enumerate(found):
        grads = [s * grads[number] for s, grads in zip(scales, history, strict=True)]
        del grads[2]
        path = [oracles.adamw(start[number], grads[:t])[0] for t in range(1, 4)]
        np.testing.assert_allclose(params[1:], path, rtol=1e-13)
        weights = [0.9**3, 0.1 * 0.9**2, 0.1 * 0.9, 0.1]
        average = np.tensordot(weights, [start[number], *path], axes=1)
        np.testing.assert_allclose(averages[-1], average, rtol=1e-13)


@each_contender
@pytest.mark.parametrize(
    ("name_of_option", "value", "message"),
    [
        ("grad_scale", 512.0, "array 0"),
        ("clip_norm", 3.0, "array 0"),
        ("clip_norm", None, "array 0"),
        ("ema_decay", 0.9995, "average 0"),
        ("zero_grads", None, "gradients, which are not zero"),
    ],
)
def test_validation_refuses_another_tail(name, name_of_option, value, message):
    changed = {**OPTIONS, name_of_option: value}
    other = Tail("other", {key: each for key, each in changed.items() if each is not None})
    with pytest.raises(RuntimeError, match=f"{name!r} with options 'all' is wrong in {message}"):
        validation.check(made(other, name)._replace(tail=ALL))


def test_validation_refuses_a_copy_that_is_rounded_otherwise():
    contender = made(ALL, "fused")

    def step():
        contender.step()
        contender.shadow[0].view(np.uint16)[3] ^= 1

    with pytest.raises(RuntimeError, match="copy 0"):
        validation.check(contender._replace(step=step))


@pytest.mark.parametrize(
    ("label", "fused", "torch"),
    [
        ("none", 28, 28),  # param, exp_avg, exp_avg_sq read and written, grad read
        ("grad_scale", 28, 32),  # PyTorch writes the unscaled gradient
        ("clip_norm", 32, 36),
        ("skip_nonfinite", 32, 32),
        ("ema_decay", 36, 40),  # PyTorch reads the parameter again
        ("shadow_dtype", 30, 34),
        ("zero_grads", 32, 32),
        ("accumulate_steps", 3 * 12 + 36, 3 * 12 + 28),  # PyTorch takes the first as the sum
        ("all", 46, 58),
    ],
)
def test_bytes(label, fused, torch):
    (tail,) = (tail for tail in TAILS if tail.label == label)
    for name, expected in zip(NAMES, (fused, torch), strict=False):
        contender = made(tail, name)
        contender.step()
        assert contender.bytes() == pytest.approx(expected, abs=0.01)  # a sum for 1024 elements


def test_contenders_and_their_memory():
    together = contenders(SEVERAL, NAMES)
    assert [(c.tail, c.name) for c in together] == [(t, name) for t in TAILS for name in NAMES]
    for name in NAMES:
        mine = [c for c in together if c.name == name]
        for c in mine:
            assert np.shares_memory(c.params[0], mine[0].params[0])
            assert np.shares_memory(c.grads[0][0], mine[0].grads[0][0])
    moments = 8 * len(together)
    assert needed(SEVERAL, NAMES) > SEVERAL.elements * (moments + 4 * len(NAMES) * 2)


# Timing


def test_what_goes_before_a_step_is_not_timed():
    now, taken = [0.0], []

    def lasting(name, duration):
        def step():
            taken.append(name)
            now[0] += duration

        return step

    steps = [lasting("a", 0.010), lasting("b", 0.0002)]
    fills = [lasting("fill a", 1.0), lasting("fill b", 2.0)]
    slow, quick = timing.measure(steps, before=fills, rounds=3, clock=lambda: now[0])
    assert slow[:3] == pytest.approx((0.010,) * 3)
    assert quick[:3] == pytest.approx((0.0002,) * 3)
    assert taken[::2] == [f"fill {name}" for name in taken[1::2]]
    assert taken.count("b") > 10 * 3  # several in a sample


# Reports


def measured(names):
    """A report with times of a plausible shape: what bytes take, and torch a little more."""
    rows = []
    for case in (one_array(10**6), one_array(2 * 10**7), many_arrays(40, 100_000)):
        together = [
            Contender(name, tail, None, lambda n=28 + 2 * k: n, [], [], 1.0, [], [])
            for k, tail in enumerate(TAILS)
            for name in names
        ]
        medians = [1e-9 * case.elements * c.bytes() * (1 + (c.name == "torch")) for c in together]
        rows += rows_of(case, together, [Timing(0.9 * t, t, 1.1 * t, 21) for t in medians])
    return Report(machine.describe(2), rows)


@pytest.fixture
def sample():
    return measured(["fused", "torch"])


def test_rows_derive_from_the_median(sample):
    row = sample.cases["2e7"]["grad_scale"]["torch"]
    assert (row.arrays, row.elements, row.bytes) == (1, 2 * 10**7, 30)
    assert row.gb_per_s == pytest.approx(0.5)  # 30 bytes in 60 ns
    assert row.to_plain == pytest.approx(30 / 28)
    assert row.to_fused == pytest.approx(2)
    assert sample.cases["2e7"][PLAIN.label]["torch"].to_plain == 1


def test_csv_round_trip(sample, tmp_path):
    path = tmp_path / "sample.csv"
    report.write_csv(sample, path)
    again = kinds.read_csv(path)
    assert isinstance(again, Report)
    assert [*again.cases] == ["1e6", "2e7", "40 x 100000"]
    assert report.to_csv(again) == report.to_csv(sample)
    assert again.digest == sample.digest


def test_tables(sample):
    told = kinds.kind_of(sample).tables
    text = tables.to_text(told.table(sample))
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"+ {name} " in text for name in OPTIONS)
    markdown = told.to_markdown(sample)
    assert markdown.startswith("| elements | fused | to plain | bytes | torch | to plain | bytes |")
    assert markdown.count("\n| + ") == 3 * (len(TAILS) - 1)
    plain, *_ = told.table(sample).groups[1]
    assert plain == ["2e7", "560 ms", "1.00x", "28", "1.12 s", "1.00x", "28", "2.0x"]
    costs, ratios = told.summary(sample).splitlines()
    assert costs.endswith("the plain step: 1.57x at 1e6, 1.57x at 2e7, 1.57x at 40 x 100000")
    assert ratios.endswith("relative to fused: 2.0x at 1e6, 2.0x at 2e7, 2.0x at 40 x 100000")
    assert "over 2e7 float32 elements is 2.0x as fast" in told.headline(sample)


def test_tables_without_torch():
    alone = measured(["fused"])
    told = kinds.kind_of(alone).tables
    assert told.table(alone).header == ["elements", "fused", "to plain", "bytes"]
    assert len(told.summary(alone).splitlines()) == 1


@pytest.mark.parametrize("names", [["fused", "torch"], ["fused"]], ids=len)
def test_chart_is_written(names, tmp_path):
    pytest.importorskip("matplotlib")
    from fastadam.bench.chart import is_drawn_from

    sample, path = measured(names), tmp_path / "tail.png"
    kinds.kind_of(sample).chart.write_chart(sample, path)
    assert is_drawn_from(sample.digest, path)


def test_documents_follow_the_results(sample, tmp_path):
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("charts", ROOT / "bench/charts.py")
    charts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(charts)
    (tmp_path / "bench/results").mkdir(parents=True)
    report.write_csv(sample, tmp_path / "bench/results/tail.csv")
    readme, views = tmp_path / "README.md", ("headline", "summary", "table")
    blocks = [f"<!-- bench:{view} tail -->\n<!-- /bench -->\n" for view in views]
    readme.write_text("\n".join(blocks))
    assert charts.main(["--check"], tmp_path) == 1
    assert charts.main([], tmp_path) == 0
    assert charts.main(["--check"], tmp_path) == 0
    assert (tmp_path / "docs/assets/tail.png").exists()
    text = readme.read_text()
    assert "\nWith gradients unscaled" in text
    assert "\ntorch with all options takes" in text
    assert "\n| + clip_norm | " in text


# The command


def parse(*arguments):
    parser = argparse.ArgumentParser(prog="fastadam bench")
    bench.add_arguments(parser)
    return parser.parse_args(["--tail", *arguments])


def test_command_end_to_end(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path, chart = tmp_path / "tail.csv", tmp_path / "tail.svg"
    arguments = ["--sizes", "100", "300", "--rounds", "1", "--no-small", "--threads", "1"]
    assert bench.run(parse(*arguments, "--csv", str(path), "--plot", str(chart))) == 0
    assert "relative to the plain step" in capsys.readouterr().out
    saved = kinds.read_csv(path)
    assert [*saved.cases] == ["100", "300"]
    for tails in saved.cases.values():
        assert [*tails] == [tail.label for tail in TAILS]
        assert all([*rows] == NAMES for rows in tails.values())
    assert chart.stat().st_size > 1000


def test_command_skips_what_does_not_fit(capsys, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 100_000)
    arguments = ["--sizes", "10", "--rounds", "1", "--no-torch"]
    assert bench.run(parse(*arguments)) == 0
    assert "Skipping 40 x 100000: it takes 0." in capsys.readouterr().err


def test_command_is_about_one_optimizer():
    with pytest.raises(SystemExit):
        parse("--optimizer", "lion")
