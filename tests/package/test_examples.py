"""Every example runs, briefly, and stays short."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNS = {
    "deconvolution.py": (["--steps", "30"], (), "from 0.00 to 1.00"),
    "digits.py": (["--epochs", "4"], ("torch", "sklearn"), "accuracy 9"),
    "evolution.py": (["--steps", "6"], (), "step 6: mean"),
    "embedding_bag.py": (["--steps", "20"], ("torch",), "step 20: loss"),
    "factorization.py": (["--steps", "100"], (), "step 100: error"),
    "federated.py": (["--rounds", "3"], ("flwr",), "round 3: loss"),
    "gpt2.py": (["--steps", "3"], ("torch",), "fastadam.torch: step 3"),
    "hugging_face.py": (["--steps", "8"], ("torch", "transformers", "accelerate"), "loss"),
    "mpi_digits.py": (["--epochs", "5"], ("mpi4py", "sklearn"), "accuracy 9"),
    "mpi_inversion.py": (["--steps", "100"], ("mpi4py",), "step 100: relative error 0."),
    "with_lightning.py": (["--epochs", "2"], ("torch", "lightning"), "error"),
}


def test_each_example_is_run_and_shorter_than_a_page():
    assert {path.name for path in EXAMPLES.glob("*.py")} == RUNS.keys()
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < 60


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RUNS)
def test_example(name, capsys, monkeypatch, tmp_path):
    arguments, packages, printed = RUNS[name]
    for package in packages:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    run_path(str(EXAMPLES / name), run_name="__main__")
    assert printed in capsys.readouterr().out


PROGRAMS = {
    "c": (("make", "gcc"), ["make", "-s", "run"], "accuracy 9"),
    "fortran": (("make", "gfortran"), ["make", "-s", "run"], "slope  3.00, offset -1.00"),
    "rust": (("cargo",), ["cargo", "run", "-q", "--offline"], "slope 3.0, offset -1.0"),
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_example_in_another_language(language, tmp_path):
    tools, words, printed = PROGRAMS[language]
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    pytest.importorskip("sklearn")
    folder = tmp_path / language
    shutil.copytree(EXAMPLES / language, folder)
    settings = {"FASTADAM": f"{sys.executable} -m fastadam", "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        words, cwd=folder, env=os.environ | settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout
