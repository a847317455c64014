"""The benchmark for GPUs: it runs in the simulator, and is polite without a GPU."""

import os
from pathlib import Path

import pytest
from processes import output, run

from fastadam.bench import csv_io, tables

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bench/gpu.py"


def script(*arguments):
    """Run the benchmark for GPUs in a process of its own."""
    return run(SCRIPT, *arguments, timeout=300, PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES="")


def test_gpu_script_in_the_simulator(tmp_path):
    done = script("--dry-run", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    written = csv_io.read_report(tmp_path / "gpu-simulator.csv")
    assert {*written.contenders} == {"numba unfused", "fastadam", "limit"}
    assert written.cases == ["40", "100", "3 arrays"]
    assert written.machine["gpu"] == "simulator"
    assert tables.conditions(written.machine).startswith("simulator, ")
    assert "copy bandwidth: " in done.stdout
    assert str(Path.home()) not in csv_io.report_text(written)


def test_gpu_script_is_polite_without_a_gpu():
    done = script()
    assert done.returncode == 2
    assert "There is no GPU" in done.stderr
    assert "--dry-run" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--sizes", "many"), ("--seconds", "0")])
def test_gpu_script_refuses(arguments):
    done = script(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_shapes_of_gpt2():
    """As its authors count them: 148 tensors, 124,439,808 numbers."""
    code = "import gpu_contenders as g; c = g.gpt2(); print(len(c.sizes), c.elements)"
    path = os.pathsep.join(map(str, (ROOT, SCRIPT.parent)))
    assert output(code, NUMBA_ENABLE_CUDASIM="1", PYTHONPATH=path) == "148 124439808"
