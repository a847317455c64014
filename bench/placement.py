"""Time a step against the offsets of its arrays within a page of memory.

AdamW's kernel runs in one thread on arrays that fit into the cache. The gradient has the offset of
the parameter, or lies a quarter of a page behind; the two moments lie at one offset, which is swept
over a page. Samples of all placements are taken in turns, and the least time of each is kept: a
busy machine makes some samples longer, and none shorter.

The results are in bench/results/placement.csv, from which docs/assets/placement.png is drawn;
`--draw` only draws. `fastadam/memory/placement.py` chooses the offsets.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import fastadam as fa
from fastadam.bench import machine
from fastadam.bench.axes import GRID, titled
from fastadam.bench.charts import canvas, draw_line
from fastadam.bench.console import progress
from fastadam.bench.csv_io import digest, from_csv, to_csv
from fastadam.bench.script import Parser, at_least, run_script
from fastadam.bench.tables import conditions
from fastadam.engine.launch import kernel_for
from fastadam.kernels.formats import Formats
from fastadam.memory.launch_table import Table
from fastadam.memory.placement import GRADIENT, LINE, PAGE, STATE

ROOT = Path(__file__).resolve().parent.parent
RESULTS, CHART = ROOT / "bench/results/placement.csv", ROOT / "docs/assets/placement.png"
ELEMENTS, ROUNDS, SAMPLE_S = 65_536, 60, 1e-4
COLOURS = {0: "#0072B2", GRADIENT: "#D55E00"}


@dataclass(frozen=True)
class Placement:
    """Offsets in bytes from that of the parameter, and the least time of a step."""

    elements: int
    gradient: int
    state: int
    least_s: float


def at_offset(offset: int, values: Any) -> Any:
    """A copy that begins at an offset within a page."""
    room = np.zeros(values.nbytes + 2 * PAGE, np.uint8)
    start = (offset - room.ctypes.data) % PAGE
    array = room[start : start + values.nbytes].view(values.dtype)
    array[:] = values
    return array


def step_at(gradient: int, state: int) -> tuple[Callable[[], None], Any]:
    """A launch over arrays at these offsets, and what it needs to stay."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, ELEMENTS), dtype=np.float32)
    values[3] **= 2  # the second moment
    arrays = [at_offset(o, v) for o, v in zip((0, gradient, state, state), values, strict=True)]
    table = Table(kernel_for(fa.AdamW.rule, Formats.alike("float32")), [ELEMENTS], records=1)
    for stream, array in zip(table.kernel.streams, arrays, strict=True):
        table.place(stream.name, [array.ctypes.data])
    one = fa.AdamW(np.zeros(1, np.float32), lr=1e-9)
    constants = one.hyper(one.param_groups[0], 10)
    table.pack(0, *(constants[name] for name in fa.AdamW.rule.hyper))
    return table.serial, (table, arrays)


def timed(step: Callable[[], None], calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        step()
    return (perf_counter() - start) / calls


def measured(rounds: int) -> Iterator[Placement]:
    """The least time of a step at each placement."""
    places = [(g, s) for g in COLOURS for s in range(0, PAGE, LINE)]
    steps = [step_at(*place) for place in places]
    calls = max(1, round(SAMPLE_S / min(timed(steps[0][0], 1) for _ in range(9))))
    least = [np.inf] * len(steps)
    with progress() as show:
        for number in range(rounds):
            show("placements", number / rounds)
            for k, (step, _) in enumerate(steps):
                step()
                least[k] = min(least[k], timed(step, calls))
    for place, best in zip(places, least, strict=True):
        yield Placement(ELEMENTS, *place, best)


def draw(about: dict[str, str], found: list[Placement], path: Path) -> None:
    """A line over the offset of the state for each offset of the gradient."""
    mark, note = digest(to_csv(about, found, Placement)), conditions(about)
    with canvas(path, mark, (10, 4.2), note, machine.busy(about)) as figure:
        axes = figure.subplots()
        for gradient, colour in COLOURS.items():
            points = {p.state: p.least_s * 1e6 for p in found if p.gradient == gradient}
            draw_line(axes, points, gradient == GRADIENT, colour)
            axes.lines[-1].set_label(f"gradient at {gradient} bytes")
        axes.set_ylim(0, 1.15 * max(p.least_s for p in found) * 1e6)
        axes.axvline(STATE, color="#888888", linewidth=1)
        axes.text(STATE + LINE, axes.get_ylim()[1], "chosen", va="top", color="#888888")
        axes.set_xticks(range(0, PAGE + 1, PAGE // 8))
        axes.grid(axis="y", color=GRID)
        axes.set_xlabel("offset of the moments from the parameter, bytes within a page")
        axes.set_ylabel("us")
        axes.legend(frameon=False, loc="lower left")
        titled(axes, f"AdamW, {found[0].elements} float32 elements in one thread: time per step")


def main() -> None:
    """Measure, write and draw; or only draw."""
    parser = Parser(description=__doc__)
    parser.add_argument("--rounds", type=at_least(1), default=ROUNDS, metavar="N")
    parser.add_argument("--draw", action="store_true", help="draw the committed results again")
    arguments = parser.parse_args()
    if not arguments.draw:
        load = machine.load_average()
        found = list(measured(arguments.rounds))
        RESULTS.write_text(to_csv(machine.describe(1, load=load), found, Placement))
    about, found = from_csv(RESULTS.read_text(), Placement)
    draw(about, found, CHART)


if __name__ == "__main__":
    run_script(main)
