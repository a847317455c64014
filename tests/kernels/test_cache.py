"""The disk cache: hit by a second process, never stale, never needed."""

import compileall
import shutil
from pathlib import Path

import pytest
from processes import output

import fastadam as fa

RULE = """
import numpy as np, fastadam as fa
FACTOR = {factor}

def helper(x):
    return {helper}

@fa.rule(hyper=("lr",))
def descent(param, grad, state, h):
    return param - h.lr * FACTOR * helper(grad), state

class Descent(fa.Optimizer):
    rule = descent
    defaults = {{"lr": 1.0}}
    def hyper(self, group, step):
        return {{"lr": group["lr"]}}
"""
STEP = """
import numpy as np
from own.rules import Descent
w = np.zeros(3, np.float32)
Descent(w).step(np.full(3, 2, np.float32))
print(w[0])
"""
COMPILATIONS = """
from numba.core import event
class Count(event.Listener):
    n = 0
    def on_start(self, e): Count.n += 1
    def on_end(self, e): pass
with event.install_listener("numba:compile", Count()):
    {body}
print(Count.n)
"""
ADAMW = """
    import numpy as np, fastadam as fa
    w = np.zeros(30_000, np.float32)
    fa.AdamW(w).step(np.ones(30_000, np.float32))
"""


def cached(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.nbi")}


def test_an_edited_rule_is_never_served_from_the_cache(tmp_path):
    package, cache = tmp_path / "own", tmp_path / "cache"
    package.mkdir()
    (package / "__init__.py").write_text("")
    results, files = [], []
    for factor, helper in (("0.5", "x"), ("0.5", "x + x"), ("0.25", "x + x"), ("0.5", "x")):
        (package / "rules.py").write_text(RULE.format(factor=factor, helper=helper))
        shutil.rmtree(package / "__pycache__", ignore_errors=True)
        results.append(float(output(STEP, cwd=tmp_path, NUMBA_CACHE_DIR=str(cache))))
        files.append(cached(cache))
    assert results == [-1, -2, -1, -1]
    assert len(files[0]) < len(files[1]) < len(files[2]) == len(files[3])


def test_callees_of_two_cached_kernels_do_not_mix(tmp_path):
    """Kernels compiled apart, loaded together: each must run its own helper of the same name."""
    package, cache = tmp_path / "own", str(tmp_path / "cache")
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, helper in (("one", "x"), ("two", "x + x")):
        (package / f"{name}.py").write_text(RULE.format(factor="1.0", helper=helper))
    step = STEP.replace("own.rules", "own.{}")
    for name in ("one", "two"):
        output(step.format(name), cwd=tmp_path, NUMBA_CACHE_DIR=cache)
    both = step.format("one") + step.format("two")
    assert output(both, cwd=tmp_path, NUMBA_CACHE_DIR=cache).split() == ["-2.0", "-4.0"]


def test_the_same_rule_in_another_module(tmp_path):
    """A kernel from the cache does not need the module in which its rule was first compiled."""
    cache = str(tmp_path / "cache")
    for name in ("first", "second"):
        package = tmp_path / name / "own"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / f"{name}.py").write_text(RULE.format(factor="1.0", helper="x"))
        step = STEP.replace("own.rules", f"own.{name}")
        assert output(step, cwd=package.parent, NUMBA_CACHE_DIR=cache) == "-2.0"
        if name == "first":
            files = cached(tmp_path / "cache")
    assert cached(tmp_path / "cache") == files


def test_a_second_process_compiles_nothing_and_a_broken_cache_is_no_obstacle(tmp_path):
    code = COMPILATIONS.format(body=ADAMW.strip()) + "print(w[0])"
    counts = []
    for broken in (False, False, True):
        for file in tmp_path.rglob("*.nbc") if broken else ():
            file.write_bytes(file.read_bytes()[:100])
        count, moved = output(code, NUMBA_CACHE_DIR=str(tmp_path)).split()
        counts.append(int(count))
        assert moved == "-0.001"
    assert counts[0] > 0
    assert counts[1] == 0
    assert counts[2] > 0


def test_callees_are_compiled_with_an_unknown_version_of_numba(tmp_path):
    """As Numba compiles functions by itself, which changes no bit."""
    found = (
        "from fastadam.kernels.cpu import callees\n"
        "print(bool(callees.OF_CALLEES))\n"
        "import hashlib, numpy as np, fastadam as fa\n"
        "w, g = np.linspace(-1, 1, 2002, dtype=np.float32).reshape(2, -1)\n"
        "fa.AdamW(w, ema_decay=0.9, clip_norm=1.0).step(g)\n"
        "print(hashlib.sha256(w.tobytes()).hexdigest())"
    )
    other = "import numba; numba.version_info = (0, 999, 0)\n"
    known, bits = output(found).split()
    unknown, others = output(other + found, NUMBA_CACHE_DIR=str(tmp_path)).split()
    assert (known, unknown) == ("True", "False")
    assert others == bits


def test_a_read_only_install_works(tmp_path):
    """If no cache folder can be written, kernels are compiled in memory."""
    code = (
        "import numba.core.caching as caching\n"
        "for each in vars(caching).values():  # as if none of its folders were writable\n"
        "    if '_locator_classes' in getattr(each, '__dict__', {}):\n"
        "        each._locator_classes = []\n"
        "import fastadam as fa, numpy as np\n"
        "w = np.zeros(30_000, np.float32)\n"
        "fa.AdamW(w, threads=2).step(np.ones(30_000, np.float32))\n"
        "print(w[0], w[-1])"
    )
    assert output(code, NUMBA_CACHE_DIR=str(tmp_path)) == "-0.001 -0.001"
    assert not cached(tmp_path)


@pytest.mark.parametrize("form", ["zip", "pyc"])
def test_a_package_without_source_files_works(form, tmp_path):
    """From a zip file, and from byte code alone; kernels are cached all the same."""
    package, place = Path(fa.__file__).parent, tmp_path / "site"
    shutil.copytree(package, place / "fastadam", ignore=shutil.ignore_patterns("__pycache__"))
    if form == "pyc":
        assert compileall.compile_dir(place, legacy=True, quiet=1)
        for path in place.rglob("*.py"):
            path.unlink()
        path = place
    else:
        path = Path(shutil.make_archive(str(tmp_path / "fa"), "zip", place))
        shutil.rmtree(place)
    step = RULE.format(factor=0.5, helper="x * 0.5") + STEP.replace("from own.rules", "# from")
    cache = tmp_path / "cache"
    printed = output(
        f"import fastadam; print(fastadam.__file__){step}",
        cwd=tmp_path,
        PYTHONPATH=str(path),
        NUMBA_CACHE_DIR=str(cache),
        XDG_CACHE_HOME=str(cache),
    )
    where, moved = printed.split("\n")
    assert where.startswith(str(path))
    assert moved == "-0.5"
    assert list(cache.rglob("*descent*.nbi"))
