"""Parameters that the processes of a host share: the bits of one process, on any hosts."""

import threading

import numpy as np
import pytest
from ranks import results, run
from sharded_cases import assert_same_state, flat_of, gradients, off_of, parameters

import fastadam as fa
from fastadam.distributed import OtherProcessError, Sharded
from fastadam.processes import hosts
from fastadam.processes.hosts import Hosts

HERE = threading.local()  # the host that the process of this thread is on
HOSTS = ["aa", "aaa", "aab", "abab", "abbcb"]


@pytest.fixture(autouse=True)
def named_hosts(monkeypatch):
    monkeypatch.setattr(hosts, "host_name", lambda: HERE.name)


def on(names):
    """The results of a function of a communicator and the parameters that hosts share."""

    def decorated(function):
        def started(comm):
            HERE.name = names[comm.rank]
            return function(comm, fa.flatten(parameters().tree, shared=comm))

        return results(len(names), started)

    return decorated


@pytest.mark.parametrize("names", HOSTS)
@pytest.mark.parametrize("own", [False, True], ids=["messages", "opt.grads"])
def test_the_bits_of_one_process(names, own):
    options = {"lr": 0.01, "clip_norm": 0.5, "skip_nonfinite": True, "ema_decay": 0.9}
    alone = fa.AdamW(parameters(), state_dtype="int8", **options)
    infos = []
    for step in range(4):
        grads = gradients(step)
        grads["w"][3, 3] = np.inf if step == 1 else 1
        infos.append(alone.step(grads))

    @on(names)
    def found(comm, flat):
        opt = Sharded(fa.AdamW, flat, comm, bucket_bytes=9000, state_dtype="int8", **options)
        for step, info in enumerate(infos):
            grads = gradients(step, off=off_of(comm))
            grads["w"][3, 3] = np.inf if step == 1 else 1
            if own:
                for name, array in grads.items():
                    opt.grads[name][...] = array
            assert opt.step(None if own else grads) == info
            if own and info.updated:  # no other process writes here
                assert np.array_equal(opt.grads["w"], grads["w"])
        with opt.swap_ema():
            average = flat["w"].copy()
        return flat.buffer.copy(), opt.state_dict(), average

    for buffer, state, average in found:
        np.testing.assert_array_equal(buffer, flat_of(alone))
        np.testing.assert_array_equal(average, alone.ema["w"])
        assert_same_state(state, alone.state_dict())


def test_memory_is_there_once_per_host():
    @on("aab")
    def found(comm, flat):
        values = flat["w"][0, 0].copy()
        Hosts(comm)  # all have read
        if comm.rank == 1:
            flat["w"][0, 0] = 7
        groups = Hosts(comm).groups  # all wait here
        return values, flat["w"][0, 0].item(), groups

    start = parameters()["w"][0, 0]
    for rank, (before, after, groups) in enumerate(found):
        assert before == start
        assert after == (7 if rank < 2 else start)
        assert groups == [[0, 1], [2]]


def test_a_checkpoint_goes_both_ways(tmp_path):
    path, alone = tmp_path / "run.safetensors", fa.AdamW(parameters(), lr=0.01, accumulate_steps=2)
    for step in range(6):
        alone.step(gradients(step))

    @on("aab")
    def _(comm, flat):
        opt = Sharded(fa.AdamW, flat, comm, lr=0.01, accumulate_steps=2)
        for step in range(3):
            opt.step(gradients(step, off=off_of(comm)))
        fa.save(path, opt)

    @on("aaba")
    def found(comm, flat):
        opt = Sharded(fa.AdamW, flat, comm, lr=0.01, accumulate_steps=2)
        fa.load(path, opt)
        for step in range(3, 6):
            opt.step(gradients(step, off=off_of(comm)))
        return flat.buffer.copy()

    for buffer in found:
        np.testing.assert_array_equal(buffer, flat_of(alone))


def test_gradients_of_another_dtype_and_narrow_messages():
    """Small integers are exact in bfloat16."""
    ml_dtypes = pytest.importorskip("ml_dtypes")

    @on("aab")
    def found(comm, flat):
        opt = Sharded(fa.SGD, flat, comm, lr=1.0, comm_dtype="bfloat16", zero_grads=True)
        opt.grads.buffer[...] = comm.rank
        opt.step()
        assert not opt.grads.buffer.any()
        opt.step({name: g.astype(ml_dtypes.bfloat16) for name, g in gradients(0).items()})
        return flat["w"].copy()

    for array in found:
        np.testing.assert_array_equal(array, parameters()["w"] - 1 - gradients(0)["w"])


def test_what_is_refused():
    def refused(comm):
        HERE.name = "a"
        tree = parameters().tree
        errors = []
        for arguments in (
            {"tree": {"w": np.ones(3 + comm.rank)}},
            {"tree": {"w": "text"} if comm.rank else tree},
            {"tree": tree, "file": "somewhere"},
        ):
            try:
                fa.flatten(**arguments, shared=comm)
            except (ValueError, TypeError, OtherProcessError) as error:
                errors.append(f"{type(error).__name__}: {error}")
        flat = fa.flatten(tree, shared=comm)
        for make in (
            lambda: fa.AdamW(flat),
            lambda: Sharded(fa.AdamW, [{"params": [flat["w"], np.ones(3, "f4")]}], comm),
            lambda: Sharded(fa.AdamW, flat if comm.rank else tree, comm),
        ):
            try:
                make()
            except ValueError as error:
                errors.append(f"{type(error).__name__}: {error}")
        return errors

    first, second = run(2, refused)
    assert len(first) == len(second) == 6
    assert "the shapes in tree is" in first[0]
    assert first[1].startswith("OtherProcessError")
    assert second[1].startswith("TypeError")
    assert "file='somewhere' with shared" in first[2]
    assert "2 processes share" in first[3]
    assert "some of params are in memory that processes share" in first[4]
    assert "shared memory is True in process 1" in first[5]


def test_too_little_memory(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)

    def make(comm):
        HERE.name = "a"
        fa.flatten(parameters().tree, shared=comm)

    first, second = run(2, make)
    assert isinstance(first, OSError)
    assert "No space left on device" in str(first)
    assert isinstance(second, OtherProcessError)
