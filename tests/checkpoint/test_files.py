"""Checkpoints in files: what is saved is what is loaded, and nothing else is."""

import copy
import io
import itertools
import os
import pickle
import random
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from saved_values import bits, moment

pytest.importorskip("ml_dtypes")

import checkpoints
from checkpoints import BF, CASES, FIXTURES, INT8, TAIL, F, trained, tree
from processes import output, run

import fastadam as fa
from fastadam.checkpoint import layout, write
from fastadam.checkpoint.checksums import Part, combined

SUPPORT = Path(checkpoints.__file__).parent


each_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


@each_case
def test_a_loaded_optimizer_goes_on_with_the_same_bits(name, path):
    opt, other = CASES[name](), CASES[name](steps=0)
    fa.save(path, opt, extra={"epoch": 3, "pair": (1, None), "name": "é"})
    saved = fa.load(path, other)
    assert saved.extra == {"epoch": 3, "pair": [1, None], "name": "é"}
    assert moment(opt) == moment(other)
    for each in (opt, other):
        params = each.params
        grads = [np.ones_like(p) for p in params] if isinstance(params, list) else None
        each.step(grads or {key: np.ones_like(param) for key, param in params.items()})
    assert moment(opt) == moment(other)


@each_case
def test_files_open_with_the_safetensors_library(name, path):
    reader = pytest.importorskip("safetensors.numpy")
    fa.save(path, CASES[name]())
    ours, theirs = fa.load(path), reader.load_file(path)
    assert {key: bits(array) for key, array in ours.items()} == {
        key: bits(array) for key, array in theirs.items()
    }
    assert all(not array.flags.writeable for array in ours.values())
    assert all(array.flags.aligned for array in ours.values())


@each_case
def test_files_of_this_version_load_for_ever(name):
    file = FIXTURES / f"{name}.safetensors"
    opt, as_new = CASES[name](steps=0), CASES[name]()
    assert fa.load(file, opt).extra == {"case": name}
    assert [opt.steps, *map(str, opt.param_groups)] == [
        as_new.steps,
        *map(str, copy.deepcopy(opt).param_groups),
    ]
    flat = fa.flat_state(opt)
    for key, array in fa.load(file).items():
        assert bits(flat[key]) == bits(array)


def test_names_say_where_arrays_belong(path):
    fa.save(path, trained(**TAIL))
    saved = fa.load(path)
    assert {key.rpartition("/")[0] for key in saved} == {
        "param",
        "state/exp_avg",
        "state/exp_avg_sq",
        "ema",
        "accumulated",
    }
    assert saved.metadata["params"] == [*checkpoints.SHAPES]
    assert saved.metadata["optimizer"] == "AdamW"
    assert saved.metadata["steps"] == [1, 1, 1, 1]
    assert pickle.loads(pickle.dumps(saved)).metadata == saved.metadata


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        ([{"params": {"a": 1, "b": 1}}, {"params": {"c": 1}}], ["a", "b", "c"]),
        ([{"params": {"a": 1}}, {"params": {"a": 1}}], ["0.a", "1.a"]),
        ([{"params": [1, 1]}, {"params": {"1": 1}}], ["0.0", "0.1", "1.1"]),
        ([{"params": [1]}, {"params": {"0.0": 1, "x": 1}}], ["0", "0.0", "x"]),
    ],
)
def test_no_two_parameters_have_one_name(groups, names, path):
    def made(value):
        return fa.SGD(
            [{"params": _filled(group["params"], value)} for group in groups], momentum=0.9
        )

    opt, other = made(1.0), made(2.0)
    fa.save(path, opt)
    assert fa.load(path, other).metadata["params"] == names
    assert [float(p[0]) for p in other.params] == [1.0] * len(names)


def _filled(params, value):
    if isinstance(params, list):
        return [np.full(2, value) for _ in params]
    return {name: np.full(2, value) for name in params}


def test_parameters_are_matched_by_name(path):
    fa.save(path, trained())
    turned = fa.AdamW(dict(reversed(tree(9).items())))
    fa.load(path, turned)
    for name, array in trained().params.items():
        np.testing.assert_array_equal(turned.params[name], array)


@pytest.mark.parametrize(("saved", "live"), [({}, INT8), (INT8, {}), ({}, {"state_dtype": BF})])
@pytest.mark.usefixtures("in_plain_python")
def test_state_is_converted_as_by_load_state_dict(saved, live, path):
    opt, one, other = trained(**saved), trained(steps=0, **live), trained(steps=0, **live)
    fa.save(path, opt)
    fa.load(path, one)
    other.load_state_dict(opt.state_dict())
    assert moment(one)[1] == moment(other)[1]


