"""The documentation is true: its code runs and prints what is shown, and nothing is left out."""

import ast
import doctest
import importlib.util
import re
import runpy
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import gpus
import pytest

import fastadam as fa
from fastadam import optimizers, schedules
from fastadam.bench.csv_io import read_report
from fastadam.bench.measurement import OURS
from fastadam.bench.tables import times
from fastadam.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
DOCS, PACKAGE = ROOT / "docs", ROOT / "fastadam"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
NEEDS = re.compile(r"<!-- needs: (\w+(?: \w+)*) -->\s*\Z")
DEFAULT = re.compile(r"^\| `(\w+)` \| (.+?) \|", re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


class Block(NamedTuple):
    """Python code of a page: the line above it, what it prints, and what it needs: packages, or
    `gpu`."""

    line: int
    code: str
    output: str
    needs: str


def blocks(text: str) -> Iterator[Block]:
    """The ```python blocks of a page, each with the ```output block that follows it."""
    fences = list(FENCE.finditer(text))
    for fence, following in zip(fences, [*fences[1:], None], strict=False):
        if fence[1] != "python":
            continue
        output, needs = "", NEEDS.search(text[: fence.start()])
        if following and following[1] == "output":
            assert not text[fence.end() : following.start()].strip()
            output = following[2]
        yield Block(text[: fence.start(2)].count("\n"), fence[2], output, needs[1] if needs else "")


def there(need: str) -> bool:
    if need == "jax":  # which warns of later forks: tests/jax runs these blocks
        return False
    return gpus.real() if need == "gpu" else importlib.util.find_spec(need) is not None


COMPILED = ("README", "embedding", "adding-an-optimizer", "how-a-step-works", "numerics")


@pytest.fixture
def most_in_plain_python(request):
    """Run most examples in plain Python: compiled code prints the same."""
    if not any(name in request.node.callspec.id for name in COMPILED):
        request.getfixturevalue("in_plain_python")


@each_page
@pytest.mark.usefixtures("most_in_plain_python")
def test_code_runs_and_prints_what_is_shown(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, missing = {"__name__": "__main__"}, set()
    for block in blocks(page.read_text()):
        absent = {need for need in block.needs.split() if not there(need)}
        if absent:
            missing |= absent if absent.isdisjoint({"gpu", "jax"}) else set()
            continue
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile("\n" * block.line + block.code, page, "exec"), namespace)
        got = printed.getvalue()
        same = doctest.OutputChecker().check_output(block.output, got, FLAGS)
        assert same, f"{page}:{block.line} prints\n{got}"
    if missing:
        pytest.skip(f"all ran but the blocks that need {missing}")


def test_every_python_block_is_found():
    for page in PAGES:
        text = page.read_text()
        fences = re.findall(r"^\s*(?:```|~~~)\s*(?:python|py|pycon)\b", text, re.M)
        assert len(fences) == len([*blocks(text)]), page


def leads_somewhere(page: Path, link: str) -> bool:
    """True if there is such a file, with such a heading; names of the API are mkdocs' to check."""
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if not anchor or anchor.startswith("fastadam."):
        return target.exists()
    headings = HEADING.findall(FENCE.sub("", target.read_text()))
    return anchor in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}


def test_links_lead_somewhere():
    links = [
        (page.name, page, link)
        for page in (*PAGES, ROOT / "CONTRIBUTING.md")
        for link in LINK.findall(page.read_text())
        if "://" not in link
    ]
    assert [(name, link) for name, page, link in links if not leads_somewhere(page, link)] == []


