"""Counts of the package's own Python calls, which are most of the time of a small step."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastadam

PACKAGE = str(Path(fastadam.__file__).parent)


def depths_of_calls(function: Callable[[], Any]) -> list[int]:
    """The depth of each call of a function of the package, 0 for one from outside."""
    depths, level = list[int](), 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal level
        if frame.f_code.co_filename.startswith(PACKAGE) and event in ("call", "return"):
            if event == "call":
                depths.append(level)
            level += 1 if event == "call" else -1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return depths
