"""Parameters and state in files: the bits of memory, resuming, refusals, kills, memory in use."""

import ctypes
import errno
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import file_kills
import numpy as np
import pytest

import fastadam as fa
from fastadam.kernels.commit import commit
from fastadam.memory.files import advice, mapping, windows

SIZES = {"w": (300, 1000), "b": (77,)}
INT8 = {"state_dtype": "int8", "min_quantized_size": 0}
TAIL = {"clip_norm": 1.0, "ema_decay": 0.9, "shadow_dtype": "float16"}
linux = pytest.mark.skipif(not advice.LINUX, reason="hints are those of Linux")


def tree(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in SIZES.items()}


def opened(folder, cls=fa.AdamW, dtype=np.float32, **options):
    flat = fa.flatten(tree(dtype=dtype), file=folder / "weights.bin")
    return flat, cls(flat, lr=0.01, state_file=folder / "state.bin", **options)


def moment(opt, params):
    """Everything that an optimizer keeps, as bytes."""
    saved = opt.state_dict()
    arrays = [params, *(getattr(opt, n).buffer for n in ("ema", "shadow") if hasattr(opt, n))]
    entries = [*saved["state"].values(), saved.get("accumulated", {}).get("grads", {})]
    arrays += [entry[name] for entry in entries for name in sorted(entry, key=str)]
    return [np.asarray(array).tobytes() for array in arrays]


@pytest.fixture
def small_windows(monkeypatch):
    """Files of any size take several windows."""
    monkeypatch.setattr(windows.Residency, "exceeded", property(lambda self: advice.LINUX))
    monkeypatch.setattr(windows.Residency, "window", property(lambda self: 1 << 18))


CASES = {
    "adamw": (fa.AdamW, {}),
    "tail": (fa.AdamW, TAIL),
    "int8": (fa.AdamW, INT8),
    "sums": (fa.AdamW, {"accumulate_steps": 2, "skip_nonfinite": True, "zero_grads": True}),
    "carried": (fa.NAdam, {}),
    "started": (fa.Adagrad, {"initial_accumulator_value": 0.1}),
    "started codes": (fa.Adagrad, {"initial_accumulator_value": 0.1, **INT8}),
    "uncounted": (fa.SGD, {"momentum": 0.9}),
    "split": (fa.AdamW, {"compensation": "split8", **INT8}),
}


@pytest.mark.parametrize("name", CASES)
def test_files_have_the_bits_of_memory_and_resume(name, tmp_path, small_windows):
    cls, options = CASES[name]
    dtype = np.float32
    if name == "split":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    flat = fa.flatten(tree(dtype=dtype))
    opt = cls(flat, lr=0.01, **options)
    for seed in range(5):
        opt.step(tree(seed, dtype))
    in_file, other = opened(tmp_path, cls, dtype, **options)
    assert in_file.created
    assert in_file.file == str(tmp_path / "weights.bin")
    for seed in range(5):
        if seed == 3:  # with "sums" in the middle of a window of micro-batches
            del in_file, other
            in_file, other = opened(tmp_path, cls, dtype, **options)
            assert not in_file.created
        other.step(tree(seed, dtype))
    assert moment(other, in_file.buffer) == moment(opt, flat.buffer)


@linux
def test_a_step_takes_several_windows(tmp_path, small_windows):
    flat, opt = opened(tmp_path)
    opt.step(tree(1))
    (launch,) = opt._engine.plan._launches
    cut = launch.table.windows._windows
    assert len(cut) > 3
    assert [window.first for window in cut[1:]] == [window.last for window in cut[:-1]]
    assert cut[-1].last == len(launch.table.chunks)
    assert sum(p.stop - p.start for w in cut for p in w.parts) == 12 * flat.buffer.size


def test_gradients_may_be_in_files(tmp_path, small_windows):
    flat, opt = opened(tmp_path, clip_norm=1.0)
    grads = fa.flatten(tree(1), file=tmp_path / "grads.bin")
    own = np.memmap(tmp_path / "own.bin", np.float32, "w+", shape=(grads.buffer.size,))
    private = np.memmap(tmp_path / "own.bin", np.float32, "c", shape=own.shape)
    own[:] = grads.buffer
    own.flush()
    for given in (grads, own, private):
        opt.step(given)
        assert np.array_equal(np.asarray(given), grads.buffer)
    params = fa.flatten(tree())
    other = fa.AdamW(params, lr=0.01, clip_norm=1.0)
    for _ in range(3):
        other.step(tree(1))
    assert moment(opt, flat.buffer) == moment(other, params.buffer)


def resident(path):
    """The bytes of a file that are in the page cache."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        marks = np.zeros(-(-len(pages) // advice.PAGE), np.uint8)
        start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        function = ctypes.CDLL(None).mincore
        function(*map(ctypes.c_void_p, (start, len(pages), marks.ctypes.data)))
        return int((marks & 1).sum()) * advice.PAGE


def mapped():
    """The bytes of files that are mapped in this process, and in memory."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssFile:\s+(\d+) kB", status)[1]) << 10


