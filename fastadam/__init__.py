"""Fused optimizers: one compiled pass over flat parameter buffers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Optimizer": "optimizer",
    "StepInfo": "optimizer",
    "rule": "rules",
    "Rule": "rules",
    "flatten": "memory.flat",
    "Flat": "memory.flat",
    "set_threads": "kernels.threads",
    "get_threads": "kernels.threads",
    "warmup": "functional",
}
_OPTIMIZERS = ("Adam", "AdamW")
_MODULES = ("functional",)

__all__ = [*_HOME, *_OPTIMIZERS, *_MODULES]

if TYPE_CHECKING:
    from . import functional
    from .functional import warmup
    from .kernels.threads import get_threads, set_threads
    from .memory.flat import Flat, flatten
    from .optimizer import Optimizer, StepInfo
    from .optimizers import Adam, AdamW
    from .rules import Rule, rule


def __getattr__(name: str) -> Any:
    if name in _OPTIMIZERS:
        value = getattr(import_module(".optimizers", __name__), name)
    elif name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    elif name in _MODULES:
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
