"""Measurements: saved, loaded, told in tables and sentences, drawn; documents follow them."""

import importlib.util
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import bench_reports as made
import pytest

from fastadam.bench import axes, charts, csv_io, machine, suites, tables
from fastadam.bench.measurement import LIMIT, OURS, Report
from fastadam.bench.options import OPTION_SETS, OPTIONS
from fastadam.bench.precision import INT8, SMALLEST
from fastadam.bench.variants import variants
from fastadam.bench.workload import one_array

ROOT = Path(__file__).resolve().parents[2]
BUSY = "measured on a busy machine (load 7.3, 2 cores)"
each_report = pytest.mark.parametrize("kind", made.REPORTS)


@pytest.fixture
def sample():
    return made.steps()


def busy(report):
    return replace(report, machine={**report.machine, "cores": "2", "load": "7.3"})


def told(report):
    suite = suites.suite_of(report)
    return suite.table(report), suite.summary(report)


# Files


@each_report
def test_a_report_is_read_as_it_was_written(kind, tmp_path):
    report, path = made.REPORTS[kind](), tmp_path / "sample.csv"
    csv_io.write_report(report, path)
    again = csv_io.read_report(path)
    assert again.machine == report.machine
    for one, other in zip(again.rows, report.rows, strict=True):
        times = {"p20_s": 0.0, "p50_s": 0.0, "p80_s": 0.0}
        assert replace(one, **times) == replace(other, **times)
        assert one.p50_s == pytest.approx(other.p50_s, rel=1e-5)  # six digits are written
    assert csv_io.digest_of(again) == csv_io.digest_of(report)


def test_columns_of_times_name_their_unit(sample):
    header = next(line for line in csv_io.report_text(sample).splitlines() if line[0] != "#")
    assert header == (
        "suite,case,config,contender,arrays,elements,bytes,resident,rounds,p20_s,p50_s,p80_s"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,arrays\n1e3,1\n", r"is not a benchmark CSV: the CSV lacks the columns suite.*p50_s"),
        ("# cpu: 9\n", "holds no measurement"),
        ("", "holds no measurement"),
    ],
)
def test_another_file_is_refused(text, message, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        csv_io.read_report(path)


def test_a_report_of_an_unknown_suite_is_refused(sample):
    rows = [replace(row, suite="moon") for row in sample.rows]
    with pytest.raises(ValueError, match="unknown suite 'moon'; choose from steps, options"):
        suites.suite_of(replace(sample, rows=rows))


@pytest.mark.parametrize("path", sorted((ROOT / "bench/results").glob("*.csv")), ids=str)
def test_committed_results_are_readable(path):
    text = path.read_text()
    if "\nsuite," in text:
        assert csv_io.report_text(csv_io.read_report(path)) == text


def test_machine_names_no_host_and_no_path():
    import platform

    text = "\n".join(machine.describe(1, load=0.5).values())
    assert str(Path.home()) not in text
    assert platform.node() not in text.split()


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ({}, ""),
        ({"load": "1.9", "cores": "2"}, ""),
        ({"load": "7.3", "cores": "2"}, BUSY),
        ({"load": "1.5", "cores": "1"}, "measured on a busy machine (load 1.5, 1 core)"),
        ({"load": "7.3", "cores": "unknown"}, ""),
    ],
)
def test_a_busy_machine_is_noticed(about, expected):
    assert machine.busy(about) == expected


def test_the_load_is_recorded(monkeypatch):
    assert "load" not in machine.describe(1)
    assert machine.describe(1, load=2.345)["load"] == "2.35"
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (3.0, 0.0, 0.0), raising=False)
    assert machine.load_average() == 3.0


def test_numbers_of_things():
    assert machine.counted(1, "thread") == "1 thread"
    about = {**made.MACHINE, "threads": "1"}
    assert tables.conditions(about).startswith("CPU 9, 1 thread of 2 cores, ")


# Tables and sentences


