"""Handwritten digits in several processes: each has some of the pictures, and a part of the state.

pip install "fastadam[mpi,demo]" mpich && mpiexec -n 2 python examples/mpi_digits.py
"""

import argparse

import numpy as np
from mpi4py import MPI
from sklearn.datasets import load_digits

import fastadam as fa
from fastadam.distributed import Sharded

WORLD = MPI.COMM_WORLD


def predict(p, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hidden layer, and the probabilities of the digits."""
    hidden = np.tanh(x @ p["w1"] + p["b1"])
    exp = np.exp(hidden @ p["w2"] + p["b2"])
    return hidden, exp / exp.sum(1, keepdims=True)


def gradients(p, g, x: np.ndarray, y: np.ndarray) -> None:
    """Write the gradients of the mean cross entropy into `g`."""
    hidden, wrong = predict(p, x)
    wrong[np.arange(len(y)), y] -= 1
    wrong /= len(y)
    g["w2"][...], g["b2"][...] = hidden.T @ wrong, wrong.sum(0)
    back = (wrong @ p["w2"].T) * (1 - hidden**2)
    g["w1"][...], g["b1"][...] = x.T @ back, back.sum(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="default: %(default)s")
    epochs, rng = parser.parse_args().epochs, np.random.default_rng(0)
    pictures, y = load_digits(return_X_y=True)
    x = pictures.astype(np.float32) / 16
    own = np.arange(WORLD.rank, 1400, WORLD.size)  # the pictures of this process
    start = {"w1": rng.normal(0, 0.1, (64, 128)), "b1": np.zeros(128)}
    start |= {"w2": rng.normal(0, 0.1, (128, 10)), "b2": np.zeros(10)}
    tree = {name: array.astype(np.float32) for name, array in start.items()}
    flat = fa.flatten(tree, shared=WORLD)  # the processes of a host share the parameters
    opt = Sharded(fa.AdamW, flat, WORLD, lr=3e-3, clip_norm=1.0, ema_decay=0.95)
    for epoch in range(1, epochs + 1):
        for batch in np.array_split(rng.permutation(own), 40):  # as many steps in all processes
            gradients(flat, opt.grads, x[batch], y[batch])
            info = opt.step()
        with opt.swap_ema():  # the average of the weights is better than the last
            accuracy = (predict(flat, x[1400:])[1].argmax(1) == y[1400:]).mean()
        if WORLD.rank == 0:
            print(f"epoch {epoch}: grad_norm {info.grad_norm:.2f}, accuracy {accuracy:.1%}")


if __name__ == "__main__":
    main()
