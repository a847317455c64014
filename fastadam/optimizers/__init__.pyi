"""Optimizers for NumPy arrays; written by tests/stubs.py, do not edit."""

from typing import Literal

from ..optimizer import Optimizer
from ..typing import Count, Dtype, Flag, Number, Params, Scheduled, ScheduledFlag, ScheduledPair

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
]

class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum, as PyTorch computes it.

    With the gradient g, to which `weight_decay * p + l1 * sign(p)` is added:

        b = momentum * b + (1 - dampening) * g    (b = g at the first step)
        p = p - lr * b                            (nesterov: p - lr * (g + momentum * b))

    Without momentum b is g; if momentum is enabled later, its buffer starts with the gradient of
    that step. (Keras includes lr in the buffer, which differs once lr changes.)

    State: none. Per float32 element: 0 bytes of state, 12 bytes of traffic per step; 4 and 20 with
    `momentum`, which adds `momentum_buffer` (b).

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        momentum: momentum factor, default 0: no buffer.
        dampening: dampening of the gradient in the buffer after the first step, default 0.
        weight_decay: coupled (L2) decay, default 0.
        l1: L1 penalty; its subgradient at zero is zero, default 0.
        nesterov: Nesterov momentum; needs momentum and no dampening, default False.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.SGD(w, lr=0.5, momentum=0.9).step(np.array([1.0, 2.0]))
        >>> w
        array([0.5, 0. ])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.001,
        *,
        momentum: Scheduled = 0.0,
        dampening: Scheduled = 0.0,
        weight_decay: Scheduled = 0.0,
        l1: Scheduled = 0.0,
        nesterov: ScheduledFlag = False,
        maximize: ScheduledFlag = False,
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class Adadelta(Optimizer):
    """Adadelta, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        v = rho * v + (1 - rho) * g**2
        d = g * sqrt(u + eps) / sqrt(v + eps)
        u = rho * u + (1 - rho) * d**2
        p = p - lr * d

    State: `square_avg` (v) and `acc_delta` (u). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: factor on the update, default 1.0, as in the paper (Keras 1e-3).
        rho: decay rate of both averages, in [0, 1), default 0.9.
        eps: added inside both roots, default 1e-6.
        weight_decay: coupled (L2) decay, default 0.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Adadelta(w).step(np.array([1.0, -1.0]))
        >>> w.round(4)
        array([0.9968, 1.0032])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 1.0,
        *,
        rho: Scheduled = 0.9,
        eps: Scheduled = 1e-06,
        weight_decay: Scheduled = 0.0,
        maximize: ScheduledFlag = False,
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class Adagrad(Optimizer):
    """Adagrad, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        s = s + g**2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    eps is added outside the root (Keras and optax: inside, and the sum starts at 0.1). State:
    `sum` (s). Per float32 element: 4 bytes of state, 20 bytes of traffic per step.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        lr_decay: decay rate of the learning rate, default 0.
        weight_decay: coupled (L2) decay, default 0.
        initial_accumulator_value: initial value of the sum, default 0.
        eps: added to the root, default 1e-10.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Adagrad(w, lr=0.5).step(np.array([3.0, -1.0]))
        >>> w
        array([0.5, 1.5])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.01,
        *,
        lr_decay: Scheduled = 0.0,
        weight_decay: Scheduled = 0.0,
        initial_accumulator_value: Scheduled = 0.0,
        eps: Scheduled = 1e-10,
        maximize: ScheduledFlag = False,
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class Adam(Optimizer):
    """Adam, as PyTorch computes it.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    State: `exp_avg` (m) and `exp_avg_sq` (v). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step; 12 and 36 with `amsgrad`, which adds `max_exp_avg_sq`.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay: `weight_decay * p` is added to the gradient, default 0.
        l1: L1 penalty: `l1 * sign(p)` is added to the gradient, default 0.
        amsgrad: divide by the root of the largest raw v (optax: corrected), default False.
        maximize: maximize the objective, default False.
        decoupled_weight_decay: weight decay as in [AdamW][fastadam.AdamW], default False.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        eps_mode: "torch", or "hat": eps is added before the correction of the root, as in Keras.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(3, np.float32)
        >>> info = fa.Adam(w, lr=0.1).step(np.array([1, -2, 3], np.float32))
        >>> w
        array([0.9, 1.1, 0.9], dtype=float32)
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.001,
        *,
        betas: ScheduledPair = (0.9, 0.999),
        eps: Scheduled = 1e-08,
        weight_decay: Scheduled = 0.0,
        l1: Scheduled = 0.0,
        amsgrad: ScheduledFlag = False,
        maximize: ScheduledFlag = False,
        decoupled_weight_decay: ScheduledFlag = False,
        bias_correction: ScheduledFlag = True,
        eps_mode: Literal["torch", "hat"] = "torch",
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class Adamax(Optimizer):
    """Adamax, Adam with the infinity norm, as PyTorch computes it (section 7.1 of the paper).

    With the gradient g, to which `weight_decay` times the parameter is added:

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, abs(g) + eps)
        p = p - lr / (1 - beta1**t) * m / u

    State: `exp_avg` (m) and `exp_inf` (u). Per float32 element: 8 bytes of state, 28 bytes of
    traffic per step.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 2e-3; a number >= 0 or a function of the step.
        betas: decay rates, each in [0, 1), default (0.9, 0.999).
        eps: added to the absolute value of the gradient, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.Adamax(w, lr=0.5).step(np.array([3.0, -1.0]))
        >>> w.round(6)
        array([0.5, 1.5])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.002,
        *,
        betas: ScheduledPair = (0.9, 0.999),
        eps: Scheduled = 1e-08,
        weight_decay: Scheduled = 0.0,
        maximize: ScheduledFlag = False,
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class Lion(Optimizer):
    """Lion: the sign of an interpolated momentum, with decoupled weight decay.

        c = beta1 * m + (1 - beta1) * g
        m = beta2 * m + (1 - beta2) * g
        p = p - lr * weight_decay * p - lr * sign(c)

    The sign of zero is zero: an element with zero gradient and momentum is not changed (DeepSpeed's
    CPU kernel changes it). State: `exp_avg` (m). Per float32 element: 4 bytes of state, 20 bytes of
    traffic per step.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, the size of each element's update, default 1e-4; a third to a tenth of
            AdamW's is usual.
        betas: of the direction and of the momentum, each in [0, 1), default (0.9, 0.99).
        weight_decay: decay of the parameter in units of `lr`, default 0 (optax 1e-3).
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(3)
        >>> info = fa.Lion(w, lr=0.25).step(np.array([0.1, 0.0, -7.0]))
        >>> w
        array([0.75, 1.  , 1.25])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.0001,
        *,
        betas: ScheduledPair = (0.9, 0.99),
        weight_decay: Scheduled = 0.0,
        maximize: ScheduledFlag = False,
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class NAdam(Optimizer):
    """Adam with Nesterov momentum, as PyTorch computes it.

    With the moments m and v of [Adam][fastadam.Adam] and mu(t), which is
    `beta1 * (1 - 0.96**(t * momentum_decay) / 2)`, `product(t)` being mu(1) * ... * mu(t):

        now = (1 - mu(t)) * g / (1 - product(t))
        ahead = mu(t + 1) * m / (1 - product(t + 1))
        p = p - lr * (now + ahead) / (sqrt(v / (1 - beta2**t)) + eps)

    (Keras has no momentum_decay.) State: `exp_avg` and `exp_avg_sq`. Per float32 element: 8 bytes
    of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 2e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        momentum_decay: the rate at which mu grows to beta1, default 4e-3.
        decoupled_weight_decay: decay the parameter instead, as AdamW does, default False.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.NAdam(w, lr=0.1).step(np.array([1.0, -2.0]))
        >>> w.round(3)
        array([0.894, 1.106])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.002,
        *,
        betas: ScheduledPair = (0.9, 0.999),
        eps: Scheduled = 1e-08,
        weight_decay: Scheduled = 0.0,
        momentum_decay: Scheduled = 0.004,
        decoupled_weight_decay: ScheduledFlag = False,
        maximize: ScheduledFlag = False,
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class RAdam(Optimizer):
    """Rectified Adam, as PyTorch computes it.

    With the corrected mean m_hat and the second moment v of [Adam][fastadam.Adam], with
    `rho = 2 / (1 - beta2) - 1` and `rho_t = rho - 2 * t * beta2**t / (1 - beta2**t)`:

        r = sqrt((rho_t - 4) * (rho_t - 2) * rho / ((rho - 4) * (rho - 2) * rho_t))
        p = p - lr * m_hat * r * sqrt(1 - beta2**t) / (sqrt(v) + eps)

    if rho_t > 5, and `p = p - lr * m_hat` before, in the first steps. State: `exp_avg` (m) and
    `exp_avg_sq` (v). Per float32 element: 8 bytes of state, 28 bytes of traffic per step.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        decoupled_weight_decay: weight decay as in AdamW, default False.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.RAdam(w, lr=0.5).step(np.array([1.0, -2.0]))
        >>> w
        array([0.5, 2. ])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.001,
        *,
        betas: ScheduledPair = (0.9, 0.999),
        eps: Scheduled = 1e-08,
        weight_decay: Scheduled = 0.0,
        decoupled_weight_decay: ScheduledFlag = False,
        maximize: ScheduledFlag = False,
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class RMSprop(Optimizer):
    """RMSprop, as PyTorch computes it.

    With the gradient g, to which `weight_decay` times the parameter is added:

        v = alpha * v + (1 - alpha) * g**2
        p = p - lr * g / (sqrt(v) + eps)

    With `centered`, the square of the mean gradient is subtracted from v. With `momentum`, the
    quotient enters a buffer, `b = momentum * b + g / (sqrt(v) + eps)`, and the update is `lr * b`.
    eps is added outside the root (Keras and optax: inside).

    State: `square_avg` (v). Per float32 element: 4 bytes of state, 20 bytes of traffic per step; 8
    and 28 with `centered`, which adds `grad_avg`; 8 and 28 with `momentum`, which adds
    `momentum_buffer`.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], which lists errors too.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        alpha: decay rate of the averages, in [0, 1), default 0.99 (Hinton: 0.9).
        eps: added to the root, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        momentum: momentum factor, default 0: no buffer.
        centered: divide by the standard deviation instead of the root mean square, default False;
            an error with state in low precision, since the variance is a difference of states.
        maximize: maximize the objective, default False.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> w = np.ones(2)
        >>> info = fa.RMSprop(w, lr=0.05).step(np.array([3.0, -1.0]))
        >>> w.round(6)
        array([0.5, 1.5])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.01,
        *,
        alpha: Scheduled = 0.99,
        eps: Scheduled = 1e-08,
        weight_decay: Scheduled = 0.0,
        momentum: Scheduled = 0.0,
        centered: ScheduledFlag = False,
        maximize: ScheduledFlag = False,
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