def test_ratios_derive_from_the_median():
    case = one_array(10**6)
    rows = [made.row("steps", case, "AdamW", *each) for each in ((OURS, 2e-3), (LIMIT, 1e-3))]
    report = Report({}, rows)
    assert rows[0].gb_per_s == pytest.approx(14.0)  # 28 bytes * 1e6 in 2 ms
    assert report.share_of_limit(rows[0]) == 0.5
    assert report.ratio(rows[1], OURS) == 0.5
    assert report.ratio(rows[0], "numpy") is None
    single = replace(rows[1], bytes=14.0)  # as of a rule that reads everything twice
    assert Report({}, [rows[0], single]).share_of_limit(rows[0]) == 1.0


def test_steps_in_detail(sample):
    table, summary = told(sample)
    text = tables.to_text(table)
    assert "28 bytes per element" in table.caption
    assert all(name in text for name in sample.contenders)
    assert max(map(len, text.splitlines())) <= 80
    assert suites.document(sample).count("\n| ") == len(sample.cases)
    assert len(summary.splitlines()) == 2
    headline = suites.suite_of(sample).headline(sample)
    assert headline.startswith("An AdamW step over 1e6 float32 elements is ")


def test_overview():
    report = made.overview()
    (header, groups, *_), summary = told(report)
    assert header[:6] == ["optimizer", "elements", "bytes", OURS, "GB/s", "% of limit"]
    assert header[6:] == ["torch fused", "torch foreach"]
    *vectors, matrices = report.configs
    assert [[row[0] for row in g] for g in groups] == [vectors, vectors, [matrices], [matrices]]
    assert groups[3][0][1] == "1e7 (3125 x 3200)"
    lion, sgd, _ = groups[1]  # fastadam takes 9 ms and the limit 8 ms, then 7 ms and 6 ms
    assert lion[1:] == ["1e7", "20", "90.0 ms", "2.22", "89%", "", ""]
    assert sgd[1:] == ["1e7", "20", "70.0 ms", "2.86", "86%", "1.14x", "1.29x"]
    markdown = suites.document(report)
    assert markdown.startswith("| optimizer | elements | bytes |")
    assert markdown.count("\n| ") == 8
    low, high = "86% (SGD:momentum=0.9,nesterov=True at 1e6)", "89% (AdamMini at 1e7 (3125 x 3200))"
    assert summary == f"{OURS} reaches {low} to {high} of the limit's speed."


@pytest.mark.parametrize("names", [(OURS, LIMIT), ("torch foreach", OURS, LIMIT)])
def test_one_optimizer_is_told_in_detail(names):
    (lion,) = variants(["lion"])
    single = made.of_steps([one_array(1000, lion)], lambda case: names)
    (header, ((first, *_),), *_), summary = told(single)
    assert header[:2] == ["elements", "contender"]
    assert first[:2] == ["1e3", names[0]]
    rival = LIMIT if len(names) == 2 else names[0]
    assert summary.startswith(f"{rival} takes, relative to {OURS}: ")
    assert f"| elements | {OURS} | limit |" in suites.document(single)


def test_options():
    report = made.options()
    table, summary = told(report)
    text = tables.to_text(table)
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"+ {name} " in text for name in OPTIONS)
    markdown = suites.document(report)
    assert markdown.startswith("| elements | fastadam | vs plain | bytes | torch | vs plain |")
    assert markdown.count("\n| + ") == 3 * (len(OPTION_SETS) - 1)
    plain, *_ = table.groups[1]
    assert plain == ["2e7", "560 ms", "1.00x", "28", "1.12 s", "1.00x", "28", "2.0x"]
    costs, ratios = summary.splitlines()
    assert costs.endswith("plain step: 1.57x at 1e6, 1.57x at 2e7, 1.57x at 40 arrays of 100000")
    assert ratios.endswith(f"to {OURS}: 2.0x at 1e6, 2.0x at 2e7, 2.0x at 40 arrays of 100000")
    headline = suites.suite_of(report).headline(report)
    assert "over 2e7 float32 elements is 2.0x as fast" in headline


def test_options_without_torch():
    alone = made.options([OURS])
    table, summary = told(alone)
    assert table.header == ["elements", OURS, "vs plain", "bytes"]
    assert len(summary.splitlines()) == 1


def test_precision():
    report = made.precision()
    table, summary = told(report)
    text = tables.to_text(table)
    assert all(f" {name} " in text for name in report.configs)
    assert suites.document(report).startswith("| elements | contender | resident | traffic | time")
    int8 = table.groups[0][2]
    assert int8 == ["1e7", INT8.label, "14.00", "26.00", "260 ms", "1.00", "0.93x", "0.76x"]
    assert table.groups[0][-1][1] == "torch fused"
    first, second, last = summary.splitlines()
    assert first == "int8 state takes, relative to float32: " + ", ".join(
        f"0.93x at {case}" for case in report.cases
    )
    assert second.startswith(f"{SMALLEST.label} takes, relative to float32: 0.64x at 1e7")
    assert last.startswith("torch fused takes, relative to float32: 1.21x at 1e7")
    headline = suites.suite_of(report).headline(report)
    assert "over 1e8 float32 parameters takes 93% of the time of float32 state" in headline


def test_others_are_compared_with_int8_state():
    _, summary = told(made.precision_with_peers())
    last = summary.splitlines()[-1]
    assert last.startswith("bitsandbytes 8-bit takes, relative to int8 state: 1.93x at 1e7")


def test_the_adapter():
    report = made.adapter()
    table, summary = told(report)
    assert table.header == ["parameters", OURS, "torch fused", "torch default"]
    assert table.groups[0][0] == ["1000 arrays of 1000", "1.00 ms", "4.00 ms, 4.0x", "20.0 ms, 20x"]
    assert summary.splitlines() == [
        f"torch fused takes, relative to {OURS}: 4.0x at 1000 arrays of 1000, 4.0x at gpt2",
        f"torch default takes, relative to {OURS}: 20x at 1000 arrays of 1000, 20x at gpt2",
    ]
    headline = suites.suite_of(report).headline(report)
    assert headline.endswith("4.0x at 1000 arrays of 1000, 4.0x at gpt2 (CPU 9, 2 threads).")
    assert tables.conditions(made.MACHINE) in suites.document(report)


def test_a_busy_machine_is_told(sample):
    assert f"Warning, {BUSY}: times may mean nothing." in suites.document(busy(sample))
    assert "busy" not in suites.document(sample)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5e-7, "250 ns"), (9.99e-7, "999 ns"), (0.99996e-6, "1.00 us"), (1.5e-3, "1.50 ms")]
    + [(0.0123, "12.3 ms"), (0.4, "400 ms"), (12.0, "12.0 s")],
)
def test_durations(seconds, text):
    assert tables.duration(seconds) == text


@pytest.mark.parametrize(("columns", "plain"), [(100, False), (40, True)])
def test_table_on_a_terminal(sample, capsys, monkeypatch, columns, plain):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    table, _ = told(sample)
    tables.show(table)
    assert (tables.to_text(table) in capsys.readouterr().out) is plain


def test_table_without_rich(sample, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    table, _ = told(sample)
    tables.show(table)
    assert tables.to_text(table) in capsys.readouterr().out


# Several machines


def slower(report, factor=2.0):
    return replace(report, rows=[replace(r, p50_s=factor * r.p50_s) for r in report.rows])


@pytest.mark.parametrize("kind", ["steps", "overview", "options", "precision"])
def test_several_machines_side_by_side(kind, tmp_path):
    pytest.importorskip("matplotlib")
    report, path = made.REPORTS[kind](), tmp_path / "both.svg"
    both = {"laptop": report, "server": busy(slower(report))}
    table = suites.side_by_side(both)
    assert table.header[-2:] == ["laptop", "server"]
    assert ("optimizer" in table.header) is (len(report.configs) > 1)
    lines = [line for group in table.groups for line in group]
    assert len(lines) == len(report.rows)
    assert all(line[-2] != line[-1] for line in lines)
    suites.write_comparison(both, path)
    text = path.read_text()
    assert all(shown in text for shown in ("laptop", "server", f"server: {BUSY}"))


def test_several_machines_with_other_cases(sample):
    fewer = replace(sample, rows=[row for row in sample.rows if row.case == "1e3"])
    groups = suites.side_by_side({"a": fewer, "b": sample}).groups
    lines = [line for group in groups for line in group]
    assert {line[0] for line in lines if line[-2]} == {"1e3"}
    assert len(lines) == len(sample.rows)


def test_charts_have_matrices_beside_arrays_of_their_size(tmp_path):
    pytest.importorskip("matplotlib")
    report, shares, both = made.overview(), tmp_path / "shares.svg", tmp_path / "both.svg"
    suites.write_chart(report, shares)
    assert "AdamMini (3125 x 3200), 20 bytes" in shares.read_text()
    fewer = replace(report, rows=[row for row in report.rows if row.config != "AdamMini"])
    suites.write_comparison({"a": fewer, "b": report}, both)
    text = both.read_text()
    assert "AdamMini" in text
    assert "over 1e7 elements" in text


def test_suites_are_not_mixed(sample):
    with pytest.raises(ValueError, match="these are a of steps, b of options"):
        suites.side_by_side({"a": sample, "b": made.options()})


# Charts


@pytest.mark.parametrize(
    ("kind", "ending"), [("steps", "png"), *((kind, "svg") for kind in made.REPORTS)]
)
def test_chart_is_written(kind, tmp_path, ending):
    pytest.importorskip("matplotlib")
    report, path = made.REPORTS[kind](), tmp_path / f"chart.{ending}"
    digest = csv_io.digest_of(report)
    assert not charts.is_drawn_from(digest, path)
    suites.write_chart(report, path)
    if suites.suite_of(report).draw is None:
        assert not path.exists()
        return
    assert charts.is_drawn_from(digest, path)
    first = path.read_bytes()
    suites.write_chart(report, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "report",
    [
        made.of_steps([one_array(1000)], lambda case: (OURS, LIMIT)),
        made.options([OURS]),
        made.of_steps(
            [one_array(9, variant) for variant in variants(["sgd", "lion"])],
            lambda case: (OURS, LIMIT),
        ),
    ],
)
def test_charts_without_rivals(report, tmp_path):
    """No warning of matplotlib about a legend without labels."""
    pytest.importorskip("matplotlib")
    suites.write_chart(report, tmp_path / "chart.svg")


def test_charts_of_a_busy_machine_say_so(sample, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "chart.svg"
    suites.write_chart(sample, path)
    assert "busy" not in path.read_text()
    suites.write_chart(busy(sample), path)
    assert BUSY in path.read_text()


def test_labels_of_a_chart_do_not_touch():
    placed = axes.spread([1.0, 1.01, 1.02, 50.0], 1.5)
    assert all(b - a >= 1.49 for a, b in pairwise(placed))
    assert placed[-1] == 50.0


# Documents


@pytest.fixture
def script():
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("charts", ROOT / "bench/charts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def documents(tmp_path):
    """A repository with one page and no results."""
    (tmp_path / "bench/results").mkdir(parents=True)
    blocks = [f"<!-- bench:{view} -->\n<!-- /bench -->" for view in ("headline", "table")]
    (tmp_path / "README.md").write_text("\n\n".join(["before", *blocks, "after\n"]))
    return tmp_path


def test_documents_follow_the_results(script, sample, documents, capsys):
    readme, empty = documents / "README.md", (documents / "README.md").read_text()
    assert script.main(["--check"], documents) == 0
    csv_io.write_report(sample, documents / "bench/results/bench.csv")
    assert script.main(["--check"], documents) == 1
    assert script.main([], documents) == 0
    assert script.main(["--check"], documents) == 0
    assert (documents / "docs/assets/bench.png").exists()
    assert "\n| 1e3 | " in readme.read_text()
    assert "\nAn AdamW step over 1e6 float32 elements is " in readme.read_text()
    paths = ["docs/assets/bench.png", "README.md"]
    expected = [f"{word} {path}" for word in ("stale:", "wrote") for path in paths]
    assert capsys.readouterr().out.splitlines() == expected
    (documents / "bench/results/bench.csv").unlink()
    script.main([], documents)
    assert readme.read_text() == empty


@pytest.mark.parametrize(
    ("kind", "views", "texts"),
    [
        ("overview", ("table", "summary"), ["\n| NAdam | 1e7 | 28 | "]),
        (
            "options",
            ("headline", "summary", "table"),
            ["\nWith gradients unscaled", "\ntorch with all options takes", "\n| + clip_norm | "],
        ),
        ("adapter", ("headline", "summary", "table"), ["\n| gpt2 | 250 ms | 1.00 s, 4.0x | "]),
    ],
)
def test_documents_show_other_suites(kind, views, texts, script, documents):
    readme, report = documents / "README.md", made.REPORTS[kind]()
    readme.write_text("\n".join(f"<!-- bench:{v} other -->\n<!-- /bench -->\n" for v in views))
    csv_io.write_report(report, documents / "bench/results/other.csv")
    assert script.main(["--check"], documents) == 1
    assert script.main([], documents) == 0
    assert script.main(["--check"], documents) == 0
    assert (documents / "docs/assets/other.png").exists() is (kind != "adapter")
    assert all(text in readme.read_text() for text in texts)


@pytest.mark.parametrize(
    ("block", "message"), [("pie", "not a view; there are headline"), ("table moon", r"moon\.csv")]
)
def test_documents_refuse_what_there_is_not(script, documents, block, message):
    (documents / "README.md").write_text(f"<!-- bench:{block} -->\n<!-- /bench -->\n")
    with pytest.raises(ValueError, match=message):
        script.main(["--check"], documents)


def test_documents_show_every_machine(script, sample, documents):
    page, folder = documents / "README.md", documents / "bench/results/machines"
    page.write_text("<!-- bench:machines -->\n\n<!-- /bench -->\n")
    assert script.main(["--check"], documents) == 0  # nobody has added one
    folder.mkdir()
    for name in ("mine", "yours"):
        csv_io.write_report(sample, folder / f"{name}.csv")
    assert script.main([], documents) == 0
    assert script.main(["--check"], documents) == 0
    assert (documents / "docs/assets/machines.png").exists()
    text = page.read_text()
    assert "| elements | contender | mine | yours |" in text
    assert "\nmine: " in text
    assert "numpy |" not in text


def test_documents_show_every_gpu(script, sample, documents):
    page = documents / "docs/benchmarks.md"
    page.parent.mkdir()
    page.write_text("<!-- bench:gpus -->\n<!-- /bench -->\n")
    assert script.main(["--check"], documents) == 0  # none was measured
    about = {
        "gpu": "GPU 9",
        "dtype": "float32",
        "copy bandwidth": "9 GB/s",
        "host time of a step": "fastadam 9 us at 1e4",
    }
    rows = [row for row in sample.rows if row.contender != "numpy"]
    csv_io.write_report(Report(about, rows), documents / "bench/results/gpu-nine.csv")
    assert script.main([], documents) == 0
    assert script.main(["--check"], documents) == 0
    text = page.read_text()
    assert "### GPU 9, float32\n\ntorch fused takes, relative to fastadam: " in text
    assert "numba unfused takes, relative to fastadam: " in text
    assert "(assets/gpu-nine.png)" in text
    assert "\n| 1e3 | " in text
    assert (documents / "docs/assets/gpu-nine.png").exists()
