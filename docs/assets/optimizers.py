"""The table of all optimizers in the documentation, read from the package.

`python docs/assets/optimizers.py` fills the table in docs/optimizers/index.md. As a hook of mkdocs
it adds the page of each optimizer to the navigation.
"""

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
PAGES = DOCS / "optimizers"
TABLE = re.compile(r"(<!-- optimizers -->\n).*?(<!-- /optimizers -->)", re.S)
HEAD = """\
| optimizer | source | state | bytes of state | bytes read and written |
|---|---|---|---|---|
"""


def row(optimizer: Any, page: str) -> str:
    """One line on an optimizer with its defaults."""
    from fastadam.engine.budget import LARGE
    from fastadam.optimizers.listing import listing

    listed = listing(optimizer)
    names = ", ".join(f"`{name}`" for name in optimizer.rule.of(LARGE).state) or "none"
    link = f"[{optimizer.__name__}]({page})"
    return f"| {link} | {origin(optimizer)} | {names} | {listed.state_bytes} | {listed.traffic} |"


def origin(optimizer: Any) -> str:
    """The paper, from the first paragraph of the file: `Name: authors, title, venue year.`"""
    first = " ".join((sys.modules[optimizer.__module__].__doc__ or "").split("\n\n")[0].split())
    name, _, source = first.partition(": ")
    if name != optimizer.__name__ or not source:
        raise ValueError(
            f"{optimizer.__module__} must begin with '{optimizer.__name__}: ' and "
            f"its source; it begins with {first!r}"
        )
    return source.rstrip(".")


def filled(path: Path) -> str:
    """The text of a page with its table as it should be."""
    from fastadam import optimizers

    names = sorted(optimizers.__all__, key=str.lower)
    rows = [row(getattr(optimizers, name), f"{name.lower()}.md") for name in names]
    return TABLE.sub(rf"\g<1>{HEAD}" + "".join(f"{r}\n" for r in rows) + r"\g<2>", path.read_text())


FILES = (PAGES / "index.md",)


def on_config(config: Any) -> Any:
    """Put the pages behind their index, wherever the navigation has it."""
    pages = [f"optimizers/{p.name}" for p in sorted(PAGES.glob("*.md")) if p.stem != "index"]
    for entries in (section for entry in config.nav for section in entry.values()):
        for entry in entries if isinstance(entries, list) else ():
            if "Optimizers" in entry:
                entry["Optimizers"] = ["optimizers/index.md", *pages]
    return config


if __name__ == "__main__":
    for file in FILES:
        file.write_text(filled(file))
