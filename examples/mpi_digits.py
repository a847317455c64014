"""Handwritten digits in several processes: each has some of the pictures, and half of the state.

pip install "fastadam[mpi,demo]" mpich && mpiexec -n 2 python examples/mpi_digits.py
"""

import argparse

import numpy as np
from mpi4py import MPI
from sklearn.datasets import load_digits

import fastadam as fa
from fastadam.distributed import Sharded

WORLD = MPI.COMM_WORLD


def data() -> tuple[np.ndarray, ...]:
    """Pictures and labels, for training and for testing; the same in all processes."""
    pictures, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = pictures[order].astype(np.float32) / 16, labels[order]
    return x[:1400], y[:1400], x[1400:], y[1400:]


def parameters() -> dict[str, np.ndarray]:
    """A network with one hidden layer; the same in all processes."""
    rng = np.random.default_rng(1)
    return {
        "w1": rng.normal(0, 0.125, (64, 128)).astype(np.float32),
        "b1": np.zeros(128, np.float32),
        "w2": rng.normal(0, 0.09, (128, 10)).astype(np.float32),
        "b2": np.zeros(10, np.float32),
    }


def predict(p, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hidden layer, and the probabilities of the digits."""
    hidden = np.tanh(x @ p["w1"] + p["b1"])
    scores = hidden @ p["w2"] + p["b2"]
    exp = np.exp(scores - scores.max(1, keepdims=True))
    return hidden, exp / exp.sum(1, keepdims=True)


def gradients(p, g, x: np.ndarray, y: np.ndarray) -> float:
    """Write the gradients of the mean cross entropy into `g`, and return it."""
    hidden, wrong = predict(p, x)
    loss = -np.log(wrong[np.arange(len(y)), y]).mean()
    wrong[np.arange(len(y)), y] -= 1
    wrong /= len(y)
    g["w2"][...], g["b2"][...] = hidden.T @ wrong, wrong.sum(0)
    back = (wrong @ p["w2"].T) * (1 - hidden**2)
    g["w1"][...], g["b1"][...] = x.T @ back, back.sum(0)
    return float(loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--epochs", type=int, default=15, help="times through the data (default: %(default)s)"
    )
    epochs = parser.parse_args().epochs
    x, y, test_x, test_y = data()
    x, y = x[WORLD.rank :: WORLD.size], y[WORLD.rank :: WORLD.size]
    flat = fa.flatten(parameters(), shared=WORLD)  # the processes of a host share the parameters
    opt = Sharded(fa.AdamW, flat, WORLD, lr=3e-3, clip_norm=1.0, ema_decay=0.95)
    count = 1400 // WORLD.size // 32  # the same number of steps in all processes
    rng = np.random.default_rng(WORLD.rank)
    for epoch in range(1, epochs + 1):
        for batch in np.array_split(rng.permutation(len(y)), count):
            loss = gradients(flat, opt.grads, x[batch], y[batch])
            info = opt.step()
        with opt.swap_ema():  # the average of the weights is better than the last
            accuracy = (predict(flat, test_x)[1].argmax(1) == test_y).mean()
        if WORLD.rank == 0:
            print(
                f"epoch {epoch}: loss {loss:.3f}, grad_norm {info.grad_norm:.2f}, "
                f"accuracy {accuracy:.1%}"
            )


if __name__ == "__main__":
    main()
