"""Memory budgets, compared with the arrays that exist."""

import re
from itertools import chain

import numpy as np
import pytest
from cases import CASES, EVERY, FORMATS
from processes import output

import fastadam as fa
from fastadam import optimizers
from fastadam.engine.budget import EXTRAS, moved_by, shown
from fastadam.memory.dtypes import named

pytestmark = pytest.mark.usefixtures("in_plain_python")
SMALL = 512
SIZES = (600, SMALL, 300, 1)  # more and less than min_quantized_size, whole blocks and not
LOW = {"state_dtype": "int8", "compensation": "split8", "min_quantized_size": SMALL}
OPTIONS = [
    {},
    {"ema_decay": 0.9, "zero_grads": True},
    {"shadow_dtype": "bfloat16", "clip_norm": 1.0},
    {"accumulate_steps": 3, "skip_nonfinite": True},
    {"accumulate_steps": 2, "clip_norm": 1.0, "ema_decay": 0.9, "zero_grads": True},
]


def stepped(optimizer, formats, **options):
    """An optimizer after an update, and its gradients."""
    params = [np.ones(size, named(formats.param)) for size in SIZES]
    grads = [np.ones(size, named(formats.grad)) for size in SIZES]
    low = {"compensation": formats.compensation, "rounding": formats.rounding}
    if formats.param not in ("bfloat16", "float16"):
        low = {}
    options = {"min_quantized_size": SMALL} | low | options
    opt = optimizer(params, state_dtype=formats.state, **options)
    for _ in range(options.get("accumulate_steps", 1)):
        opt.step(grads)
    return opt, grads


def nbytes(arrays):
    return sum(array.nbytes for array in arrays if array is not None)


def measured(opt, grads):
    """The bytes of the arrays that there are."""
    compensation = opt.state.get("compensation", [])
    state = [arrays for name, arrays in opt.state.items() if name != "compensation"]
    has = opt._engine.options
    return {
        "params": nbytes(opt.params),
        "grads": nbytes(grads),
        "state": nbytes(chain(*state)),
        "compensation": nbytes(compensation),
        "ema": opt.ema.buffer.nbytes if has.ema_decay else 0,
        "shadow": opt.shadow.buffer.nbytes if has.shadow_dtype else 0,
        "sums": nbytes(opt._engine.accumulator.sums) if has.accumulates else 0,
        "matrices": 0,  # test_muon.py counts them
    }


def said(budget):
    return {name: getattr(budget, name) for name in ("params", "grads", "state", *EXTRAS)}


@pytest.mark.parametrize("formats", FORMATS.values(), ids=FORMATS)
def test_memory_is_that_of_the_arrays(formats):
    opt, grads = stepped(fa.AdamW, formats)
    budget, there = opt.memory(), measured(opt, grads)
    assert said(budget) == there
    assert budget.total == sum(there.values())
    assert budget.n_params == sum(SIZES)
    assert (budget.plain.total, budget.plain.plain) == (16 * sum(SIZES), None)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_memory_of_what_options_keep(options):
    opt, grads = stepped(fa.AdamW, FORMATS["half gradients"], **options)
    assert said(opt.memory()) == measured(opt, grads)
    assert opt.memory().plain.total == 16 * sum(SIZES)


VARIANTS = [case for case in CASES if {"amsgrad", "centered", "momentum"} & case.hyper.keys()]


