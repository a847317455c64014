"""The signatures that `help()` and editors show of constructors."""

from collections.abc import Iterable, Mapping
from inspect import Parameter, Signature
from typing import Any


def signature_of(placed: Iterable[str], defaults: Mapping[str, Any]) -> Signature:
    """The signature `(params, ...)`; the names in `placed` may be given by position."""
    inline, keyword = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
    names = dict.fromkeys(placed)
    rest = [name for name in defaults if name not in names]
    return Signature(
        [Parameter("params", inline)]
        + [Parameter(name, inline, default=defaults[name]) for name in names]
        + [Parameter(name, keyword, default=defaults[name]) for name in rest]
    )
