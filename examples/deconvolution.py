"""An inverse problem with bounds: the image behind a blurred and noisy one.

    python examples/deconvolution.py --steps 300

Pixels are known to lie between 0 and 1. `lower` and `upper` keep them there in the pass that
updates; without the bounds, the noise is amplified.
"""

import argparse

import numpy as np

import fastadam as fa

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300, help="default: 300")
chosen = parser.parse_args()

SIZE, WIDTH, NOISE = 128, 2.0, 0.02
rng = np.random.default_rng(0)
truth = np.zeros((SIZE, SIZE), np.float32)
for row, column, side in rng.integers(8, 100, (12, 3)):
    truth[row : row + side // 5, column : column + side // 5] = 1.0
frequencies = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)
blur = np.exp(-2 * (np.pi * WIDTH) ** 2 * sum(f**2 for f in frequencies))


def blurred(image: np.ndarray) -> np.ndarray:
    """The image through a lens; the matrix of this linear map is symmetric."""
    return np.fft.irfft2(blur * np.fft.rfft2(image), s=image.shape).astype(np.float32)


seen = blurred(truth) + NOISE * rng.standard_normal(truth.shape).astype(np.float32)
for bounds in ({}, {"lower": 0.0, "upper": 1.0}):
    image = seen.copy()
    opt = fa.Adam(image, lr=0.05, **bounds)
    for _ in range(chosen.steps):
        opt.step(blurred(blurred(image) - seen))  # the gradient of half the squared misfit
    error = np.sqrt(((image - truth) ** 2).mean())
    print(
        f"bounds {bounds or 'none'}: error {error:.3f}, from {image.min():.2f} to {image.max():.2f}"
    )
