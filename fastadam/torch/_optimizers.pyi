"""Optimizers for PyTorch; written by tests/support/stubs.py, do not edit."""

from typing import Literal

from torch.optim.optimizer import ParamsT

from ..typing import Cores, Count, Dtype, Flag, Number, OptionalPair, Pair, Triple
from .optimizer import Optimizer

__all__ = [
    "ADOPT",
    "FTRL",
    "LAMB",
    "LARS",
    "MARS",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamMini",
    "AdamW",
    "Adamax",
    "Adan",
    "Grams",
    "LaProp",
    "Lion",
    "Muon",
    "NAdam",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "RowwiseAdagrad",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Signum",
    "SparseAdam",
    "StableAdamW",
    "Yogi",
]

class ADOPT(Optimizer):
    """ADOPT for PyTorch.

    ADOPT: Adam that normalizes the gradient by the previous second moment, then averages.

    The first step only sets `v = g**2`. From t = 2:

        n = g / max(sqrt(v), eps), clipped to +-(t - 1)**clip_exp
        m = beta1 * m + (1 - beta1) * n
        p = p - lr * m
        v = beta2 * v + (1 - beta2) * g**2

    There is no bias correction. State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8
    bytes of state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.9999).
        eps: the least value of the root, default 1e-6.
        clip_exp: exponent of the bound of n, default 0.25 (timm 0.333); None: no bound.
        weight_decay: coupled (L2) decay, default 0.
        decoupled_weight_decay: decay the parameter instead, as AdamW does, default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        betas: Pair = (0.9, 0.9999),
        eps: Number = 1e-06,
        clip_exp: Number | None = 0.25,
        weight_decay: Number = 0.0,
        decoupled_weight_decay: Flag = False,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class FTRL(Optimizer):
    """FTRL for PyTorch.

    FTRL-Proximal: sparse linear models by follow-the-regularized-leader (algorithm 1).

        s = (sqrt(n + g**2) - sqrt(n)) / lr
        z = z + g - s * p
        n = n + g**2
        p = 0 if abs(z) <= l1 else -(z - sign(z) * l1) / ((beta + sqrt(n)) / lr + l2)

    The parameter follows from the state alone: start it at zero. Another start is forgotten in part
    at the first step, entirely where the first gradient is zero, as in Keras. A model without
    `l1` and `l2` is Adagrad's. Keras starts n at 0.1, with beta 0.

    State: `z` and `n`; in low precision they are refused, since differences of n are taken. Per
    float32 element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        beta: damps the first steps, >= 0, default 1.
        l1: L1 penalty, which makes parameters exactly zero, default 0.
        l2: L2 penalty, default 0.
        initial_accumulator_value: initial value of n, default 0.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.1,
        *,
        beta: Number = 1.0,
        l1: Number = 0.0,
        l2: Number = 0.0,
        initial_accumulator_value: Number = 0.0,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class LAMB(Optimizer):
    """LAMB for PyTorch.

    LAMB: AdamW with the update of each array scaled to the norm of the array.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        u = (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
        p = p - lr * norm(p) / norm(u) * u

    The ratio of the norms, each over one array, is 1 if either norm is 0. State: `exp_avg` (m) and
    `exp_avg_sq` (v). A step has two passes over memory. Per float32 element: 8 bytes of state, 44
    bytes of traffic per step, 28 of which reach memory if an array stays in the cache between the
    passes.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-6.
        weight_decay: decay of the parameter as part of the update, default 1e-2.
        adapt: False leaves out the ratio, for groups of biases and normalizations; default True
            (apex, timm: only with weight decay).
        trust_clip: True bounds the ratio by 1 (LAMBC), default False.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-06,
        weight_decay: Number = 0.01,
        adapt: Flag = True,
        trust_clip: Flag = False,
        bias_correction: Flag = True,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class LARS(Optimizer):
    """LARS for PyTorch.

    LARS: SGD with the gradient of each array scaled in proportion to the norm of the array.

        r = trust_coefficient * norm(p) / (norm(g) + weight_decay * norm(p) + eps)
        b = momentum * b + r * (g + weight_decay * p)
        p = p - lr * b

    The norms are over one array; r is 1 if either is 0. As in timm, `lr` is outside of the momentum
    (the paper: inside). State: `momentum_buffer` (b). A step has two passes over memory. Per
    float32 element: 4 bytes of state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        momentum: decay rate of the momentum, default 0.9; 0 keeps no state.
        weight_decay: coupled (L2) decay: `weight_decay * p` is added to the gradient, default 0.
        trust_coefficient: the length of an update relative to that of the array, default 1e-3.
        eps: added to the denominator of r, default 1e-8.
        adapt: False leaves out r, for groups of biases and normalizations, default True.
        trust_clip: True replaces r by min(r / lr, 1) (LARC), default False.
        nesterov: Nesterov momentum, default False.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1.0,
        *,
        momentum: Number = 0.9,
        weight_decay: Number = 0.0,
        trust_coefficient: Number = 0.001,
        eps: Number = 1e-08,
        adapt: Flag = True,
        trust_clip: Flag = False,
        nesterov: Flag = False,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class MARS(Optimizer):
    """MARS for PyTorch.

    MARS: AdamW with the gradient corrected by its change since the last step.

        c = g + gamma * beta1 / (1 - beta1) * (g - g_last)
        c = c / max(1, norm(c))
        m = beta1 * m + (1 - beta1) * c
        v = beta2 * v + (1 - beta2) * c**2
        p = p - lr * (weight_decay * p + (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps))

    This is MARS-AdamW with the approximate correction, as in the authors' code: `g_last` is the
    gradient of another batch, and 0 before the first step (timm: c = g in the first step). The norm
    is over one array. State: `exp_avg` (m), `exp_avg_sq` (v) and `last_grad`. A step has two passes
    over memory. Per float32 element: 12 bytes of state, 44 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.95, 0.99).
        gamma: the strength of the correction, default 0.025.
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        variance_reduction: False: AdamW, for groups of biases and normalizations, default True.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.003,
        *,
        betas: Pair = (0.95, 0.99),
        gamma: Number = 0.025,
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        variance_reduction: Flag = True,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class SGD(Optimizer):
    """SGD for PyTorch, in place of the class of that name in `torch.optim`.

    Stochastic gradient descent, optionally with momentum, as PyTorch computes it.

    With the gradient g, to which `weight_decay * p + l1 * sign(p)` is added:

        b = momentum * b + (1 - dampening) * g    (b = g at the first step)
        p = p - lr * b                            (nesterov: p - lr * (g + momentum * b))

    Without momentum b is g; if momentum is enabled later, its buffer starts with the gradient of
    that step. With `lr_in_momentum` the buffer includes lr, as in Keras and TensorFlow, which
    differs once lr changes:

        b = momentum * b + lr * g
        p = p - b                                 (nesterov: p - (lr * g + momentum * b))

    State: none. Per float32 element: 0 bytes of state, 12 bytes of traffic per step; 4 and 20 with
    `momentum`, which adds `momentum_buffer` (b), or with `lr_in_momentum` `velocity`.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        momentum: momentum factor, default 0: no buffer.
        dampening: dampening of the gradient in the buffer after the first step, default 0.
        weight_decay: decay of the parameter, coupled (L2), default 0.
        nesterov: Nesterov momentum; needs momentum and no dampening, default False.
        foreach, differentiable: accepted or rejected as by PyTorch's fused optimizers.
        fused: the step is always fused; with True, `torch.amp.GradScaler` leaves unscaling to it.
        decoupled_weight_decay: decay the parameter by `lr * weight_decay * p` instead, as in
            optimi, timm and Keras, default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        l1: L1 penalty; its subgradient at zero is zero, default 0.
        lr_in_momentum: include lr in the buffer; needs no dampening, default False.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        momentum: Number = 0.0,
        dampening: Number = 0.0,
        weight_decay: Number = 0.0,
        nesterov: Flag = False,
        *,
        foreach: bool | None = None,
        differentiable: bool | None = False,
        fused: bool | None = None,
        decoupled_weight_decay: Flag = False,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        l1: Number = 0.0,
        lr_in_momentum: Flag = False,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class AdEMAMix(Optimizer):
    """AdEMAMix for PyTorch.

    Adam with a second, slower average of the gradients, and decoupled weight decay.

        m1 = beta1 * m1 + (1 - beta1) * g
        m2 = beta3(t) * m2 + (1 - beta3(t)) * g
        v = beta2 * v + (1 - beta2) * g**2
        u = (m1 / (1 - beta1**t) + alpha(t) * m2) / (sqrt(v / (1 - beta2**t)) + eps)
        p = p - lr * weight_decay * p - lr * u

    m2 has no bias correction. `alpha(t)` is `alpha * min(t / alpha_warmup, 1)`. `beta3(t)` grows
    from beta1 to beta3 in `beta3_warmup` steps, so that the half-life of the average grows
    linearly. State: `exp_avg_fast` (m1; none if beta1 is 0), `exp_avg_slow` (m2) and `exp_avg_sq`
    (v). Per float32 element: 12 bytes of state, 36 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of m1, v and m2, each in [0, 1), default (0.9, 0.999, 0.9999).
        alpha: weight of the slow average, >= 0, default 2, as in the authors' code.
        beta3_warmup: steps in which beta3 grows, default None: none.
        alpha_warmup: steps in which alpha grows, default None: none.
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        betas: Triple = (0.9, 0.999, 0.9999),
        alpha: Number = 2.0,
        beta3_warmup: Number | None = None,
        alpha_warmup: Number | None = None,
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class AdaBelief(Optimizer):
    """AdaBelief for PyTorch.

    AdaBelief: Adam divided by the spread of the gradients around their mean.

        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * (g - m)**2 + eps
        p = p - lr * weight_decay * p - lr * (m / (1 - beta1**t)) / (sqrt(s / (1 - beta2**t)) + eps)

    State: `exp_avg` (m) and `exp_avg_var` (s). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step; 12 and 36 with `amsgrad`, which adds `max_exp_avg_var`.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of both averages, each in [0, 1), default (0.9, 0.999).
        eps: added to s in every step, and to the root, default 1e-16.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        amsgrad: divide by the root of the largest s, default False.
        rectify: the rectification of `fa.RAdam`, default False (the authors' later code: True).
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-16,
        weight_decay: Number = 0.0,
        amsgrad: Flag = False,
        rectify: Flag = False,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Adadelta(Optimizer):
    """Adadelta for PyTorch, in place of the class of that name in `torch.optim`.

    Adadelta, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        v = rho * v + (1 - rho) * g**2
        d = g * sqrt(u + eps) / sqrt(v + eps)
        u = rho * u + (1 - rho) * d**2
        p = p - lr * d

    State: `square_avg` (v) and `acc_delta` (u). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        rho: decay rate of both averages, in [0, 1), default 0.9.
        eps: added inside both roots, default 1e-6.
        weight_decay: coupled (L2) decay, default 0.
        foreach: accepted or rejected as by PyTorch's fused optimizers.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        differentiable: accepted or rejected as by PyTorch's fused optimizers.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1.0,
        rho: Number = 0.9,
        eps: Number = 1e-06,
        weight_decay: Number = 0.0,
        foreach: bool | None = None,
        *,
        capturable: bool | None = False,
        differentiable: bool | None = False,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Adafactor(Optimizer):
    """Adafactor for PyTorch, in place of the class of that name in `torch.optim`.

    Adafactor: a second moment with one number for each row and each column, as in PyTorch.

    For a matrix of r rows and c columns, with the gradient g and b = t**beta2_decay:

        row_var = (1 - b) * row_var + b * mean(g**2)         over each row
        col_var = (1 - b) * col_var + b * mean(g**2)         over each column
        v = row_var * col_var / max(mean(row_var), eps1)     of each element
        u = g / max(sqrt(v), eps1)
        a = min(lr, 1 / sqrt(t)) * max(eps2, rms(p))
        p = p - lr * weight_decay * p - a * u / max(1, rms(u) / d)

    `rms` is the root of the mean of squares of a whole array. An array of more than two dimensions
    is matrices in its last two; one of fewer dimensions has a `variance` for each element instead,
    v = (1 - b) * v + b * g**2. As in PyTorch, unlike the paper, `lr` bounds the relative step (the
    paper has a constant, 1e-2), and `eps1` is not added to squares but bounds the root. State:
    `row_var` and `col_var`, of the shape of the parameter with one column or one row, or
    `variance`; the first two in the dtype of the arithmetic. A step has three passes over memory.
    Per float32 element: 0 bytes of state, 24 bytes of traffic per step, of a matrix; 4 bytes of
    state for each row and each column.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        beta2_decay: the exponent of the weight of a new square, at most 0, default -0.8.
        eps: the pair of eps1, default None, which is the relative rounding error of the arithmetic
            (PyTorch: of the dtype of the parameter), and eps2, the least `rms` of a parameter,
            default 1e-3.
        d: the largest `rms` of an update, at least 1, default 1.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        foreach: accepted or rejected as by PyTorch's fused optimizers.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.01,
        beta2_decay: Number = -0.8,
        eps: OptionalPair = (None, 0.001),
        d: Number = 1.0,
        weight_decay: Number = 0.0,
        *,
        foreach: bool | None = None,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Adagrad(Optimizer):
    """Adagrad for PyTorch, in place of the class of that name in `torch.optim`.

    Adagrad, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        s = s + g**2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Keras and optax have eps inside the root: `eps_in_sqrt`; their sum starts at 0.1. State:
    `sum` (s). Per float32 element: 4 bytes of state, 20 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        lr_decay: decay rate of the learning rate, default 0.
        weight_decay: coupled (L2) decay, default 0.
        initial_accumulator_value: initial value of the sum, default 0.
        eps: added to the root, default 1e-10.
        foreach, differentiable: accepted or rejected as by PyTorch's fused optimizers.
        fused: the step is always fused; with True, `torch.amp.GradScaler` leaves unscaling to it.
        eps_in_sqrt: add eps to the number under the root instead, default False.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.01,
        lr_decay: Number = 0.0,
        weight_decay: Number = 0.0,
        initial_accumulator_value: Number = 0.0,
        eps: Number = 1e-10,
        foreach: bool | None = None,
        *,
        differentiable: bool | None = False,
        fused: bool | None = None,
        eps_in_sqrt: Flag = False,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Adam(Optimizer):
    """Adam for PyTorch, in place of the class of that name in `torch.optim`.

    Adam, as PyTorch computes it.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step; 12 and 36 with `amsgrad`, which adds `max_exp_avg_sq`.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay: `weight_decay * p` is added to the gradient, default 0.
        amsgrad: divide by the root of the largest raw v (optax: corrected), default False.
        foreach: accepted or rejected as by PyTorch's fused optimizers.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        differentiable: accepted or rejected as by PyTorch's fused optimizers.
        fused: the step is always fused; with True, `torch.amp.GradScaler` leaves unscaling to it.
        l1: L1 penalty: `l1 * sign(p)` is added to the gradient, default 0.
        maximize: maximize the objective, default False.
        decoupled_weight_decay: weight decay as in `fa.AdamW`, default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        eps_mode: "torch", or "hat": eps is added before the correction of the root, as in Keras.
        cautious: True updates only elements with `m * g > 0`, in another pass over memory, and
            divides their update by the share of these in the array, at least 1e-3 (K. Liang et al.,
            Cautious Optimizers, arXiv 2024), default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        amsgrad: Flag = False,
        *,
        foreach: bool | None = None,
        capturable: bool | None = False,
        differentiable: bool | None = False,
        fused: bool | None = None,
        l1: Number = 0.0,
        maximize: Flag = False,
        decoupled_weight_decay: Flag = False,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        bias_correction: Flag = True,
        eps_mode: Literal["torch", "hat"] = "torch",
        cautious: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class AdamMini(Optimizer):
    """AdamMini for PyTorch.

    Adam-mini: AdamW with one second moment for each block of a parameter, such as a row.

    With the mean of g**2 over the d elements of a block:

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * sum(g**2) / d
        p = p - lr * weight_decay * p
              - lr / (1 - beta1**t) / (sqrt(v) / sqrt(1 - beta2**t) + eps) * m

    Blocks as in the paper's partition for transformers: rows, that is output neurons or tokens, of
    arrays of two dimensions or more, whose first dimension counts them; arrays of one dimension are
    one block; query and key have a block for each head: give them a group with `blocks=`. (The
    package adam-mini decides by the names of parameters: matrices with unknown names are one block
    there, as with `blocks=1`, and biases are updated as by `fa.AdamW`.) State: `exp_avg` (m), and
    `vmean` (v) of one number for each block, in the dtype of the arithmetic. A step reads a block
    twice, in one thread. Per float32 element: 4 bytes of state, 20 bytes of traffic per step; 4
    bytes of state for each block.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        blocks: the number of blocks of each array, which have the same length, such as attention
            heads; 1: the array is one block; default 0: the blocks described above.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        blocks: Count = 0,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class AdamW(Optimizer):
    """AdamW for PyTorch, in place of the class of that name in `torch.optim`.

    Adam with decoupled weight decay, as PyTorch computes it.

        p = p - lr * weight_decay * p - lr * m_hat / (sqrt(v_hat) + eps)

    m_hat and v_hat are the corrected moments of `fa.Adam`. The decay is computed from
    the old parameter and does not enter the moments. (bitsandbytes' CUDA kernel decays after the
    update.) PyTorch rounds `1 - lr * weight_decay` to the dtype; here the product is rounded, which
    preserves the digits of a small decay.

    State: `exp_avg` and `exp_avg_sq`. Per float32 element: 8 bytes of state, 28 bytes of traffic
    per step; 12 and 36 with `amsgrad`, which adds `max_exp_avg_sq`.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the two moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 1e-2.
        amsgrad: divide by the root of the largest raw v (optax: corrected), default False.
        foreach: accepted or rejected as by PyTorch's fused optimizers.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        differentiable: accepted or rejected as by PyTorch's fused optimizers.
        fused: the step is always fused; with True, `torch.amp.GradScaler` leaves unscaling to it.
        l1: L1 penalty: `l1 * sign(p)` is added to the gradient, default 0.
        maximize: maximize the objective, default False.
        decoupled_weight_decay: cannot be False, that would be Adam; default True.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0` (L. Chen et al., Cautious Weight Decay, ICLR 2026), default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            which suits weights before a normalization (A. Defazio, Why Gradients Rapidly Increase
            Near the End of Training, arXiv 2025, algorithm 1). With "independent" it is `lr /
            peak_lr * weight_decay * p`, as in algorithm 2 of Loshchilov and Hutter: it follows the
            schedule, not the size of lr, so it must be smaller, such as 1e-5.
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        eps_mode: "torch", or "hat": eps is added before the correction of the root, as in Keras.
        cautious: True updates only elements with `m * g > 0`, in another pass over memory, and
            divides their update by the share of these in the array, at least 1e-3 (K. Liang et al.,
            Cautious Optimizers, arXiv 2024), default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0.01,
        amsgrad: Flag = False,
        *,
        foreach: bool | None = None,
        capturable: bool | None = False,
        differentiable: bool | None = False,
        fused: bool | None = None,
        l1: Number = 0.0,
        maximize: Flag = False,
        decoupled_weight_decay: Flag = True,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        bias_correction: Flag = True,
        eps_mode: Literal["torch", "hat"] = "torch",
        cautious: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Adamax(Optimizer):
    """Adamax for PyTorch, in place of the class of that name in `torch.optim`.

    Adamax, Adam with the infinity norm, as PyTorch computes it (section 7.1 of the paper).

    With the gradient g, to which `weight_decay` times the parameter is added:

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, abs(g) + eps)
        p = p - lr / (1 - beta1**t) * m / u

    State: `exp_avg` (m) and `exp_inf` (u). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates, each in [0, 1), default (0.9, 0.999).
        eps: added to the absolute value of the gradient, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        foreach, differentiable: accepted or rejected as by PyTorch's fused optimizers.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.002,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        foreach: bool | None = None,
        *,
        differentiable: bool | None = False,
        capturable: bool | None = False,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Adan(Optimizer):
    """Adan for PyTorch.

    Adan: Adam with Nesterov momentum from differences of gradients.

    With d = g - g_previous, which is 0 at the first step:

        m = beta1 * m + (1 - beta1) * g
        n = beta2 * n + (1 - beta2) * d
        v = beta3 * v + (1 - beta3) * (g + beta2 * d)**2
        u = (m / (1 - beta1**t) + beta2 * n / (1 - beta2**t)) / (sqrt(v / (1 - beta3**t)) + eps)
        p = (p - lr * u) / (1 + lr * weight_decay)

    The betas are decay rates, as in the authors' code; the paper's are their complements. State:
    `exp_avg` (m), `exp_avg_sq` (v), `exp_avg_diff` (n) and `neg_pre_grad` (-g). Per float32
    element: 16 bytes of state, 44 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of m, n and v, each in [0, 1), default (0.98, 0.92, 0.99).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        no_prox: decay before the update, as AdamW does, instead of the division, default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        betas: Triple = (0.98, 0.92, 0.99),
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        no_prox: Flag = False,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Grams(Optimizer):
    """Grams for PyTorch.

    Grams: the magnitude of AdamW's update with the sign of the gradient.

        u = (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)
        p = p - lr * weight_decay * p - lr * sign(g) * abs(u)

    m and v are the moments of `fa.Adam`. The sign of zero is zero: an element with a
    zero gradient only decays. State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8
    bytes of state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-6.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-06,
        weight_decay: Number = 0.0,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class LaProp(Optimizer):
    """LaProp for PyTorch.

    LaProp: Adam that normalizes the gradient first, and averages the quotient.

        v = beta2 * v + (1 - beta2) * g**2
        m = beta1 * m + (1 - beta1) * lr * g / (sqrt(v / (1 - beta2**t)) + eps)
        p = p - lr * weight_decay * p - m / (1 - beta1**t)

    The learning rate is part of the average, as in the authors' code; if it changes, the last
    divisor is the average of its values over its present one. (Their decay follows the update; here
    it is computed from the old parameter.) State: `exp_avg` (m) and `exp_avg_sq` (v), and the
    numbers `exp_avg_lr_1` and `exp_avg_lr_2` for each parameter. Per float32 element: 8 bytes of
    state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the averages, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-15.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.0004,
        *,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-15,
        weight_decay: Number = 0.0,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Lion(Optimizer):
    """Lion for PyTorch.

    Lion: the sign of an interpolated momentum, with decoupled weight decay.

        c = beta1 * m + (1 - beta1) * g
        m = beta2 * m + (1 - beta2) * g
        p = p - lr * weight_decay * p - lr * sign(c)

    The sign of zero is zero: an element with zero gradient and momentum is not changed (DeepSpeed's
    CPU kernel changes it). State: `exp_avg` (m). Per float32 element: 4 bytes of state, 20 bytes of
    traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: of the direction and of the momentum, each in [0, 1), default (0.9, 0.99).
        weight_decay: decay of the parameter in units of `lr`, default 0 (optax 1e-3).
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        cautious: True updates only elements with `c * g > 0`, as `fa.Adam` does (the authors' Lion
            counts one element more), default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.0001,
        *,
        betas: Pair = (0.9, 0.99),
        weight_decay: Number = 0.0,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        cautious: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Muon(Optimizer):
    """Muon for PyTorch, in place of the class of that name in `torch.optim`.

    Muon: orthogonalized momentum for matrices of hidden layers, as PyTorch computes it.

        m = momentum * m + (1 - momentum) * g
        n = momentum * m + (1 - momentum) * g     (nesterov; else n = m)
        O = orthogonalized(n)
        p = p - lr * weight_decay * p - lr * ratio * O

    `orthogonalized` divides a matrix by its Frobenius norm, at least `eps`, and takes `ns_steps`
    steps of the Newton-Schulz iteration `X = a X + (b X X^T + c (X X^T)^2) X`, which brings its
    singular values near 1. The ratio of a matrix with r rows and c columns is
    `sqrt(max(1, r / c))`, or with `adjust_lr_fn="match_rms_adamw"` `0.2 * sqrt(max(r, c))`.

    Parameters must have two dimensions; give biases, norms, embeddings and the last layer to an
    optimizer of their own, such as AdamW. The products are NumPy's, in the dtype of the arithmetic
    and in the threads of its BLAS; `fastadam.torch.Muon` has PyTorch's, in bfloat16 as
    `torch.optim.Muon`. All else is two passes over memory: one computes n, the other updates state
    and parameters. The matrices n of all parameters are kept, 4 bytes per float32 element.

    State: `momentum_buffer` (m). Per float32 element: 4 bytes of state, 36 bytes of traffic per
    step besides that of the products.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        weight_decay: decay of the parameter in units of `lr`, default 0.1.
        momentum: decay rate of the average of gradients, default 0.95.
        nesterov: Nesterov momentum, default True.
        ns_coefficients: a, b and c of the iteration, default (3.4445, -4.775, 2.0315).
        eps: the least norm by which a matrix is divided, default 1e-7.
        ns_steps: steps of the iteration, from 0 to 99, default 5.
        adjust_lr_fn: "original" or "match_rms_adamw", the ratio above; default None: "original".
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        weight_decay: Number = 0.1,
        momentum: Number = 0.95,
        nesterov: Flag = True,
        ns_coefficients: Triple = (3.4445, -4.775, 2.0315),
        eps: Number = 1e-07,
        ns_steps: Count = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
        *,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class NAdam(Optimizer):
    """NAdam for PyTorch, in place of the class of that name in `torch.optim`.

    Adam with Nesterov momentum, as PyTorch computes it.

    With the moments m and v of `fa.Adam` and mu(t), which is
    `beta1 * (1 - 0.96**(t * momentum_decay) / 2)`, `product(t)` being mu(1) * ... * mu(t):

        now = (1 - mu(t)) * g / (1 - product(t))
        later = mu(t + 1) * m / (1 - product(t + 1))
        p = p - lr * (now + later) / (sqrt(v / (1 - beta2**t)) + eps)

    (Keras has no momentum_decay.) State: `exp_avg` and `exp_avg_sq`. Per float32 element: 8 bytes
    of state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        momentum_decay: the rate at which mu grows to beta1, default 4e-3.
        decoupled_weight_decay: decay the parameter instead, as AdamW does, default False.
        foreach: accepted or rejected as by PyTorch's fused optimizers.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        differentiable: accepted or rejected as by PyTorch's fused optimizers.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.002,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        momentum_decay: Number = 0.004,
        decoupled_weight_decay: Flag = False,
        *,
        foreach: bool | None = None,
        capturable: bool | None = False,
        differentiable: bool | None = False,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Prodigy(Optimizer):
    """Prodigy for PyTorch.

    Prodigy: Adam that estimates its learning rate from the distance to the initial point.

        m = beta1 * m + d * (1 - beta1) * g
        v = beta2 * v + d**2 * (1 - beta2) * g**2
        s = beta3 * s + d**2 / d0 * lr * g
        r = beta3 * r + d**2 / d0 * lr * sum(g * (p0 - p))
        p = p - d * lr * (weight_decay * p + m / (sqrt(v) + d_next * eps))
        d_next = max(d, d_coef * r / sum(abs(s)))

    `d` begins at d0 and grows; the sums are over all parameters, p0 is where they began. As in
    prodigyopt, beta3 is sqrt(beta2), and a step with lr = 0 changes none of these; for beta1 = 0
    prodigyopt scales g by d_next, here by d. State: `exp_avg` (m), `exp_avg_sq` (v), `s` and `p0`;
    `d`, `d_max` and `d_numerator` (r) are carried. A step has two passes over memory. Per float32
    element: 16 bytes of state, 60 bytes of traffic per step. On a GPU each step waits for the sums.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, in units of d, default 1e-8.
        weight_decay: decay of the parameter, default 0.
        decoupled_weight_decay: False adds the decay to the gradient, default True.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        bias_correction: True scales d * lr as Adam does its moments, default False.
        safeguard_warmup: True leaves lr out of s, for a warm-up of lr, default False.
        d0: the first d, default 1e-6; rarely changed.
        d_coef: factor of the estimate of d, default 1.0; the usual way to tune the step.
        growth_rate: the largest growth of d in a step as a factor (1.02 acts as a warm-up), default
            None or infinity: no limit.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1.0,
        *,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        decoupled_weight_decay: Flag = True,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        bias_correction: Flag = False,
        safeguard_warmup: Flag = False,
        d0: Number = 1e-06,
        d_coef: Number = 1.0,
        growth_rate: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class RAdam(Optimizer):
    """RAdam for PyTorch, in place of the class of that name in `torch.optim`.

    Rectified Adam, as PyTorch computes it.

    With the corrected mean m_hat and the second moment v of `fa.Adam`, with
    `rho = 2 / (1 - beta2) - 1` and `rho_t = rho - 2 * t * beta2**t / (1 - beta2**t)`:

        r = sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
        p = p - lr * m_hat * r * sqrt(1 - beta2**t) / (sqrt(v) + eps)

    if rho_t > 5, and `p = p - lr * m_hat` before, in the first steps. State: `exp_avg` (m) and
    `exp_avg_sq` (v). Per float32 element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        decoupled_weight_decay: weight decay as in AdamW, default False.
        foreach: accepted or rejected as by PyTorch's fused optimizers.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        differentiable: accepted or rejected as by PyTorch's fused optimizers.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        decoupled_weight_decay: Flag = False,
        *,
        foreach: bool | None = None,
        capturable: bool | None = False,
        differentiable: bool | None = False,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class RMSprop(Optimizer):
    """RMSprop for PyTorch, in place of the class of that name in `torch.optim`.

    RMSprop, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        v = alpha * v + (1 - alpha) * g**2
        p = p - lr * g / (sqrt(v) + eps)

    With `centered`, the square of the mean gradient is subtracted from v. With `momentum`, the
    quotient enters a buffer, `b = momentum * b + g / (sqrt(v) + eps)`, and the update is `lr * b`.
    Keras, TensorFlow and optax have eps inside the root: `eps_in_sqrt`. The former two have lr in
    the buffer: with `lr_in_momentum`, `b = momentum * b + lr * g / (sqrt(v) + eps)` is the update.

    State: `square_avg` (v). Per float32 element: 4 bytes of state, 20 bytes of traffic per step; 8
    and 28 with `centered`, which adds `grad_avg`; 8 and 28 with `momentum`, which adds
    `momentum_buffer`, or with `lr_in_momentum` `velocity`.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        alpha: decay rate of the averages, in [0, 1), default 0.99 (Hinton: 0.9).
        eps: added to the root, default 1e-8.
        weight_decay: decay of the parameter, coupled (L2), default 0.
        momentum: momentum factor, default 0: no buffer.
        centered: divide by the standard deviation instead of the root mean square, default False;
            an error with state in low precision, since the variance is a difference of states.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        foreach: accepted or rejected as by PyTorch's fused optimizers.
        maximize: maximize the objective, default False.
        differentiable: accepted or rejected as by PyTorch's fused optimizers.
        decoupled_weight_decay: decay the parameter by `lr * weight_decay * p` instead, as in Keras,
            default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        eps_in_sqrt: add eps to the number under the root instead, default False.
        lr_in_momentum: include lr in the buffer, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.01,
        alpha: Number = 0.99,
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        momentum: Number = 0.0,
        centered: Flag = False,
        capturable: bool | None = False,
        foreach: bool | None = None,
        maximize: Flag = False,
        differentiable: bool | None = False,
        *,
        decoupled_weight_decay: Flag = False,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        eps_in_sqrt: Flag = False,
        lr_in_momentum: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class RowwiseAdagrad(Optimizer):
    """RowwiseAdagrad for PyTorch.

    Row-wise Adagrad: Adagrad with one sum for each row of a table, as FBGEMM computes it.

    With the gradient g of a row of d elements, to which `weight_decay` times the row is added:

        s = s + sum(g**2) / d
        p = p - lr / (1 + (t - 1) * lr_decay) / (sqrt(s) + eps) * g

    Rows are counted by the first dimension; the elements of an array of one dimension are rows of
    one, for which this is `fa.Adagrad`. (torchrec's class of that name squares the
    mean of the gradient.) For the rows of a gradient
    `fa.Rows` other rows, and their sums, stay as they are. State: `sum` (s), of one
    number for each row, in the dtype of the arithmetic. A step reads a row twice while it is in the
    cache. Per float32 element: 0 bytes of state, 12 bytes of traffic per step if its row has a
    gradient; 4 bytes of state for each row.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        lr_decay: decay rate of the learning rate, default 0.
        weight_decay: decay of the parameter, default 0.
        decoupled_weight_decay: True takes lr * weight_decay * p off p instead, default False.
        initial_accumulator_value: initial value of the sum, default 0.
        eps: added to the root, default 1e-8.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.01,
        *,
        lr_decay: Number = 0.0,
        weight_decay: Number = 0.0,
        decoupled_weight_decay: Flag = False,
        initial_accumulator_value: Number = 0.0,
        eps: Number = 1e-08,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Rprop(Optimizer):
    """Rprop for PyTorch, in place of the class of that name in `torch.optim`.

    Resilient backpropagation, as PyTorch computes it, for gradients of the whole data set.

    Every element has a step size h, which grows while the sign of its gradient stays the same:

        h = min(h * etas[1], step_sizes[1])         if g * g_previous > 0
        h = max(h * etas[0], step_sizes[0]), g = 0  if g * g_previous < 0
        p = p - sign(g) * h

    (The 1993 paper takes the last step back in the second case; this is the variant iRprop-.)
    State: `prev` (g) and `step_size` (h); in low precision they are refused, since products of step
    sizes accumulate. Per float32 element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        etas: the factors of h, with 0 < etas[0] < 1 < etas[1], default (0.5, 1.2).
        step_sizes: the least and the largest h, default (1e-6, 50).
        foreach, differentiable: accepted or rejected as by PyTorch's fused optimizers.
        capturable: True if a step may be captured in a CUDA graph; for parameters on a GPU. A
            learning rate in a tensor there is read at each step, and the host does not wait for it.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.01,
        etas: Pair = (0.5, 1.2),
        step_sizes: Pair = (1e-06, 50.0),
        *,
        foreach: bool | None = None,
        differentiable: bool | None = False,
        capturable: bool | None = False,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class ScheduleFreeAdamW(Optimizer):
    """ScheduleFreeAdamW for PyTorch.

    AdamW with an average of its iterates in place of a schedule.

    With v as in `fa.AdamW`, `c` the share of this step in the sum of the weights
    `t**r * max(lr)**weight_lr_power`, and z starting at p:

        u = g / (sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
        p = p + c * (z - p) - lr * (1 - beta1 * (1 - c)) * u
        z = z - lr * u

    Gradients are those at p, an interpolation of z and its average x: evaluate at x,
    `p + (1 - 1 / beta1) * (z - p)`, inside `with opt.swap_average():`. State: `z` and `exp_avg_sq`
    (v), as in schedulefree; `weight_sum` and `lr_max` are carried. Per float32 element: 8 bytes of
    state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: momentum of the interpolation, above 0, and decay rate of v, each below 1, default
            (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay at p, in units of `lr`, default 0.
        warmup_steps: steps of a linear warm-up of lr, default 0.
        r: exponent of t in the weight of a step, default 0.
        weight_lr_power: exponent of the largest lr so far in that weight, default 2.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.0025,
        *,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        weight_decay: Number = 0.0,
        warmup_steps: Number = 0.0,
        r: Number = 0.0,
        weight_lr_power: Number = 2.0,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class ScheduleFreeSGD(Optimizer):
    """ScheduleFreeSGD for PyTorch.

    SGD with an average of its iterates in place of a schedule.

    With `c` the share of this step in the sum of the weights `t**r * max(lr)**weight_lr_power`, and
    z starting at p:

        u = g + weight_decay * p
        p = p + c * (z - p) - lr * (1 - momentum * (1 - c)) * u
        z = z - lr * u

    Gradients are those at p, an interpolation of z and its average x: evaluate at x,
    `p + (1 - 1 / momentum) * (z - p)`, inside `with opt.swap_average():`. State: `z`, as in
    schedulefree; `weight_sum` and `lr_max` are carried. Per float32 element: 4 bytes of state, 20
    bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        momentum: momentum of the interpolation, above 0 and below 1, default 0.9.
        weight_decay: coupled (L2) decay at p, default 0.
        warmup_steps: steps of a linear warm-up of lr, default 0.
        r: exponent of t in the weight of a step, default 0.
        weight_lr_power: exponent of the largest lr so far in that weight, default 2.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 1.0,
        *,
        momentum: Number = 0.9,
        weight_decay: Number = 0.0,
        warmup_steps: Number = 0.0,
        r: Number = 0.0,
        weight_lr_power: Number = 2.0,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Signum(Optimizer):
    """Signum for PyTorch.

    Signum: the sign of the momentum, with decoupled weight decay; SignSGD without momentum.

        m = momentum * m + (1 - momentum) * g
        p = p - lr * weight_decay * p - lr * sign(m)

    With `momentum=0`, m is g and there is no state: SignSGD. The sign of zero is zero. State:
    `momentum_buffer` (m). Per float32 element: 4 bytes of state, 20 bytes of traffic per step; 0
    and 12 without momentum.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        momentum: decay rate of the average, in [0, 1), default 0.9.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        momentum: Number = 0.9,
        weight_decay: Number = 0.0,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class SparseAdam(Optimizer):
    """SparseAdam for PyTorch, in place of the class of that name in `torch.optim`.

    Adam for row-sparse gradients, as PyTorch computes it.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + eps)

    for the rows of a gradient `fa.Rows`; other rows, and their moments, stay as they
    are. t counts the steps of the whole array; `lazy="rows"` counts those of each row. eps is added
    before the correction of the root, unlike in `fa.Adam`, which takes Rows as well. A
    gradient that is an array has all rows (PyTorch: an error).

    State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step if its row has a gradient.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root of v, default 1e-8.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: Number = 1e-08,
        maximize: Flag = False,
        *,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class StableAdamW(Optimizer):
    """StableAdamW for PyTorch.

    StableAdamW: AdamW that reduces the learning rate where the second moment lags behind.

        b1, b2 = 1 - (1 - beta1) / (1 - beta1**t), 1 - (1 - beta2) / (1 - beta2**t)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        lr_t = lr / max(1, sqrt(mean(g**2 / max(v, eps**2))))
        p = p - lr_t * weight_decay * p - lr_t * m / (sqrt(v) + eps)

    The mean is over one array. Moments are debiased by their decay rates, so they are not those of
    AdamW. State: `exp_avg` (m) and `exp_avg_sq` (v). A step has two passes over memory.
    Per float32 element: 8 bytes of state, 36 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.99).
        eps: added to the root, and the least root in the mean, default 1e-8 (optimi: 1e-6).
        weight_decay: decay of the parameter in units of `lr_t`, default 1e-2.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.001,
        *,
        betas: Pair = (0.9, 0.99),
        eps: Number = 1e-08,
        weight_decay: Number = 0.01,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...

class Yogi(Optimizer):
    """Yogi for PyTorch.

    Yogi: Adam whose second moment changes by at most `(1 - beta2) * g**2` in a step.

        m = beta1 * m + (1 - beta1) * g
        v = v - (1 - beta2) * sign(v - g**2) * g**2
        p = p - lr * weight_decay * p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    Both moments start at `initial_accumulator_value`, and both are corrected, as in optax (the
    paper: v only, and no correction). State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32
    element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: as for any optimizer of PyTorch: tensors, named tensors, or groups of them, float32,
            float64, bfloat16, float16 or complex, all of them on the CPU or on one NVIDIA GPU,
            where a step is launched in PyTorch's current stream. DTensors are updated shard by
            shard.
        lr: the learning rate, a number or a tensor of one element, read at each step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-3.
        initial_accumulator_value: initial value of both moments, default 1e-6.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds `(1 -
            ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        seed: seed of all random rounding, including that of int8 state; default 0.

    Raises:
        TypeError: for an unknown argument, or one of the wrong type.
        ValueError: for numbers out of range.
        RuntimeError: at a step, for unsupported tensors and unsupported sparse gradients.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Number = 0.01,
        *,
        betas: Pair = (0.9, 0.999),
        eps: Number = 0.001,
        initial_accumulator_value: Number = 1e-06,
        weight_decay: Number = 0.0,
        bias_correction: Flag = True,
        cautious_weight_decay: Flag = False,
        weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
        peak_lr: Number | None = None,
        maximize: Flag = False,
        threads: Count | None = None,
        cores: Cores | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        lower: Number | None = None,
        upper: Number | None = None,
        mask_state: Flag = False,
        seed: Count = 0,
    ) -> None: ...
