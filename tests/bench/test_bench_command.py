"""`fastadam bench`: every suite from end to end, files of earlier runs, and what is refused."""

import argparse
import json
import os
import sys
from pathlib import Path

import bench_reports as made
import pytest

from fastadam.bench import csv_io, machine, options, precision, steps
from fastadam.bench.measurement import OURS
from fastadam.bench.torch_contenders import load_torch
from fastadam.cli import bench, main

HAS_TORCH = load_torch()
RESULTS = Path(__file__).resolve().parents[2] / "bench/results"


def parse(*arguments):
    parser = argparse.ArgumentParser(prog="fastadam bench")
    bench.add_arguments(parser)
    return parser.parse_args(arguments)


def test_end_to_end(tmp_path, capsys):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    table, chart = tmp_path / "b.csv", tmp_path / "b.svg"
    arguments = ["--sizes", "1e2", "300", "--rounds", "2", "--threads", "1"]
    files = ["--csv", str(table), "--plot", str(chart)]
    assert bench.run(parse(*arguments, *files, "--no-torch")) == 0
    assert "relative to fastadam" in capsys.readouterr().out
    saved = csv_io.read_report(table)
    assert saved.cases == ["100", "300", "1000 arrays of 1000"]
    assert saved.machine["threads"] == "1"
    assert float(saved.machine["load"]) >= 0
    assert chart.stat().st_size > 1000


def test_several_optimizers(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    table, chart = tmp_path / "b.csv", tmp_path / "b.png"
    arguments = ["--optimizer", "lion", "sgd:momentum=0.9", "--sizes", "100", "1e3"]
    files = ["--csv", str(table), "--plot", str(chart)]
    assert bench.run(parse(*arguments, "--rounds", "2", *files)) == 0
    assert "of the limit's speed" in capsys.readouterr().out
    saved = csv_io.read_report(table)
    assert saved.configs == ["Lion", "SGD:momentum=0.9"]
    for config in saved.configs:
        assert [row.case for row in saved.of(OURS, config)] == ["100", "1e3"]
    assert {*saved.contenders} <= {*steps.OVERVIEW}
    assert ("torch fused" in saved.contenders) is HAS_TORCH
    assert chart.stat().st_size > 1000


def test_a_sweep_of_threads_in_json(tmp_path, capsys):
    arguments = ["--sizes", "300", "--rounds", "1", "--no-torch", "--no-small", "--json"]
    path = tmp_path / "b.csv"
    assert bench.run(parse(*arguments, "--threads", "1", "2", "--csv", str(path))) == 0
    reports = json.loads(capsys.readouterr().out)["reports"]
    assert [each["name"] for each in reports] == ["1 thread", "2 threads"]
    files = [tmp_path / f"b-threads-{each['machine']['threads']}.csv" for each in reports]
    for report, file in zip(reports, files, strict=True):
        saved = csv_io.read_report(file)
        assert [row["contender"] for row in report["rows"]] == saved.contenders
        assert report["rows"][-1]["elements"] == 300
    assert bench.run(parse("--from", *map(str, files), "--json")) == 0
    again = json.loads(capsys.readouterr().out)["reports"]
    assert [each["name"] for each in again] == [file.stem for file in files]


def test_another_optimizer(capsys):
    arguments = ["--optimizer", "adagrad", "--sizes", "1e3", "--rounds", "1", "--no-torch"]
    assert bench.run(parse(*arguments)) == 0
    out = capsys.readouterr().out
    assert "1000 x 1000" in out
    assert "limit takes, relative to fastadam: " in out


def test_options(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("ml_dtypes")
    path, chart = tmp_path / "tail.csv", tmp_path / "tail.svg"
    arguments = ["--tail", "--sizes", "100", "300", "--rounds", "1", "--no-small", "--threads", "1"]
    assert bench.run(parse(*arguments, "--csv", str(path), "--plot", str(chart))) == 0
    assert "relative to the plain step" in capsys.readouterr().out
    saved = csv_io.read_report(path)
    keys = [(row.case, row.config, row.contender) for row in saved.rows]
    assert keys == [
        (case, each.label, name)
        for case in ("100", "300")
        for each in options.OPTION_SETS
        for name in options.names_for(HAS_TORCH)
    ]
    assert chart.stat().st_size > 1000


def test_precision(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("ml_dtypes")
    monkeypatch.setattr(precision, "installed_peers", list)
    path, chart = tmp_path / "low.csv", tmp_path / "low.svg"
    arguments = ["--low-precision", "--sizes", "5120", "6400", "--rounds", "1", "--threads", "1"]
    assert bench.run(parse(*arguments, "--csv", str(path), "--plot", str(chart))) == 0
    assert "int8 state takes, relative to float32: " in capsys.readouterr().out
    saved = csv_io.read_report(path)
    keys = [(row.case, row.config, row.contender) for row in saved.rows]
    names = precision.keys_for(HAS_TORCH)
    assert keys == [(case, *key) for case in ("5120", "6400") for key in names]
    assert chart.stat().st_size > 1000


def test_without_rich(capsys, monkeypatch):
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    arguments = ["--sizes", "10", "--rounds", "1", "--no-torch", "--no-small"]
    assert bench.run(parse(*arguments)) == 0
    assert "numba unfused" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "skipped"),
    [
        (["--sizes", "10", "1e8"], "Skipping 1e8: it takes 5.2 GB"),
        (["--tail", "--sizes", "10"], "Skipping 40 arrays of 100000: it takes 0."),
    ],
)
def test_cases_that_do_not_fit_are_skipped(arguments, skipped, capsys, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 100_000)
    assert bench.run(parse(*arguments, "--rounds", "1", "--no-torch")) == 0
    assert skipped in capsys.readouterr().err


def test_nothing_fits(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 100_000)
    with pytest.raises(ValueError, match="smaller --sizes"):
        bench.run(parse("--sizes", "1e8", "--no-torch"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "adamv"], "unknown optimizer 'adamv'; did you mean Adam or AdamW?"),
        (["--optimizer", "foo"], "unknown optimizer 'foo'; choose from ADOPT"),
        (["--optimizer", "sgd:lr=-1"], "lr=-1"),
        (["--optimizer", "sgd:nesterov=True"], "requires a momentum"),
        (["--optimizer", "sgd:mass=1"], "'mass'"),
        (["--sizes", "many"], "write 1000000 or 1e6"),
        (["--sizes", "0"], "not a number of elements"),
        (["--sizes", "1.5"], "not a number of elements"),
        (["--sizes", "inf"], "not a number of elements"),
        (["--sizes", "1e30"], "not a number of elements"),
        (["--tail", "--sizes", "x"], "not a number of elements"),
        (["--low-precision", "--sizes", "x"], "not a number of elements"),
        (["--threads", "0"], "at least 1"),
        (["--threads", "1", "0"], "at least 1"),
        (["--peers", "--tail"], "--peers are AdamW in float32"),
        (["--threads", "9999"], "NUMBA_NUM_THREADS"),
        (["--rounds", "-1"], "at least 1"),
        (["--seconds", "nan"], "must be positive"),
        (["--seconds", "0"], "must be positive"),
        (["--csv", "folder"], "--csv: 'folder' is a folder; give the name of a file"),
        (["--csv", "no/such/folder.csv"], "does not exist; create it"),
        (["--csv", "/dev/full"], "--csv: '/dev/full' cannot be written: No space left"),
        (["--plot", "chart.bmp"], ".png or .svg"),
        (["--plot", "folder.png"], "is a folder"),
        (["--plot", "no/such/folder.png"], "does not exist"),
        (["--from", "nowhere.csv"], "nowhere.csv"),
        (["--from", "other.csv"], "other.csv is not a benchmark CSV"),
        (["--from", str(RESULTS / "bench.csv"), "--sizes", "1e3"], "--sizes is for a measurement"),
        (["--from", str(RESULTS / "bench.csv"), "--csv", "a.csv"], "--csv is for a measurement"),
        (["--from", str(RESULTS / "torch-adapter.csv"), "--plot", "a.png"], "has no chart"),
        (
            ["--from", *(str(RESULTS / f"{name}.csv") for name in ("bench", "tail"))],
            "bench of steps, tail of options",
        ),
        (["--tail", "--optimizer", "lion"], "not allowed with argument"),
        (["--from", "a.csv", "--tail"], "not allowed with argument"),
    ],
)
def test_mistakes_are_one_line_before_anything_else(
    arguments, message, capsys, tmp_path, monkeypatch
):
    if "/dev/full" in arguments and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    pytest.importorskip("matplotlib")
    pytest.importorskip("ml_dtypes")
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("folder.png").mkdir()
    Path("other.csv").write_text("a,b\n1,2\n")
    assert main(["bench", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.startswith("fastadam bench: error: ")
    assert shown.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "folder.png", "other.csv"}


def test_a_read_only_file_is_refused(tmp_path):
    path = tmp_path / "kept.csv"
    path.write_text("kept")
    path.chmod(0o400)
    if not os.access(path, os.W_OK):  # root may write anything
        with pytest.raises(ValueError, match="cannot be written: it is read-only"):
            bench.run(parse("--csv", str(path)))
    assert path.read_text() == "kept"


def test_a_plot_needs_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"fastadam\[bench\]"):
        bench.run(parse("--plot", str(tmp_path / "chart.png")))


