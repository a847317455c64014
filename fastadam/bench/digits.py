"""Handwritten digits, a small network in plain NumPy, and its training: the problem of the demo."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ..optimizer import Optimizer

PIXELS, HIDDEN, CLASSES = 64, 128, 10
DROPOUT = 0.2
IMAGES, VALIDATION = 1797, 360  # a fifth
TRAINING = IMAGES - VALIDATION

Layers = dict[str, dict[str, Any]]


class Images(NamedTuple):
    """Pixels in [0, 1], a row per image, and the digit that each shows."""

    pixels: Any
    labels: Any


class Score(NamedTuple):
    """Mean cross-entropy, and the share of digits recognised."""

    loss: float
    accuracy: float


class Epoch(NamedTuple):
    """Scores at the end of an epoch, dropout switched off; the learning rate of its last step."""

    number: int
    train: Score
    valid: Score
    lr: float | None


@dataclass
class Clock:
    """Seconds spent in batches, and in the optimizer's part of them."""

    batches: float = 0.0
    steps: float = 0.0

    def add(self, start: float, step: float, stop: float) -> None:
        self.batches += stop - start
        self.steps += stop - step


def load() -> tuple[Images, Images]:
    """scikit-learn's bundled 8x8 digits, always split alike for training and validation."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels = pixels.astype(np.float32) / np.float32(16)
    train, valid = order[VALIDATION:], order[:VALIDATION]
    return Images(pixels[train], labels[train]), Images(pixels[valid], labels[valid])


def write(path: Path) -> None:
    """Write the images for programs in other languages, little-endian.

    The file has the counts of images for training and validation as int32, the pixels of all
    images as float32, 64 for each, and the digit of each image as int32.
    """
    data = load()
    with path.open("wb") as file:
        file.write(np.array([len(part.labels) for part in data], "<i4").tobytes())
        for kind, name in (("<f4", "pixels"), ("<i4", "labels")):
            for part in data:
                file.write(getattr(part, name).astype(kind).tobytes())


def layers(rng: np.random.Generator, dtype: Any = np.float32) -> Layers:
    """Two dense layers. He et al. 2015: weights of variance 2 / inputs keep a ReLU's scale."""

    def dense(inputs: int, outputs: int) -> dict[str, Any]:
        weight = rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs))
        return {"weight": weight.astype(dtype), "bias": np.zeros(outputs, dtype)}

    return {"hidden": dense(PIXELS, HIDDEN), "output": dense(HIDDEN, CLASSES)}


def single(net: Layers) -> Layers:
    """The network in float32; without a copy of arrays that are in float32."""
    return {
        name: {part: array.astype(np.float32, copy=False) for part, array in layer.items()}
        for name, layer in net.items()
    }


def dropout(rng: np.random.Generator, count: int) -> Any:
    """Factors for hidden units: 0 for some, more than 1 for the others, so that the mean stays."""
    kept = rng.random((count, HIDDEN), np.float32) >= DROPOUT
    return kept / np.float32(1 - DROPOUT)


def forward(net: Layers, pixels: Any, mask: Any = 1) -> tuple[Any, Any]:
    """The hidden activations, and the logarithm of each class's probability."""
    hidden = np.maximum(pixels @ net["hidden"]["weight"] + net["hidden"]["bias"], 0) * mask
    scores = hidden @ net["output"]["weight"] + net["output"]["bias"]
    scores -= scores.max(axis=1, keepdims=True)  # exp cannot overflow
    return hidden, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def cross_entropy(log_probability: Any, labels: Any) -> float:
    """Minus the mean log-probability of the right class."""
    return float(-log_probability[np.arange(len(labels)), labels].mean())


def backward(net: Layers, images: Images, mask: Any, grads: Layers) -> None:
    """Write the gradients of the cross-entropy into `grads`."""
    pixels, labels = images
    hidden, log_probability = forward(net, pixels, mask)
    error = np.exp(log_probability)
    error[np.arange(len(labels)), labels] -= 1
    error /= len(labels)
    _dense_backward(hidden, error, grads["output"])
    error = error @ net["output"]["weight"].T
    error *= (hidden > 0) * mask
    _dense_backward(pixels, error, grads["hidden"])


def _dense_backward(inputs: Any, error: Any, grads: dict[str, Any]) -> None:
    grads["weight"][...] = inputs.T @ error
    grads["bias"][...] = error.sum(axis=0)


def score(net: Layers, images: Images) -> Score:
    """Loss and accuracy without dropout."""
    _, log_probability = forward(net, images.pixels)
    right = log_probability.argmax(axis=1) == images.labels
    return Score(cross_entropy(log_probability, images.labels), float(right.mean()))


def batches(rng: np.random.Generator, images: Images, size: int) -> Iterator[Images]:
    """The images in a new order, `size` at a time, the last batch possibly smaller."""
    order = rng.permutation(len(images.labels))
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        yield Images(images.pixels[chosen], images.labels[chosen])


def train(
    opt: Optimizer,
    data: tuple[Images, Images],
    rng: np.random.Generator,
    *,
    epochs: int,
    batch: int,
    done: int = 0,
    clock: Clock | None = None,
    after_batch: Callable[[], object] = lambda: None,
) -> Iterator[Epoch]:
    """Train the network that is the optimizer's `params`, yielding its scores after each epoch.

    Forward and backward pass are computed in float32, whatever the dtype of the weights.
    """
    net: Any = opt.params
    grads: Any = opt.grads.tree
    clock = clock or Clock()
    for number in range(done + 1, epochs + 1):
        for images in batches(rng, data[0], batch):
            start = perf_counter()
            backward(single(net), images, dropout(rng, len(images.labels)), grads)
            step = perf_counter()
            lr = opt.step().lr
            clock.add(start, step, perf_counter())
            after_batch()
        on_train, on_valid = (score(single(net), images) for images in data)
        yield Epoch(number, on_train, on_valid, lr)
