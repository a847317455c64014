"""Who is timed is right: every contender is compared with float64 before.

What is kept in a few bits is off by chance, element by element. So it is not the elements that are
compared with the reference, but the root mean square of what they are off by with that of how far
they went.
"""

import numpy as np

from ...kernels.threads import SERIAL_BELOW
from ..contenders import Array, Case, one_array
from ..validation import from_paper
from .contenders import Contender, contenders

STEPS = 7
START = 2.0**-7  # of normal numbers: what parameters are to begin with, and about how far they go


def cases() -> list[Case]:
    """Small cases that take every way through the contenders, all large enough for codes."""
    parallel = 256 * (SERIAL_BELOW // 256 + 1)  # filled by blocks
    return [one_array(5003), one_array(parallel), Case("2 arrays", (4097, 6400))]


def obstacle(name: str) -> Exception | None:
    """What keeps a contender from taking a step on this machine."""
    try:
        (contender,) = contenders(cases()[0], [name])
        contender.step()
    except Exception as error:
        return error
    return None


def validate(case: Case, name: str) -> None:
    """Let a contender take a few steps on memory of its own, and compare with the reference.

    Raises:
        RuntimeError: if it is wrong.
    """
    (contender,) = contenders(case, [name])
    check(contender)


def check(contender: Contender) -> None:
    """Take a few steps with fresh gradients, and look at how the parameters have moved.

    A step rounds a parameter and each of its states; the errors of steps are independent. Four
    roundings for the square root of the steps bound what they come to.

    Raises:
        RuntimeError: if they are off by more.
    """
    rng = np.random.default_rng(1)
    for param in contender.params:
        param *= param.dtype.type(START)
    start, history = [param.astype(np.float64) for param in contender.params], []
    for _ in range(STEPS):
        for grad in contender.grads:
            grad[:] = rng.standard_normal(grad.size)
        history.append([grad.astype(np.float64) for grad in contender.grads])
        contender.step()
    ends = [
        from_paper(param, [grads[number] for grads in history])[-1]
        for number, param in enumerate(start)
    ]
    off = share_off(
        np.concatenate(start), np.concatenate(ends), np.concatenate(contender.weights())
    )
    allowed = 4 * STEPS**0.5 * contender.rounding
    if not off <= allowed:
        raise RuntimeError(
            f"contender {contender.name!r} is wrong: off by {off:.3g} of how far its parameters "
            f"should go, {allowed:.3g} is allowed; it is not timed"
        )


def share_off(start: Array, end: Array, found: Array) -> float:
    """How far parameters are from where they should be, in units of how far they should go."""
    return float(np.linalg.norm(found - end) / np.linalg.norm(end - start))
