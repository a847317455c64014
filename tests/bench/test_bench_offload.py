"""The suite of offloaded training: its contenders are right, and its table says what it should."""

import numba
import pytest

pytest.importorskip("torch")

from fastadam.bench import offload, suites
from fastadam.bench.measurement import OURS, Report
from fastadam.bench.workload import Request, many_arrays, one_array
from fastadam.cli import main


@pytest.fixture(autouse=True)
def _in_plain_python(monkeypatch):
    """Few elements: nothing is to be compiled for them."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)


KEYS = [("float32", OURS), ("bfloat16, split8, int8 state", OURS), ("float32", offload.TORCH)]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_contenders_are_right(key):
    offload.validate(many_arrays(2, 90), key)


def test_sizes_are_timed_in_one_array_and_in_many(monkeypatch):
    monkeypatch.setattr(offload, "runs_here", lambda key: False)
    plan = offload.plan(Request([1000, 3 * 10**7], torch=True))
    assert [turn.case.elements for turn in plan.turns] == [1000, 3 * 10**7, 3 * 10**7]
    assert [len(turn.case.sizes) for turn in plan.turns] == [1, 1, 1000]


def test_the_table_compares_with_torch(capsys):
    case = one_array(200)
    turn = suites.Turn("offload", case, 0, lambda: offload.contenders(case, KEYS))
    rows = list(suites.timed("offload", turn, lambda *_: None, 1.0, 1))
    report = Report({}, rows)
    assert [row.bytes for row in rows] == [28, 24, 40]
    assert "speed-up vs torch" in str(offload.table(report))
    assert "relative to the time of torch fused + casts" in offload.summary(report)
    assert suites.suite_of(report) is offload.SUITE


def test_the_command_knows_the_suite(capsys):
    assert main(["bench", "--offload", "--tail"]) == 2
    assert "not allowed with" in capsys.readouterr().err
