"""The benchmark of fastadam.torch: its shapes, and what is told of its report."""

import importlib.util
from pathlib import Path

import pytest
from fastadam.bench.adapter import Report, rows_of

from fastadam.bench import kinds, report, tables
from fastadam.bench.timing import Timing

ROOT = Path(__file__).resolve().parent.parent
MACHINE = {"cpu": "CPU 9", "cores": "2", "threads": "2", "os": "Linux", "date": "2026-11-20"}


def module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"bench/{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def sample():
    rows = []
    for case, unit in (("1000 x 1000", 1e-3), ("gpt2", 0.25)):
        times = {"fastadam": unit, "fused": 4 * unit, "default": 20 * unit}
        timings = {name: Timing(0.9 * t, t, 1.1 * t, 7) for name, t in times.items()}
        rows += rows_of(case, 1000, 1_000_000, timings)
    return Report(MACHINE, rows)


def test_a_report_is_read_as_it_was_written(sample):
    again = kinds.from_csv(report.to_csv(sample))
    assert again.digest == sample.digest
    assert kinds.kind_of(again) is kinds.ADAPTERS


def test_what_is_told(sample):
    told = kinds.kind_of(sample).tables
    assert told.table(sample).header == ["parameters", "fastadam", "torch fused", "torch default"]
    assert told.table(sample).groups[0][0] == [
        "1000 x 1000",
        "1.00 ms",
        "4.00 ms, 4.0x",
        "20.0 ms, 20x",
    ]
    assert told.summary(sample).splitlines() == [
        "torch fused takes, relative to fastadam: 4.0x at 1000 x 1000, 4.0x at gpt2",
        "torch default takes, relative to fastadam: 20x at 1000 x 1000, 20x at gpt2",
    ]
    assert told.headline(sample).endswith("4.0x at 1000 x 1000, 4.0x at gpt2 (CPU 9, 2 threads).")
    assert tables.conditions(MACHINE) in told.to_markdown(sample)


def test_documents_follow_the_results(sample, tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "bench/results").mkdir(parents=True)
    report.write_csv(sample, tmp_path / "bench/results/torch-adapter.csv")
    readme, views = tmp_path / "README.md", ("headline", "summary", "table")
    blocks = [f"<!-- bench:{view} torch-adapter -->\n<!-- /bench -->\n" for view in views]
    readme.write_text("\n".join(blocks))
    charts = module("charts")
    assert charts.main(["--check"], tmp_path) == 1
    assert charts.main([], tmp_path) == 0
    assert charts.main(["--check"], tmp_path) == 0
    assert "\n| gpt2 | 250 ms | 1.00 s, 4.0x | " in readme.read_text()
    assert not (tmp_path / "docs/assets").exists()


def test_shapes_are_those_of_the_models():
    torch = pytest.importorskip("torch")
    bench = module("torch_adapter")
    sizes = {
        case: [torch.Size(shape).numel() for shape in shapes()]
        for case, shapes in bench.CASES.items()
    }
    assert {case: (len(each), sum(each)) for case, each in sizes.items()} == {
        "1000 x 1000": (1000, 1_000_000),
        "148 x 10k": (148, 1_480_000),
        "resnet50": (161, 25_557_032),
        "gpt2": (148, 124_439_808),
    }


def test_contenders_are_compared_with_the_loop():
    torch = pytest.importorskip("torch")
    bench = module("torch_adapter")
    bench.validate([(5,), (), (3, 4)], [*bench.CONTENDERS])
    bench.CONTENDERS["wrong"] = torch.optim.Adam
    with pytest.raises(AssertionError):
        bench.validate([(5,)], ["wrong"])
