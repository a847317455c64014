"""Adam with DeepSpeed's interface: steps of subgroups, which can be reversed."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ... import functional
from ...optimizer import Optimizer as CoreOptimizer
from ...optimizers import Adam
from ...rules import rule
from ...rules.algorithm import Values
from ..tensors import flat

STATE = ("exp_avg", "exp_avg_sq")
HYPER = ("lr", "betas", "eps", "weight_decay")
CONSTANTS = "step_size root_scale eps keep l2 beta1 beta1_comp beta2 beta2_comp"


@rule(state=STATE, hyper=tuple(CONSTANTS.split()))
def reversed_adam(param, grad, state, h):  # type: ignore[no-untyped-def]
    exp_avg, exp_avg_sq = state
    update = h.step_size * exp_avg / (math.sqrt(exp_avg_sq) * h.root_scale + h.eps)
    param = (param + update) / h.keep
    grad = grad + h.l2 * param
    exp_avg = (exp_avg - h.beta1_comp * grad) / h.beta1
    squares = (exp_avg_sq - h.beta2_comp * grad * grad) / h.beta2
    return param, (exp_avg, max(squares, squares - squares))  # rounding may have made it negative


class ReversedAdam(CoreOptimizer):
    """The reversal of a step of Adam or AdamW, up to rounding.

    p = (p + lr * m_hat / (sqrt(v_hat) + eps)) / (1 - lr * weight_decay)
    m = (m - (1 - beta1) * g) / beta1
    v = (v - (1 - beta2) * g**2) / beta2
    """

    rule = reversed_adam
    defaults = {name: Adam.defaults[name] for name in HYPER}
    defaults |= {"decoupled_weight_decay": False, "bias_correction": True}

    def hyper(self, group: Values, step: int) -> dict[str, float]:
        (beta1, beta2), decay, lr = group["betas"], group["weight_decay"], group["lr"]
        corrected, decoupled = group["bias_correction"], group["decoupled_weight_decay"]
        return {
            "step_size": lr / (1 - beta1**step) if corrected else lr,
            "root_scale": 1 / math.sqrt(1 - beta2**step) if corrected else 1.0,
            "eps": group["eps"],
            "keep": 1 - lr * decay if decoupled else 1.0,
            "l2": 0.0 if decoupled else decay,
            "beta1": beta1,
            "beta1_comp": 1 - beta1,
            "beta2": beta2,
            "beta2_comp": 1 - beta2,
        }


_forward, _backward = functional.bare(Adam), functional.bare(ReversedAdam)


class CPUAdam(torch.optim.Optimizer):
    """Adam or AdamW with the interface of DeepSpeed's `DeepSpeedCPUAdam`.

    SuperOffload (`deepspeed.runtime.superoffload`) puts one shard after the other into
    `param_groups`, and names the state that belongs to it by a number. It takes steps before it
    knows the norm of all gradients, and reverses those that were wrong. In other programs take
    `fastadam.torch.AdamW`.

    Args:
        model_params: tensors of the host, or groups of them.
        lr, betas, eps, weight_decay, bias_correction: as for `fastadam.torch.AdamW`, the
            decay 0 by default.
        amsgrad: False; there is no other.
        adamw_mode: False couples the weight decay, as Adam; default True.
        fp32_optimizer_states: False keeps the state in the dtype of the parameters, float32 or
            bfloat16; default True.

    Raises:
        ValueError: for `amsgrad=True`, and numbers out of range.

    Examples:
        >>> import torch
        >>> from fastadam.torch.offload import CPUAdam
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> opt = CPUAdam([w], lr=0.5)
        >>> w.grad = torch.ones(2)
        >>> opt.step_subgroup(3)
        >>> opt.rollback_subgroup(3)
        >>> w.data, opt.state[3]["step"]
        (tensor([1., 1.]), 0)
    """

    def __init__(
        self,
        model_params: Iterable[Any],
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        adamw_mode: bool = True,
        fp32_optimizer_states: bool = True,
    ) -> None:
        hyper = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            model_params, {**hyper, "bias_correction": bias_correction, "amsgrad": amsgrad}
        )
        self.adam_w_mode, self.fp32_optimizer_states = adamw_mode, fp32_optimizer_states

    def add_param_group(self, param_group: Values) -> None:
        """Add a group, as in PyTorch, after checking its hyperparameters.

        Raises:
            ValueError: as the constructor.
        """
        full = {**self.defaults, **param_group}
        if full["amsgrad"]:
            raise ValueError("amsgrad=True: its steps cannot be reversed; use fastadam.torch.AdamW")
        Adam.constants(step=1, **{name: full[name] for name in HYPER})  # raises for what is wrong
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        return self._each(closure, lambda param: param, 1)

    def step_subgroup(self, subgroup_id: int, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameter that is there with the state of this number."""
        return self._each(closure, lambda param: subgroup_id, 1)

    def rollback_subgroup(self, sub_group_id: int, closure: Callable[[], Any] | None = None) -> Any:
        """Reverse the last step of the state of this number, with the gradient of that step.

        Raises:
            RuntimeError: if it has taken no step.
        """
        if not self.state.get(sub_group_id):  # in DeepSpeed's words, which its callers know
            raise RuntimeError(
                f"Cannot rollback optimizer state for sub_group_id {sub_group_id}: it has taken no "
                f"step; those that have are {[*self.state]}"
            )
        if self.state[sub_group_id]["step"] < 1:
            raise RuntimeError(
                f"Cannot rollback sub_group_id {sub_group_id}: step count is 0, all its steps have "
                "been reversed"
            )
        return self._each(closure, lambda param: sub_group_id, -1)

    @torch.no_grad()
    def _each(self, closure: Callable[[], Any] | None, key: Callable[[Any], Any], sign: int) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, self.state[key(param)], group, sign)
        return loss

    def _update(self, param: Any, state: Values, group: Values, sign: int) -> None:
        """Take a step forward or backward."""
        if not state:
            dtype = torch.float32 if self.fp32_optimizer_states else param.dtype
            state |= {"step": 0, **{name: torch.zeros_like(param, dtype=dtype) for name in STATE}}
        hyper = {name: group[name] for name in HYPER}
        hyper |= {"bias_correction": group["bias_correction"]}
        hyper |= {"decoupled_weight_decay": self.adam_w_mode}
        arrays = [flat(each) for each in (param, param.grad, *(state[name] for name in STATE))]
        take, step = (_forward, state["step"] + 1) if sign > 0 else (_backward, state["step"])
        take(*arrays, step=step, **hyper)
        state["step"] += sign
        torch.autograd.graph.increment_version([param])
