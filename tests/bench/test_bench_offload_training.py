"""The end-to-end benchmark of offload, with a tiny model on the host in the place of a GPU."""

import csv
import runpy
from pathlib import Path

import pytest

pytest.importorskip("torch")

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "offload_training.py"


@pytest.mark.filterwarnings("ignore")  # of torchao, which may be installed
@pytest.mark.usefixtures("in_plain_python")
def test_the_whole_loop_runs_without_a_gpu(tmp_path, capsys):
    bench, path = runpy.run_path(str(SCRIPT)), tmp_path / "rows.csv"
    for name in ("float32", "int8 state", "split8, int8 state, overlap"):
        del bench["CONTENDERS"][name]  # what they do, others do
    assert bench["main"](["--smoke", "--csv", str(path)]) == 0
    names = [name for name in bench["CONTENDERS"] if name != "torchao"]  # it needs a GPU
    table = capsys.readouterr().out
    assert all(name in table for name in names)
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    rows = [*csv.DictReader(lines)]
    assert [row["contender"] for row in rows] == names
    hosts = {row["contender"]: int(row["host_bytes"]) for row in rows}
    small, middle, large = "split8, int8 state", "int8 state, overlap", "float32, overlap"
    assert hosts[small] < hosts[middle] < hosts[large]


def test_without_a_gpu_it_says_so(capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runpy.run_path(str(SCRIPT))["main"]([]) == 2
    assert "--smoke" in capsys.readouterr().err
