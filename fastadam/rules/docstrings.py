"""Docstrings of optimizers for `help()`: all arguments explained, each text written once.

An argument is explained in the docstring of the class that introduces it: hyperparameters in that
of the algorithm, options in that of the base class. The docstring of a class is composed from these
when it is read.
"""

import re
from collections.abc import Callable, Mapping
from inspect import cleandoc
from textwrap import fill
from typing import Any

SECTION = re.compile(r"^Args:\n((?:[ ]+.*\n|\n)*)", re.M)
ERRORS = re.compile(r"^Raises:\n(?:[ ]+.*\n)+", re.M)
ELSEWHERE = re.compile(r"as for `?(fa|fastadam)\.")
# Explanations of hyperparameters that several algorithms share, for those that only refer to them.
SHARED: dict[str, str] = {}
ENTRY = re.compile(r"^[ ]{4}(\w[\w, \n]*):[ ](.*\n(?:[ ]{5,}.*\n)*)", re.M)


class Composed:
    """A docstring of a class that is composed when it is first read, such as by `help()`."""

    def __init__(self, compose: Callable[[], str]) -> None:
        self._compose = compose
        self._text: str | None = None

    def __get__(self, instance: Any, owner: Any = None) -> str:
        if self._text is None:
            self._text = self._compose()
        return self._text


def entries(text: str | None) -> dict[str, str]:
    """The explanations in the section `Args:` of a docstring, by argument."""
    section = SECTION.search(cleandoc(text or "") + "\n")
    found = dict[str, str]()
    for names, meaning in ENTRY.findall(section[1] if section else ""):
        if not ELSEWHERE.match(meaning):
            found |= dict.fromkeys(re.findall(r"\w+", names), " ".join(meaning.split()))
    return found


def explained(defaults: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """A section `Args:`.

    Args:
        defaults: of all arguments, in order.
        known: explanations by argument.
    """
    lines = list[tuple[str, str]]()
    for name, default in defaults.items():
        meaning = known.get(name, f"default {default!r}.")
        if lines and lines[-1][1] == meaning and name in known:
            lines[-1] = (f"{lines[-1][0]}, {name}", meaning)
        else:
            lines.append((name, meaning))
    each = (f"{name}: {meaning}" for name, meaning in lines)
    return "Args:\n" + "".join(
        fill(entry, 96, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False)
        + "\n"
        for entry in each
    )


def errors_of(text: str | None) -> str:
    """The section `Raises:` of a docstring; an empty string if it has none."""
    found = ERRORS.search(cleandoc(text or "") + "\n")
    return found[0] if found else ""


def completed(text: str | None, arguments: str, errors: str = "") -> str:
    """A docstring with complete sections.

    Args:
        text: the docstring.
        arguments: the section `Args:` that replaces its own, or is added.
        errors: the section `Raises:` to add if it has none.
    """
    own = cleandoc(text or "") + "\n"
    if errors and not errors_of(text):
        arguments = f"{arguments}\n{errors}"
    section = SECTION.search(own)
    if not section:
        return cleandoc(f"{own}\n{arguments}")
    gap = "\n" if own[section.end() :] else ""
    return cleandoc(own[: section.start()] + arguments + gap + own[section.end() :])
