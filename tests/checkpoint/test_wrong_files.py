"""Files and arguments that are refused: damaged, of other parameters, of another program."""

import json
import os
import random
import zlib

import numpy as np
import pytest
from saved_values import TWO, moment

pytest.importorskip("ml_dtypes")

from checkpoints import INT8, TAIL, F, grouped, trained, tree

import fastadam as fa
from fastadam.checkpoint import layout


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p, o: fa.save(p, o, extra={"x": object()}), TypeError, r"extra\['x'\] is <object"),
        (lambda p, o: fa.save(p, o, extra={1: 2}), TypeError, "extra is {1: 2}"),
        (lambda p, o: fa.save(p, o, extra=np.ones(2)), TypeError, "extra is array"),
        (lambda p, o: fa.save(p, "opt"), TypeError, "optimizer='opt'"),
        (lambda p, o: fa.save(p, fa.AdamW), TypeError, "give an optimizer"),
        (lambda p, o: fa.save(p, o, progress=1), TypeError, "progress=1"),
        (lambda p, o: fa.save(b"x", o), TypeError, "path=b'x'"),
        (lambda p, o: fa.save(p.parent, o), IsADirectoryError, "a folder"),
        (lambda p, o: fa.save(p / "x" / "y", o), OSError, "does not exist"),
        (lambda p, o: fa.load(p, o), FileNotFoundError, "run.safetensors"),
        (lambda p, o: fa.load(p, [o]), TypeError, "optimizer=.AdamW"),
    ],
)
def test_wrong_arguments(call, error, message, path):
    with pytest.raises(error, match=message):
        call(path, fa.AdamW(np.ones(3, F)))
    assert not os.listdir(path.parent)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: fa.AdamW({**tree(0), "w": np.ones((7, 3), F)}), "shape"),
        (lambda: fa.AdamW(tree(0, np.float64), **TWO), "float64 in the optimizer"),
        (lambda: fa.AdamW({"v": np.ones(2, F)}, ema_decay=0.5), "parameters"),
        (lambda: fa.AdamW(dict(zip("abcd", tree(0).values(), strict=True))), "param_names"),
        (lambda: fa.AdamW(tree(0)), "ema_decay; give it one$"),
        (lambda: fa.AdamW(tree(0), ema_decay=0.5), "accumulate_steps=1; give it a larger one$"),
        (lambda: fa.SGD(tree(0), ema_decay=0.5, accumulate_steps=2), "betas"),
        (grouped, "param_groups"),
    ],
)
@pytest.mark.usefixtures("in_plain_python")
def test_a_file_of_other_parameters_changes_nothing(other, message, path):
    fa.save(path, trained(**TAIL))
    opt = other()
    before = moment(opt)
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        fa.load(path, opt)
    assert str(path) in str(caught.value)
    assert moment(opt) == before


def test_nothing_is_loaded_or_saved_inside_swap_ema(path):
    opt = trained(ema_decay=0.5)
    fa.save(path, opt)
    with opt.swap_ema():
        for act in (fa.save, fa.load):
            with pytest.raises(RuntimeError, match="swap_ema"):
                act(path, opt)


def changed(text, number):
    """A file with one kind of damage: a flipped bit, a cut, bytes put in, moved or repeated."""
    rng = random.Random(number)
    at, kind = rng.randrange(len(text)), number % 8
    if kind < 5:
        bit = bytes([text[at] ^ 1 << rng.randrange(8)])
        return text[:at] + bit + text[at + 1 :]
    if kind == 5:
        return text[:at]
    if kind == 6:
        return text[:at] + rng.randbytes(rng.randrange(1, 20)) + text[at:]
    return text[:at] + text[-1:] * 8 + text[at + 8 :]


def test_damaged_files_are_refused(path):
    opt = trained(**INT8)
    fa.save(path, opt)
    text = path.read_bytes()
    header = int.from_bytes(text[:8], "little") + 8
    before = moment(opt)
    refused = 0
    for number in range(520):
        wrong = changed(text, number)
        if number % 2:  # half of them in the header
            wrong = changed(text[:header], number) + text[header:]
        if wrong == text:
            continue
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"run\.safetensors: "):
            fa.load(path, opt)
        refused += 1
    assert refused >= 500
    assert moment(opt) == before


def rewritten(path, change):
    """A file with another header, whose own checksum is right."""
    text = path.read_bytes()
    length = int.from_bytes(text[:8], "little")
    header = json.loads(text[8 : 8 + length])
    change(header)
    changed = layout.dumped(header).encode()
    changed = layout._with_crc(changed, layout.NO_CRC)
    changed = layout._with_crc(changed, f"{zlib.crc32(changed):08x}")
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + text[8 + length :])


def first(header):
    return header[[*header][1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["__metadata__"].update(version="2"), "newer fastadam"),
        (lambda h: h["__metadata__"].update(version="x"), "version='x'"),
        (lambda h: h["__metadata__"].update(format="pt"), "not written by fastadam"),
        (lambda h: h["__metadata__"].pop("format"), "not written by fastadam"),
        (lambda h: h["__metadata__"].update(crc32="{}"), "checksums"),
        (lambda h: h["__metadata__"].update(groups="{"), "groups"),
        (lambda h: h["__metadata__"].update(params='["w"]'), "do not match"),
        (lambda h: h["__metadata__"].pop("steps"), "do not match"),
        (lambda h: first(h).update(dtype="F64"), "entry"),
        (lambda h: first(h).update(dtype="F8_E4M3"), "entry"),
        (lambda h: first(h).update(shape=[-1]), "entry"),
        (lambda h: first(h).update(shape=[True, 21]), "entry"),
        (lambda h: first(h).update(data_offsets=[0]), "entry"),
        (lambda h: first(h).update(data_offsets=[84, 168]), "begins at byte"),
        (lambda h: h.update({[*h][1]: []}), "entry"),
        (lambda h: h.popitem(), "too long|begins at byte"),
    ],
)
def test_headers_that_are_wrong_are_refused(change, message, path):
    opt = trained()
    fa.save(path, opt)
    rewritten(path, change)
    before = moment(opt)
    with pytest.raises(ValueError, match=message) as caught:
        fa.load(path, opt)
    assert str(path) in str(caught.value)
    assert moment(opt) == before


def test_a_file_of_another_program_is_refused(path):
    pytest.importorskip("safetensors.numpy").save_file({"w": np.ones(3)}, path)
    with pytest.raises(ValueError, match="not written by fastadam"):
        fa.load(path)
    for text in (b"", b"1234567", bytes(8), b"PK\3\4" + bytes(100)):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=r"run\.safetensors"):
            fa.load(path)


def test_checks_can_be_left_out(path):
    opt = trained()
    fa.save(path, opt)
    text = path.read_bytes()
    path.write_bytes(text[:-1] + b"\x7f")
    with pytest.raises(ValueError, match="damaged"):
        fa.load(path, opt)
    fa.load(path, opt, verify=False)


def test_a_repeated_name_is_refused(path):
    fa.save(path, trained())
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"param/w":{"dtype"', b'"param/b":{"dtype"'))
    with pytest.raises(ValueError, match="repeated"):
        fa.load(path)
