"""Draw docs/assets/step.svg, the data flow of one step: `python docs/assets/step.py`.

The numbers in the picture are those of a real optimizer, so that it is never out of date.
"""

from html import escape
from pathlib import Path

import numpy as np

import fastadam as fa
from fastadam.memory.launch_table import balanced, chunk_length, chunk_table

SHAPES = {"w": (240, 100), "b": (100,)}
THREADS = 2
STREAMS = ("param", "grad", "exp_avg", "exp_avg_sq")

# The ground goes with the ink, so that the picture is legible wherever it is shown.
STYLE = """
  svg { --ground: #ffffff; --panel: #f6f8fa; --line: #c4ccd6; --ink: #1f2328; --soft: #59636e;
        --arrow: #57606a; --one: #cfe6ff; --one-line: #0969da; --two: #ffdfc2; --two-line: #bc4c00;
        --mark: #cf222e; }
  @media (prefers-color-scheme: dark) { svg {
        --ground: #14181f; --panel: #1c222b; --line: #414b58; --ink: #e6edf3; --soft: #a3adb8;
        --arrow: #a3adb8; --one: #16385f; --one-line: #58a6ff; --two: #54300f; --two-line: #f0883e;
        --mark: #ff7b72; } }
  text { font: 13.5px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
         fill: var(--ink); }
  .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
          font-size: 13px; }
  .band { font-size: 12px; font-weight: 600; letter-spacing: .06em; fill: var(--soft); }
  .title { font-weight: 600; font-size: 14px; } .soft { fill: var(--soft); }
  .end { text-anchor: end; } .middle { text-anchor: middle; }
  .box { fill: var(--panel); stroke: var(--line); }
  .rule { stroke: var(--line); }
  .arrow { fill: none; stroke: var(--arrow); stroke-width: 1.6; marker-end: url(#head); }
  .t0 { fill: var(--one); stroke: var(--one-line); }
  .t1 { fill: var(--two); stroke: var(--two-line); }
  .mark { fill: none; stroke: var(--mark); stroke-width: 1.8; }
  .marked { fill: var(--mark); }
"""

LABEL = (
    "How a step works: the constants of the step and the addresses of the arrays go into three "
    "small tables; one kernel call processes all arrays in chunks, divided among threads."
)


def text(x, y, words, kind=""):
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def box(x, y, width, height, kind="box", radius=6):
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}" '
        f'class="{kind}"/>'
    )


def arrow(path):
    return f'<path d="{path}" class="arrow"/>'


def titled(x, y, width, title, *lines):
    """A box with a name in code, and what it does."""
    parts = [box(x, y, width, 34 + 18 * len(lines)), text(x + 12, y + 21, title, "mono title")]
    return parts + [text(x + 12, y + 41 + 18 * k, words, "soft") for k, words in enumerate(lines)]


def table(x, y, name, heads, rows, widths, *below, kinds=None):
    """A table under its name: the first column left-aligned, numbers right-aligned."""
    width, ends = sum(widths) + 12, np.cumsum(widths) + x
    height = 30 + 18 * len(rows)
    parts = [
        text(x, y - 8, name, "mono title"),
        box(x, y, width, height),
        *(text(x, y + height + 18 + 16 * k, line, "soft") for k, line in enumerate(below)),
        f'<path d="M{x:g} {y + 23:g}h{width:g}" class="rule"/>',
    ]
    for k, (first, *cells) in enumerate([heads, *rows]):
        line, kind = y + 16 + 18 * k + 4 * (k > 0), "mono" if k else "mono soft"
        if k and kinds:
            parts.append(box(x + 10, line - 10, 12, 12, kinds[k - 1], 2))
        parts.append(text(x + 10, line, first, kind))
        parts += [
            text(end, line, cell, f"{kind} end") for end, cell in zip(ends[1:], cells, strict=True)
        ]
    return parts


def drawing() -> str:
    """The picture as SVG."""
    tree = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    opt = fa.AdamW(tree)
    sizes = [array.size for array in tree.values()]
    chunks = chunk_table(sizes, chunk_length(sum(sizes)))
    firsts = balanced(chunks, THREADS)
    owner = [int(np.searchsorted(firsts, c, "right")) - 1 for c in range(len(chunks))]
    record = opt.hyper(opt.param_groups[0], 1)
    parts = [
        *host(),
        *tables(record, chunks, owner),
        *kernel(),
        *memory(sizes, chunks, owner),
    ]
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 690" role="img" aria-label="{LABEL}">
<style>{STYLE}</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6"
  orient="auto"><path d="M0 0L8 4L0 8z" fill="var(--arrow)"/></marker></defs>