def test_a_schedule_goes_on_and_a_scaler_and_a_plateau_are_saved(path):
    schedule, scaler = fa.schedules.linear(0.1, end=0.0, steps=10), fa.LossScaler(8.0)
    plateau = fa.schedules.Plateau(0.1)
    plateau.update(1.0)
    opt, other = (fa.AdamW(tree(0), lr=schedule) for _ in range(2))
    opt.step(tree(1))
    fa.save(path, opt, extra={"scaler": scaler.state_dict(), "plateau": plateau.state_dict()})
    extra = fa.load(path, other).extra
    assert opt.step(tree(2)) == other.step(tree(2))
    again, level = fa.LossScaler(), fa.schedules.Plateau(0.1)
    again.load_state_dict(extra["scaler"])
    level.load_state_dict(extra["plateau"])
    assert again.scale == 8.0
    assert level.state_dict() == plateau.state_dict()


def test_a_missing_average_starts_from_the_loaded_parameters(path):
    fa.save(path, trained(steps=0))
    opt = fa.AdamW(tree(5), ema_decay=0.5, shadow_dtype="float16")
    fa.load(path, opt)
    for name, array in tree(0).items():
        np.testing.assert_array_equal(opt.ema[name], array)
        np.testing.assert_array_equal(opt.shadow[name], array.astype(np.float16))


def test_arrays_by_name_go_through_numpy_files():
    opt, other = CASES["bfloat16"](), CASES["bfloat16"](steps=0)
    file = io.BytesIO()
    np.savez(file, **fa.flat_state(opt, extra=[1]))
    file.seek(0)
    assert fa.load(np.load(file), other).extra == [1]
    assert moment(opt) == moment(other)
    views = fa.flat_state(opt, copy=False)
    assert np.shares_memory(views["param/w"], opt.params["w"])


@pytest.mark.parametrize("wrong", [{}, {"metadata": b"no"}, 3, {"param/w": np.ones(2)}])
def test_arrays_that_are_no_checkpoint_are_refused(wrong):
    with pytest.raises(TypeError, match="flat_state"):
        fa.load(wrong)


def test_arrays_of_another_kind_are_refused():
    flat = fa.flat_state(trained())
    for other in ({**flat, "param/w": flat["param/w"].astype(float)}, {**flat, "param/w": 1.0}):
        with pytest.raises(ValueError, match="param/w is float64"):
            fa.load(other)
    del flat["param/w"]
    with pytest.raises(ValueError, match=r"lacks .'param/w'"):
        fa.load(flat)


def test_pieces_are_the_bytes_in_c_order():
    array = np.arange(2 * 30 * 5, dtype=F).reshape(2, 30, 5)
    for each in (array, array.T, array[:, ::2], array[::-1, :, ::3], array[:0], array[0, 0, 0]):
        for nbytes in (1, 8, 100, 1 << 20):
            parts = [*write.pieces(np.asarray(each), nbytes)]
            assert b"".join(part.tobytes() for part in parts) == np.asarray(each).tobytes()


def test_checksums_of_pieces_make_that_of_the_whole():
    rng = random.Random(0)
    for _ in range(20):
        text = rng.randbytes(rng.randrange(1, 5000))
        cuts = sorted([0, *(rng.randrange(len(text)) for _ in range(3)), len(text)])
        pairs = [pair for pair in itertools.pairwise(cuts) if pair[0] < pair[1]]
        parts = [Part(start, stop - start, zlib.crc32(text[start:stop])) for start, stop in pairs]
        rng.shuffle(parts)
        assert combined(parts, len(text)) == zlib.crc32(text)
        for wrong in (parts[1:], [*parts, parts[0]]):
            with pytest.raises(ValueError, match="expected"):
                combined(wrong, len(text))


def test_parts_of_one_file_may_be_written_by_several(path):
    """As by several processes: one layout, and each writes its pieces at their offsets."""
    arrays = {"param/a": np.arange(10, dtype=F), "param/b": np.arange(6, dtype=np.int8)}
    plan = layout.Layout.of(arrays, {})
    parts = {name: [] for name in arrays}
    with open(path, "wb") as file:
        for rank in (1, 0, 2):
            for name, array in arrays.items():
                share = np.array_split(layout.as_bytes(array), 3)
                start = sum(map(len, share[:rank]))
                file.seek(plan.begin + plan.tensors[name].start + start)
                file.write(share[rank])
                parts[name].append(Part(start, len(share[rank]), zlib.crc32(share[rank])))
        file.seek(0)
        file.write(plan.header({n: combined(parts[n], arrays[n].nbytes) for n in arrays}))
    saved = fa.load(path)
    assert {key: bits(array) for key, array in saved.items()} == {
        key: bits(array) for key, array in arrays.items()
    }


