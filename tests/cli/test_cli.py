"""The command line: help, errors in one line, `info` anywhere, plans of memory."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from processes import output

import fastadam as fa
from fastadam.bench import environment
from fastadam.cli import COMMANDS, main
from fastadam.cli.demo import command as demo
from fastadam.cli.info import command as info

INFO = (
    "fastadam", "Python", "platform", "NumPy", "Numba", "llvmlite", "torch", "CPU", "CPU cores",
    "CPU features", "threads", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "threading layer",
    "layers available", "kernel cache", "kernels in it", "CUDA",
)  # fmt: skip


@pytest.fixture
def packages():
    for name in demo.PACKAGES:
        pytest.importorskip(name)


# Help and errors


def test_help_names_every_command_with_examples(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert all(f"fastadam {command}" in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: fastadam {command}" in text
    assert text.count(f"\n  fastadam {command}") >= 1
    assert "examples:" in text


def test_help_shows_defaults_and_no_none(capsys):
    main(["demo", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for shown in ("(default: AdamW)", "(default: 30)", "(default: 32)", "the optimizer's own"):
        assert shown in text
    assert "None" not in text


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastadam {fa.__version__}\n"


@pytest.mark.parametrize(
    ("command", "absent"), [("demo", {"Muon"}), ("export", {"LAMB", "AdamMini", "Muon"})]
)
def test_help_lists_the_optimizers_that_a_command_can_take(command, absent, capsys):
    main([command, "--help"])
    listed = set(re.split(r"[,\s]+", capsys.readouterr().out))
    assert absent <= {*fa.optimizers.__all__} - listed
    assert {"ADOPT", "Yogi"} <= listed


def test_no_command_shows_help(capsys):
    assert main([]) == 2
    assert "examples:" in capsys.readouterr().err


def test_unknown_command_names_the_known_ones(capsys):
    assert main(["deno"]) == 2
    error = capsys.readouterr().err
    assert all(command in error for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deno"], "fastadam: error: argument COMMAND: invalid choice: 'deno'"),
        (
            ["--versoin"],
            "fastadam: error: unrecognized arguments: --versoin (did you mean --version?)",
        ),
        (
            ["bench", "--optimiser=adam"],
            "fastadam bench: error: unrecognized arguments: --optimiser=adam "
            "(did you mean --optimizer?)",
        ),
        (["demo", "--file"], "fastadam demo: error: unrecognized arguments: --file; "),
        (["info", "all"], "fastadam info: error: unrecognized arguments: all; "),
        (["export"], "fastadam export: error: one of the arguments --c --ptx is required; "),
        (["bench", "--seconds", "x"], "fastadam bench: error: argument --seconds: invalid float"),
    ],
)
def test_a_mistake_is_one_line_that_says_where_help_is(arguments, message, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(message)
    prog = message.partition(":")[0]
    assert shown.err.endswith(f"; see {prog} --help\n")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "-1"], "lr=-1.0"),
        (["--lr", "nan"], "lr=nan"),
        (["--lr", "1e30"], "lr=1e+30 is more than 1000"),
        (["--optimizer", "sgd:lr=1e30"], "lr=1e+30 is more than 1000"),
        (["--optimizer", "sgd:lr=1", "--lr", "2"], "lr is given twice, as 1 and 2.0"),
        (["--optimizer", "sgd:mass=1"], "'mass'"),
        (["--lr", "fast"], "'fast'"),
        (["--optimizer", "adamwz"], "unknown optimizer 'adamwz'; did you mean AdamW"),
        (["--schedule", "sine"], "cosine"),
        (["--epochs", "0"], "0 is less than 1"),
        (["--batch", "0"], "0 is less than 1"),
        (["--batch", "100000"], "100000 is more than the 1437 images"),
        (["--threads", "0"], "0 is less than 1"),
        (["--seed", "-1"], "-1 is less than 0"),
        (["--plot", "curve.txt"], ".png"),
        (["--plot", "nowhere/curve.png"], "the folder of 'nowhere/curve.png' does not exist"),
        (["--state", "int4"], "'int4'"),
        (["--rounding", "stochastic"], "for bfloat16 and float16 parameters"),
        (["--compensation", "kahan"], "for bfloat16 parameters"),
    ],
)
def test_bad_values_are_named_without_a_traceback(
    arguments, message, packages, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *arguments]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("fastadam demo: error: ")
    assert message in last
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("package", demo.PACKAGES)
def test_missing_package_names_the_extra(package, packages, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demo", "--epochs", "1"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f'fastadam demo: error: {package} is not installed; run: pip install "fastadam[demo]"\n'
    )


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, ""),
        (ValueError("several\n  lines"), 2, "fastadam info: error: several lines\n"),
        (PermissionError(13, "Permission denied", "a.png"), 2, "a.png"),
    ],
)
def test_what_ends_a_command(error, code, message, capsys, monkeypatch):
    def fail(arguments):
        raise error

    monkeypatch.setattr("fastadam.cli.info.run", fail)
    assert main(["info"]) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == (1 if message else 0)


def test_mistakes_of_the_library_are_not_hidden(monkeypatch):
    def fail(arguments):
        raise AttributeError("bug")

    monkeypatch.setattr("fastadam.cli.info.run", fail)
    with pytest.raises(AttributeError, match="bug"):
        main(["info"])


@pytest.mark.skipif(os.name == "nt", reason="Windows tells of a closed pipe in other ways")
@pytest.mark.parametrize("arguments", [["--help"], ["info"]])
def test_closed_pipe_is_quiet(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "fastadam", *arguments],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"numba", "torch", "sklearn", "matplotlib", "rich"}),
        (["export", "--help"], {"numba", "torch"}),
        (["info", "--plan", "7e9", "--params", "bfloat16"], {"numba", "torch", "ml_dtypes"}),
        (["info"], {"torch", "sklearn", "matplotlib"}),
    ],
)
def test_imports_only_what_it_needs(arguments, heavy):
    code = (
        "import sys; from fastadam.cli import main\n"
        f"assert main({arguments}) == 0\n"
        f"print(); print({heavy} & set(sys.modules))"
    )
    assert output(code).splitlines()[-1] == "set()"


# Info


def answers(text):
    """The lines that `info` prints where there is no terminal, by label."""
    return {
        label: line[len(label) :].strip()
        for line in text.splitlines()
        for label in INFO
        if line.startswith(f"{label}  ")
    }


def test_info_answers_everything(capsys):
    assert main(["info"]) == 0
    found = answers(capsys.readouterr().out)
    assert tuple(found) == INFO
    assert found["fastadam"] == fa.__version__
    assert found["NumPy"] == np.__version__
    assert not [label for label, answer in found.items() if answer.startswith("unknown")]


def test_info_needs_the_core_only(capsys, monkeypatch):
    for name in ("rich", "torch", "sklearn", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["info"]) == 0
    assert tuple(answers(capsys.readouterr().out)) == INFO


def test_info_on_a_terminal_is_a_table(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "┌" in text
    assert all(label in text for label in INFO)


def test_info_tells_settings_and_their_consequences(tmp_path):
    code = "import sys; from fastadam.cli import main; sys.exit(main(['info']))"
    folder = tmp_path / "kernels here"
    text = output(
        code,
        NUMBA_DISABLE_JIT="0",
        NUMBA_THREADING_LAYER="workqueue",
        NUMBA_CACHE_DIR=str(folder),
        NUMBA_NUM_THREADS="2",
        OMP_NUM_THREADS="1",
    )
    found = answers(text)
    assert found["threading layer"].startswith("workqueue, as NUMBA_THREADING_LAYER=workqueue")
    assert "workqueue" in found["layers available"]
    assert "warning" in text
    assert found["threads"].startswith("1 ")
    assert (found["NUMBA_NUM_THREADS"], found["OMP_NUM_THREADS"]) == ("2", "1")
    assert found["kernel cache"].startswith(str(folder))
    files = [path for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc")]
    assert files
    assert found["kernels in it"].startswith(f"{len(files)} files, ")


def test_info_tells_what_it_cannot_find_out(capsys, monkeypatch):
    def fail():
        raise RuntimeError("several\nlines")

    monkeypatch.setitem(info.QUESTIONS, "CPU", fail)
    assert main(["info"]) == 0
    found = answers(capsys.readouterr().out)
    assert found["CPU"] == "unknown: RuntimeError: several lines"
    assert tuple(found) == INFO


def test_info_where_no_folder_is_writable(monkeypatch):
    monkeypatch.setattr(environment, "cache_folders", lambda: None)
    assert "NUMBA_CACHE_DIR" in environment.kernel_cache()
    assert environment.cache_size() == ""


# Plans


def test_a_plan_is_a_table(capsys):
    words = ["--state", "int8", "--params", "bfloat16", "--grads", "bfloat16"]
    words += ["--compensation", "split8", "--optimizer", "ADAMW"]
    assert main(["info", "--plan", "7e9", *words]) == 0
    text = capsys.readouterr().out
    assert text.startswith("AdamW, 7,000,000,000 parameters\n")
    plan = fa.plan(7e9, params="bfloat16", state_dtype="int8", compensation="split8")
    assert f"\n{plan}\n" in text
    assert text.splitlines()[-1].startswith("44% of the memory of plain float32")


def test_a_plan_on_a_terminal_is_drawn(capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    optimizer = "adamw:ema_decay=0.999,amsgrad=True"
    assert main(["info", "--plan", "1000", "--optimizer", optimizer]) == 0
    text = capsys.readouterr().out
    assert "┃" in text
    for shown in ("4 kB", "12 kB", "ema", "moved"):
        assert shown in text


def test_a_plan_of_nothing(capsys):
    assert main(["info", "--plan", "0"]) == 0
    assert "nothing to store" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--plan", "many"], "--plan: 'many' is not the number of parameters, as 7e9"),
        (["--plan", "1.5"], "--plan: '1.5' is not the number of parameters"),
        (["--plan=-3"], "--plan: '-3' is not the number of parameters"),
        (["--state", "int8"], "--state is for a plan; give --plan"),
        (["--with", "momentum=0.9"], "--with is for a plan"),
        (["--plan", "1e9", "--optimizer", "adamw:mass=1"], "'mass'"),
        (["--plan", "1e9", "--optimizer", "adamv"], "did you mean Adam or AdamW"),
        (["--plan", "1e9", "--optimizer", "sgd:momentum"], "not NAME=VALUE"),
        (["--plan", "1e9", "--optimizer", "adamw:lr=1", "--with", "lr=2"], "lr is given twice"),
        (["--plan", "1e9", "--grads", "float64"], "grads='float64' is for float64 parameters"),
        (["--plan", "1e9", "--with", "momentum"], "not NAME=VALUE"),
        (["--plan", "1e9", "--compensation", "split8"], "for bfloat16 parameters"),
    ],
)
def test_bad_plans_are_named(arguments, message, capsys):
    assert main(["info", *arguments]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("fastadam info: error: ")
    assert message in last


def test_python_m_fastadam():
    code = (
        "import runpy, sys; sys.argv = ['fastadam', '--version']\n"
        "runpy.run_module('fastadam', run_name='__main__')"
    )
    assert output(code) == f"fastadam {fa.__version__}"
