"""A hook of mkdocs: public names in backticks, `fa.flatten`, become links to the API pages.

Docstrings are read in `help()`, in editors and on the API pages; backticks read well in all three.
"""

import re
from typing import Any

SKIPPED = r"<(?P<tag>a|autoref|h[1-6]|pre)\b.*?</(?P=tag)>"  # links already, headings, listings
NAME = re.compile(rf"{SKIPPED}|<code>(?:fa|fastadam)\.(?P<name>\w+(?:\.\w+)*)</code>", re.S)


def on_page_content(html: str, **kwargs: Any) -> str:
    """Link names of the package; those without an entry in the API pages stay as they are."""

    def linked(found: re.Match[str]) -> str:
        if found["name"] is None:
            return found[0]
        return f'<autoref identifier="fastadam.{found["name"]}" optional>{found[0]}</autoref>'

    return NAME.sub(linked, html)
