"""Optimizers for JAX on the CPU: a step is one foreign call inside `jax.jit`.

Every optimizer has a function of its name in lower case that makes a transformation in the style
of optax: `fastadam.jax.adamw(1e-3)`. `fastadam.jax.transformation` makes one of an
optimizer of your own.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import optimizers
from ..optimizer import Optimizer
from ..validation import missing
from .transformation import State, Transformation, transformation

__all__ = ["State", "Transformation", "transformation"]

NAMES = tuple(name.lower() for name in optimizers.__all__)


def _named(cls: type[Optimizer]) -> Callable[..., Transformation]:
    def make(lr: Any = cls.defaults["lr"], **hyper: Any) -> Transformation:
        return transformation(cls, lr=lr, **hyper)

    make.__name__ = make.__qualname__ = cls.__name__.lower()
    make.__doc__ = (
        f"`fastadam.{cls.__name__}` for JAX.\n\nThe keywords are those of the class; see "
        "`fastadam.jax.transformation`."
    )
    return make


def _attribute(name: str) -> Callable[..., Transformation]:
    if name not in NAMES:
        raise missing(__name__, name, __dir__())
    function = globals()[name] = _named(optimizers.by_name(name))
    return function


def __dir__() -> list[str]:
    return [*__all__, *NAMES]


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _attribute
