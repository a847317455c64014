"""Matrix factorization in NumPy: a step updates the rows of the users and items of its batch.

    python examples/factorization.py --steps 2000

Ratings are those of users and items with hidden features, and noise.
"""

import argparse

import numpy as np

import fastadam as fa

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=2000, help="default: 2000")
parser.add_argument("--batch", type=int, default=500, help="default: 500")
chosen = parser.parse_args()

USERS, ITEMS, FEATURES, NOISE = 20_000, 5_000, 8, 0.1
rng = np.random.default_rng(0)


def table(rows: int, scale: float = 1.0) -> np.ndarray:
    return rng.normal(scale=scale, size=(rows, FEATURES)).astype(np.float32)


hidden_users, hidden_items = table(USERS), table(ITEMS)
tables = {"users": table(USERS, 0.1), "items": table(ITEMS, 0.1)}
opt = fa.Adam(tables, lr=0.05, lazy="rows")  # each row is corrected by the steps it has taken


def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Popular users and items come often, so that rows are given several times."""
    users = (USERS * rng.random(chosen.batch) ** 3).astype(int)
    items = (ITEMS * rng.random(chosen.batch) ** 3).astype(int)
    ratings = (hidden_users[users] * hidden_items[items]).sum(axis=1)
    return users, items, ratings + rng.normal(scale=NOISE, size=chosen.batch).astype(np.float32)


for step in range(1, chosen.steps + 1):
    users, items, ratings = batch()
    u, v = tables["users"][users], tables["items"][items]
    error = (u * v).sum(axis=1) - ratings
    slope = error[:, None]
    opt.step({"users": fa.Rows(users, slope * v), "items": fa.Rows(items, slope * u)})
    if step % max(1, chosen.steps // 5) == 0:
        print(f"step {step}: error {np.sqrt((error**2).mean()):.3f} of {ratings.std():.3f}")