def modules() -> Iterator[str]:
    """The modules with examples in their docstrings."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        needs_extras = {"cli", "bench", "jax", "__main__"} & {*parts}
        if ">>> " in path.read_text("utf-8") and not needs_extras:
            yield ".".join(parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", [*modules()])
@pytest.mark.usefixtures("most_in_plain_python")
def test_examples_in_docstrings(name):
    if name.startswith(("fastadam.torch", "fastadam.processes.process_group")):
        pytest.importorskip("torch")
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        report = StringIO()
        runner.run(test, out=report.write)
        assert not report.getvalue(), report.getvalue()


def test_every_public_name_has_its_place():
    for name in fa.__all__:
        own = DOCS / "optimizers" / f"{name.lower()}.md"
        page = own if name in optimizers.__all__ else DOCS / "api.md"
        assert f"::: fastadam.{name}" in page.read_text()
        assert getattr(fa, name).__doc__, name


def test_the_page_of_an_optimizer_names_its_hyperparameters():
    for name in optimizers.__all__:
        text = (DOCS / "optimizers" / f"{name.lower()}.md").read_text()
        defaults = getattr(fa, name).defaults
        assert [key for key in defaults if f"`{key}`" not in text] == [], name
        shown = {key: ast.literal_eval(value) for key, value in DEFAULT.findall(text)}
        assert shown == {key: defaults[key] for key in shown}, name


def test_tables_and_pictures_are_up_to_date():
    tables = runpy.run_path(str(DOCS / "assets" / "optimizers.py"))
    for file in tables["FILES"]:
        assert file.read_text() == tables["filled"](file), "run `make docs`"
    drawing = runpy.run_path(str(DOCS / "assets" / "step.py"))["drawing"]
    assert (DOCS / "assets" / "step.svg").read_text() == drawing()
    assert runpy.run_path(str(DOCS / "assets" / "schedules.py"))["is_current"](), "run `make docs`"
    if there("torch"):
        offload = runpy.run_path(str(DOCS / "assets" / "offload.py"))
        assert offload["is_current"](), "run `make docs`"


def test_every_schedule_is_documented_and_drawn():
    api, page = (DOCS / "api.md").read_text(), (DOCS / "schedules.md").read_text()
    drawn = runpy.run_path(str(DOCS / "assets" / "schedules.py"))["CALLS"]
    assert {call.split("(")[0] for call in drawn} == {*schedules.__all__}
    for name in schedules.__all__:
        assert f"::: fastadam.schedules.{name}\n" in api
        assert f"| `{name}(" in page


def tree_of(page: Path) -> Iterator[Path]:
    """The paths of the folder tree that a page shows, indented by two blanks a level."""
    (tree,) = re.findall(r"^```text\n(fastadam/\n.*?)^```$", page.read_text(), re.M | re.S)
    folders: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        folders[(len(line) - len(line.lstrip())) // 2 :] = [name]
        yield ROOT.joinpath(*folders)


def test_the_folder_tree_is_that_of_the_package():
    shown = {*tree_of(DOCS / "how-a-step-works.md")}
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    public = {path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    assert [path for path in sorted(shown) if not path.exists()] == []
    assert [path for path in sorted(folders | public) if path not in shown] == []


def test_files_that_are_named_exist():
    pattern = re.compile(r"`((?:fastadam|tests|bench|docs|examples)/[\w./-]+)`")
    pages = (*PAGES, ROOT / "CONTRIBUTING.md")
    named = [(page.name, name) for page in pages for name in pattern.findall(page.read_text())]
    assert [(page, name) for page, name in named if not (ROOT / name).exists()] == []


SEARCHED = ["gradient clipping", "gradient accumulation", "EMA", "loss scaling", "mixed precision"]
SEARCHED += ["checkpoint", "resume", "learning rate", "8-bit", "NaN", "torch.optim", "bitsandbytes"]


@pytest.mark.parametrize("words", SEARCHED)
def test_words_that_readers_search_for_are_in_a_heading(words):
    texts = (FENCE.sub("", page.read_text()) for page in DOCS.rglob("*.md"))
    headings = [heading.lower() for text in texts for heading in HEADING.findall(text)]
    assert any(words.lower() in heading for heading in headings)


FIGURES = [
    ("torch-adapter", "gpt2", "torch default"),
    ("torch-adapter", "1000 arrays of 1000", "torch default"),
    ("torch-adapter", "gpt2", "torch fused"),
    ("torch-adapter", "1000 arrays of 1000", "torch fused"),
    ("peers-threads-1", "1e7", "DeepSpeed"),
    ("peers-threads-1", "1000 arrays of 1000", "DeepSpeed"),
    ("bench", "1e8", "numpy"),
    ("bench", "1e6", "numpy"),
]


def test_figures_of_the_readme_are_those_of_the_reports():
    shown = re.findall(r"\d[\d.]*x", (ROOT / "README.md").read_text())
    for (name, case, contender), figure in zip(FIGURES, shown, strict=True):
        report = read_report(ROOT / "bench" / "results" / f"{name}.csv")
        (row,) = [row for row in report.of(contender) if row.case == case]
        assert figure == times(report.ratio(row, OURS))


def test_contributing_is_short():
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) < 60


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_the_command_line_are_documented(command, capsys):
    assert main([command, "--help"]) == 0
    options = {*re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)} - {"--help"}
    text = (DOCS / "cli.md").read_text()
    assert [option for option in sorted(options) if f"`{option}" not in text] == []
