"""Optimizers for PyTorch: drop-in replacements for the classes of `torch.optim`.

Each class takes its rule, defaults and constants from the class of the same name in fastadam. An
optimizer of your own is defined in the same way.

State of the process: importing this module lets all later launches, those of NumPy arrays as well,
run in PyTorch's OpenMP threads, unless NUMBA_THREADING_LAYER is set.

Examples:
    >>> import torch, fastadam as fa, fastadam.torch
    >>> @fa.rule(hyper=("lr",))
    ... def descent(param, grad, state, h):
    ...     return param - h.lr * grad, state
    >>> class Descent(fa.Optimizer):
    ...     rule = descent
    ...     defaults = {"lr": 0.5}
    ...     def hyper(self, group, step):
    ...         return {"lr": group["lr"]}
    >>> class TorchDescent(fastadam.torch.Optimizer):
    ...     core = Descent
    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> w.sum().backward()
    >>> TorchDescent([w], lr=0.25).step()
    >>> w.data
    tensor([0.7500, 0.7500])
"""

from inspect import cleandoc
from typing import TYPE_CHECKING, Any

try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError('fastadam.torch needs PyTorch: pip install "fastadam[torch]"') from error

from .. import optimizers
from ..kernels.cpu import openmp
from ..validation import missing
from .averaging import TrainAndEval
from .files import load, save
from .matrices import Orthogonalization
from .optimizer import Optimizer

if TYPE_CHECKING:
    from ._optimizers import *  # noqa: F403

__all__ = ["Optimizer", "load", "save", *optimizers.__all__]

MORE: dict[str, tuple[type, ...]] = {"Muon": (Orthogonalization,)}  # bases of some classes

openmp.use_threads_of(torch._C.__file__)


def _made(name: str) -> type[Optimizer]:
    """The PyTorch class for the fastadam class of this name."""
    core = getattr(optimizers, name)
    attributes = {"core": core, "__module__": __name__, "__doc__": _text(name, core._text)}
    more = (TrainAndEval,) if hasattr(core, "swap_average") else MORE.get(name, ())
    return type(name, (*more, Optimizer), attributes)


def _text(name: str, text: str | None) -> str:
    """The docstring of the core up to its arguments."""
    about = cleandoc(text or "").partition("\nArgs:\n")[0].strip()
    place = ", in place of the class of that name in `torch.optim`"
    there = place if hasattr(torch.optim, name) else ""
    return f"{name} for PyTorch{there}.\n\n{about}"


globals().update({name: _made(name) for name in optimizers.__all__})


def _attribute(name: str) -> Any:
    raise missing(__name__, name, __all__)


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _attribute
