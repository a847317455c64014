"""A hook of mkdocs: formulas become MathML when the site is built; readers fetch nothing."""

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def on_page_content(html: str, **kwargs: Any) -> str:
    """The page with its formulas drawn."""

    def drawn(formula: re.Match[str]) -> str:
        kind = "inline" if formula[2] == "(" else "block"
        return str(convert(unescape(formula[3]), display=kind))

    return FORMULA.sub(drawn, html)
