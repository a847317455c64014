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
    from . import optimizers as optimizers
    from . import schedules as schedules
    from .checkpoint.files import Checkpoint as Checkpoint
    from .checkpoint.files import flat_state as flat_state
    from .checkpoint.files import load as load
    from .checkpoint.files import save as save
    from .embedding.compiled import compiled as compiled
    from .engine.flat import Flat as Flat
    from .engine.flat import flatten as flatten
    from .engine.named_groups import by_name as by_name
    from .engine.step_info import StepInfo as StepInfo
    from .kernels.cpu.threads import get_threads as get_threads
    from .kernels.cpu.threads import set_threads as set_threads
    from .loss_scaler import LossScaler as LossScaler
    from .memory.rows import Rows as Rows
    from .memory_budget import Budget as Budget
    from .memory_budget import plan as plan
    from .minimization import MinimizeResult as MinimizeResult
    from .minimization import minimize as minimize
    from .optimizer import Optimizer as Optimizer
    from .optimizers import *  # noqa: F403
    from .optimizers.warmup import warmup as warmup
    from .rules import Factors as Factors
    from .rules import Rule as Rule
    from .rules import rule as rule

_HOMES = {
    "Budget": "memory_budget",
    "Checkpoint": "checkpoint.files",
    "Factors": "rules",
    "Flat": "engine.flat",
    "LossScaler": "loss_scaler",
    "MinimizeResult": "minimization",
    "Optimizer": "optimizer",
    "Rows": "memory.rows",
    "Rule": "rules",
    "StepInfo": "engine.step_info",
    "by_name": "engine.named_groups",
    "flat_state": "checkpoint.files",
    "flatten": "engine.flat",
    "compiled": "embedding.compiled",
    "functional": "functional",
    "get_threads": "kernels.cpu.threads",
    "load": "checkpoint.files",
    "minimize": "minimization",
    "optimizers": "optimizers",
    "plan": "memory_budget",
    "rule": "rules",
    "save": "checkpoint.files",
    "schedules": "schedules",
    "set_threads": "kernels.cpu.threads",
    "warmup": "optimizers.warmup",
}


def _attribute(name: str) -> Any:
    if name in _HOMES:
        module = import_module(f".{_HOMES[name]}", __name__)
        value: Any = getattr(module, name, module)
    elif name == "__all__":
        value = sorted([*_HOMES, *import_module(".optimizers", __name__).__all__])
    elif name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
    elif name[0].isupper() and name in _attribute("__all__"):
        value = getattr(import_module(".optimizers", __name__), name)
    else:
        hint = "import fastadam.torch" if name == "torch" else ""
        missing = import_module(".validation", __name__).missing
        raise missing(__name__, name, [*_attribute("__all__"), "torch"], hint)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*_attribute("__all__"), "__version__"]


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _attribute
