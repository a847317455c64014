"""Evolution strategies (OpenAI-ES) on one flat vector of parameters: no gradient anywhere.

    python examples/evolution.py --steps 200

A policy that balances a pole on a cart. Noise is a slice of one shared table, as in the paper, so
that a member of the population is a number and an offset; the step adds up all slices, each times
the rank of its score, in the pass that updates. T. Salimans et al., Evolution Strategies as a
Scalable Alternative to Reinforcement Learning, arXiv 2017.
"""

import argparse

import numpy as np

import fastadam as fa

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=60, help="default: 60")
chosen = parser.parse_args()

HIDDEN, PAIRS, SIGMA, TICKS = 16, 20, 0.1, 200
rng = np.random.default_rng(0)
flat = fa.flatten(
    {"w": 0.1 * rng.standard_normal((4, HIDDEN)), "b": np.zeros(HIDDEN), "v": np.zeros(HIDDEN)}
)
table = rng.standard_normal(1_000_000)
opt = fa.Adam(flat, lr=0.05)


def score(buffer: np.ndarray, start: np.ndarray) -> float:
    """The ticks for which the pole stands and the cart stays on its track."""
    net, (x, dx, angle, turn) = flat.over(buffer), start
    for tick in range(TICKS):
        hidden = np.tanh(np.array([x, dx, angle, turn]) @ net["w"] + net["b"])
        force = 10.0 * np.tanh(hidden @ net["v"])
        sin, cos = np.sin(angle), np.cos(angle)
        push = (force + 0.05 * turn**2 * sin) / 1.1
        bend = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        x, dx = x + 0.02 * dx, dx + 0.02 * (push - 0.05 * bend * cos / 1.1)
        angle, turn = angle + 0.02 * turn, turn + 0.02 * bend
        if abs(x) > 2.4 or abs(angle) > 0.21:
            return tick
    return TICKS


for step in range(1, chosen.steps + 1):
    start, size = rng.uniform(-0.05, 0.05, 4), flat.buffer.size
    noise = [table[k : k + size] for k in rng.integers(0, table.size - size, PAIRS)]
    scores = [score(flat.buffer + sign * SIGMA * e, start) for sign in (1, -1) for e in noise]
    ranks = np.argsort(np.argsort(scores)) / (2 * PAIRS - 1) - 0.5
    weights = (ranks[PAIRS:] - ranks[:PAIRS]) / (2 * PAIRS * SIGMA)  # it maximizes
    opt.step(inputs=list(zip(weights, noise, strict=True)))
    if step % max(1, chosen.steps // 6) == 0:
        print(f"step {step}: mean {np.mean(scores):.0f}, best {max(scores):.0f} of {TICKS} ticks")
