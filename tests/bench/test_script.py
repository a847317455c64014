"""Programs of `bench/`: mistakes of the user end in one line on stderr, before any measuring."""

import argparse
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastadam.bench import script

SERVERS = Path(__file__).parents[2] / "bench/servers.py"
CASES = [SimpleNamespace(label=label) for label in ("Adam, 1e6", "Adam, 1e7", "Yogi, 1e7")]


def test_a_text_without_a_case_is_said_in_one_line():
    words = [sys.executable, SERVERS, "--cases", "no such case"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("servers.py: error: --cases: no label has 'no such case'; the labels")


def test_cases_are_found_by_a_part_of_their_label():
    assert script.cases_with("1e7", CASES) == CASES[1:]
    assert script.cases_with("", CASES) == CASES
    with pytest.raises(ValueError, match="no label has '1e9'; the labels are Adam, 1e6; Adam"):
        script.cases_with("1e9", CASES)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (script.at_least(1), "0", "0 is less than 1"),
        (script.positive, "-1", "-1 is not a positive number"),
        (script.positive, "nan", "nan is not a positive number"),
        (script.existing_folder, "no such folder", "there is no folder 'no such folder'"),
        (script.output_file, "no such folder/x.csv", "does not exist; create it"),
        (script.output_file, ".", "is a folder; give the name of a file in it"),
    ],
)
def test_an_argument_that_is_not_valid(read, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        read(text)


def failing(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("main", "status", "message"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (lambda: failing(KeyboardInterrupt()), 130, ""),
        (lambda: failing(ValueError("two\nlines")), 2, "bench.py: error: two lines\n"),
        (lambda: failing(FileNotFoundError(2, "Not there", "x.csv")), 2, "'x.csv': Not there\n"),
    ],
)
def test_how_a_program_ends(main, status, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    with pytest.raises(SystemExit) as ended:
        script.run_script(main)
    assert ended.value.code == status
    assert capsys.readouterr().err.endswith(message)


def test_a_misspelt_option_is_said_in_one_line(capsys):
    parser = script.Parser(prog="bench.py")
    script.add_timing(parser.add_argument)
    with pytest.raises(SystemExit):
        parser.parse_args(["--second", "1", "--csv", "x"])
    assert capsys.readouterr().err.count("\n") == 1