@linux
def test_memory_in_use_stays_below_the_limit(tmp_path):
    limit, size = 1 << 25, 10_000_000  # 120 MB of files
    flat = fa.flatten(np.broadcast_to(np.float32(0), (size,)), file=tmp_path / "weights.bin")
    opt = fa.AdamW(flat, state_file=tmp_path / "state.bin", resident_bytes=limit)
    grad = np.ones(size, np.float32)
    opt.step(grad)
    before, most, done = mapped(), [0], threading.Event()

    def watch():
        while not done.wait(0.001):
            most[0] = max(most[0], mapped())

    thread = threading.Thread(target=watch)
    thread.start()
    for _ in range(2):
        opt.step(grad)
    done.set()
    thread.join()
    assert 0 < most[0] - before < limit
    assert resident(flat.file) + resident(tmp_path / "state.bin") < limit
    assert (flat.buffer == flat.buffer[0]).all()


def test_a_killed_process_leaves_one_moment_or_says_what_was_in_progress():
    assert file_kills.outcomes(8, seed=3).total() == 8


@linux
def test_an_interrupt_waits_for_the_end_of_a_step(tmp_path, small_windows):
    flat, opt = opened(tmp_path)
    opt.step(tree(0))
    seen, kill = windows.Windows.operations, ctypes.CDLL(None).kill
    kill.restype = None  # as that of all operations; `os.kill` would let the handler run at once

    def interrupted(self, limit, threaded):
        found = seen(self, limit, threaded)
        half = len(found) // 2
        return [*found[:half], partial(kill, os.getpid(), signal.SIGINT), *found[half:]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows.Windows, "operations", interrupted)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
        try:
            with pytest.raises(KeyboardInterrupt):
                opt.step(tree(1))
        finally:
            signal.signal(signal.SIGINT, before)
    params = fa.flatten(tree())
    other = fa.AdamW(params, lr=0.01)
    for seed in (0, 1):
        other.step(tree(seed))
    assert moment(opt, flat.buffer) == moment(other, params.buffer)
    assert mapping.mapping_of(flat.buffer).journal.read()["count"] == 2


def test_a_file_in_progress_is_refused(tmp_path):
    flat, opt = opened(tmp_path)
    opt.step(tree(1))
    commit(opt._engine.files.begun("step 2"))
    del flat, opt
    with pytest.raises(ValueError, match=r"weights.bin: step 2 was in progress .* fastadam.load"):
        opened(tmp_path)


def test_swap_ema_and_loading_are_in_progress_meanwhile(tmp_path):
    flat, opt = opened(tmp_path, ema_decay=0.9)
    opt.step(tree(1))
    read = mapping.mapping_of(flat.buffer).journal.read
    with opt.swap_ema():
        assert read() == {"in_progress": "swap_ema()"}
    assert read()["count"] == 1
    saved = opt.state_dict()
    opt.step(tree(2))
    opt.load_state_dict(saved)
    assert read()["count"] == 1
    opt.load_state_dict({**saved, "state": {}})
    assert opt.steps == 0
    del flat, opt, read
    _, opt = opened(tmp_path, ema_decay=0.9)
    opt.step(tree(1))
    other = fa.AdamW([np.zeros(77, np.float32)])
    other.step([tree(1)["b"]])
    assert np.array_equal(opt.state["exp_avg"]["b"], other.state["exp_avg"][0])


def test_checkpoints_load_into_files(tmp_path):
    flat, opt = opened(tmp_path)
    opt.step(tree(1))
    fa.save(tmp_path / "run.safetensors", opt)
    expected = moment(opt, flat.buffer)
    opt.step(tree(2))
    del flat, opt
    for name in ("weights.bin", "state.bin"):
        (tmp_path / name).unlink()
    flat, opt = opened(tmp_path)
    fa.load(tmp_path / "run.safetensors", opt)
    del flat, opt
    flat, opt = opened(tmp_path)
    assert moment(opt, flat.buffer) == expected


def refused(match, act, kind=ValueError):
    with pytest.raises(kind, match=match):
        act()


