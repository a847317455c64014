"""Complex tensors, which are updated as pairs of reals, as in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..rules import ROW

if TYPE_CHECKING:
    from ..engine.options import Options
    from ..rules import Rule

COMPLEX = {torch.complex64: torch.float32, torch.complex128: torch.float64}
_LIKE = {real: of for of, real in COMPLEX.items()}


def reals(tensor: Any) -> Any:
    """A view of a complex tensor as pairs of reals, with one more dimension of length two; other
    tensors unchanged."""
    return torch.view_as_real(tensor) if tensor.dtype in COMPLEX else tensor


def dtype_like(tensor: Any, name: str) -> Any:
    """The dtype of a copy of a tensor whose numbers have the named dtype: complex if it is."""
    dtype = getattr(torch, name)
    return _LIKE.get(dtype, dtype) if tensor.dtype in COMPLEX else dtype


def check_conjugate(tensor: Any, name: str) -> None:
    """Refuse a parameter that is a lazy conjugate, whose memory holds other numbers.

    Raises:
        RuntimeError: naming it.
    """
    if tensor.is_conj():
        raise RuntimeError(
            f"{name} is the conjugate view of another tensor; give the optimizer "
            "param.resolve_conj()"
        )


def check_complex(options: Options, rule: Rule, params: Sequence[Any], where: str) -> None:
    """Refuse options and rules that are not defined for complex parameters, if there are any.

    Args:
        options: the options of a group.
        rule: its rule.
        params: its parameters.
        where: the prefix of messages.

    Raises:
        ValueError: naming the option, or the rule.
    """
    if not any(param.dtype in COMPLEX for param in params):
        return
    options.check_complex(where)
    for name in ("state_dtype", "shadow_dtype", "compensation"):
        if (value := getattr(options, name)) is not None:
            raise ValueError(
                f"{where}{name}={value!r} is for real parameters, but there are complex ones; give "
                "those to an optimizer without it, or torch.view_as_real(param)"
            )
    if rule.over == ROW:
        raise ValueError(
            f"{where}{rule.name} adds up {', '.join(rule.sums)} of rows of real numbers, but there "
            "are complex parameters; give torch.view_as_real(param), which shares their memory"
        )