class AdamW(Adam):
    """Adam with decoupled weight decay, as PyTorch computes it.

        p = p - lr * weight_decay * p - lr * m_hat / (sqrt(v_hat) + eps)

    m_hat and v_hat are the corrected moments of [Adam][fastadam.Adam]. The decay is computed from
    the old parameter and does not enter the moments. (bitsandbytes' CUDA kernel decays after the
    update.) PyTorch rounds `1 - lr * weight_decay` to the dtype; here the product is rounded, which
    preserves the digits of a small decay.

    State: `exp_avg` and `exp_avg_sq`. Per float32 element: 8 bytes of state, 28 bytes of traffic
    per step; 12 and 36 with `amsgrad`, which adds `max_exp_avg_sq`.

    Args:
        params: the arrays to update; see [Optimizer][fastadam.Optimizer], also for errors.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the two moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 1e-2.
        decoupled_weight_decay: cannot be False, that would be Adam; default True.
        l1, amsgrad, maximize, bias_correction, eps_mode: as for [Adam][fastadam.Adam].

    Raises:
        TypeError: for an unknown argument or one of the wrong type.
        ValueError: for a number out of range, or arrays that cannot be updated in place.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> flat = fa.flatten({"w": np.ones((2, 2)), "b": np.zeros(2)})
        >>> opt = fa.AdamW(flat, lr=0.1)
        >>> opt.grads.tree["w"][...] = 1
        >>> opt.step().lr
        0.1
        >>> flat.tree["w"].round(6)
        array([[0.899, 0.899],
               [0.899, 0.899]])
    """

    def __init__(
        self,
        params: Params,
        lr: Scheduled = 0.001,
        *,
        betas: ScheduledPair = (0.9, 0.999),
        eps: Scheduled = 1e-08,
        weight_decay: Scheduled = 0.01,
        l1: Scheduled = 0.0,
        amsgrad: ScheduledFlag = False,
        maximize: ScheduledFlag = False,
        decoupled_weight_decay: ScheduledFlag = True,
        bias_correction: ScheduledFlag = True,
        eps_mode: Literal["torch", "hat"] = "torch",
        threads: Count | None = None,
        clip_norm: Number | None = None,
        clip_norm_per: Literal["global", "tensor"] = "global",
        clip_value: Number | None = None,
        skip_nonfinite: Flag = False,
        ema_decay: Number | None = None,
        ema_warmup: Flag = False,
        shadow_dtype: Literal["bfloat16", "float16"] | Dtype | None = None,
        zero_grads: Flag = False,
        accumulate_steps: Count = 1,
        state_dtype: Literal["float32", "bfloat16", "int8"] | Dtype | None = None,
        min_quantized_size: Count = 4096,
        rounding: Literal["nearest", "stochastic"] = "nearest",
        compensation: Literal["kahan", "split8", "split16"] | None = None,
        seed: Count = 0,
        state_file: Number | None = None,
        resident_bytes: Count = 1073741824,
    ) -> None: ...

def by_name(name: str, *more: str) -> type[Optimizer]: ...