def test_other_files_are_refused_and_left_as_they_are(tmp_path):
    path = tmp_path / "weights.bin"
    for content, match in ((b"", "is empty"), (b"my thesis", "is not one of fastadam's files")):
        path.write_bytes(content)
        refused(match, lambda: fa.flatten(tree(), file=path))
        assert path.read_bytes() == content
    path.unlink()
    flat, opt = opened(tmp_path)
    opt.step(tree(1))
    refused("weights.bin is in use", lambda: fa.flatten(tree(), file=path))
    refused("state.bin is in use", lambda: fa.AdamW(tree(), state_file=tmp_path / "state.bin"))
    refused("no room for more parameters", lambda: opt.add_param_group({"params": [np.ones(3)]}))
    refused("neither pickled nor copied", opt.__reduce__, TypeError)
    flat.close()
    refused("weights.bin was closed", lambda: opt.step(tree(1)))
    opt.close()
    before = path.read_bytes()
    for other, match in (
        ({"w": tree()["w"]}, "it has 'b' besides"),
        ({**tree(), "c": np.ones(2, np.float32)}, "it lacks 'c'; it has 'w', 'b'"),
        ({"w": tree()["w"], "b": np.ones(78, np.float32)}, r"'b' is float32 of shape \(77,\), not"),
        ({name: array.astype(float) for name, array in tree().items()}, "'w' is float32 of shape"),
        (dict(reversed(tree().items())), "in another order"),
    ):
        refused(match, lambda tree=other: fa.flatten(tree, file=path))
    assert path.read_bytes() == before
    state = tmp_path / "state.bin"
    refused("it holds the state of AdamW, not of Lion", lambda: fa.Lion(tree(), state_file=state))
    refused("it lacks 'max_exp_avg_sq/w'", lambda: fa.AdamW(tree(), state_file=state, amsgrad=True))
    refused("it holds state, not parameters", lambda: fa.flatten(tree(), file=state))
    refused("resident_bytes=1 must be >= 33554432", lambda: fa.AdamW(tree(), resident_bytes=1))
    refused("state_file=3 is not a path", lambda: fa.AdamW(tree(), state_file=3), TypeError)
    by_row = {"state_file": tmp_path / "rows.bin", "lazy": "rows"}
    refused("no room for counts by row", lambda: fa.AdamW(tree(), **by_row))


def test_state_of_other_weights_is_refused(tmp_path):
    flat, opt = opened(tmp_path)
    opt.step(tree(1))
    older = (tmp_path / "weights.bin").read_bytes()
    opt.step(tree(2))
    del flat, opt
    (tmp_path / "weights.bin").write_bytes(older)
    refused("the state after step 2, but .* after step 1 of it", lambda: opened(tmp_path))
    (tmp_path / "weights.bin").unlink()
    refused("never by a step", lambda: opened(tmp_path))


def test_damaged_files_are_refused(tmp_path):
    flat, opt = opened(tmp_path)
    opt.step(tree(1))
    data = mapping.mapping_of(flat.buffer)._data
    del flat, opt
    path = tmp_path / "weights.bin"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    path.write_bytes(whole[:-1])
    refused("weights.bin is damaged: it has", lambda: fa.flatten(tree(), file=path))
    header = whole[: 4096 + 600]
    used = [k for k, byte in enumerate(header) if byte]
    for place in rng.choice(used, 500):
        bad = bytearray(whole)
        bad[place] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        refused("weights.bin (is|has)", lambda: fa.flatten(tree(), file=path))
    for start in (data - 8192, data - 4096):  # the two records; only the last is in force
        assert whole[start : start + 16].strip(b"\0")
        bad = bytearray(whole)
        bad[start + 20] ^= 1
        path.write_bytes(bad)
    path.write_bytes(whole[: data - 8192] + bytes(8192) + whole[data:])
    refused("no record of its journal is valid", lambda: fa.flatten(tree(), file=path))


def test_a_full_disk_and_a_folder_without_rights_change_nothing(tmp_path, monkeypatch):
    def full(fd, offset, size):
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        refused("bytes are needed", lambda: fa.flatten(tree(), file=tmp_path / "w"), OSError)
        refused("bytes are needed", lambda: fa.AdamW(tree(), state_file=tmp_path / "s"), OSError)
    refused("nowhere", lambda: fa.flatten(tree(), file=tmp_path / "nowhere" / "w"), OSError)
    assert not [*tmp_path.iterdir()]


def test_another_process_is_kept_out(tmp_path):
    flat, opt = opened(tmp_path)
    code = f"import numpy as np, fastadam as fa; fa.flatten(np.ones(3), file={str(flat.file)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is in use" in done.stderr
    del opt


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_kept_out(tmp_path):
    flat, opt = opened(tmp_path)
    child = os.fork()
    if not child:
        try:
            opt.step(tree(1))
        except ValueError as error:
            os._exit(3 * ("before this process was forked" in str(error)))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    opt.step(tree(1))
    assert opt.steps == 1
    assert flat.file


def test_no_file_is_made_for_an_optimizer_that_is_refused(tmp_path):
    for options in ({"compensation": "split8"}, {"lr": -1.0}, {"betas": (0.9, 1.0)}):
        with pytest.raises(ValueError, match=next(iter(options))):
            fa.AdamW(tree(), state_file=tmp_path / "state.bin", **options)
    assert not [*tmp_path.iterdir()]


def test_it_works_without_hints(tmp_path, monkeypatch):
    monkeypatch.setattr(advice, "LINUX", False)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(mapping, "fcntl", None)
    flat, opt = opened(tmp_path)
    opt.step(tree(1))
    opt.flush()
    flat.flush()
    other = fa.AdamW(fa.flatten(tree()), lr=0.01)
    other.step(tree(1))
    assert moment(opt, flat.buffer)[1:] == moment(other, flat.buffer)[1:]


def test_memory_counts_what_is_in_files(tmp_path):
    flat, opt = opened(tmp_path)
    size = flat.buffer.size
    assert opt.memory().in_files == 12 * size
    assert fa.plan(size, state_file="state.bin").in_files == 8 * size
    assert fa.plan(size, state_file="state.bin", file="weights.bin").in_files == 12 * size
