"""Real processes, of MPI and of gloo: the bits of one, errors of one, and the death of one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rank_program
from sharded_cases import OPTIONS, flat_of, parameters

import fastadam as fa

PROGRAM = Path(rank_program.__file__)
SECONDS = 240  # for what takes a few, on a machine that is busy
YIELDING = {  # a process that waits lets another have its core: in MPICH, and in Open MPI
    "MPIR_CVAR_POLLS_BEFORE_YIELD": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
pytest.importorskip("ml_dtypes")


def command(engine, size, task, folder):
    """The command lines that start the processes."""
    words = [sys.executable, str(PROGRAM), task, engine, str(folder)]
    if engine == "gloo":
        pytest.importorskip("torch")
        (folder / "store").unlink(missing_ok=True)
        return [[*words, str(rank), str(size)] for rank in range(size)]
    pytest.importorskip("mpi4py")
    beside = str(Path(sys.executable).parent)
    found = shutil.which("mpiexec", path=beside) or shutil.which("mpiexec")
    if found is None:
        pytest.skip("there is no mpiexec")
    return [[found, "-n", str(size), *words]]


def ended(engine, size, task, folder):
    """Exit statuses and outputs of the processes that were started."""
    started = [
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **YIELDING},
        )
        for words in command(engine, size, task, folder)
    ]
    try:
        outputs = [process.communicate(timeout=SECONDS) for process in started]
    finally:
        for process in started:
            process.kill()
    return [process.returncode for process in started], *map("".join, zip(*outputs, strict=True))


@pytest.mark.parametrize("engine", ["mpi", "gloo"])
def test_the_bits_of_one_process(engine, tmp_path):
    codes, printed, complaints = ended(engine, 3, "bits", tmp_path)
    assert not any(codes), complaints
    assert printed.count("same bits") == 1 + 3 + 2  # in groups of one, three and two of them


@pytest.mark.parametrize("engine", ["mpi", "gloo"])
def test_errors_of_one_process_and_its_death_in_a_save(engine, tmp_path):
    codes, printed, complaints = ended(engine, 2, "errors", tmp_path)
    assert any(codes)  # one was killed
    for rank in (0, 1):
        assert printed.count(f"refused by {rank}") == 3, complaints
    assert printed.count("saved") == 2, complaints
    alone = fa.AdamW(parameters(), **OPTIONS)
    fa.load(tmp_path / "run.safetensors", alone)  # the one before
    whole = fa.AdamW(parameters(), **OPTIONS)
    rank_program.stepped(whole, range(4))
    np.testing.assert_array_equal(flat_of(alone), flat_of(whole))


@pytest.mark.parametrize("engine", ["mpi", "gloo"])
def test_the_death_of_a_process_ends_the_others(engine, tmp_path):
    codes, printed, complaints = ended(engine, 2, "death", tmp_path)
    assert printed.count("stepped") == 2, complaints
    assert all(codes)
    if engine == "gloo":
        assert "RuntimeError" in complaints
