"""Compilation ahead of the first step."""

from typing import Any

from ..engine.backend import Backend, backend_named
from ..kernels.factory import Kernel, kernel
from ..kernels.formats import FLOAT, Formats
from ..kernels.rule_streams import streams
from ..memory.dtypes import named
from ..rules import Rule
from ..validation import dtype_name
from .adam import Adam
from .adamw import AdamW


def warmup(*optimizers: Any, dtype: Any = "float32", device: str | None = None) -> None:
    """Compile the kernels of a first step ahead of time, or load them from the disk cache.

    Args:
        optimizers: classes, compiled for `dtype` with their default flags, or instances, compiled
            for the parameters they hold; default Adam and AdamW.
        dtype: of parameters and gradients, for classes: "float32" (default), "float64", "bfloat16"
            or "float16".
        device: where classes are to run: "cpu" (default) or "cuda".

    Raises:
        TypeError: for another dtype, and for what is not an optimizer.
        ValueError: for another device, or one where an instance does not run.
        RuntimeError: if there is no such device.

    Examples:
        >>> import fastadam as fa
        >>> fa.warmup(fa.AdamW)
    """
    name = dtype_name(dtype)
    if not isinstance(name, str) or name not in FLOAT:
        raise TypeError(f"warmup(): dtype={name} is not supported; give {' or '.join(FLOAT)}")
    backend = backend_named("cpu" if device is None else device)
    if backend is None:
        raise ValueError(f"device={device!r}; give 'cpu' or 'cuda'")
    backend.check_available()
    target = backend.target
    for optimizer in optimizers or (Adam, AdamW):
        rule = getattr(optimizer, "rule", None)
        if not isinstance(rule, Rule):
            raise TypeError(
                f"warmup(): {optimizer!r} is not an optimizer of fastadam; give a class, such as "
                "fastadam.AdamW, or one that holds arrays"
            )
        if isinstance(optimizer, type):
            kernels = _of_class(optimizer, name, backend)
        else:
            kernels = optimizer._kernels()
            if device and any(made.target is not target for made in kernels):
                raise ValueError(
                    f"device={device!r} is not where this {type(optimizer).__name__} runs; leave "
                    "device out"
                )
        for made in kernels:
            made.target.warm(made.run)


def _of_class(optimizer: Any, dtype: str, backend: Backend) -> list[Kernel]:
    """The kernels of a class. If they depend on shapes, or there are several, they are those of a
    step of a matrix and, unless the rule is for matrices alone, of an array of one dimension."""
    rule = optimizer.rule
    if not rule.in_two_parts and rule.forms == (rule,):
        return [kernel(rule, streams(rule, (), Formats.alike(dtype)), backend.target)]
    arrays = [backend.zeros(4, named(dtype)).reshape(2, 2)]
    if rule.matrix is None:
        arrays.append(backend.zeros(2, named(dtype)))
    kernels: list[Kernel] = optimizer(arrays)._kernels()
    return kernels
