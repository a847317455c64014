"""Copies of the parameters: exponential moving average and shadow."""

import copy
import pickle
import sys
from contextlib import suppress

import numpy as np
import pytest
from cases import gradients, parameters
from tails import arrays, ml_dtypes, rounded, same

import fastadam as fa
from fastadam.kernels.scalar.float16 import float32_to_bfloat16, float32_to_float16


def test_the_average_has_the_bits_of_its_formula():
    param = parameters(40, np.float32)
    opt = fa.SGD(param, lr=0.1, ema_decay=0.99)
    want = param.copy()
    np.testing.assert_array_equal(opt.ema.buffer, want)
    for grad in gradients(40, 5, np.float32):
        opt.step(grad)
        want = want + np.float32(1 - 0.99) * (param - want)
        np.testing.assert_array_equal(opt.ema.buffer, want)


def test_the_average_may_warm_up():
    param = np.zeros(1)
    opt = fa.SGD(param, lr=1.0, ema_decay=0.5, ema_warmup=True)
    want = 0.0
    for step in range(1, 15):
        opt.step(np.array([-1.0]))
        want += (1 - min(0.5, (1 + step) / (10 + step))) * (param[0] - want)
        # the same operations in float64, of which one may be fused: four last bits
        assert opt.ema.buffer[0] == pytest.approx(want, rel=1e-15)


def test_the_average_has_the_structure_of_the_parameters():
    tree = {"w": np.ones((2, 3), np.float32), "b": [np.zeros(3, np.float32)]}
    opt = fa.AdamW(tree, ema_decay=0.9)
    assert opt.ema.tree["w"].shape == (2, 3)
    assert opt.ema.tree["b"][0].dtype == np.float32


def test_a_missing_gradient_leaves_the_average_alone():
    opt = fa.SGD([np.zeros(2), np.zeros(2)], lr=1.0, ema_decay=0.5)
    opt.step([np.ones(2), np.ones(2)])
    opt.step([np.ones(2), None])
    assert [leaf[0] for leaf in opt.ema.leaves] == [-1.25, -0.5]


def test_masked_elements_are_averaged_where_they_are():
    param = np.zeros(2)
    opt = fa.SGD(param, lr=1.0, ema_decay=0.5)
    opt.step(np.ones(2))
    opt.step(np.ones(2), mask=np.array([True, False]))
    assert opt.ema.buffer.tolist() == [-1.25, -0.75]


def test_parameters_and_average_change_places():
    params = arrays(0)
    opt = fa.AdamW(params, ema_decay=0.9, shadow_dtype="bfloat16")
    for step in range(3):
        opt.step(arrays(step + 1))
    kept, averages = copy.deepcopy(params), [leaf.copy() for leaf in opt.ema.leaves]
    with suppress(KeyError), opt.swap_ema():
        same(params, averages)
        same(opt.ema.leaves, kept)
        for shadow, average in zip(opt.shadow.leaves, averages, strict=True):
            np.testing.assert_array_equal(
                shadow.view(np.uint16), rounded(average, ml_dtypes.bfloat16)
            )
        for wrong in (
            lambda: opt.step(arrays(1)),
            opt.state_dict,
            lambda: opt.load_state_dict({}),
            lambda: opt.add_param_group({"params": np.ones(2, np.float32)}),
            lambda: pickle.dumps(opt),
            lambda: opt.swap_ema().__enter__(),
        ):
            with pytest.raises(RuntimeError, match="swap_ema"):
                wrong()
        raise KeyError
    same(params, kept)
    same(opt.ema.leaves, averages)
    opt.step(arrays(5))


def test_new_groups_are_averaged_from_where_they_are():
    opt = fa.SGD(np.zeros(2), lr=1.0, ema_decay=0.5, accumulate_steps=2)
    for _ in range(3):
        opt.step(np.ones(2))
    opt.add_param_group({"params": np.full(3, 7.0)})
    assert [leaf.tolist() for leaf in opt.ema.leaves] == [[-0.5, -0.5], [7, 7, 7]]
    opt.step([np.ones(2), np.ones(3)])
    assert [leaf.tolist() for leaf in opt.ema.leaves] == [[-1.25, -1.25], [6.75] * 3]


@pytest.mark.parametrize("name", ["ema", "shadow"])
def test_what_was_not_asked_for_is_not_there(name):
    opt = fa.AdamW(np.ones(2, np.float32))
    assert not hasattr(opt, name)
    with pytest.raises(AttributeError, match=name):
        getattr(opt, name)
    with pytest.raises(AttributeError, match="ema_decay"), opt.swap_ema():
        pass


def test_codes_of_all_kinds_of_numbers():
    bits = np.arange(0, 2**32, 65_521, dtype=np.uint64).astype(np.uint32)
    special = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 1, 0x477FF000], "u4")
    halfway = (np.arange(0x30000000, 0x49000000, 1 << 15) | 0x8000).astype(np.uint32)
    for value in np.concatenate([bits, special, halfway]).view(np.float32)[::5]:
        for encode, dtype in (
            (float32_to_bfloat16, ml_dtypes.bfloat16),
            (float32_to_float16, np.float16),
        ):
            with np.errstate(all="ignore"):
                code, want = encode(value), value.astype(dtype)
            if np.isnan(value):
                assert np.isnan(np.uint16(code).view(dtype))
            else:
                assert code == want.view(np.uint16)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_shadow_is_there_from_the_start_and_follows_what_is_loaded(dtype):
    flat = fa.flatten({"w": parameters((3, 3), np.float32)})
    opt = fa.AdamW(flat, shadow_dtype=dtype)
    kind = opt.shadow.tree["w"].dtype
    assert kind.name == dtype
    np.testing.assert_array_equal(opt.shadow.buffer.view(np.uint16), rounded(flat.buffer, kind))
    flat.buffer[:] = 1e6  # too large for float16
    with np.errstate(all="ignore"):
        opt.load_state_dict(opt.state_dict())
        np.testing.assert_array_equal(opt.shadow.buffer.view(np.uint16), rounded(flat.buffer, kind))


def test_bfloat16_without_ml_dtypes_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r"fastadam\[bfloat16\]"):
        fa.AdamW(np.ones(2, np.float32), shadow_dtype="bfloat16")


def test_an_average_is_not_dropped_silently():
    saved = fa.SGD(np.zeros(2), ema_decay=0.5).state_dict()
    with pytest.raises(ValueError, match="ema_decay"):
        fa.SGD(np.zeros(2)).load_state_dict(saved)
    window = fa.SGD(np.zeros(2), accumulate_steps=2)
    window.step(np.ones(2))
    with pytest.raises(ValueError, match="accumulate_steps"):
        fa.SGD(np.zeros(2)).load_state_dict(window.state_dict())


def test_dtypes_of_which_there_can_be_no_copy_are_refused():
    mixed = [np.zeros(2), np.zeros(2, np.float32)]
    with pytest.raises(TypeError, match="ema_decay"):
        fa.AdamW(mixed, ema_decay=0.9)
    with pytest.raises(TypeError, match=r"shadow_dtype.*float64"):
        fa.AdamW(np.zeros(2), shadow_dtype="float16")
    opt = fa.AdamW(mixed[1], ema_decay=0.9)
    with pytest.raises(TypeError, match="ema_decay"):
        opt.add_param_group({"params": mixed[0]})
    assert len(opt.param_groups) == 1
