"""A user-defined optimizer against the same formula in a hand-written Numba loop.

`python bench/own_rule.py` checks that both compute the same bits, then times them in turns.
"""

import numba
import numpy as np
from numba import prange

import fastadam as fa
from fastadam.bench.script import Parser, run_script
from fastadam.bench.timing import measure
from fastadam.memory.aligned import aligned_zeros

SIZES = (10**5, 10**6, 10**7, 10**8)
LR, BETA = 1e-3, 0.9


@fa.rule(state=("exp_avg",), hyper=("lr", "beta", "beta_comp"))
def heavy_ball(param, grad, state, h):
    (exp_avg,) = state
    exp_avg = h.beta * exp_avg + h.beta_comp * grad
    return param - h.lr * exp_avg, (exp_avg,)


class HeavyBall(fa.Optimizer):
    """Gradient descent with momentum."""

    rule = heavy_ball
    defaults = {"lr": LR, "beta": BETA}

    def hyper(self, group, step):
        return {"lr": group["lr"], "beta": group["beta"], "beta_comp": 1 - group["beta"]}


@numba.njit(parallel=True, error_model="numpy")
def by_hand(param, grad, exp_avg, lr, beta, beta_comp):
    for i in prange(param.size):
        exp_avg[i] = beta * exp_avg[i] + beta_comp * grad[i]
        param[i] = param[i] - lr * exp_avg[i]


def arrays(size: int, number: int) -> list[np.ndarray]:
    made = [aligned_zeros(size, np.float32) for _ in range(number)]
    for k, array in enumerate(made):
        array[:] = np.sin(np.arange(size, dtype=np.float32) + k)
    return made


def contenders(size: int):
    """A step of each, on memory of its own, and the two parameters."""
    (param, grad), (hand_param, hand_grad, exp_avg) = arrays(size, 2), arrays(size, 3)
    exp_avg[:] = 0
    opt = HeavyBall(param)
    constants = tuple(map(np.float32, (LR, BETA, 1 - BETA)))
    steps = (
        lambda: opt.step(grad),
        lambda: by_hand(hand_param, hand_grad, exp_avg, *constants),
    )
    return steps, (param, hand_param)


def main() -> None:
    Parser(description=__doc__).parse_args()
    steps, params = contenders(50_003)
    for step in steps * 3:
        step()
    np.testing.assert_array_equal(*params)
    print(f"{'elements':>10}  {'ours':>10}  {'by hand':>10}  speed of ours")
    for size in SIZES:
        ours, hand = measure(contenders(size)[0])
        print(
            f"{size:10,}  {ours.p50 * 1e6:7,.0f} us  {hand.p50 * 1e6:7,.0f} us  "
            f"{hand.p50 / ours.p50:.3f} of the loop's, median of {ours.rounds} rounds",
            flush=True,
        )


if __name__ == "__main__":
    run_script(main)
