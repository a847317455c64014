"""Write the table of bytes of docs/offload.md, and draw docs/assets/offload.svg beside it.

`python docs/assets/offload.py`, with PyTorch. The bytes are those that optimizers count, so that
neither is ever out of date.
"""

import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "offload.md"
MARKED = re.compile(r"(<!-- offload:table -->\n).*?(<!-- /offload -->)", re.S)
SIZE = 1 << 16  # elements of the parameter that is counted
PLAIN = 16 * SIZE  # float32 weights, gradients and two states, as with autocast
PARTS = {"params": "weights", "compensation": "low bits", "shadow": "copy", "grads": "gradients"}
PARTS |= {"state": "state"}


class Row(NamedTuple):
    """A configuration: the dtype of the model, and the arguments of the optimizer."""

    dtype: str
    options: dict[str, str]


ROWS = (
    Row("bfloat16", {}),
    Row("bfloat16", {"state_dtype": "bfloat16"}),
    Row("bfloat16", {"state_dtype": "int8"}),
    Row("bfloat16", {"state_dtype": "int8", "compensation": "split8"}),
    Row("float32", {}),
    Row("float32", {"state_dtype": "int8"}),
)
FULL, INT8, SPLIT = ROWS[0], ROWS[2], ROWS[3]


def budget(row):
    """The bytes on the host."""
    import torch

    from fastadam.torch import AdamW
    from fastadam.torch.offload import CPUOffload

    param = torch.nn.Parameter(torch.zeros(SIZE, dtype=getattr(torch, row.dtype)))
    return CPUOffload([param], AdamW, **row.options).memory()


def arguments(row):
    return ", ".join(f'{name}="{value}"' for name, value in row.options.items())


def per_param(nbytes):
    return f"{nbytes / SIZE:.2f}".rstrip("0").rstrip(".")


def table() -> str:
    """The table in Markdown."""
    heads = ["model", "arguments", *PARTS.values(), "host", "device"]
    lines = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
    for row in ROWS:
        counted = budget(row)
        cells = [per_param(getattr(counted, part)) for part in PARTS]
        size = {"bfloat16": 2, "float32": 4}[row.dtype]
        given = f"`{arguments(row)}`" if row.options else ""
        total = f"**{per_param(counted.total)}**"
        lines.append([row.dtype, given, *cells, total, f"{2 * size}, or {size}"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def page() -> str:
    """The page with the table of today."""
    text = PAGE.read_text()
    return MARKED.sub(lambda found: found[1] + table() + found[2], text)


def drawing() -> str:
    """The picture as SVG."""
    step = runpy.run_path(str(HERE / "step.py"))
    text, box, arrow = step["text"], step["box"], step["arrow"]
    full, int8, split = (per_param(budget(row).total) for row in (FULL, INT8, SPLIT))
    plain = per_param(PLAIN)
    questions = [
        (f"Has the GPU room for {plain} bytes per parameter?", "AdamW(...)", "no offload"),
        (f"Has the host room for {full}?", "CPUOffload(..., AdamW)", "float32 state"),
        (f"For {int8}?", arguments(INT8), "8-bit state"),
        (f"For {split}?", arguments(SPLIT), "and bfloat16 weights with 8 more bits"),
    ]
    parts = [text(30, 36, "WHICH CONFIGURATION", "band")]
    for k, (question, answer, meaning) in enumerate(questions):
        y = 54 + 84 * k
        parts += [
            box(30, y, 330, 44),
            text(46, y + 27, question, "title"),
            arrow(f"M360 {y + 22}H446"),
            text(392, y + 16, "yes", "soft middle"),
            box(450, y, 500, 44, "t0"),
            text(466, y + 19, answer, "mono title"),
            text(466, y + 36, meaning, "soft"),
            arrow(f"M195 {y + 44}V{y + 80}"),
            text(206, y + 66, "no", "soft"),
        ]
    end = 54 + 84 * len(questions)
    parts += [
        box(30, end, 330, 44),
        text(46, end + 19, "More hosts (fully_shard),", "title"),
        text(46, end + 36, "or state in files", "soft"),
        text(450, end + 4, "BESIDES", "band"),
        text(450, end + 26, "offload_gradients=True", "mono title"),
        text(660, end + 26, "if gradients do not fit on the GPU", "soft"),
        text(450, end + 48, "overlap=True", "mono title"),
        text(660, end + 48, "without clip_norm and accumulation", "soft"),
    ]
    height = end + 74
    label = "A choice of configurations by the memory of the GPU and of the host."
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 {height}" role="img" aria-label="{label}">
<style>{step["STYLE"]}</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6"
  orient="auto"><path d="M0 0L8 4L0 8z" fill="var(--arrow)"/></marker></defs>
<rect width="980" height="{height}" rx="10" fill="var(--ground)"/>
{chr(10).join(parts)}
</svg>
"""


def is_current() -> bool:
    """True if nothing has to be written."""
    picture = HERE / "offload.svg"
    return PAGE.read_text() == page() and picture.read_text() == drawing()


if __name__ == "__main__":
    if find_spec("torch") is None:
        sys.exit(print("PyTorch is not installed; the bytes of docs/offload.md stay as they are"))
    PAGE.write_text(page())
    (HERE / "offload.svg").write_text(drawing())
