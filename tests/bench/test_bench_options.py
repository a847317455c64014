"""Contenders of the suite of options: each is right, and its bytes are counted."""

from dataclasses import replace

import numpy as np
import oracles
import pytest

from fastadam.bench import validation
from fastadam.bench.measurement import OURS
from fastadam.bench.options import (
    ALL,
    OPTION_SETS,
    OPTIONS,
    OptionSet,
    contenders,
    names_for,
    needed,
    validate,
)
from fastadam.bench.torch_contenders import load_torch
from fastadam.bench.workload import Case, Contender, one_array
from fastadam.kernels.cpu.threads import SERIAL_BELOW

pytest.importorskip("ml_dtypes")
NAMES = names_for(load_torch())
SMALL, SEVERAL = one_array(257), Case("several", (5, 64, 1, 33))
CASES = (SMALL, SEVERAL, one_array(SERIAL_BELOW + 3))

each_contender = pytest.mark.parametrize("name", NAMES)
each_set = pytest.mark.parametrize("chosen", OPTION_SETS, ids=lambda each: each.label)


def made(chosen, name, case=SMALL):
    (contender,) = contenders(case, [name], [chosen])
    return contender


@each_contender
@each_set
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_validation_accepts(chosen, name, case):
    validate(case, chosen, name)


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
    contender = Contender("some", print, [], [], options=options)
    found = list(validation.expected(contender, validation.from_paper, start, history))
    for number, (params, averages) in enumerate(found):
        grads = [s * grads[number] for s, grads in zip(scales, history, strict=True)]
        del grads[2]
        path = [oracles.adamw(start[number], grads[:t])[0] for t in range(1, 4)]
        # some dozens of float64 roundings
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
    other = OptionSet("other", {key: each for key, each in changed.items() if each is not None})
    with pytest.raises(RuntimeError, match=rf"{name!r} \(other\) is wrong in {message}"):
        validation.check(replace(made(other, name), options=OPTIONS))


def test_validation_refuses_a_copy_that_is_rounded_otherwise():
    contender = made(ALL, OURS)

    def step():
        contender.step()
        contender.shadow[0].view(np.uint16)[3] ^= 1

    with pytest.raises(RuntimeError, match="copy 0"):
        validation.check(replace(contender, step=step))


@pytest.mark.parametrize(
    ("label", "ours", "torch"),
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
def test_bytes(label, ours, torch):
    (chosen,) = (each for each in OPTION_SETS if each.label == label)
    for name, expected in zip(NAMES, (ours, torch), strict=False):
        contender = made(chosen, name)
        contender.step()
        assert contender.bytes() == pytest.approx(expected, abs=0.01)  # a sum for 1024 elements


def test_contenders_and_their_memory():
    together = contenders(SEVERAL, NAMES)
    expected = [(each.label, name) for each in OPTION_SETS for name in NAMES]
    assert [(c.config, c.name) for c in together] == expected
    for name in NAMES:
        mine = [c for c in together if c.name == name]
        for c in mine:
            assert np.shares_memory(c.params[0], mine[0].params[0])
            assert np.shares_memory(c.grads[0], mine[0].grads[0])
    moments = 8 * len(together)
    assert needed(SEVERAL, NAMES) > SEVERAL.elements * (moments + 4 * len(NAMES) * 2)
