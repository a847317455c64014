"""Who is timed is right: every contender is compared with float64 before.

All are held to a few roundings of the same reference, and so to each other.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ..contenders import Array, Case
from ..validation import ROUNDING, check_close, from_paper
from .contenders import Contender, contenders
from .tails import Tail

STEPS, SPOILT = 10, 4  # the fifth step gets an infinite gradient, where it is to be skipped


def validate(case: Case, tail: Tail, name: str) -> None:
    """Let a contender take a few steps on memory of its own, and compare with the reference.

    Raises:
        RuntimeError: if it is wrong.
    """
    (contender,) = contenders(case, [name], [tail])
    check(contender)


def check(contender: Contender, steps: int = STEPS) -> None:
    """Take a few steps with fresh gradients, and look at all that the contender keeps.

    Raises:
        RuntimeError: if something is wrong.
    """
    tail, start = contender.tail, [param.copy() for param in contender.params]
    where = f"contender {contender.name!r} with options {tail.label!r} is wrong in"
    history = list(gradients(tail, [param.size for param in start], steps))
    for grads in history:
        contender.fill(grads)
        contender.step()
        if "zero_grads" in tail.options and any(grad.any() for grad in contender.grads[0]):
            raise RuntimeError(f"{where} gradients, which are not zero; it is not timed")
    for number, (params, averages) in enumerate(expected(tail, start, history)):
        check_close(contender.params[number], params, steps * ROUNDING, f"{where} array {number}")
        if contender.ema:
            check_close(
                contender.ema[number], averages, steps * ROUNDING, f"{where} average {number}"
            )
        if contender.shadow and not same_bits(contender.params[number], contender.shadow[number]):
            raise RuntimeError(f"{where} copy {number}; it is not timed")


def gradients(tail: Tail, sizes: Sequence[int], steps: int) -> Iterator[list[Array]]:
    """Gradients for each step, some too large and some not, and one that is of no use."""
    rng = np.random.default_rng(1)
    for step in range(steps):
        size = np.float32(tail.options.get("grad_scale", 1) * (0.001 if step % 2 else 1))
        grads = [size * rng.standard_normal(n, dtype=np.float32) for n in sizes]
        if step == SPOILT and "skip_nonfinite" in tail.options:
            grads[-1][-1] = np.inf
        yield grads


def expected(
    tail: Tail, start: Sequence[Array], history: Sequence[Sequence[Array]]
) -> Iterator[tuple[list[Array], list[Array]]]:
    """Each parameter before the first step and after each, and its average, in float64."""
    taken = [grads for each in history if (grads := prepared(tail, each))]
    comp = 1 - tail.options.get("ema_decay", 0.0)
    for number, param in enumerate(start):
        params = from_paper(param, [grads[number] for grads in taken])
        averages = params[:1]
        for each in params[1:]:
            averages.append(averages[-1] + comp * (each - averages[-1]))
        yield params, averages


def prepared(tail: Tail, grads: Sequence[Array]) -> list[Array]:
    """What a step takes for its gradients: unscaled and clipped, nothing if it is to be skipped.

    R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks,
    ICML 2013, algorithm 1, with 1e-6 added to the norm, as in PyTorch.
    """
    options = tail.options
    unscaled = [grad.astype(np.float64) / options.get("grad_scale", 1.0) for grad in grads]
    norm = np.linalg.norm(np.concatenate(unscaled))
    if "skip_nonfinite" in options and not np.isfinite(norm):
        return []
    factor = min(1.0, options.get("clip_norm", np.inf) / (norm + 1e-6))
    return [factor * grad for grad in unscaled]


def same_bits(params: Array, shadow: Array) -> bool:
    """Whether the copy is each parameter rounded to the nearest number in bfloat16."""
    import ml_dtypes

    rounded = params.astype(ml_dtypes.bfloat16)
    return bool(np.array_equal(rounded.view(np.uint16), shadow.view(np.uint16)))
