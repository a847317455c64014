"""Minimization of a function, in the manner of `scipy.optimize.minimize`."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from . import optimizers
from .engine.flat import Flat
from .memory.arrays import is_device
from .memory.checks import check_kind, short
from .memory.tree import Tree, filled, indexed, leaves, mapped, matched, structure_of
from .optimizer import Optimizer
from .rules.algorithm import check_class
from .validation import NOT_NEGATIVE, count, flag, number

if TYPE_CHECKING:
    from .typing import Params


@dataclass
class MinimizeResult:
    """The result of `fa.minimize`: the last point, and how the minimization ended.

    Attributes:
        x: the point, in the structure of `x0`.
        fun: the value at `x`.
        grad_norm: the norm of the gradient at `x`.
        nit: the steps taken.
        success: True if `tol` was reached, or none was given and all steps were taken, or the
            callback stopped; False otherwise.
        message: the reason for which it stopped.
        history: the value at each point, `x0` the first.
    """

    x: Any
    fun: float
    grad_norm: float
    nit: int
    success: bool = False
    message: str = ""
    history: list[float] = field(default_factory=list, repr=False)


def minimize(
    value_and_grad: Callable[[Any], tuple[Any, Any]],
    x0: "Params | float | Sequence[float]",
    optimizer: "str | type[Optimizer]" = "Adam",
    *,
    steps: int = 1000,
    tol: float | None = None,
    callback: Callable[[MinimizeResult], Any] | None = None,
    **keywords: Any,
) -> MinimizeResult:
    """Minimize a function from its values and gradients.

    Args:
        value_and_grad: returns the value at a point, a number, and the gradient, in the structure
            of the point; `jac=True` of `scipy.optimize.minimize` is for such functions. The arrays
            of the point are updated in place afterwards: copy what you keep.
        x0: the first point: an array, a list of numbers, or a tree of arrays. It is copied;
            integers become float64.
        optimizer: the class, or its name; default "Adam".
        steps: the most steps to take, default 1000. The function is called once more than that.
        tol: stop where the norm of the gradient is at most this; default None: take all steps.
        callback: called before each step with the result so far; if it returns True, stop.
        keywords: arguments of the optimizer, such as `lr`, also a schedule, or `clip_norm`.

    Returns:
        The last point, its value, and more; see `fa.MinimizeResult`. A value
        or a gradient that is not finite ends the minimization, with `success` False.

    Raises:
        TypeError, ValueError: for arguments that the optimizer does not take, and for a value or a
            gradient of the wrong kind or shape.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> def sphere(x):
        ...     return (x**2).sum(), 2 * x
        >>> result = fa.minimize(sphere, [1.0, -2.0], "SGD", lr=0.25, tol=1e-6)
        >>> result.success, result.nit, result.x.round(6)
        (True, 23, array([ 0., -0.]))
    """
    for name, function in (("value_and_grad", value_and_grad), ("callback", callback)):
        if not callable(function) and (function is not None or name == "value_and_grad"):
            raise TypeError(f"minimize(): {name}={function!r} is not a function; give one")
    made = _class_of(optimizer)
    limit = count("minimize(): steps", steps, 0)
    least = None if tol is None else number("minimize(): tol", tol, NOT_NEGATIVE)
    x = mapped(_start, x0.tree if isinstance(x0, Flat) else _array(x0))
    opt = made(x, **keywords)
    structure, grads = structure_of(x), [np.zeros_like(array) for _, array in leaves(x)]
    names = [indexed("gradient", path) for path, _ in leaves(x)]
    history = list[float]()
    while True:
        value, gradient = _evaluated(value_and_grad, x)
        history.append(value)
        _take(matched(structure, gradient, "gradient"), grads, names)
        norm = _norm(grads)
        result = MinimizeResult(x, value, norm, opt.steps, history=history)
        if not math.isfinite(value + norm):
            result.message = f"the value {value} or the norm of the gradient {norm} is not finite"
        elif least is not None and norm <= least:
            result.success, result.message = True, f"the norm of the gradient is at most tol={tol}"
        elif callback is not None and _stops(callback(result)):
            result.success, result.message = True, "the callback returned True"
        elif len(history) > limit:
            result.success = least is None
            result.message = f"all {limit} steps are taken" + f"; tol={tol} is not reached" * (
                least is not None
            )
        else:
            opt.step(filled(structure, grads))
            continue
        return result


def _class_of(optimizer: Any) -> type[Optimizer]:
    if isinstance(optimizer, str):
        return optimizers.by_name(optimizer)
    if not isinstance(optimizer, type) or not issubclass(optimizer, Optimizer):
        raise TypeError(
            f"minimize(): optimizer={optimizer!r} must be a class such as fastadam.Adam, or its "
            "name; give its arguments to minimize()"
        )
    check_class(optimizer)
    return optimizer


def _array(x0: Any) -> Tree:
    """A point as an array if it is a list of numbers, otherwise unchanged."""
    numbers = isinstance(x0, list | tuple) and x0 and all(isinstance(each, Real) for each in x0)
    return np.array(x0, np.float64) if numbers else x0


def _start(leaf: Any) -> Any:
    """A copy of an array, of a dtype that can be updated."""
    if is_device(leaf):
        raise TypeError("minimize() is for arrays on the host; use the optimizer's step() on a GPU")
    if not isinstance(leaf, np.ndarray | Real):
        raise TypeError(f"minimize(): x0 holds {short(leaf)}; give an array, or a tree of arrays")
    array = np.array(leaf, order="C", subok=True)
    return array.astype(np.float64) if array.dtype.kind in "biu" else array


def _evaluated(function: Callable[[Any], Any], x: Any) -> tuple[float, Any]:
    returned = function(x)
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise TypeError(
            f"value_and_grad() returned {type(returned).__name__}; return a value and a gradient"
        )
    hint = "return a number, such as a sum or a mean"
    return number("value_and_grad(): value", returned[0], finite=False, hint=hint), returned[1]


def _take(gradient: Sequence[Any], grads: Sequence[Any], names: Sequence[str]) -> None:
    """Copy the user's gradient, which may be the point itself.

    Raises:
        TypeError: for masked arrays, and numbers that are not real.
        ValueError: if the shapes differ.
    """
    for given, kept, name in zip(gradient, grads, names, strict=True):
        array = np.asarray(given)
        check_kind(given, f"value_and_grad(): {name}")
        if array.shape != kept.shape:
            raise ValueError(
                f"value_and_grad(): {name} has shape {array.shape}, but x has {kept.shape} there"
            )
        if array.dtype.kind in "cOSUMm":
            raise TypeError(f"value_and_grad(): {name} has dtype {array.dtype}; give real numbers")
        with np.errstate(over="ignore"):  # an infinity ends the minimization
            kept[...] = array


def _norm(grads: Sequence[Any]) -> float:
    with np.errstate(all="ignore"):
        return math.hypot(*(float(np.linalg.norm(g.astype(np.float64).ravel())) for g in grads))


def _stops(returned: Any) -> bool:
    return returned is not None and flag("what callback() returned", returned)
