"""Bare kernels: one step over buffers that the caller keeps, without an optimizer object.

Every optimizer has one, under its name in lower case: `functional.adamw` is the step of
`fastadam.AdamW`. `fa.functional.bare` makes one of an optimizer of your own.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import sub
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np

from . import optimizers
from .embedding.bare_launch import ParameterLaunch, launch_for
from .embedding.bare_step import EXTRAS, FAST, in_low_precision, step_with_options
from .engine.backend import HOST, as_array, backend_of, refuse
from .engine.edits import ParamGroup
from .engine.gradients import fast_addresses
from .engine.param_groups import Group
from .kernels.cpu.threads import check_threads
from .memory import checks
from .memory.rows import Rows, check_place
from .optimizer import Optimizer
from .rules import Rule
from .rules.algorithm import Values, check_bare, check_elementwise
from .rules.docstrings import entries, explained
from .validation import alike, check_known, count, lasts, missing

if TYPE_CHECKING:
    from ._functional import *  # noqa: F403

ARGUMENTS = {
    "param": "the parameters, updated in place.",
    "grad": "their gradients.",
    "step": "the number of this step, counted from 1.",
    "threads": "how many threads a step may use; default None: that of `fastadam.set_threads`.",
    "stream": "as for `Optimizer.step`: where on a GPU the step goes; default None: where the "
    "library of the arrays works.",
    "grad_scale": "what the loss was multiplied by; the gradient is divided by it in the kernel; "
    "default None.",
    "clip_value": "the largest absolute value of an element of the gradient; default None.",
    "mask": "an array of bool of the size of `param`: only elements marked True change; default "
    "None.",
    "ema": "an array of averages of the parameters, updated in place; needs `ema_decay`; default "
    "None.",
    "ema_decay": "the average changes by `(1 - ema_decay) * (p - ema)`; default None.",
    "shadow": "an array of bfloat16 or float16 that receives a copy of float32 parameters; default "
    "None.",
    "norm": "True returns the norm of the gradient, divided by `grad_scale`; default False.",
    "seed": "of the rounding of int8 state; default 0.",
}
NAMES = tuple(
    name.lower() for name in optimizers.__all__ if getattr(optimizers, name).without_arrays().bare
)


@dataclass(slots=True)  # read in a fifth of the time of a NamedTuple
class _Settings:
    """Hyperparameters as they were given, and what follows from them."""

    given: Values
    group: Group
    rule: Rule
    launches: dict[int, "ParameterLaunch"]  # those of the rule, by the `id` of the parameter
    steady: Values | None  # the hyperparameters of all steps, if none is a schedule


class _Memory(local):
    """Settings and launches of each thread. Threads never share a table.

    Attributes:
        settings: those of the last step.
        named: for the names of hyperparameters the last settings with these.
        launches: those of each rule, by the `id` of the parameter.
    """

    def __init__(self) -> None:
        self.settings: _Settings | None = None
        self.named: dict[tuple[str, ...], _Settings] = {}
        self.launches: dict[Rule, dict[int, ParameterLaunch]] = {}


def bare(optimizer: type[Optimizer]) -> Callable[..., float | None]:
    """The step of an optimizer class as a function over bare buffers.

    The function is `step(param, grad, *state, step, threads=None, stream=None, **hyper)`. `param`
    and the state arrays, in the order of the rule, are updated in place. All arrays are
    one-dimensional and contiguous, of one size, and share no memory. The gradient may have another
    dtype, or be `fa.Rows`; arrays may then have several dimensions. The state is of the
    dtype of the arithmetic (float64 for float64 parameters, else float32), or bfloat16, or int8,
    and zero before the first step; int8 takes two arrays for each state, codes and a float32 scale
    for each block of 256 elements.

    Further keywords are options, for NumPy arrays: `grad_scale`, `clip_value`, `mask`, `ema` with
    `ema_decay`, `shadow`, `norm` and `seed`. They are those of an optimizer, with arrays of the
    caller's; the function returns the norm of the gradient if `norm=True`, else None. A step with
    options checks its arrays at every call.

    `step` is counted from 1. `hyper` are the keywords of the class, with its defaults; `stream` is
    that of `fa.Optimizer.step`. The function raises TypeError and ValueError
    before anything changes.

    Args:
        optimizer: the class; its `hyper` may use the group and the step only.

    Raises:
        TypeError: if it is none.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> p, g = np.ones(2), np.array([1.0, -1.0])
        >>> m, v = np.zeros(2), np.zeros(2)
        >>> fa.functional.adamw(p, g, m, v, step=1, lr=0.1, weight_decay=0)
        >>> p.round(6)
        array([0.9, 1.1])
    """
    if not (isinstance(optimizer, type) and issubclass(optimizer, Optimizer)) or (
        optimizer is Optimizer
    ):
        raise TypeError(
            f"bare(): {optimizer!r} is not the class of an optimizer, such as fastadam.AdamW"
        )
    author = optimizer.without_arrays()
    check_bare("bare(): ", author)
    check_elementwise("bare(): ", author)
    defaults, name, memory = optimizer.defaults, optimizer.__name__.lower(), _Memory()

    def settings_of(given: Values, step: int) -> _Settings:
        """The settings for hyperparameters other than those of the last step."""
        names = (*given,)
        settings = memory.named.get(names)
        if settings is None or not (_same(settings.given, given) or renumbered(settings, given)):
            settings = checked(given, step)
        if not settings.group.switched:
            memory.settings = memory.named[names] = settings
        return settings

    def renumbered(settings: _Settings, given: Values) -> bool:
        """Take over numbers that do not change the rule; returns False if there are others."""
        group, known = settings.group, settings.given
        changed = {name: value for name, value in given.items() if value is not known[name]}
        dict.update(group.raw, changed)
        values = group.edited(lambda: author, changed)
        if values is None:
            return False
        group.take(values)
        settings.steady, settings.given = values, dict(given)
        return True

    def checked(given: Values, step: int) -> _Settings:
        """Settings for hyperparameters that were given for the first time."""
        check_known(given, defaults, f"{name}()")
        group = Group(ParamGroup(defaults, **given, params=()), (), defaults, f"{name}(): ")
        group.follow(author, step)
        # Nothing in it that could be edited.
        kept = {k: v if lasts(v) else group.raw[k] for k, v in given.items()}
        steady = None if group.scheduled else group.at(step)
        return _Settings(
            kept, group, group.rule, memory.launches.setdefault(group.rule, {}), steady
        )

    def bound(arrays: Sequence[Any], settings: _Settings) -> ParameterLaunch:
        """The launch for a parameter, its arrays checked and bound."""
        rule, launches, key = settings.rule, settings.launches, id(arrays[0])
        addresses = _addresses(arrays, ("param", "grad", *rule.state), name)
        launch = launches.get(key)
        if launch is None or not launch.takes(arrays[1]):

            def forget(_: Any) -> None:
                launches.pop(key, None)

            launch = launches[key] = launch_for(rule, arrays[0], arrays[1], forget)
        launch.bind(arrays, addresses)
        return launch

    def with_options(
        arrays: Sequence[Any], step: int, threads: int | None, stream: Any, given: Values
    ) -> float | None:
        if stream is not None:
            refuse(stream)
        extras = {key: given[key] for key in EXTRAS if key in given}
        hyper = {key: value for key, value in given.items() if key not in EXTRAS}
        check_known(hyper, [*defaults, *EXTRAS], f"{name}()")
        settings = memory.settings
        if settings is None or not _same(settings.given, hyper):
            settings = settings_of(hyper, step)
        rule, group = settings.rule, settings.group

        def constants() -> Values:
            return author.hyper(group.at(step), step)

        return step_with_options(f"{name}(): ", rule, arrays, step, threads, extras, constants)

    def step(
        param: Any,
        grad: Any,
        *state: Any,
        step: int,
        threads: int | None = None,
        stream: Any = None,
        **hyper: Any,
    ) -> float | None:
        if type(step) is not int or step < 1:
            step = count(f"{name}(): step", step, 1, "count steps from 1")
        settings = memory.settings
        if settings is None or not _same(settings.given, hyper):
            if not EXTRAS.keys().isdisjoint(hyper):
                return with_options((param, grad, *state), step, threads, stream, hyper)
            settings = settings_of(hyper, step)
        arrays, launch = (param, grad, *state), settings.launches.get(id(param))
        if launch is None or not launch.same(arrays):
            if in_low_precision(arrays):
                return with_options(arrays, step, threads, stream, hyper)
            launch = bound(arrays, settings)
        launch.write(author.hyper(settings.steady or settings.group.at(step), step))
        if stream is None and threads is None:
            launch.run()
        elif stream is None:
            launch.runner(check_threads(threads))()
        else:
            launch.run_in(stream)
        return None

    step.__name__ = step.__qualname__ = name
    step.__doc__ = _documentation(optimizer)
    step.__signature__ = _signature(optimizer)  # type: ignore[attr-defined]
    return step


def _same(known: Values, given: Values) -> bool:
    try:
        for name, value in given.items():
            old = known[name]
            if old is not value and not alike(old, value):
                return False
    except KeyError:
        return False
    return len(known) == len(given)


def _addresses(arrays: Sequence[Any], names: Sequence[str], function: str) -> list[int]:
    """Addresses of the buffers.

    Raises:
        TypeError, ValueError: if they are not what one kernel can walk through together.
    """
    if len(arrays) != len(names):
        raise TypeError(
            f"{function}() takes {len(names)} arrays ({', '.join(names)}), not {len(arrays)}"
        )
    param = arrays[0]
    if isinstance(param, np.ndarray) and param.ndim == 1 and param.dtype in FAST:
        dtypes, shapes = [param.dtype] * len(arrays), [param.shape] * len(arrays)
        addresses = fast_addresses(arrays, dtypes, shapes, param.itemsize)
        if addresses:
            first, *others = sorted(addresses)
            if min(map(sub, others, (first, *others))) >= param.nbytes:
                return addresses
    arrays = list(map(as_array, arrays))
    by_row = isinstance(arrays[1], Rows)
    if by_row and backend_of(arrays[0]) is not HOST:
        raise TypeError(f"{function}(): grad is Rows, but param is on a device; give an array")
    if by_row:
        check_place(arrays[1], f"{function}(): grad", arrays[0], "param")
    for array, name in zip(arrays, names, strict=True):
        label = f"{function}(): {name}"
        if isinstance(array, Rows) and name == "grad":
            continue
        if name == "grad":
            checks.check_gradient(array, label, arrays[0], "param")
        else:
            checks.check_array(array, label, written=True, updated=True)
        if name not in ("param", "grad"):
            checks.check_state(array, label, arrays[0], "param")
        if array.ndim != 1 and not by_row:
            raise ValueError(f"{label} has shape {array.shape}; pass a.reshape(-1)")
    spans = [
        checks.span(array.values if isinstance(array, Rows) else array, name)
        for array, name in zip(arrays, names, strict=True)
    ]
    checks.check_apart(spans)
    return [span.start for span in spans]


def _documentation(optimizer: type[Optimizer]) -> str:
    states = dict.fromkeys(optimizer.rule.state, "the state, updated in place.")
    names = [*ARGUMENTS][:2] + [*states, "step", *optimizer.defaults, *EXTRAS]
    names += ["threads", "stream"]
    known = entries(optimizer.__doc__) | states | ARGUMENTS
    section = explained({name: optimizer.defaults.get(name) for name in names}, known)
    return (
        f"One step of {optimizer.__name__} over bare buffers.\n\n"
        f"See `fastadam.functional.bare`, and `fastadam.{optimizer.__name__}`.\n\n{section}"
    )


def _signature(optimizer: type[Optimizer]) -> inspect.Signature:
    kind = inspect.Parameter
    positional = ["param", "grad", *optimizer.rule.state]
    keywords = [kind("step", kind.KEYWORD_ONLY)] + [
        kind(name, kind.KEYWORD_ONLY, default=default)
        for name, default in (
            optimizer.defaults | EXTRAS | {"threads": None, "stream": None}
        ).items()
    ]
    return inspect.Signature([kind(n, kind.POSITIONAL_ONLY) for n in positional] + keywords)


def _attribute(name: str) -> Callable[..., float | None]:
    if name not in NAMES:
        raise missing(__name__, name, __dir__())
    function = globals()[name] = bare(optimizers.by_name(name))
    return function


def __dir__() -> list[str]:
    return ["bare", *NAMES]


if not TYPE_CHECKING:  # a type checker would take any name for one that is there
    __getattr__ = _attribute