@pytest.mark.parametrize("case", EVERY + VARIANTS, ids=lambda case: case.id)
def test_a_plan_is_what_comes_true(case):
    factors = case.optimizer.without_arrays().rule.matrices  # of which a plan knows nothing
    shape = (2, SMALL // 2) if factors else (SMALL,)
    w, options = np.ones(shape, named("bfloat16")), dict(LOW)
    if case.optimizer.without_arrays().variant({**case.optimizer.defaults, **case.hyper}).exact:
        del options["state_dtype"]
    opt = case.optimizer(w, **case.hyper, **options)
    plan = fa.plan(float(SMALL), case.optimizer, params="bfloat16", **case.hyper, **options)
    rows = (*opt.rule.row_state, *(factors.state if factors else ()))  # nor of these
    assert plan == opt.memory() or rows
    opt.step(np.ones(shape, w.dtype))
    assert said(opt.memory()) == measured(opt, [w])
    numbers = sum(opt.state[name][0].nbytes for name in rows)
    assert said(opt.memory()) == said(plan) | {"state": plan.state + numbers}
    assert plan.dtypes == opt.memory().dtypes or rows


def test_memory_follows_the_gradients_and_the_groups():
    w = np.ones(4, named("bfloat16"))
    opt = fa.SGD([{"params": w}, {"params": np.ones(2, np.float32), "momentum": 0.9}])
    assert (opt.memory().grads, opt.memory().state) == (4 * 2 + 2 * 4, 2 * 4)
    opt.step([np.ones(4, np.float32), None])
    assert opt.memory().grads == 4 * 4 + 2 * 4
    assert opt.memory().dtypes["params"] == "bfloat16, float32"


def test_eight_bit_state_takes_little_more_than_two_bytes():
    """Two codes and two scales of 4 bytes for 256; besides, five bytes."""
    opt, grads = stepped(fa.AdamW, FORMATS["split8, int8"])
    state = {name: arrays[1] for name, arrays in opt.state.items()}
    compensation = state.pop("compensation")
    assert nbytes(state.values()) <= 2.1 * SMALL
    assert nbytes([*state.values(), compensation, opt.params[1], grads[1]]) <= 7.1 * SMALL
    assert fa.plan(1e7, "adam", state_dtype="int8").state <= 2.1e7
    assert fa.plan(1e7, params="bfloat16", **LOW).total <= 7.1e7


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("formats", [FORMATS["half gradients"], FORMATS["int8 state"]], ids=str)
def test_what_is_moved_is_what_kernels_move(formats, options):
    opt, _ = stepped(fa.AdamW, formats, min_quantized_size=0, **options)
    size, steps = sum(SIZES), options.get("accumulate_steps", 1)
    update, *ahead = (k for k in opt._kernels() if k.streams[1].storage.compute == "float32")
    sums = [k for k in ahead if k.streams[0].mode == "rw"]
    norms = [k for k in ahead if k not in sums]  # of all micro-batches but the last, if two
    expected = moved_by(update.streams) + sum((steps - 1) * moved_by(k.streams) for k in sums)
    for kernel in norms:
        last = steps == 1 or "grad_sum" in {stream.name for stream in kernel.streams}
        expected += (1 if last else steps - 1) * moved_by(kernel.streams)
    assert opt.memory().moved / size == pytest.approx(expected, rel=1e-12)


def test_an_adamw_step_moves_28_bytes():
    assert fa.plan(10).moved == 280
    assert fa.plan(10, clip_norm=1.0).moved == pytest.approx(320, rel=1e-3)  # sums: 8 for 1024


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((-1,), {}, "n_params=-1 must be >= 0"),
        ((1.5,), {}, "n_params=1.5"),
        (("many",), {}, "n_params='many'"),
        ((float("nan"),), {}, "n_params=nan"),
        ((10**400,), {}, "must be below"),
        ((1e9, "adamwz"), {}, "unknown optimizer 'adamwz'; did you mean AdamW"),
        ((1e9, None), {}, "None is not an optimizer; give its name or its class"),
        ((1e9,), {"params": "int8"}, "params='int8' must be 'float32'"),
        ((1e9,), {"grads": "half"}, "grads='half'"),
        ((1e9,), {"grads": "float64"}, "for float64 parameters"),
        ((1e9,), {"params": ["float32"]}, r"params=\['float32'\] must be"),
        ((1e9,), {"state_type": "int8"}, "did you mean 'state_dtype'"),
        ((1e9, fa.Optimizer), {}, "is not an optimizer"),
        ((1e9,), {"state_dtype": "int4"}, "state_dtype='int4'"),
        ((1e9,), {"compensation": "split8"}, "for bfloat16 parameters"),
        ((1e9,), {"rounding": "stochastic"}, "for bfloat16 and float16 parameters"),
        ((1e9,), {"params": "bfloat16", "shadow_dtype": "bfloat16"}, "for float32 parameters"),
        ((1e9,), {"mass": 1}, "unexpected keyword 'mass'"),
        ((1e9, "sgd"), {"nesterov": True}, "requires a momentum"),
        ((1e9, "sgd"), {"momentum": -1.0}, "momentum=-1.0 must be >= 0"),
    ],
)
def test_bad_plans_are_refused(arguments, keywords, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fa.plan(*arguments, **keywords)


def test_a_budget_prints_as_a_table():
    budget = fa.plan(7e9, params="bfloat16", **LOW)
    head, *lines = str(budget).splitlines()
    assert "plain float32" in head
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[0] for line in lines] == [
        *("params", "grads", "state", "compensation", "total", "moved")
    ]
    assert "int8, float32 / 256" in lines[2]
    assert "float32" not in str(budget.plain).splitlines()[0]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (38400, "38.4 kB"), (7e12, "7 TB")]
)
def test_bytes_are_shown_with_a_unit(number, text):
    assert shown(number) == text


def test_planning_needs_no_compiler_and_no_bfloat16():
    code = (
        "import sys, fastadam as fa\n"
        "fa.plan(7e9, params='bfloat16', state_dtype='int8', compensation='kahan')\n"
        "print({'numba', 'ml_dtypes', 'torch'} & {*sys.modules})"
    )
    assert output(code) == "set()"


STATED = re.compile(r"Per float32 element: (\d+) bytes of state, (\d+) bytes of traffic per step")
WITH = re.compile(r"(\d+) and (\d+) with `(\w+)`")


@pytest.mark.parametrize("name", optimizers.__all__)
def test_docstrings_state_the_bytes_of_a_plan(name):
    """State and traffic in the docstring of each optimizer, with the flags that add state."""
    text = " ".join(getattr(fa, name).__doc__.split())
    stated = [({}, *STATED.search(text).groups())]
    for *numbers, flag in WITH.findall(text):
        stated.append(({flag: 0.9 if flag == "momentum" else True}, *numbers))
    for keywords, state, traffic in stated:
        budget = fa.plan(1000, name, **keywords)
        assert (budget.state, budget.moved) == (1000 * int(state), 1000 * int(traffic))


@pytest.mark.parametrize(
    ("name", "state", "traffic"),
    [("AdamW", 8, 28), ("RowwiseAdagrad", 0, 12), ("AdamMini", 4, 20), ("LAMB", 8, 44)],
)
def test_listed_bytes_leave_out_numbers_of_rows(name, state, traffic):
    # float32: parameter and states are read and written, the gradient is read; a second pass of
    # LAMB reads them all once more, 4 * 4 bytes.
    listed = next(each for each in fa.optimizers.list() if each.name == name)
    assert (listed.state_bytes, listed.traffic) == (state, traffic)
