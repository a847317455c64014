"""Arguments of optimizer classes for PyTorch: those of the class of PyTorch of the same name, the
hyperparameters of the core, and options."""

import inspect
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch

from ..engine.options import NAMES, Options
from ..optimizer import Optimizer as CoreOptimizer
from ..rules.algorithm import Values, signature_of
from ..rules.docstrings import Composed, completed, entries, errors_of, explained
from ..validation import check_known
from .hyperparameters import ELSEWHERE, FLAGS, NAMES_HERE, twin_of


def set_up_class(cls: Any, base: Any) -> None:
    """Set the names and defaults of the arguments of a subclass of `base`, its signature, and a
    docstring that explains them.

    Raises:
        TypeError: for a class without `core`.
    """
    if not isinstance(core := getattr(cls, "core", None), type):
        raise TypeError(f"{cls.__name__}.core is {core!r}; set it to a class of fastadam")
    twin = twin_of(cls.core)
    known = inspect.signature(twin).parameters if twin else {}
    inline = [name for name, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    kept = _defaults_of(twin) if twin else cls.core.defaults
    cls._known = {k: v for k, v in kept.items() if k in FLAGS} | cls.core.defaults
    cls._kept = {name: cls._known[name] for name in kept if name in cls._known}
    cls._fixed = {name: v for name, v in cls._kept.items() if twin and name not in known}
    cls._positional = [name for name in inline[1:] or ["lr"] if name in cls._known]
    options = {name: getattr(Options(), name) for name in NAMES_HERE}
    made = signature_of(cls._positional, cls._known | options)
    cls.__signature__ = made if cls.__init__ is base.__init__ else None
    if vars(cls).get("__doc__"):
        cls.__doc__ = Composed(partial(_explained, cls, base, cls.__doc__, options))


def _defaults_of(twin: Any) -> Values:
    """The defaults of an optimizer of PyTorch, of which no group is made: PyTorch would import its
    compiler."""
    bare = type(twin.__name__, (twin,), {"add_param_group": lambda *_: None})
    defaults: Values = bare([torch.empty(0, 0)]).defaults
    return defaults


def _explained(cls: Any, base: Any, text: str, options: Values) -> str:
    """The docstring of a class with all arguments explained."""
    names = {"params": ..., **dict.fromkeys(cls._positional), **cls._known, **options}
    texts = [CoreOptimizer.__doc__, cls.core.__doc__, base.__doc__, text]
    meanings = dict(chain.from_iterable(entries(each).items() for each in texts))
    return completed(text, explained(names, meanings), errors_of(base.__doc__))


def separated(cls: Any, args: Sequence[Any], keywords: Values) -> tuple[Values, Options]:
    """The hyperparameters and flags among the arguments of a constructor, and the options.

    Raises:
        TypeError, ValueError: for unknown arguments, for one given twice, and for an option that
            these classes do not have.
    """
    name = cls.__name__
    if len(args) > len(cls._positional):
        raise TypeError(
            f"{name}() takes params and {cls._positional} by position, got {len(args)} more"
        )
    placed = dict(zip(cls._positional, args, strict=False))
    if twice := placed.keys() & keywords.keys():
        raise TypeError(f"{name}() got {sorted(twice)} by position and by keyword")
    chosen = {option: keywords[option] for option in NAMES if option in keywords}
    others = {key: value for key, value in keywords.items() if key not in chosen} | placed
    if others.get("differentiable") and "differentiable" not in cls._known:
        raise RuntimeError(f"{name} does not support `differentiable`")
    known = dict.fromkeys([*cls.core.defaults, *NAMES_HERE, *cls._known])
    check_known(others, known, f"{name}()")
    options = Options(**chosen)
    for option in ELSEWHERE.keys() & options.chosen.keys():
        raise ValueError(f"{option}={chosen[option]!r}: {ELSEWHERE[option]}")
    return others, options
