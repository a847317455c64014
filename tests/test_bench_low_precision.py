"""The benchmark of low precision: what is timed is right, and its bytes are counted."""

import argparse

import numpy as np
import pytest
from fastadam.bench.contenders import Case, load_torch, one_array
from fastadam.bench.low_precision import validation
from fastadam.bench.low_precision.configurations import CONFIGURATIONS, FLOAT32, INT8, SMALLEST
from fastadam.bench.low_precision.contenders import (
    PEERS,
    TORCH,
    Contender,
    contenders,
    names_for,
    needed,
    others,
)
from fastadam.bench.low_precision.report import Report, rows_of

from fastadam.bench import kinds, machine, report, tables
from fastadam.bench.timing import Timing
from fastadam.cli import bench, low_precision

pytest.importorskip("ml_dtypes")
NAMES = names_for(load_torch())
SMALL = one_array(5120)  # blocks of 256 fill it

each_contender = pytest.mark.parametrize("name", NAMES)


def made(name, case=SMALL):
    (contender,) = contenders(case, [name])
    return contender


@each_contender
@pytest.mark.parametrize("case", validation.cases(), ids=lambda case: case.label)
def test_validation_accepts(name, case):
    validation.validate(case, name)


def test_validation_accepts_others():
    for name in others(load_torch()):
        assert validation.obstacle(name) is None
        validation.validate(SMALL, name)


@each_contender
def test_validation_refuses_a_step_that_is_taken_twice(name):
    contender = made(name)

    def step():
        contender.step()
        contender.step()

    with pytest.raises(RuntimeError, match=f"{name!r} is wrong: off by"):
        validation.check(contender._replace(step=step))


def test_validation_refuses_parameters_that_stay():
    contender = made(INT8.label)
    with pytest.raises(RuntimeError, match="off by 1 of how far"):
        validation.check(contender._replace(step=lambda: None))


def test_an_obstacle_is_told(monkeypatch, capsys):
    monkeypatch.setitem(PEERS, "other", PEERS[TORCH]._replace(module="no_such_module"))
    assert not low_precision.runs("other")
    assert "other does not run here, and is left out: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "moved", "resident"),
    [
        ("float32", 28, 16),
        ("bfloat16 state", 20, 12),
        ("int8 state", 16 + 4 / 64, 10 + 2 / 64),  # codes; two scales for 256 elements
        ("bfloat16 gradients", 26, 14),
        ("bfloat16", 22, 12),
        ("bfloat16, stochastic", 22, 12),
        ("bfloat16, kahan", 26, 14),
        ("bfloat16, split16", 26, 14),
        ("bfloat16, split8", 24, 13),
        ("bfloat16, split8, int8 state", 12 + 4 / 64, 7 + 2 / 64),
        (TORCH, 28, 16),
    ],
)
def test_bytes(name, moved, resident):
    if name not in NAMES:
        pytest.skip("PyTorch is not installed")
    contender = made(name)
    contender.step()
    assert contender.bytes() == pytest.approx(moved, abs=2e-3)  # PyTorch's count of steps
    assert contender.resident() == pytest.approx(resident, abs=1e-3)


def test_contenders_and_their_memory():
    together = {contender.name: contender for contender in contenders(SMALL, NAMES)}
    assert [*together] == NAMES
    for configuration in CONFIGURATIONS:
        contender, first = together[configuration.label], together[FLOAT32.label]
        assert contender.params[0].dtype.name == configuration.param
        assert contender.grads[0].dtype.name == configuration.grad
        shared = np.shares_memory(contender.grads[0], first.grads[0])
        assert shared == (configuration.grad == "float32")
    assert needed(SMALL, NAMES) >= SMALL.elements * (10 * len(NAMES) + 20)


# Reports


def measured(names):
    """A report with times of a plausible shape: what bytes take, and PyTorch twice as long."""
    rows = []
    for case in (one_array(10**7), one_array(10**8), Case("1e7, others", (10**7,))):
        together = [
            Contender(name, 0.0, None, lambda n=28 - k: n, lambda n=16 - k: n, [], [], None)
            for k, name in enumerate(names)
        ]
        medians = [1e-9 * case.elements * c.bytes() * (1 + (c.name in PEERS)) for c in together]
        rows += rows_of(case, together, [Timing(0.9 * t, t, 1.1 * t, 21) for t in medians])
    return Report(machine.describe(2, *kinds.LOW_PRECISION.packages), rows)