def test_progress_counts_bytes(path):
    calls = []
    opt = trained()
    fa.save(path, opt, progress=lambda *call: calls.append(call))
    nbytes = sum(array.nbytes for array in fa.load(path).values())
    assert calls[-1] == (nbytes, nbytes)
    assert calls == sorted(calls)
    saving = list(calls)
    calls.clear()
    fa.load(path, opt, progress=lambda *call: calls.append(call))
    assert calls[-1] == saving[-1]


def test_an_exception_of_progress_leaves_the_old_file(path):
    opt = trained()
    fa.save(path, opt)
    before = path.read_bytes()
    opt.step(tree(7))

    def stop(done, total):
        raise KeyboardInterrupt

    now = moment(opt)
    for act in (fa.save, fa.load):
        with pytest.raises(KeyboardInterrupt):
            act(path, opt, progress=stop)
    assert path.read_bytes() == before
    assert moment(opt) == now
    assert os.listdir(path.parent) == [path.name]


# The file system


def test_a_link_stays_a_link_and_permissions_are_kept(tmp_path):
    real, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    opt = trained()
    fa.save(real, opt)
    real.chmod(0o640)
    link.symlink_to(real.name)
    opt.step(tree(8))
    fa.save(link, opt)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    fa.load(real, trained(steps=0))


def test_leftovers_of_others_stay(path):
    fcntl = pytest.importorskip("fcntl")
    names = [f".fastadam-{digit * 16}.tmp" for digit in "abc"] + [".fastadam-x.tmp", "a.tmp"]
    for name in names:
        (path.parent / name).write_bytes(b"x")
    with open(path.parent / names[0], "rb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        fa.save(path, trained())
    assert {*os.listdir(path.parent)} == {path.name, names[0], *names[3:]}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process is forked for each kill")
def test_killed_saves_leave_the_old_file_or_the_new_one():
    """`make faults` kills 200."""
    done = run(SUPPORT / "kills.py", "8")
    assert done.stdout.endswith("0 wrong\n"), done.stderr


LIMITED = """
import resource, signal, os, sys
import numpy as np, fastadam as fa
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, opt = sys.argv[1], fa.SGD(np.zeros(100_000))
fa.save(path, opt)
before = open(path, "rb").read()
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    fa.save(path, opt)
except OSError as error:
    print(error)
print(open(path, "rb").read() == before, os.listdir(os.path.dirname(path)))
"""


def test_a_full_disk_leaves_the_old_file(path, tmp_path):
    pytest.importorskip("resource")
    script = tmp_path.parent / "limited.py"
    script.write_text(LIMITED)
    shown = output(
        f"import sys, runpy; sys.argv[1:] = [{str(path)!r}]; runpy.run_path({str(script)!r})"
    )
    assert f"cannot write the file: File too large: {str(path)!r}" in shown
    assert shown.endswith(f"True ['{path.name}']")


@pytest.mark.skipif(sys.platform != "linux", reason="where even root may not write")
def test_a_folder_that_cannot_be_written_is_named():
    with pytest.raises(OSError, match=r"cannot write the file: .*'/proc/run\.safetensors'"):
        fa.save("/proc/run.safetensors", trained())


MEMORY = """
import sys
import numpy as np, fastadam as fa
path, size = sys.argv[1], 4_000_000
opt = fa.SGD([np.ones(size), np.ones((size // 2, 2))], momentum=0.9)
opt.load_state_dict({
    "state": {0: {"step": 1, "momentum_buffer": np.ones(size)}},
    "param_groups": [{"params": [0, 1]}],
})

def megabytes(act):
    open("/proc/self/clear_refs", "w").write("5")  # the peak is that from now on
    before = peak()
    act(path, opt)
    return peak() - before

def peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10

print(megabytes(fa.save), megabytes(fa.load))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is known on Linux")
def test_saving_and_loading_need_little_memory(path, tmp_path):
    script = tmp_path.parent / "memory.py"
    script.write_text(MEMORY)
    shown = output(
        f"import sys, runpy; sys.argv[1:] = [{str(path)!r}]; runpy.run_path({str(script)!r})"
    )
    assert all(int(megabytes) <= 64 for megabytes in shown.split()), shown