<rect width="1000" height="690" rx="10" fill="var(--ground)"/>
{chr(10).join(parts)}
</svg>
"""


def host():
    """The part of Python in every step."""
    return [
        text(30, 34, "ON THE HOST, IN EVERY STEP", "band"),
        *titled(30, 48, 180, "param_groups", "lr, betas, eps, ...:", "numbers or schedules"),
        arrow("M210 83H252"),
        *titled(256, 48, 204, "hyper(group, step)", "the step's constants,", "computed in float64"),
        arrow("M358 118V138H136V176"),
        text(146, 162, "rounded to float32 once", "soft"),
        *titled(522, 48, 170, "gradients", "step(grads),", "or opt.grads"),
        arrow("M692 83H734"),
        *titled(
            738,
            48,
            232,
            "checks",
            "dtype, shape, layout, overlap;",
            "last step's arrays pass at once",
        ),
        arrow("M854 118V176"),
        text(864, 162, "addresses", "soft"),
    ]


def tables(record, chunks, owner):
    """The three tables of a step."""
    constants = [[name, f"{value:.4g}"] for name, value in record.items()]
    runs = [["", *(str(n) for n in chunk)] for chunk in chunks]
    rows = [[name, "0", *["0x..."] * len(STREAMS)] for name in SHAPES]
    heads = ["", "record", *STREAMS]
    return [
        *table(
            30,
            204,
            "records",
            ["constant", "0"],
            constants,
            [100, 112],
            "one for all parameters of a",
            "group, at the same step",
        ),
        *table(
            278,
            204,
            "chunks",
            ["", "row", "start", "stop"],
            runs,
            [24, 44, 60, 60],
            "computed once; no chunk",
            "spans two parameters",
            kinds=[f"t{k}" for k in owner],
        ),
        *table(
            522,
            204,
            "rows",
            heads,
            rows,
            [20, 62, 78, 78, 88, 110],
            "one for each parameter: its record, -1 without a gradient,",
            "and the address of each of its arrays, which are not copied",
        ),
        *titled(
            522,
            330,
            448,
            "task",
            "five integers for each thread: where the three tables are,",
            "its first chunk, the one after its last",
        ),
        arrow("M746 400V432"),
    ]


def kernel():
    """The loops."""
    lines = [
        (0, "for chunk in task:"),
        (1, "row, start, stop = chunks[chunk]"),
        (1, "h = records[rows[row].record]"),
        (1, "for block in start...stop:"),
        (2, "for i in block:"),
        (3, "read param, grad, state"),
        (3, "compute rule(param, grad, state, h)"),
        (3, "write state, param"),
    ]
    return [
        text(30, 436, "ONE KERNEL CALL FOR ALL ARRAYS", "band"),
        box(30, 450, 420, 178),
        *[text(46 + 30 * d, 477 + 20 * k, line, "mono") for k, (d, line) in enumerate(lines)],
        text(30, 650, "The rule is a Python function, compiled into the loop.", "soft"),
        text(30, 666, "Options that are off are not in the compiled code.", "soft"),
    ]


def memory(sizes, chunks, owner):
    """The arrays, divided into chunks, and one element."""
    left, top, height, pitch = 590, 470, 20, 27
    scale = 330 / sizes[0]
    ends = {0: (left, scale), 1: (left + 350, 0.16)}  # b would be too narrow to see
    parts = [
        text(left + 165, top - 10, "w", "mono middle"),
        text(left + 358, top - 10, "b", "mono middle"),
    ]
    for k, stream in enumerate(STREAMS):
        y = top + pitch * k
        parts.append(text(left - 14, y + 15, stream, "mono end"))
        for (row, start, stop), task in zip(chunks, owner, strict=True):
            begin, per = ends[row]
            parts.append(box(begin + start * per, y, (stop - start) * per, height, f"t{task}", 2))
    x, bottom = left + 1.5 * chunks[0][2] * scale, top + pitch * 3 + height
    return [
        *parts,
        box(x - 5, top - 5, 10, bottom - top + 10, "mark", 3),
        text(x, top - 10, "i", "mono title middle marked"),
        arrow(f"M{x - 12:g} {bottom + 6}V{bottom + 38}"),
        arrow(f"M{x + 12:g} {bottom + 38}V{bottom + 8}"),
        text(x - 20, bottom + 28, "4 read", "soft end"),
        text(x + 20, bottom + 28, "3 written", "soft"),
        box(x - 110, bottom + 42, 236, 28),
        text(x + 8, bottom + 60, "rule(param, grad, state, h)", "mono middle"),
        text(x - 110, bottom + 90, "28 bytes per float32 element, once", "soft"),
        *[
            part
            for k in range(THREADS)
            for part in (
                box(left + 264, bottom + 44 + 20 * k, 12, 12, f"t{k}", 2),
                text(left + 284, bottom + 54 + 20 * k, f"thread {k}", "soft"),
            )
        ],
    ]


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(drawing())
