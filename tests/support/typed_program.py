"""A program of a user's, for type checkers; a line that ends in `# wrong` is one they refuse."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

import fastadam as fa
import fastadam.torch
from fastadam.typing import Params, Scheduled

w: NDArray[np.float32] = np.ones(3, np.float32)
tree = {"w": w, "layers": [w, {"b": w}], "pair": (w, w)}
arrays = [w, w]
groups = [{"params": [w], "lr": 0.1}, {"params": [w], "lr": 0.2}]
halving: Callable[[int], float] = lambda step: 0.5**step  # noqa: E731
flat = fa.flatten(tree)

# What is given as parameters
fa.AdamW(w)
fa.AdamW(flat)
fa.AdamW(tree)
fa.AdamW(arrays)
fa.AdamW((w, [w]))
fa.AdamW(groups)
fa.AdamW([{"params": [w], "weight_decay": 0.0}, {"params": [w]}], lr=0.1)
fa.AdamW(fa.by_name(tree, {"w": {"weight_decay": 0.0}}))
fastadam.torch.AdamW(fa.by_name(torch.nn.Linear(2, 2).named_parameters(), lambda name: None))
fa.by_name(tree, {"w": 0.0})  # wrong
fa.AdamW({"w": w}.values())
fa.AdamW(iter([w]))
fa.AdamW(w for _ in range(1))
fa.AdamW("hello")  # wrong
fa.AdamW(["hello"])  # wrong
fa.AdamW(0.1)  # wrong
fa.AdamW([0.1, 0.2])  # wrong
fa.AdamW(None)  # wrong
fa.AdamW()  # wrong
fa.AdamWW(w)  # wrong
fa.adamw(w)  # wrong

# Hyperparameters and options
fa.AdamW(w, 0.1, betas=(0.9, 0.99), amsgrad=True, eps_mode="hat")
fa.AdamW(w, lr=np.float32(0.1), betas=[0.9, 0.99])
fa.AdamW(w, lr=fa.schedules.cosine(0.1, steps=100, warmup=10), weight_decay=halving)
fa.AdamW(w, lr=lambda step: 0.1 / step, betas=(halving, 0.99))
fa.AdamW(w, state_dtype="int8", shadow_dtype=np.float16, min_quantized_size=0, seed=7)
fa.AdamW(w, clip_norm=1, clip_norm_per="tensor", ema_decay=0.999, threads=2, skip_nonfinite=True)
fa.AdamW(w, learning_rate=0.1)  # wrong
fa.AdamW(w, lr="0.1")  # wrong
fa.AdamW(w, 0.1, (0.9, 0.99))  # wrong
fa.AdamW(w, betas=0.9)  # wrong
fa.AdamW(w, betas=(0.9, 0.99, 0.999))  # wrong
fa.AdamW(w, amsgrad="yes")  # wrong
fa.AdamW(w, eps_mode="keras")  # wrong
fa.AdamW(w, state_dtype="int9")  # wrong
fa.AdamW(w, clip_norm="1")  # wrong
fa.AdamW(w, threads="all")  # wrong
fa.SGD(w, lr=0.1, momentum=0.9, nesterov=True)
fa.SGD(w, betas=(0.9, 0.99))  # wrong

# What an optimizer has
opt = fa.Lion(flat, lr=1e-4)
info: fa.StepInfo = opt.step(w, lr=0.1, mask=w, grad_scale=2.0)
opt.step(flat)
opt.step({"w": w, "layers": [None, {"b": fa.Rows([0], w)}]})
opt.step([w, None])
opt.step([fa.Rows([0], w), None])
opt.step(fa.Rows([0], w))
opt.step(None, target=tree)
opt.step(3.0)  # wrong
opt.step("w")  # wrong
last: fa.StepInfo | None = opt.info
count: int = opt.steps
opt.grads["w"][...] = 1
opt.state["exp_avg"]["w"][...] = 0
opt.state["exp_avg"][0][...] = 0
opt.param_groups[0]["lr"] = 0.1
opt.load_state_dict(opt.state_dict(copy=False))
total: int = opt.memory().total
opt.step(gradient=w)  # wrong
opt.steps = 3  # wrong
opt.memry()  # wrong
print(info.learning_rate)  # wrong

# Bare kernels
fa.functional.adamw(w, w, w, w, step=1, lr=0.1)
fa.functional.adam(w, w, w, w, w, step=1, amsgrad=True, threads=2)
fa.functional.lion(w, w, w, step=1)
fa.functional.adamw(w, w, w, w, lr=0.1)  # wrong
fa.functional.adamw(w, w, w, step=1)  # wrong
fa.functional.adamw(w, w, w, w, step=1, learning_rate=0.1)  # wrong
fa.functional.adamw(w, w, w, w, step=1, lr="0.1")  # wrong
fa.functional.adamww(w, w, w, w, step=1)  # wrong
mine = fa.functional.bare(fa.AdamW)
mine(w, w, w, w, step=1)


# An optimizer of one's own
@fa.rule(hyper=("lr",))
def descent(param: float, grad: float, state: tuple[()], h: fa.Rule) -> tuple[float, tuple[()]]:
    return param - grad, state


class Descent(fa.Optimizer):
    rule = descent
    defaults = {"lr": 0.5}

    def hyper(self, group: dict[str, float], step: int) -> dict[str, float]:
        return {"lr": group["lr"]}


Descent(w, 0.1).step(w)
Descent(w, lr=0.1, clip_norm=1.0).step(w)
Descent("hello")  # wrong


def trained(params: Params, lr: Scheduled = 1e-3) -> fa.Optimizer:
    return fa.NAdam(params, lr, momentum_decay=0.1)


def sphere(x: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    return float((x**2).sum()), 2 * x


found: fa.MinimizeResult = fa.minimize(sphere, w, "AdamW", lr=0.1, steps=10, tol=1e-3)
fa.minimize(sphere, [1.0, 2.0], fa.SGD, callback=lambda result: result.nit == 3)
fa.minimize(w, sphere)  # wrong
fa.minimize(sphere, w, steps="ten")  # wrong
fa.minimize(sphere, w, optimizer=fa.SGD(w))  # wrong

# PyTorch
net = torch.nn.Linear(3, 1)
fastadam.torch.AdamW(net.parameters(), lr=1e-3, fused=True, clip_norm=1.0)
fastadam.torch.AdamW(net.named_parameters(), torch.tensor(1e-3), (0.9, 0.99), 1e-8, 0.1)
fastadam.torch.AdamW([{"params": net.parameters(), "lr": 0.1}], state_dtype=torch.bfloat16)
fastadam.torch.SGD(net.parameters(), 0.1, 0.9).memory()
fastadam.torch.AdamW(net.parameters(), learning_rate=0.1)  # wrong
fastadam.torch.AdamW(net.parameters(), lr="0.1")  # wrong
fastadam.torch.AdamW(net.parameters(), lr=halving)  # wrong
fastadam.torch.AdamW(net.parameters(), accumulate_steps=2)  # wrong
fastadam.torch.AdamW("hello")  # wrong to pyright
fastadam.torch.AdamWW(net.parameters())  # wrong
