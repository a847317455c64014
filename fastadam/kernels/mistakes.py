"""Mistakes in rules, said to those who wrote them: what it is, where, and how it is written."""

import re
from pathlib import PurePath
from typing import Any

from ..rules import Rule

WAY_OUT = (
    "a rule computes with numbers: + - * /, comparisons, a if c else b, abs, min, max, math.sqrt, "
    "helper functions; NUMBA_DISABLE_JIT=1 runs it in plain Python, for a debugger"
)
NOISE = re.compile(
    r"Failed in |During: |There are \d|- Of which|Overload |Intrinsic |With argument"
)
CAUSE = re.compile(r"(?:\w+Error: )(.*)")


def in_plain_python(rule: Rule, error: Exception, h: Any) -> Exception:
    """The error that a rule raised when it was evaluated with ones, with what it declares."""
    text, missing = str(error), getattr(error, "name", None)
    if isinstance(error, AttributeError) and getattr(error, "obj", None) is h:
        text = (
            f"h has no {missing!r}; it has {', '.join(rule.hyper) or 'nothing'}: add the name to "
            "hyper=, and let hyper() return it"
        )
    elif "unpack" in text or isinstance(getattr(error, "obj", None), tuple):
        text = (
            f"{text}; state is a tuple of the {len(rule.state)} that are declared: {rule.state!r}"
        )
    return type(error)(f"rule {rule.name}: {text}")


def in_compiling(rule: Rule, compute: str, error: Exception) -> TypeError:
    """The reason in the long message of a compiler that refused a rule."""
    text = re.sub(r"\x1b\[[0-9;]*m|<iv=None>", "", str(error))
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    kept = next((line for line in lines if " is kept as " in line), "")
    reason = kept.removeprefix("TypingError: ") or f"{_reason(lines)}{_place(text)}; {WAY_OUT}"
    return TypeError(f"rule {rule.name} cannot be compiled for {compute}: {reason}")


def _reason(lines: list[str]) -> str:
    """The first line that says something, or the call for which there is nothing."""
    first = next((line for line in lines if not NOISE.match(line)), lines[0])
    if not first.endswith("found for signature:"):
        return first.rstrip(".")
    causes = [cause[1] for cause in map(CAUSE.match, lines) if cause]
    call = next((line.removeprefix(">>> ") for line in lines if line.startswith(">>> ")), first)
    return causes[0] if causes else f"there is no {call}"


def _place(text: str) -> str:
    found = re.search(r'File "([^"]+)", line (\d+)', text)
    return f" (line {found[2]} of {PurePath(found[1]).name})" if found else ""
