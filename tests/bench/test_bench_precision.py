"""Contenders of the suite of precision: each is right, and its bytes are counted."""

from dataclasses import replace

import numpy as np
import pytest

from fastadam.bench import precision, torch_contenders, validation
from fastadam.bench.measurement import OURS
from fastadam.bench.precision import (
    CONFIGURATIONS,
    FLOAT32,
    IN_AND_OUT,
    IN_AND_OUT_IN_TORCH,
    IN_TORCH,
    INT8,
    contenders,
    key_of,
    keys_for,
    needed,
    runs_here,
    small_cases,
    validate,
)
from fastadam.bench.torch_contenders import PEERS, installed_peers, load_torch
from fastadam.bench.workload import Request, one_array

pytest.importorskip("ml_dtypes")
KEYS = keys_for(load_torch())
SMALL = one_array(5120)  # blocks of 256 fill it

each_contender = pytest.mark.parametrize("key", KEYS, ids=" of ".join)


def made(key, case=SMALL):
    (contender,) = contenders(case, [key])
    return contender


def check(contender):
    validation.check(contender, compare=validation.check_mean_square)


@each_contender
@pytest.mark.parametrize("case", small_cases(), ids=lambda case: case.label)
def test_validation_accepts(key, case):
    validate(case, key)


@pytest.mark.filterwarnings("ignore")  # those of other libraries
def test_validation_accepts_others():
    for key in map(key_of, installed_peers() if load_torch() else []):
        assert runs_here(key)
        validate(SMALL, key)


@each_contender
def test_validation_refuses_a_step_that_is_taken_twice(key):
    contender = made(key)

    def step():
        contender.step()
        contender.step()

    with pytest.raises(RuntimeError, match="is wrong in the parameters: off by"):
        check(replace(contender, step=step))


def test_validation_refuses_parameters_that_stay():
    contender = made((INT8.label, OURS))
    with pytest.raises(RuntimeError, match="off by 1 of the update"):
        check(replace(contender, step=lambda: None))


def test_an_obstacle_is_told(monkeypatch, capsys):
    other = PEERS[0]._replace(name="other", module="no_such_module")
    monkeypatch.setattr(precision, "PEERS", (other,))
    assert not runs_here(key_of(other))
    assert "other 8-bit does not run here, and is left out: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "traffic", "resident"),
    [
        ("float32", 28, 16),
        ("bfloat16 state", 20, 12),
        ("int8 state", 16 + 4 / 64, 10 + 2 / 64),  # codes; two scales for 256 elements
        ("bfloat16 gradients", 26, 14),
        ("bfloat16 gradients in, bfloat16 copy out", 28, 16),
        ("torch, bfloat16 gradients in, bfloat16 copy out", 40, 20),  # two conversions more
        ("bfloat16", 22, 12),
        ("bfloat16, stochastic", 22, 12),
        ("bfloat16, kahan", 26, 14),
        ("bfloat16, split16", 26, 14),
        ("bfloat16, split8", 24, 13),
        ("bfloat16, split8, int8 state", 12 + 4 / 64, 7 + 2 / 64),
        ("torch fused", 28, 16),
    ],
)
def test_bytes(label, traffic, resident):
    in_torch = {"torch fused": IN_TORCH, f"torch, {IN_AND_OUT.label}": IN_AND_OUT_IN_TORCH}
    key = in_torch.get(label, (label, OURS))
    if key not in KEYS:
        pytest.skip("PyTorch is not installed")
    contender = made(key)
    contender.step()
    # bytes per element, of which the table has three digits
    assert contender.bytes() == pytest.approx(traffic, abs=1e-3)
    assert contender.resident() == pytest.approx(resident, abs=1e-3)


def test_contenders_and_their_memory():
    together = {(each.config, each.name): each for each in contenders(SMALL, KEYS)}
    assert [*together] == KEYS
    for configuration in CONFIGURATIONS:
        contender, first = (together[each.label, OURS] for each in (configuration, FLOAT32))
        assert contender.params[0].dtype.name == configuration.param
        assert contender.grads[0].dtype.name == configuration.grad
        shared = np.shares_memory(contender.grads[0], first.grads[0])
        assert shared == (configuration.grad == "float32")
    assert needed(SMALL, KEYS) >= SMALL.elements * (10 * len(KEYS) + 20)


def test_others_are_timed_at_one_size(monkeypatch):
    monkeypatch.setattr(precision, "installed_peers", lambda: torch_contenders.PEERS[:1])
    monkeypatch.setattr(precision, "runs_here", lambda key: True)
    plan = precision.plan(Request([10**7, 10**8], torch=True))
    assert [turn.case.label for turn in plan.turns] == ["1e7", "1e8", "1e7, others"]
    peer = ("8-bit", "bitsandbytes")
    (keys,) = plan.turns[-1].make.args[1:]
    assert keys == [(FLOAT32.label, OURS), (INT8.label, OURS), IN_TORCH, peer]
    assert {check.run.args[1] for check in plan.checks} == {*keys_for(torch=True), peer}
