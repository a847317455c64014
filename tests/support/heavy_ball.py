"""An optimizer of one's own, as a user writes it."""

import fastadam as fa


@fa.rule(state=("exp_avg",), hyper=("lr", "beta", "beta_comp"))
def heavy_ball(param, grad, state, h):
    (exp_avg,) = state
    exp_avg = h.beta * exp_avg + h.beta_comp * grad
    return param - h.lr * exp_avg, (exp_avg,)


class HeavyBall(fa.Optimizer):
    rule = heavy_ball
    defaults = {"lr": 1e-3, "beta": 0.9}

    def hyper(self, group, step):
        return {"lr": group["lr"], "beta": group["beta"], "beta_comp": 1 - group["beta"]}
