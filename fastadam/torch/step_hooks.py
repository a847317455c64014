"""The step as PyTorch wraps it, in less time: hooks, profiling, closures."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim import optimizer as of_torch

GLOBAL_HOOKS = "_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"


def evaluated(closure: Callable[[], Any] | None) -> Any:
    """The loss that the closure of a step returns, with gradients enabled; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, as the compiler of PyTorch is to call it: without tracing it.

    PyTorch's own wrapper turns the compiler off and on again, in a sixth of the time of a small
    step. Here it is called only if the compiler is at work.
    """
    apart: Callable[..., Any] = torch._disable_dynamo(function)
    try:
        from torch._C._dynamo.eval_frame import get_eval_frame_callback as compiler
        from torch.compiler import is_dynamo_compiling as traced
    except ImportError:
        return apart

    @wraps(function)
    def outer(*args: Any, **keywords: Any) -> Any:
        if traced() or compiler() is not None:
            return apart(*args, **keywords)
        return function(*args, **keywords)

    return outer


def with_hooks(step: Callable[..., Any]) -> Any:
    """The step of an optimizer class with hooks, and with a label for the profiler.

    PyTorch wraps the step of every optimizer in a function that opens a profiler range and looks
    for hooks. Here that function, which takes as long as a small step, is called only if there is a
    hook or a profiler. The compiler of PyTorch does not trace the step.
    """
    known = [getattr(of_torch, name, None) for name in GLOBAL_HOOKS]
    profiled = getattr(torch.autograd, "_profiler_enabled", None)
    if profiled is None or None in known:  # another version of PyTorch, which wraps it itself
        return torch._disable_dynamo(step)
    before, after = known
    hooked: Any = Optimizer.profile_hook_step(step)
    wrapped_by_torch = hooked.__code__

    @wraps(step)
    def wrapper(*args: Any, **keywords: Any) -> Any:
        owner = args[0]
        if (
            before
            or after
            or owner._optimizer_step_pre_hooks
            or owner._optimizer_step_post_hooks
            or profiled()
        ):
            # PyTorch has wrapped the step of a subclass that calls this one.
            outer = getattr(type(owner).step, "__code__", None)
            if outer is not wrapped_by_torch:
                return hooked(*args, **keywords)
        return step(*args, **keywords)

    outermost: Any = untraced(wrapper)
    outermost.hooked = True  # PyTorch's sign that hooks are called
    return outermost