@pytest.fixture
def sample():
    return measured([*names_for(torch=False), TORCH])


def test_rows_derive_from_the_median(sample):
    row = sample.cases["1e7"][INT8.label]
    assert (row.elements, row.bytes, row.resident) == (10**7, 26, 14)
    assert row.gb_per_s == pytest.approx(1)
    assert row.to_float32 == pytest.approx(26 / 28)


def test_csv_round_trip(sample, tmp_path):
    path = tmp_path / "sample.csv"
    report.write_csv(sample, path)
    again = kinds.read_csv(path)
    assert isinstance(again, Report)
    assert [*again.cases] == ["1e7", "1e8", "1e7, others"]
    assert report.to_csv(again) == report.to_csv(sample)
    assert again.digest == sample.digest


def test_tables(sample):
    told = kinds.kind_of(sample).tables
    text = tables.to_text(told.table(sample))
    assert all(f" {name} " in text for name in sample.cases["1e8"])
    assert told.to_markdown(sample).startswith("| elements | contender | resident | moved | time |")
    int8 = told.table(sample).groups[0][2]
    assert int8 == ["1e7", INT8.label, "14.00", "26.00", "260 ms", "1.00", "0.93x", "0.72x"]
    first, second, last = told.summary(sample).splitlines()
    assert first == "int8 state takes, relative to float32: " + ", ".join(
        f"0.93x at {case}" for case in sample.cases
    )
    assert second.startswith(f"{SMALLEST.label} takes, relative to float32: 0.68x at 1e7")
    assert last.startswith("torch fused takes, relative to float32: 1.29x at 1e7")
    assert "over 1e8 float32 parameters takes 93% of its time" in told.headline(sample)


def test_others_are_compared_with_int8_state():
    rows = measured([FLOAT32.label, INT8.label, SMALLEST.label, "bitsandbytes 8-bit"])
    last = kinds.kind_of(rows).tables.summary(rows).splitlines()[-1]
    assert last.startswith("bitsandbytes 8-bit takes, relative to int8 state: 1.85x at 1e7")


@pytest.mark.parametrize("names", [NAMES, names_for(torch=False)], ids=len)
def test_chart_is_written(names, tmp_path):
    pytest.importorskip("matplotlib")
    from fastadam.bench.chart import is_drawn_from

    sample, path = measured(names), tmp_path / "low-precision.png"
    kinds.kind_of(sample).chart.write_chart(sample, path)
    assert is_drawn_from(sample.digest, path)


# The command


def parse(*arguments):
    parser = argparse.ArgumentParser(prog="fastadam bench")
    bench.add_arguments(parser)
    return parser.parse_args(["--low-precision", *arguments])


def test_command_end_to_end(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(low_precision, "WITH_OTHERS", 0)
    path, chart = tmp_path / "low.csv", tmp_path / "low.svg"
    arguments = ["--sizes", "5120", "6400", "--rounds", "1", "--threads", "1"]
    assert bench.run(parse(*arguments, "--csv", str(path), "--plot", str(chart))) == 0
    assert "int8 state takes, relative to float32: " in capsys.readouterr().out
    saved = kinds.read_csv(path)
    assert [*saved.cases] == ["5120", "6400"]
    assert all([*rows] == NAMES for rows in saved.cases.values())
    assert chart.stat().st_size > 1000


def test_command_times_others_at_one_size(monkeypatch):
    from fastadam.bench.low_precision import contenders as made_here

    turns = []
    monkeypatch.setattr(made_here, "others", lambda torch: ["a peer"])
    monkeypatch.setattr(low_precision, "runs", lambda name: True)
    monkeypatch.setattr(low_precision, "validated", lambda names, show: None)
    monkeypatch.setattr(
        low_precision, "timed", lambda case, names, *_: turns.append((case.label, names)) or []
    )
    assert low_precision.rows(parse(), True, lambda label, fraction: None) == []
    assert [label for label, _ in turns] == ["1e7", "1e8", "1e7, others"]
    assert turns[-1][1] == [FLOAT32.label, INT8.label, TORCH, "a peer"]
