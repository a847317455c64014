"""An inverse problem in several processes: each has some of the measurements of one unknown image.

pip install "fastadam[mpi]" mpich && mpiexec -n 2 python examples/mpi_inversion.py
"""

import argparse

import numpy as np
from mpi4py import MPI

import fastadam as fa
from fastadam.distributed import Sharded

WORLD, SIDE = MPI.COMM_WORLD, 48


def image() -> np.ndarray:
    """A disc with a hole, and a bar."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    distance = np.hypot(x, y)
    found = ((distance < 0.4) & (distance > 0.15)) + 0.5 * (abs(x) < 0.04)
    return found.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300, help="default: %(default)s")
    steps = parser.parse_args().steps
    true, rng = image().ravel(), np.random.default_rng(WORLD.rank)
    # Each measurement is a random sum of all pixels, with an error of a percent.
    rows = 3 * true.size // WORLD.size // 2
    matrix = rng.standard_normal((rows, true.size), np.float32) / np.float32(np.sqrt(true.size))
    measured = matrix @ true
    measured += 0.01 * measured.std() * rng.standard_normal(rows, np.float32)

    unknown = fa.flatten(np.zeros(true.size, np.float32), shared=WORLD)
    opt = Sharded(fa.Adam, unknown, WORLD, lr=fa.schedules.cosine(0.05, steps=steps))
    for step in range(1, steps + 1):
        difference = matrix @ unknown.buffer - measured
        opt.grads.buffer[:] = matrix.T @ difference / np.float32(rows)
        opt.step()
        if WORLD.rank == 0 and step % (steps // 5) == 0:
            error = np.linalg.norm(unknown.buffer - true) / np.linalg.norm(true)
            print(f"step {step}: relative error {error:.3f}")


if __name__ == "__main__":
    main()
