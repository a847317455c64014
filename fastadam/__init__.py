"""Fused optimizers for NumPy and PyTorch: one compiled pass over memory for each step.

Submodules are imported at their first use, so that `import fastadam` takes milliseconds.

State of the process, shared by all optimizers: compiled kernels, the number of threads
(`set_threads`), the threading layer, and the OpenMP threads in use, which `import fastadam.torch`
changes.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .kernels import forks as forks

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import functional as functional
    from . import schedules as schedules
    from .engine.launch import warmup as warmup
    from .engine.step_info import StepInfo as StepInfo
    from .kernels.cpu.threads import get_threads as get_threads
    from .kernels.cpu.threads import set_threads as set_threads
    from .loss_scaler import LossScaler as LossScaler
    from .memory.flat import Flat as Flat
    from .memory.flat import flatten as flatten
    from .memory_budget import Budget as Budget
    from .memory_budget import plan as plan
    from .optimizer import Optimizer as Optimizer
    from .optimizers import *  # noqa: F403
    from .rules import Rule as Rule
    from .rules import rule as rule

_HOMES = {
    "Budget": "memory_budget",
    "Flat": "memory.flat",
    "LossScaler": "loss_scaler",
    "Optimizer": "optimizer",
    "Rule": "rules",
    "StepInfo": "engine.step_info",
    "flatten": "memory.flat",
    "functional": "functional",
    "get_threads": "kernels.cpu.threads",
    "plan": "memory_budget",
    "rule": "rules",
    "schedules": "schedules",
    "set_threads": "kernels.cpu.threads",
    "warmup": "engine.launch",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module = import_module(f".{_HOMES[name]}", __name__)
        value: Any = getattr(module, name, module)
    elif name == "__all__":
        value = sorted([*_HOMES, *import_module(".optimizers", __name__).__all__])
    elif name[0].isupper() and name in __getattr__("__all__"):
        value = getattr(import_module(".optimizers", __name__), name)
    else:
        hint = "; import fastadam.torch" if name == "torch" else ""
        message = f"module {__name__!r} has no attribute {name!r}{hint}"
        raise AttributeError(
            message, name=name, obj=import_module(__name__)
        )  # for a "did you mean"
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__getattr__("__all__"), "__version__"]
