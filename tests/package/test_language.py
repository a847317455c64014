"""Lint of the English: docstrings begin with a noun or a verb, names are technical terms."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fastadam"
FILES = sorted(PACKAGE.rglob("*.py"))
OTHERS = sorted(
    file for name in ("tests", "bench", "examples") for file in (ROOT / name).rglob("*.py")
)
RELATIVE = {"What", "Whether", "Where", "How", "Who", "Whose", "Which", "That", "When", "Why"}
COINED = {"walk", "gate", "ahead", "look", "settle", "settled", "tell", "watch", "fit", "gaps"}

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented(files: list[Path]) -> Iterator[tuple[str, Documented]]:
    """The path of each file with each of its modules, classes and functions."""
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, Documented):
                yield file.relative_to(ROOT).as_posix(), node


def words_of(name: str) -> set[str]:
    """The words of a name in CamelCase or with underscores."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)}


def test_docstrings_begin_with_a_noun_or_a_verb() -> None:
    found = [
        f"{path}: {getattr(node, 'name', 'module')}: {text.splitlines()[0]}"
        for path, node in documented([*FILES, *OTHERS])
        if (text := ast.get_docstring(node)) and re.split(r"\W", text)[0] in RELATIVE
    ]
    assert not found


def test_docstrings_have_no_links_of_the_documentation() -> None:
    # `help()` and editors would show them; docs/assets/links.py links public names in backticks.
    assert not [file.name for file in FILES if "][fastadam" in file.read_text("utf-8")]


def test_names_of_modules_and_classes_are_technical_terms() -> None:
    found = [
        f"{path}: {name}"
        for path, node in documented(FILES)
        for name in (getattr(node, "name", Path(path).stem),)
        if isinstance(node, ast.Module | ast.ClassDef) and words_of(name) & COINED
    ]
    assert not found
