"""Steps over bare buffers; written by tests/support/stubs.py, do not edit."""

from typing import Any, Literal

from .typing import (
    Array,
    Count,
    Flag,
    Number,
    Scheduled,
    ScheduledFlag,
    ScheduledOptionalPair,
    ScheduledPair,
    ScheduledTriple,
)

__all__ = [
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adan",
    "ademamix",
    "adopt",
    "ftrl",
    "grams",
    "lamb",
    "laprop",
    "lars",
    "lion",
    "mars",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "schedulefreeadamw",
    "schedulefreesgd",
    "sgd",
    "signum",
    "sparseadam",
    "stableadamw",
    "yogi",
]

def adopt(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.9999),
    eps: Scheduled = 1e-06,
    clip_exp: Scheduled | None = 0.25,
    weight_decay: Scheduled = 0.0,
    decoupled_weight_decay: ScheduledFlag = False,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of ADOPT over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.ADOPT`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def ftrl(
    param: Array,
    grad: Array,
    z: Array,
    n: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.1,
    beta: Scheduled = 1.0,
    l1: Scheduled = 0.0,
    l2: Scheduled = 0.0,
    initial_accumulator_value: Scheduled = 0.0,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of FTRL over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.FTRL`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        z, n: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: the paper's alpha, > 0, default 0.1; a number or a function of the step.
        beta: damps the first steps, >= 0, default 1.
        l1: L1 penalty, which makes parameters exactly zero, default 0.
        l2: L2 penalty, default 0.
        initial_accumulator_value: initial value of n, default 0.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def lamb(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-06,
    weight_decay: Scheduled = 0.01,
    adapt: ScheduledFlag = True,
    trust_clip: ScheduledFlag = False,
    bias_correction: ScheduledFlag = True,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of LAMB over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.LAMB`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-6.
        weight_decay: decay of the parameter as part of the update, default 1e-2.
        adapt: False leaves out the ratio, for groups of biases and normalizations; default True
            (apex, timm: only with weight decay).
        trust_clip: True bounds the ratio by 1 (LAMBC), default False.
        bias_correction: False omits both divisions by 1 - beta**t, default True.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def lars(
    param: Array,
    grad: Array,
    momentum_buffer: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 1.0,
    momentum: Scheduled = 0.9,
    weight_decay: Scheduled = 0.0,
    trust_coefficient: Scheduled = 0.001,
    eps: Scheduled = 1e-08,
    adapt: ScheduledFlag = True,
    trust_clip: ScheduledFlag = False,
    nesterov: ScheduledFlag = False,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of LARS over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.LARS`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        momentum_buffer: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1.0; a number >= 0 or a function of the step.
        momentum: decay rate of the momentum, default 0.9; 0 keeps no state.
        weight_decay: coupled (L2) decay: `weight_decay * p` is added to the gradient, default 0.
        trust_coefficient: the length of an update relative to that of the array, default 1e-3.
        eps: added to the denominator of r, default 1e-8.
        adapt: False leaves out r, for groups of biases and normalizations, default True.
        trust_clip: True replaces r by min(r / lr, 1) (LARC), default False.
        nesterov: Nesterov momentum, default False.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def mars(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    last_grad: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.003,
    betas: ScheduledPair = (0.95, 0.99),
    gamma: Scheduled = 0.025,
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    variance_reduction: ScheduledFlag = True,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of MARS over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.MARS`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq, last_grad: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 3e-3; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def sgd(
    param: Array,
    grad: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    momentum: Scheduled = 0.0,
    dampening: Scheduled = 0.0,
    weight_decay: Scheduled = 0.0,
    decoupled_weight_decay: ScheduledFlag = False,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    l1: Scheduled = 0.0,
    nesterov: ScheduledFlag = False,
    lr_in_momentum: ScheduledFlag = False,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of SGD over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.SGD`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        momentum: momentum factor, default 0: no buffer.
        dampening: dampening of the gradient in the buffer after the first step, default 0.
        weight_decay: decay of the parameter, coupled (L2), default 0.
        decoupled_weight_decay: decay the parameter by `lr * weight_decay * p` instead, as in
            optimi, timm and Keras, default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        l1: L1 penalty; its subgradient at zero is zero, default 0.
        nesterov: Nesterov momentum; needs momentum and no dampening, default False.
        lr_in_momentum: include lr in the buffer; needs no dampening, default False.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def ademamix(
    param: Array,
    grad: Array,
    exp_avg_fast: Array,
    exp_avg_slow: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledTriple = (0.9, 0.999, 0.9999),
    alpha: Scheduled = 2.0,
    beta3_warmup: Scheduled | None = None,
    alpha_warmup: Scheduled | None = None,
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of AdEMAMix over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.AdEMAMix`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg_fast, exp_avg_slow, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def adabelief(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_var: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-16,
    weight_decay: Scheduled = 0.0,
    amsgrad: ScheduledFlag = False,
    rectify: ScheduledFlag = False,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of AdaBelief over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.AdaBelief`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_var: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def adadelta(
    param: Array,
    grad: Array,
    square_avg: Array,
    acc_delta: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 1.0,
    rho: Scheduled = 0.9,
    eps: Scheduled = 1e-06,
    weight_decay: Scheduled = 0.0,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Adadelta over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Adadelta`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        square_avg, acc_delta: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: factor on the update, default 1.0, as in the paper (Keras 1e-3).
        rho: decay rate of both averages, in [0, 1), default 0.9.
        eps: added inside both roots, default 1e-6.
        weight_decay: coupled (L2) decay, default 0.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def adafactor(
    param: Array,
    grad: Array,
    variance: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.01,
    beta2_decay: Scheduled = -0.8,
    eps: ScheduledOptionalPair = (None, 0.001),
    d: Scheduled = 1.0,
    weight_decay: Scheduled = 0.0,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Adafactor over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Adafactor`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        variance: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: the largest relative step, default 1e-2; a number >= 0 or a function of the step.
        beta2_decay: the exponent of the weight of a new square, at most 0, default -0.8.
        eps: the pair of eps1, default None, which is the relative rounding error of the arithmetic
            (PyTorch: of the dtype of the parameter), and eps2, the least `rms` of a parameter,
            default 1e-3.
        d: the largest `rms` of an update, at least 1, default 1.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def adagrad(
    param: Array,
    grad: Array,
    sum: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.01,
    lr_decay: Scheduled = 0.0,
    weight_decay: Scheduled = 0.0,
    initial_accumulator_value: Scheduled = 0.0,
    eps: Scheduled = 1e-10,
    eps_in_sqrt: ScheduledFlag = False,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Adagrad over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Adagrad`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        sum: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        lr_decay: decay rate of the learning rate, default 0.
        weight_decay: coupled (L2) decay, default 0.
        initial_accumulator_value: initial value of the sum, default 0.
        eps: added to the root, default 1e-10.
        eps_in_sqrt: add eps to the number under the root instead, default False.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def adam(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    l1: Scheduled = 0.0,
    amsgrad: ScheduledFlag = False,
    maximize: ScheduledFlag = False,
    decoupled_weight_decay: ScheduledFlag = False,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    bias_correction: ScheduledFlag = True,
    eps_mode: Literal["torch", "hat"] = "torch",
    cautious: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Adam over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Adam`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay: `weight_decay * p` is added to the gradient, default 0.
        l1: L1 penalty: `l1 * sign(p)` is added to the gradient, default 0.
        amsgrad: divide by the root of the largest raw v (optax: corrected), default False.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def adamw(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.01,
    l1: Scheduled = 0.0,
    amsgrad: ScheduledFlag = False,
    maximize: ScheduledFlag = False,
    decoupled_weight_decay: ScheduledFlag = True,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    bias_correction: ScheduledFlag = True,
    eps_mode: Literal["torch", "hat"] = "torch",
    cautious: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of AdamW over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.AdamW`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the two moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: decay of the parameter in units of `lr`, default 1e-2.
        l1: L1 penalty: `l1 * sign(p)` is added to the gradient, default 0.
        amsgrad: divide by the root of the largest raw v (optax: corrected), default False.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def adamax(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_inf: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.002,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Adamax over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Adamax`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_inf: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 2e-3; a number >= 0 or a function of the step.
        betas: decay rates, each in [0, 1), default (0.9, 0.999).
        eps: added to the absolute value of the gradient, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def adan(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    exp_avg_diff: Array,
    neg_pre_grad: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledTriple = (0.98, 0.92, 0.99),
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    no_prox: ScheduledFlag = False,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Adan over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Adan`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq, exp_avg_diff, neg_pre_grad: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def grams(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-06,
    weight_decay: Scheduled = 0.0,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Grams over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Grams`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def laprop(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.0004,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-15,
    weight_decay: Scheduled = 0.0,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of LaProp over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.LaProp`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 4e-4; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def lion(
    param: Array,
    grad: Array,
    exp_avg: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.0001,
    betas: ScheduledPair = (0.9, 0.99),
    weight_decay: Scheduled = 0.0,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    cautious: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Lion over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Lion`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, the size of each element's update, default 1e-4; a third to a tenth of
            AdamW's is usual.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def nadam(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.002,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    momentum_decay: Scheduled = 0.004,
    decoupled_weight_decay: ScheduledFlag = False,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of NAdam over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.NAdam`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 2e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, after bias correction, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        momentum_decay: the rate at which mu grows to beta1, default 4e-3.
        decoupled_weight_decay: decay the parameter instead, as AdamW does, default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def radam(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    decoupled_weight_decay: ScheduledFlag = False,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of RAdam over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.RAdam`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root, default 1e-8.
        weight_decay: coupled (L2) decay, default 0.
        decoupled_weight_decay: weight decay as in AdamW, default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def rmsprop(
    param: Array,
    grad: Array,
    square_avg: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.01,
    alpha: Scheduled = 0.99,
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    momentum: Scheduled = 0.0,
    decoupled_weight_decay: ScheduledFlag = False,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    centered: ScheduledFlag = False,
    eps_in_sqrt: ScheduledFlag = False,
    lr_in_momentum: ScheduledFlag = False,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of RMSprop over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.RMSprop`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        square_avg: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
        alpha: decay rate of the averages, in [0, 1), default 0.99 (Hinton: 0.9).
        eps: added to the root, default 1e-8.
        weight_decay: decay of the parameter, coupled (L2), default 0.
        momentum: momentum factor, default 0: no buffer.
        decoupled_weight_decay: decay the parameter by `lr * weight_decay * p` instead, as in Keras,
            default False.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        centered: divide by the standard deviation instead of the root mean square, default False;
            an error with state in low precision, since the variance is a difference of states.
        eps_in_sqrt: add eps to the number under the root instead, default False.
        lr_in_momentum: include lr in the buffer, default False.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def rprop(
    param: Array,
    grad: Array,
    prev: Array,
    step_size: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.01,
    etas: ScheduledPair = (0.5, 1.2),
    step_sizes: ScheduledPair = (1e-06, 50.0),
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Rprop over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Rprop`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        prev, step_size: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: the step size at the first step, default 1e-2; later values have no effect.
        etas: the factors of h, with 0 < etas[0] < 1 < etas[1], default (0.5, 1.2).
        step_sizes: the least and the largest h, default (1e-6, 50).
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def schedulefreeadamw(
    param: Array,
    grad: Array,
    z: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.0025,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.0,
    warmup_steps: Scheduled = 0.0,
    r: Scheduled = 0.0,
    weight_lr_power: Scheduled = 2.0,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of ScheduleFreeAdamW over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.ScheduleFreeAdamW`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        z, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 2.5e-3; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def schedulefreesgd(
    param: Array,
    grad: Array,
    z: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 1.0,
    momentum: Scheduled = 0.9,
    weight_decay: Scheduled = 0.0,
    warmup_steps: Scheduled = 0.0,
    r: Scheduled = 0.0,
    weight_lr_power: Scheduled = 2.0,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of ScheduleFreeSGD over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.ScheduleFreeSGD`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        z: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1.0; a number >= 0 or a function of the step.
        momentum: momentum of the interpolation, above 0 and below 1, default 0.9.
        weight_decay: coupled (L2) decay at p, default 0.
        warmup_steps: steps of a linear warm-up of lr, default 0.
        r: exponent of t in the weight of a step, default 0.
        weight_lr_power: exponent of the largest lr so far in that weight, default 2.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def signum(
    param: Array,
    grad: Array,
    momentum_buffer: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    momentum: Scheduled = 0.9,
    weight_decay: Scheduled = 0.0,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Signum over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Signum`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        momentum_buffer: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, the size of each element's update, default 1e-3.
        momentum: decay rate of the average, in [0, 1), default 0.9.
        weight_decay: decay of the parameter in units of `lr`, default 0.
        cautious_weight_decay: decay only elements where decay and update have the same sign,
            `update * p >= 0`, default False.
        weight_decay_mode: "AdamW", or "AdamC": the decay is `lr**2 / peak_lr * weight_decay * p`,
            or "independent": it is `lr / peak_lr * weight_decay * p`; default "AdamW".
        peak_lr: with these two modes, the largest learning rate of the schedule; default None: that
            of a schedule of fastadam, or the constant with which the optimizer is made.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def sparseadam(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 1e-08,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of SparseAdam over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.SparseAdam`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
        betas: decay rates of the moments, each in [0, 1), default (0.9, 0.999).
        eps: added to the root of v, default 1e-8.
        maximize: maximize the objective, default False.
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def stableadamw(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.001,
    betas: ScheduledPair = (0.9, 0.99),
    eps: Scheduled = 1e-08,
    weight_decay: Scheduled = 0.01,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of StableAdamW over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.StableAdamW`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-3; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """

def yogi(
    param: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    /,
    *state: Array,
    step: Count,
    lr: Scheduled = 0.01,
    betas: ScheduledPair = (0.9, 0.999),
    eps: Scheduled = 0.001,
    initial_accumulator_value: Scheduled = 1e-06,
    weight_decay: Scheduled = 0.0,
    bias_correction: ScheduledFlag = True,
    cautious_weight_decay: ScheduledFlag = False,
    weight_decay_mode: Literal["AdamW", "AdamC", "independent"] = "AdamW",
    peak_lr: Scheduled | None = None,
    maximize: ScheduledFlag = False,
    grad_scale: Number | None = None,
    clip_value: Number | None = None,
    mask: Array | None = None,
    ema: Array | None = None,
    ema_decay: Number | None = None,
    shadow: Array | None = None,
    norm: Flag = False,
    seed: Count = 0,
    threads: Count | None = None,
    stream: Any = None,
) -> float | None:
    """One step of Yogi over bare buffers.

    See `fastadam.functional.bare`, and `fastadam.Yogi`.

    Args:
        param: the parameters, updated in place.
        grad: their gradients.
        exp_avg, exp_avg_sq: the state, updated in place.
        step: the number of this step, counted from 1.
        lr: learning rate, default 1e-2; a number >= 0 or a function of the step.
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
        grad_scale: what the loss was multiplied by; the gradient is divided by it in the kernel;
            default None.
        clip_value: the largest absolute value of an element of the gradient; default None.
        mask: an array of bool of the size of `param`: only elements marked True change; default
            None.
        ema: an array of averages of the parameters, updated in place; needs `ema_decay`; default
            None.
        ema_decay: the average changes by `(1 - ema_decay) * (p - ema)`; default None.
        shadow: an array of bfloat16 or float16 that receives a copy of float32 parameters; default
            None.
        norm: True returns the norm of the gradient, divided by `grad_scale`; default False.
        seed: of the rounding of int8 state; default 0.
        threads: how many threads a step may use; default None: that of `fastadam.set_threads`.
        stream: as for `Optimizer.step`: where on a GPU the step goes; default None: where the
            library of the arrays works.
    """
