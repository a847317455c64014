"""Files of sharded optimizers: one for all processes, which loads into any number of them."""

import os

import numpy as np
import pytest
from ranks import results, run
from sharded_cases import assert_same_state, flat_of, gradients, off_of, parameters

import fastadam as fa
from fastadam.checkpoint import atomic
from fastadam.distributed import OtherProcessError, Sharded

OPTIONS = {
    "lr": 0.01,
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "accumulate_steps": 2,
    "state_dtype": "int8",
}


def made(comm, **options):
    """A sharded optimizer, or with no communicator one in this process alone."""
    if comm is None:
        return fa.AdamW(parameters(), **OPTIONS, **options)
    return Sharded(fa.AdamW, parameters(), comm, bucket_bytes=9000, **OPTIONS, **options)


def stepped(opt, steps, off=0.0):
    for step in steps:
        opt.step(gradients(step, off=off))
    return opt


def saved_by(path, size, steps=5):
    """Save after an odd number of micro-batches: within a window."""

    def save(comm):
        opt = stepped(made(comm), range(steps), off_of(comm))
        fa.save(path, opt, extra={"epoch": 3})

    results(size, save)


def assert_like(opt, alone):
    np.testing.assert_array_equal(flat_of(opt), flat_of(alone))
    assert_same_state(opt.state_dict(), alone.state_dict())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def test_a_file_of_three_processes_is_that_of_one(path, tmp_path):
    saved_by(path, 3)
    fa.save(tmp_path / "alone", stepped(made(None), range(5)), extra={"epoch": 3})
    many, one = fa.load(path), fa.load(tmp_path / "alone")
    assert many.metadata == one.metadata
    assert many.keys() == one.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(many[name], array)
        assert many[name].dtype == array.dtype


@pytest.mark.parametrize("size", [1, 2, None])
def test_a_file_of_three_processes_goes_on_in_others(path, size):
    saved_by(path, 3)
    alone = stepped(made(None), range(8))

    def go_on(comm):
        opt = made(comm)
        assert fa.load(path, opt).extra == {"epoch": 3}
        stepped(opt, range(5, 8), off_of(comm) if comm else 0.0)
        assert_like(opt, alone)

    go_on(None) if size is None else results(size, go_on)


def test_the_copy_in_low_precision_is_that_of_the_loaded_parameters(path):
    saved_by(path, 3, steps=2)

    def load(comm):
        opt = made(comm, shadow_dtype="float16")
        fa.load(path, opt)
        rounded = flat_of(opt).astype(np.float16)
        np.testing.assert_array_equal(opt.gather_shadow().buffer, rounded)

    results(2, load)


def test_a_file_or_arrays_of_one_process_go_on_in_several(path):
    one = stepped(made(None), range(5))
    fa.save(path, one)
    flat = fa.flat_state(one)
    stepped(one, range(5, 8))

    def go_on(comm):
        for source in (path, flat):
            opt = made(comm)
            fa.load(source, opt)
            if source is flat:
                assert fa.flat_state(opt).keys() == flat.keys()
            assert_like(stepped(opt, range(5, 8), off_of(comm)), one)

    results(2, go_on)


@pytest.mark.parametrize("where", ["create", "write", "rename"])
def test_an_error_in_one_process_is_raised_in_all_and_leaves_the_old_file(path, where, monkeypatch):
    saved_by(path, 3)
    before = path.read_bytes()
    failing = 1 if where == "write" else 0

    def full(*_):
        raise OSError(28, "No space left on device")

    if where == "create":
        monkeypatch.setattr(atomic, "_created", full)
    if where == "rename":
        monkeypatch.setattr(os, "replace", full)

    def save(comm):
        opt = stepped(made(comm), range(2), off_of(comm))

        def limited(done, total):
            if comm.rank == failing and where == "write" and done == total:
                full()

        fa.save(path, opt, progress=limited)

    errors = run(3, save)
    assert [type(e) for e in errors] == [
        OSError if rank == failing else OtherProcessError for rank in range(3)
    ]
    assert str(path) in str(errors[failing])
    assert "No space left" in str(errors[2])
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda rank: {"extra": {"rank": rank}}, "extra is .* in process 1"),
        (lambda rank: {"extra": object() if rank else None}, "extra is <object"),
        (lambda rank: {"progress": rank or None}, "progress=1 must be a function"),
    ],
)
def test_arguments_that_differ_or_are_wrong_in_one_process(path, arguments, message):
    def save(comm):
        fa.save(path, made(comm), **arguments(comm.rank))

    for error in run(2, save):
        assert isinstance(error, ValueError | TypeError | OtherProcessError)
        with pytest.raises(type(error), match=message):
            raise error
    assert not path.exists()


@pytest.mark.parametrize("wrong", ["missing", "damaged", "other"])
def test_a_file_that_one_process_cannot_load_changes_none(path, tmp_path, wrong):
    saved_by(path, 2)
    bad = tmp_path / "bad"
    data = bytearray(path.read_bytes())
    if wrong == "damaged":
        data[-1] ^= 1
        bad.write_bytes(data)
    if wrong == "other":
        saved_by(bad, 2, steps=6)

    def load(comm):
        opt = stepped(made(comm), range(1), off_of(comm))
        before, params = opt.state_dict(), flat_of(opt)
        try:
            fa.load(bad if comm.rank else path, opt)
        except (OSError, ValueError, OtherProcessError) as error:
            np.testing.assert_array_equal(flat_of(opt), params)
            assert_same_state(opt.state_dict(), before)
            return type(error)

    expected = {"missing": FileNotFoundError, "damaged": ValueError, "other": ValueError}[wrong]
    other = ValueError if wrong == "other" else OtherProcessError
    assert results(2, load) == [other, expected]