def test_low_precision_needs_ml_dtypes(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="bfloat16 needs ml_dtypes"):
        bench.run(parse("--low-precision"))


@pytest.mark.parametrize("kind", made.REPORTS)
def test_a_file_is_shown_without_measuring(kind, tmp_path, capsys):
    report, path = made.REPORTS[kind](), tmp_path / "laptop.csv"
    csv_io.write_report(report, path)
    assert bench.run(parse("--from", str(path))) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "relative" in shown.out
    assert report.machine["cpu"] in shown.out


def test_files_of_several_machines(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    chart, paths = tmp_path / "both.svg", []
    for folder, name in (("a", "laptop"), ("a", "server"), ("b", "server")):
        paths.append(tmp_path / folder / f"{name}.csv")
        paths[-1].parent.mkdir(exist_ok=True)
        csv_io.write_report(made.steps(), paths[-1])
    assert bench.run(parse("--from", *map(str, paths), "--plot", str(chart))) == 0
    shown = capsys.readouterr()
    assert "\nlaptop: " in shown.out
    assert f"\n{paths[1]}: " in shown.out
    assert shown.err == f"Wrote {chart}\n"
    assert "laptop: fastadam" in chart.read_text()


def test_help_has_examples():
    parser = argparse.ArgumentParser(prog="fastadam bench")
    bench.add_arguments(parser)
    assert "fastadam bench --csv" in parser.format_help()
    assert "\n" not in bench.HELP
