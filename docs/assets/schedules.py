"""Draws docs/assets/schedules.svg: every schedule over its steps. `python docs/assets/schedules.py`

The curves are those of the library. A digest of them is kept in the picture, which is drawn again
only when they change; matplotlib is wanted only then.
"""

import re
from hashlib import sha256
from io import StringIO
from pathlib import Path

from fastadam import schedules

PICTURE = Path(__file__).with_suffix(".svg")
STEPS, WARMUP = 100, 15
CALLS = [
    "constant(1)",
    f"linear(1, end=0.1, steps={STEPS})",
    f"polynomial(1, steps={STEPS}, power=2)",
    f"cosine(1, steps={STEPS})",
    f"wsd(1, steps={STEPS}, decay=30)",
    "step_decay(1, every=25, gamma=0.5)",
    "piecewise(1, {40: 0.5, 70: 0.2})",
    "exponential(1, gamma=0.97)",
    "inverse_time(1, decay=0.05)",
    "inverse_sqrt(1, timescale=10)",
    "cosine_restarts(1, period=20, mult=2)",
    f"one_cycle(1, steps={STEPS})",
    "join([constant(1), cosine(1, steps=60)], [40])",
    "Plateau(1, factor=0.5, patience=1)",
]
# The ground goes with the ink, so that the picture is legible wherever it is shown.
LIGHT = {"ground": "#ffffff", "ink": "#1f2328", "soft": "#59636e", "line": "#d0d7de"}
LIGHT |= {"own": "#0969da", "warmed": "#bc4c00"}
DARK = {"ground": "#14181f", "ink": "#e6edf3", "soft": "#a3adb8", "line": "#414b58"}
DARK |= {"own": "#58a6ff", "warmed": "#f0883e"}
LABEL = "The value of each schedule from step to step, with and without warm-up"


def curve(call: str) -> list[float]:
    """The values of a schedule, to a little past its end. A plateau is shown a loss that stalls."""
    schedule = eval(call, dict(vars(schedules)))
    values = []
    for step in range(1, STEPS + 16):
        values.append(schedule(step))
        if isinstance(schedule, schedules.Plateau) and step % 10 == 0:
            schedule.update(max(50 - step, 0))
    return values


def curves() -> dict[str, tuple[list[float], list[float]]]:
    """Each schedule without and with warm-up."""
    return {call: (curve(call), curve(f"{call[:-1]}, warmup={WARMUP})")) for call in CALLS}


def digest() -> str:
    """What the picture shows, in a few characters."""
    rounded = [[f"{v:.6f}" for v in values] for pair in curves().values() for values in pair]
    return sha256(repr((CALLS, rounded)).encode()).hexdigest()[:16]


def drawing() -> str:
    """The picture as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {"svg.fonttype": "none", "svg.hashsalt": "fastadam", "font.size": 9}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(13, 7.2), layout="constrained", facecolor=LIGHT["ground"])
        panels = [*figure.subplots(3, 5, sharex=True, sharey=True).flat]
        for axes, (call, pair) in zip(panels, curves().items(), strict=False):
            draw(axes, call, *pair)
        legend(panels[len(CALLS)], panels[len(CALLS) - 1].get_lines())
        for axes in panels[len(CALLS) :]:
            axes.axis("off")
        for axes in panels[len(CALLS) - 5 : len(CALLS)]:  # the lowest of each column
            axes.set_xlabel("step", color=LIGHT["soft"])
            axes.tick_params(labelbottom=True)
        text = StringIO()
        metadata = {"Date": None, "Creator": None, "Title": LABEL, "Description": digest()}
        figure.savefig(text, format="svg", metadata=metadata, bbox_inches="tight", pad_inches=0.15)
    return themed(text.getvalue())


def draw(axes, call, own, warmed):
    """One schedule: its name, its arguments, its curves."""
    name, arguments = call.split("(", 1)
    steps = range(1, len(own) + 1)
    axes.plot(steps, warmed, color=LIGHT["warmed"], linewidth=1.4, linestyle=(0, (3, 1.2)))
    axes.plot(steps, own, color=LIGHT["own"], linewidth=1.9)
    axes.set_title(name, loc="left", fontsize=11, fontweight="bold", color=LIGHT["ink"], pad=17)
    axes.text(0, 1.04, f"({arguments}", transform=axes.transAxes, fontsize=8, color=LIGHT["soft"])
    axes.set_xticks([1, 50, STEPS])
    axes.set_yticks([0, 1], ["0", "lr"])
    axes.set_ylim(-0.04, 1.08)
    axes.tick_params(colors=LIGHT["soft"], length=0)
    axes.set_facecolor("none")
    axes.grid(color=LIGHT["line"], linewidth=0.7)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def legend(axes, lines):
    """What the two lines are."""
    axes.legend(
        lines[::-1],
        ["as called", f"with warmup={WARMUP}"],
        loc="upper left",
        frameon=False,
        fontsize=10,
        labelcolor=LIGHT["ink"],
    )


def themed(svg: str) -> str:
    """Colours by name, which follow the reader's light or dark mode; the reader's own font."""
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
    svg = re.sub(r'\s*\n(?=[MLQCz"])', " ", svg)  # a path in one line
    light, dark = (
        "; ".join(f"--{name}: {colour}" for name, colour in theme.items())
        for theme in (LIGHT, DARK)
    )
    style = (
        f"<style>svg {{ {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}</style>\n"
    )
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{LABEL}" ', 1)
    head = re.search(r"<svg [^>]*>\n", svg)
    assert head
    return svg[: head.end()] + style + svg[head.end() :]


def is_current() -> bool:
    """Whether the picture shows what the library computes."""
    return PICTURE.exists() and digest() in PICTURE.read_text()


if __name__ == "__main__":
    if not is_current():
        PICTURE.write_text(drawing())
