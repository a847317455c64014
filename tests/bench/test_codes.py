"""The comparison of codes for state: they keep what they say, and all that is shown is measured."""

import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE, CHART, PAGE = "bench/results/codes.csv", "docs/assets/codes.png", "docs/low-precision.md"


@pytest.fixture(scope="module")
def codes():
    for package in ("matplotlib", "ml_dtypes", "rich", "sklearn", "threadpoolctl"):
        pytest.importorskip(package)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "bench"))
        yield importlib.import_module("codes")


@pytest.fixture
def repository(tmp_path):
    for path in (TABLE, CHART, PAGE):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / PAGE).write_text("before\n<!-- codes -->\n<!-- /codes -->\nafter\n")
    return tmp_path


def values(kind, decades=4.0):
    """A block per row, spread over so many decades below the largest value, which is 1."""
    rng = np.random.default_rng(0)
    size = 10 ** -rng.uniform(0, decades, (64, 256))
    size[:, 0] = 1
    signs = rng.choice((-1, 1), size.shape) if kind == "m" else 1
    return (size * signs).astype(np.float32)


def decoded(code, blocks, step=1):
    stored = code.encode(blocks, step)
    return stored, code.decode(stored)


def test_committed_chart_and_table_are_those_of_the_data(codes, capsys):
    assert codes.main(["--check"]) == 0, capsys.readouterr().out


def test_a_code_keeps_a_byte_per_value_and_at_most_12_bytes_per_block(codes):
    for name, code in codes.CODES.items():
        if name not in ("float32", "bfloat16"):
            stored = code.encode(values("m"), 1)
            assert (stored.codes.dtype, stored.codes.shape) == (np.uint8, (64, 256))
            assert stored.scales.nbytes <= 12 * 64


def test_zeros_stay_zero(codes):
    for code in codes.CODES.values():
        for zero in (0.0, -0.0):
            blocks = np.full((1, 256), 0.0, np.float32)
            blocks[0, 3] = zero
            assert not decoded(code, blocks)[1].any()


@pytest.mark.parametrize("kind", ["m", "v"])
def test_four_decades_within_a_step_of_the_logarithm(codes, kind):
    blocks = values(kind)
    for name in ("shift", "offset", "between"):
        error = abs(decoded(codes.CODES[name], blocks)[1] / blocks - 1)
        assert error.max() < 1 / 7  # a step is at most an eighth of the number above it
    error = abs(decoded(codes.CODES["shift, nearest"], blocks)[1] / blocks - 1)
    assert error.max() < 1 / 15  # half a step
    assert (decoded(codes.CODES["shift"], blocks)[1][:, 0] == blocks[:, 0]).all()


def test_stochastic_rounding_is_unbiased_below_the_smallest_code_too(codes):
    blocks, steps = values("m", decades=6), 400
    for name in ("shift, unbiased below", "offset"):
        found = np.mean([decoded(codes.CODES[name], blocks, step)[1] for step in range(steps)], 0)
        # near the smallest code, 2^-15.9 of the largest, one number deviates by as much as that:
        # the mean of all errors by no more than 5 / sqrt(number of draws) of it, and 2 % where a
        # step crosses an octave, with linear interpolation of a bent line
        low = abs(blocks) < 2.0**-16
        signed = (found - blocks) * np.sign(blocks)
        assert abs(signed[low].mean()) < 5 * 2.0**-16 / np.sqrt(low.sum() * steps)
        assert abs(signed / abs(blocks))[~low].mean() < 0.02


def test_no_code_without_sign_loses_a_value_but_those_as_published(codes):
    blocks = values("v", decades=12)
    lost = {n for n, c in codes.CODES.items() if (decoded(c, blocks)[1] == 0).any()}
    assert lost == {"linear", "companded", "tree", "float8"}


def test_all_is_tried_the_same_every_time_and_drawn(codes, repository, monkeypatch, capsys):
    few = {name: codes.CODES[name] for name in ("float32", "shift")}
    monkeypatch.setattr(codes, "CODES", few)
    table = repository / TABLE

    def measured():
        assert codes.main(["--quick", "--jobs", "1"], repository) == 0
        return [line for line in table.read_text().splitlines() if not line.startswith("#")]

    first = measured()
    page = (repository / PAGE).read_text()
    assert [line for line in page.splitlines() if line.startswith("| **shift**")]
    assert (page[:7], page[-6:], page.count("\n|")) == ("before\n", "after\n", 4)
    assert codes.main(["--check"], repository) == 0
    with monkeypatch.context() as patch:
        patch.setattr(codes, "CODES", {"shift": few["shift"]})
        again = codes.measured(codes.QUICK, 1).splitlines()
    rows = [[line for line in lines if line.startswith("shift,")] for lines in (first, again)]
    assert rows[0] == rows[1] != []

    table.write_text(table.read_text().replace("shift,bytes,state,1", "shift,bytes,state,9"))
    capsys.readouterr()
    outcomes = [codes.main([option], repository) for option in ("--check", "--draw", "--check")]
    assert outcomes == [1, 0, 0]
    said = capsys.readouterr().out.split()
    assert said[:4] == ["stale:", CHART, "stale:", PAGE]
    assert said[-4:] == ["fresh:", CHART, "fresh:", PAGE]
