"""Error messages for mistakes in rules: the mistake, its place, and the fix."""

import re
from pathlib import PurePath
from typing import Any

from ..rules import Rule

HINT = (
    "a rule may use + - * /, comparisons, a if c else b, abs, min, max, math.sqrt and helper "
    "functions; NUMBA_DISABLE_JIT=1 runs it in plain Python, for a debugger"
)
NOISE = re.compile(
    r"(?:\w+Error: )?Failed in |During: |There are \d|- Of which|Overload |Intrinsic |"
    r"With argument|Rejected as |No implementation of function Function\(<intrinsic|>>> each\("
)  # among it what Numba says of the intrinsic `each`, which calls the rule
CAUSE = re.compile(r"(?:\w+Error: )(.*)")


def in_plain_python(rule: Rule, error: Exception, h: Any) -> Exception:
    """The exception of a rule evaluated with ones, extended by the names that it declares."""
    text, missing = str(error), getattr(error, "name", None)
    if isinstance(error, AttributeError) and getattr(error, "obj", None) is h:
        text = (
            f"h has no {missing!r}; it has {', '.join(rule.hyper) or 'nothing'}: add the name to "
            "hyper=, and let hyper() return it"
        )
    elif "unpack" in text or isinstance(getattr(error, "obj", None), tuple):
        text = f"{text}; state is a tuple of the {len(rule.state)} declared numbers: {rule.state!r}"
    return type(error)(f"rule {rule.name}: {text}")


def in_compiling(rule: Rule, compute: str, error: Exception) -> TypeError:
    """The exception for a rule that a compiler refused, shortened to the reason and the fix."""
    text = re.sub(r"\x1b\[[0-9;]*m|<iv=None>", "", str(error))
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    kept = next((line for line in lines if " is stored as " in line), "")
    reason = kept.removeprefix("TypingError: ") or f"{_reason(lines)}{_place(text)}; {HINT}"
    return TypeError(f"rule {rule.name} cannot be compiled for {compute}: {reason}")


def _reason(lines: list[str]) -> str:
    """The first informative line, or the call that has no implementation."""
    lines = [line for line in lines if not NOISE.match(line)] or lines
    first = lines[0]
    if not first.endswith("found for signature:"):
        return first.rstrip(".")
    causes = [cause[1] for cause in map(CAUSE.match, lines) if cause]
    call = next((line.removeprefix(">>> ") for line in lines if line.startswith(">>> ")), first)
    return causes[0] if causes else f"Numba cannot compile {call}"


def _place(text: str) -> str:
    found = re.search(r'File "([^"]+)", line (\d+)', text)
    return f" (line {found[2]} of {PurePath(found[1]).name})" if found else ""
