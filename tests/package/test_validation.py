"""Scalar arguments and names of arguments: what is accepted, and what messages say."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

import fastadam as fa
from fastadam.validation import check_known, dtype_name, meant_by


class ListLike(Sequence):
    """As the lists that configuration libraries read from files."""

    def __init__(self, *items):
        self._items = items

    def __getitem__(self, position):
        return self._items[position]

    def __len__(self):
        return len(self._items)


BETAS = [[0.5, 0.75], (0.5, 0.75), np.array([0.5, 0.75]), np.array([0.5, 0.75], np.float32)]
BETAS += [ListLike(0.5, 0.75), (np.float32(0.5), Fraction(3, 4))]


@pytest.mark.parametrize("betas", BETAS, ids=lambda betas: type(betas).__name__)
def test_any_sequence_of_two_is_a_pair(betas):
    opt = fa.AdamW(np.ones(2), betas=betas)
    group = fa.AdamW([{"params": np.ones(2), "betas": betas}])
    arrays = [np.ones(2), np.ones(2), np.zeros(2), np.zeros(2)]
    fa.functional.adamw(*arrays, step=1, betas=betas)
    for each in (opt, group):
        assert each.param_groups[0]["betas"] == (0.5, 0.75)
        assert type(each.param_groups[0]["betas"]) is tuple


@pytest.mark.parametrize(
    "betas",
    [0.9, "ab", {0: 0.5, 1: 0.75}, {0.5, 0.75}, [0.5], np.ones((2, 1)), np.array(0.5), None],
)
def test_other_things_are_no_pair(betas):
    with pytest.raises(TypeError, match=r"(?s)betas=.* must be 2 numbers"):
        fa.AdamW(np.ones(2), betas=betas)


@pytest.mark.parametrize("yes", [True, np.True_, 1, np.int64(1), np.array(True)])
def test_flags(yes):
    opt = fa.AdamW(np.ones(2), amsgrad=yes, skip_nonfinite=yes)
    assert opt.param_groups[0]["amsgrad"] is True
    assert "skip_nonfinite=True" in repr(opt)
    for name in ("amsgrad", "skip_nonfinite"):
        for wrong in ("yes", 1.0, 2, -1, None, np.ones(2), np.float64(1), np.ma.masked):
            with pytest.raises(TypeError, match=rf"{name}=.* must be True or False"):
                fa.AdamW(np.ones(2), **{name: wrong})


@pytest.mark.parametrize(
    "lr", [0.5, np.float32(0.5), np.array(0.5), Fraction(1, 2), np.float16(0.5)]
)
def test_numbers(lr):
    assert fa.SGD(np.ones(2), lr=lr).step(np.ones(2)).lr == 0.5
    assert fa.SGD(np.ones(2)).step(np.ones(2), lr=lr).lr == 0.5
    assert fa.schedules.constant(lr)(1) == 0.5
    for wrong in (True, np.True_, np.array(True), "1", 1j, [0.5], np.array([0.5]), np.ma.masked):
        with pytest.raises(TypeError, match=r"lr=.* must be a number"):
            fa.SGD(np.ones(2), lr=wrong)


@pytest.mark.parametrize("two", [2, 2.0, np.int8(2), np.float32(2), np.array(2)])
def test_counts(two):
    shown = repr(fa.SGD(np.ones(2), threads=two, accumulate_steps=two, seed=two))
    assert "threads=2, accumulate_steps=2, seed=2" in shown
    assert fa.schedules.cosine(0.1, steps=two) == fa.schedules.cosine(0.1, steps=2)
    assert fa.plan(two).n_params == 2
    arrays = [np.ones(2), np.ones(2), np.zeros(2), np.zeros(2)]
    fa.functional.adamw(*arrays, step=two)
    assert fa.LossScaler(growth_interval=two).state_dict()["growth_interval"] == 2


@pytest.mark.parametrize("name", ["int8", np.int8, np.dtype("int8")])
def test_dtypes(name):
    assert fa.plan(1e6, state_dtype=name).state == fa.plan(1e6, state_dtype="int8").state
    assert "state_dtype='int8'" in repr(fa.AdamW(np.ones(2), state_dtype=name))
    assert dtype_name(np.dtype("float16")) == dtype_name(np.float16) == "float16"
    assert [dtype_name(x) for x in (None, "x", 3, ["float32"])] == [None, "x", 3, ["float32"]]
    for wrong in (3, "int4", np.int16, object(), ["int8"], np.ones(2, np.int8)):
        with pytest.raises(ValueError, match=r"state_dtype=.* must be None, 'float32'"):
            fa.AdamW(np.ones(2), state_dtype=wrong)


def test_dtypes_of_other_libraries():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert dtype_name(ml_dtypes.bfloat16) == dtype_name(np.dtype(ml_dtypes.bfloat16)) == "bfloat16"
    assert fa.plan(8, params=ml_dtypes.bfloat16).params == 16
    torch = pytest.importorskip("torch")
    assert dtype_name(torch.bfloat16) == "bfloat16"
    opt = fa.AdamW(np.ones(2, np.float32), shadow_dtype=torch.float16, state_dtype=torch.int8)
    assert opt.shadow.buffer.dtype == np.float16


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("learning_rate", "lr"),
        ("wd", "weight_decay"),
        ("weight_deacy", "weight_decay"),
        ("beta1", "betas"),
        ("max_grad_norm", "clip_norm"),
        ("clip_nrom", "clip_norm"),
        ("state", "state_dtype"),
        ("epsilon", "eps"),
        ("zzz", None),
        (3, None),
    ],
)
def test_the_name_that_was_meant(name, meant):
    known = ["lr", "betas", "eps", "weight_decay", "clip_norm", "state_dtype"]
    assert meant_by(name, known) == meant
    text = f"f\\(\\) got an unexpected keyword {name!r}; " + (
        f"did you mean '{meant}'" if meant else ""
    )
    with pytest.raises(TypeError, match=f"^{text}.*[Vv]alid: lr, betas"):
        check_known([name], known, "f()")


def test_hyperparameters_are_looked_at_before_parameters():
    for make in (lambda **wrong: fa.AdamW("no array", **wrong), lambda **w: fa.AdamW([], **w)):
        with pytest.raises(ValueError, match=r"^lr=-1 must be >= 0$"):
            make(lr=-1)
        with pytest.raises(TypeError, match="did you mean 'lr'"):
            make(learning_rate=1)


def test_schedules_that_cannot_be_called_name_their_hyperparameter():
    groups = [{"params": np.ones(2)}, {"params": np.ones(2), "lr": lambda: 0.1}]
    with pytest.raises(
        TypeError, match=r"^param_groups\[1\]: lr=<.* of one argument, the step: .*0 pos"
    ):
        fa.SGD(groups)
    with pytest.raises(TypeError, match=r"betas=<.* of one argument"):
        fa.AdamW(np.ones(2), betas=(lambda a, b: 0.9, 0.99))
    with pytest.raises(TypeError, match="lr=cosine is a class; call it"):
        fa.AdamW(np.ones(2), lr=fa.schedules.cosine)
    with pytest.raises(TypeError, match=r"^unsupported operand"):  # of the schedule itself
        fa.SGD(np.ones(2), lr=lambda step: "a" - step)


def test_the_constant_that_is_too_large_is_named():
    with pytest.raises(
        ValueError, match=r"returned lr=1e\+300, too large for float32; .* such as lr"
    ):
        fa.SGD(np.ones(2, np.float32), lr=1e300).step(np.ones(2, np.float32))


def test_the_base_class_is_no_optimizer():
    for make in (lambda: fa.Optimizer(np.ones(2)), lambda: fa.functional.bare(fa.Optimizer)):
        with pytest.raises(TypeError, match=r"such as fastadam\.AdamW"):
            make()
    with pytest.raises(TypeError, match="defaults is None; give a dict"):
        type("Wrong", (fa.SGD,), {"defaults": None})


def test_settings_that_are_equal_but_of_another_type_are_looked_at_again():
    arrays = [np.ones(4) for _ in range(4)]
    fa.functional.adamw(*arrays, step=1, lr=1.0, betas=(0.0, 0.5))
    for wrong in ({"lr": True}, {"lr": 1 + 0j}, {"lr": 1.0, "betas": (False, 0.5)}):
        with pytest.raises(TypeError, match=next(reversed(wrong))):
            fa.functional.adamw(*arrays, step=2, **{"lr": 1.0, "betas": (0.0, 0.5), **wrong})
    fa.functional.adamw(*arrays, step=1, amsgrad=False)
    with pytest.raises(TypeError, match=r"amsgrad=0\.0"):
        fa.functional.adamw(*arrays, step=2, amsgrad=0.0)


def test_all_options_that_are_not_defaults_are_shown():
    assert repr(fa.SGD(np.ones(2))).count("\n") == 2
    opt = fa.SGD([np.ones(2, np.float32)], clip_norm=1, ema_decay=0.5, state_dtype="int8")
    *_, last, _ = repr(opt).splitlines()
    assert last == "  options: clip_norm=1.0, ema_decay=0.5, state_dtype='int8'"
    assert "  1 array, 2 elements: lr=" in repr(opt)


def test_the_reason_of_a_compiler_is_short():
    numbers = [1.0, 2.0]
    for rule in (lambda p, g, s, h: (p - numbers[0] * g, s), lambda p, g, s, h: (p if g else h, s)):
        made = fa.rule(hyper=("lr",))(rule)
        functions = {"rule": made, "defaults": {"lr": 0.1}, "hyper": lambda self, g, s: {"lr": 0.1}}
        with pytest.raises(
            TypeError, match=r"rule <lambda> cannot be compiled|a kernel compiles constants"
        ) as raised:
            type("Made", (fa.Optimizer,), functions)(np.ones(3)).step(np.ones(3))
        assert len(str(raised.value)) < 700
        assert "nopython" not in str(raised.value)
