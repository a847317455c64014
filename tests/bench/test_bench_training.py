"""Training with the optimizer on the host: the loop for a GPU, with a tiny model on the host."""

import argparse
import ast
import inspect
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from fastadam.bench import csv_io, suites, training  # noqa: E402
from fastadam.bench.measurement import OURS  # noqa: E402
from fastadam.cli import bench, main  # noqa: E402

CONFIGURATIONS = {
    name: training.CONFIGURATIONS[name]  # what the others do, these do
    for name in ("float32, overlap", "int8 state, overlap", training.SPLIT8)
}
ROOT = Path(__file__).resolve().parents[2]
GPU_TESTS = (
    "tests/torch/test_torch_gpu.py",
    "tests/torch/test_torch_gpu_offload.py",
    "tests/cuda/test_gpu_torch.py",
)
SMALL = training.Settings("cpu", "smoke", 2, 1, CONFIGURATIONS)


@pytest.mark.filterwarnings("ignore")  # of torchao, which may be installed
@pytest.mark.usefixtures("in_plain_python")
def test_the_whole_loop_runs_without_a_gpu(tmp_path, capsys, monkeypatch):
    path = tmp_path / "offload.csv"
    measured = training.measured
    monkeypatch.setattr(
        training, "measured", lambda show, keep, settings: measured(show, keep, SMALL)
    )
    report = bench.train(argparse.Namespace(csv=path))
    saved = csv_io.read_report(tmp_path / "offload-training.csv")
    assert csv_io.digest_of(saved) == csv_io.digest_of(report)
    names = [row.contender for row in saved.rows]
    assert [name for name in names if name != training.TORCHAO] == [  # torchao needs a GPU
        training.NOTHING,
        training.FUSED,
        *[OURS] * 3,
    ]
    large, middle, small = (row.resident for row in saved.of())
    assert small < middle < large
    assert suites.suite_of(saved) is training.SUITE
    bench.show(saved)
    assert f"{OURS}, {training.SPLIT8}" in capsys.readouterr().out
    assert "on the host adds" in training.headline(saved)


def test_the_command_trains_if_there_is_a_gpu(capsys, monkeypatch):
    from bench_reports import precision

    report = precision()
    monkeypatch.setattr(bench, "measured", lambda arguments, threads: report)
    monkeypatch.setattr(bench, "train", lambda arguments: report)
    for gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert main(["bench", "--offload", "--json"]) == 0
        assert ('"training"' in capsys.readouterr().out) is gpu


def test_what_is_called_of_torch_cuda_exists_with_these_arguments():
    """Most of it runs on a GPU only."""
    files = [*(ROOT / "fastadam").rglob("*.py"), *(ROOT / "bench").glob("*.py")]
    calls = 0
    for path in (*files, *map(ROOT.joinpath, GPU_TESTS)):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "torch.cuda." in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("torch.cuda."):
                _, _, name, *rest = ast.unparse(node.func).split(".")
                name = name.partition("(")[0]
                assert hasattr(torch.cuda, name), f"{path.name}: {ast.unparse(node)}"
                if not rest:
                    keywords = {each.arg: None for each in node.keywords}
                    inspect.signature(getattr(torch.cuda, name)).bind(*node.args, **keywords)
                    calls += 1
    assert calls > 10
