"""Adam with DeepSpeed's interface: steps of subgroups, which can be reversed."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import torch

from ...embedding.joint_steps import JointStep, rule_and_constants, take_together
from ...kernels.commit import Operation, updated
from ...optimizer import Optimizer as CoreOptimizer
from ...optimizers import Adam
from ...rules import Rule, rule
from ...rules.algorithm import Values
from ..gradients import check_tensor, copied, in_memory_order
from ..step_hooks import evaluated
from ..tensors import OpaqueTensor, ParameterMemory, flat, name_of

STATE = ("exp_avg", "exp_avg_sq")
HYPER = ("lr", "betas", "eps", "weight_decay")
SETTINGS = ("adam_w_mode", "fp32_optimizer_states")
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


Constants = dict[tuple[int, int], tuple[Rule, Values]]  # by the `id` of a group, and the step
FORWARD, BACKWARD = Adam.without_arrays(), ReversedAdam.without_arrays()


class Found(NamedTuple):
    """A parameter that has a gradient, what it is called in messages, and its group."""

    name: str
    param: Any
    group: Values


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

    def load_state_dict(self, state_dict: Values) -> None:
        """Resume from a saved state of this class; its tensors keep their dtypes."""
        state = {
            key: {n: OpaqueTensor(v) if n in STATE else v for n, v in entry.items()}
            for key, entry in state_dict["state"].items()
        }
        super().load_state_dict({**state_dict, "state": state})

    def __getstate__(self) -> Values:
        return {**super().__getstate__(), **{name: getattr(self, name) for name in SETTINGS}}

    def __setstate__(self, state: Values) -> None:
        for entry in state["state"].values():
            for name in STATE:
                if isinstance(value := entry.get(name), OpaqueTensor):
                    entry[name] = value.copy_to("cpu")
        super().__setstate__(state)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; all of them, or none after an exception.

        Raises:
            RuntimeError, TypeError, ValueError: before any element changes.
        """
        loss = evaluated(closure)
        self._take(FORWARD, [(one.param, one) for one in self._found()])
        return loss

    def step_subgroup(self, subgroup_id: int, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameter that is there with the state of this number.

        Raises:
            RuntimeError, TypeError, ValueError: as `step`; also for several parameters.
        """
        return self._step_one(FORWARD, subgroup_id, closure)

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
        return self._step_one(BACKWARD, sub_group_id, closure)

    @torch.no_grad()
    def _step_one(
        self, author: CoreOptimizer, number: int, closure: Callable[[], Any] | None
    ) -> Any:
        """Take a step with the state of a number."""
        loss, found = evaluated(closure), [*self._found()]
        if len(found) > 1:
            raise ValueError(
                f"subgroup {number}: {len(found)} parameters have gradients, but a subgroup is one "
                "parameter; set the gradients of the others to None"
            )
        self._take(author, [(number, one) for one in found])
        return loss

    def _found(self) -> Iterator[Found]:
        """The parameters that have a gradient."""
        numbers = count()
        for group in self.param_groups:
            for number, param in zip(numbers, group["params"], strict=False):
                if param.grad is not None:
                    yield Found(f"parameter {number}", param, group)

    def _take(self, author: CoreOptimizer, found: Sequence[tuple[Any, Found]]) -> None:
        """Take the steps of parameters with the state of their keys: all or none."""
        steps, others, known = list[JointStep](), list[Operation](), Constants()
        for key, one in found:
            step, after = self._prepared(author, known, key, *one)
            steps.append(step)
            others += after
        take_together(steps, others)
        torch.autograd.graph.increment_version([one.param for _, one in found])

    def _prepared(
        self,
        author: CoreOptimizer,
        constants: Constants,
        key: Any,
        name: str,
        param: Any,
        group: Values,
    ) -> tuple[JointStep, list[Operation]]:
        """The step of a parameter, and the operations to be committed with it."""
        memory = ParameterMemory(param, name)
        if memory.part.device.type != "cpu":
            raise RuntimeError(f"{name} is on {memory.part.device}; move it to the host")
        check_tensor(param.grad, memory, type(self).__name__, "Adam")
        grad = param.grad if in_memory_order(param.grad, memory) else copied(param.grad, memory)
        memory.pack()
        known = self.state[key]  # empty before the first step, filled by the commitment
        entry, steps = dict(known), int(known.get("step", 0))
        dtype = memory.compute if self.fp32_optimizer_states else name_of(memory.part)
        for each in STATE:
            entry.setdefault(each, torch.zeros_like(param))
            memory.convert(entry, each, dtype)
        number, entry["step"] = (steps + 1, steps + 1) if author is FORWARD else (steps, steps - 1)
        if (id(group), number) not in constants:
            hyper = {each: group[each] for each in (*HYPER, "bias_correction")}
            hyper["decoupled_weight_decay"] = self.adam_w_mode
            found = rule_and_constants("CPUAdam: ", author, hyper, number)
            constants[id(group), number] = found
        rule, numbers = constants[id(group), number]
        arrays = [memory.array, flat(grad), *(memory.seen(entry[each]) for each in STATE)]
        return JointStep(name, rule, arrays, numbers), [updated(known, entry), *memory.unpack()]
