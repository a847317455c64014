"""The arguments of a sharded optimizer: parameters, groups, and the settings that processes
compare."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.engine import Engine
from ..engine.group_arguments import are_groups, check_group, check_tree, once
from ..engine.param_groups import CARRIED
from ..engine.parameters import Parameters
from ..engine.partition import Piece
from ..memory.arrays import is_device
from ..memory.complex_numbers import Pairs
from ..optimizer import Optimizer
from ..optimizers.sparse_adam import SparseAdam
from ..rules import ROW
from ..rules.algorithm import Values
from ..rules.rule import row_length
from .buckets import Line, Span


def check_class(cls: Any) -> None:
    """Refuse anything but the class of an optimizer whose parameters can be divided into pieces.

    Raises:
        TypeError, ValueError: naming it.
    """
    if not (isinstance(cls, type) and issubclass(cls, Optimizer)):
        raise TypeError(
            f"optimizer_class={cls!r} is not the class of an optimizer; give one, such as "
            "fastadam.AdamW"
        )
    rule: Any = getattr(cls, "rule", None)
    if adds_up_rows(cls) and rule.row_length is not row_length:
        raise ValueError(
            f"Sharded divides parameters between rows of their first dimension, but {cls.__name__} "
            f"adds up {', '.join(rule.sums)} of other rows; take another optimizer"
        )
    if rule and any(form.factors for form in rule.forms):
        raise ValueError(
            f"Sharded divides parameters between processes, but {cls.__name__} has numbers of the "
            "columns of whole matrices; take another optimizer"
        )


def adds_up_rows(cls: Any) -> bool:
    """True for the class of an optimizer that adds up numbers of rows."""
    return getattr(getattr(cls, "rule", None), "over", "") == ROW


def needs_whole_rows(cls: Any, hyper: Values, groups: Sequence[Values]) -> bool:
    """True for optimizers whose steps are of rows: each row must belong to one process."""
    by_row = [each.get("lazy", "torch") != "torch" for each in (hyper, *groups)]
    return adds_up_rows(cls) or issubclass(cls, SparseAdam) or any(by_row)


def gathered_parameters(params: Any, defaults: Values) -> tuple[Parameters, list[Values]]:
    """The parameters, checked, and a group of settings with "params" for each group.

    Raises:
        TypeError, ValueError: as an optimizer.
    """
    params, alone = once(params), False
    if are_groups(params):
        trees = [
            (group["params"], f"param_groups[{k}]['params']") for k, group in enumerate(params)
        ]
        for k, group in enumerate(params):
            check_group(group, f"param_groups[{k}]")
    else:
        check_tree(params, defaults)
        trees, params, alone = [(params, "params")], [{}], True
    gathered = Parameters().checked(trees, [])
    for each in gathered:
        for array, name in zip(each.arrays, each.names, strict=True):
            if isinstance(array, Pairs):
                raise TypeError(
                    f"{name} is an array of complex numbers, which Sharded does not take; give "
                    "a.view(np.float32), which shares its memory (np.float64 for complex128)"
                )
            if is_device(array):
                raise TypeError(
                    f"{name} lies on a device, and Sharded exchanges arrays of the host; for "
                    "parameters on a GPU take fastadam.torch with fully_shard (FSDP2)"
                )
    groups = [
        {
            **group,
            "params": each.arrays,
            "param_names": each.paths or list(group.get("param_names") or ()),
        }
        for group, each in zip(params, gathered, strict=True)
    ]
    given = [group.get("param_names") for group in params]
    return Parameters().with_groups(gathered, alone, given), groups


def inner_groups(
    groups: Sequence[Values], pieces: Sequence[Piece], views: Sequence[Any]
) -> list[Values]:
    """The groups of the optimizer of the pieces in this process, which are these views."""
    owner = [k for k, group in enumerate(groups) for _ in group["params"]]
    mine: list[list[Any]] = [[] for _ in groups]
    for piece, view in zip(pieces, views, strict=True):
        mine[owner[piece.number]].append(view)
    return [
        {name: value for name, value in group.items() if name not in CARRIED} | {"params": own}
        for group, own in zip(groups, mine, strict=True)
    ]


def runs_of(line: Line, keys: Sequence[Any]) -> list[tuple[Span, Any]]:
    """The parts of a line whose parameters have one key, such as a dtype, with it."""
    found = list[tuple[Span, Any]]()
    first = 0
    for number, key in enumerate(keys):
        if key != keys[first]:
            found.append(((line.starts[first], line.starts[number]), keys[first]))
            first = number
    return [*found, ((line.starts[first], line.starts[-1]), keys[first])]


def described(
    cls: type, parameters: Parameters, groups: Sequence[Values], hyper: Values, *others: Any
) -> dict[str, Any]:
    """Settings that must be equal in all processes, by their names in messages."""
    import fastadam

    arrays = parameters.arrays
    settings = [
        {name: value for name, value in group.items() if name != "params"} for group in groups
    ]
    return {
        "the version of fastadam": fastadam.__version__,
        "optimizer_class": f"{cls.__module__}.{cls.__qualname__}",
        "the names of params": parameters.names,
        "the shapes of params": [array.shape for array in arrays],
        "the dtypes of params": [str(array.dtype) for array in arrays],
        "the number of arrays in each group": [len(group["params"]) for group in groups],
        "the settings of param_groups": list(map(comparable, settings)),
        "the keyword arguments": comparable(hyper),
        "bucket_bytes, comm_dtype and whole_rows": others,
    }


def comparable(value: Any) -> Any:
    """A setting that has the same `repr` in all processes: functions are named."""
    if isinstance(value, dict):
        return {name: comparable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return value


def step_settings(engine: Engine, lr: float | None, mask: Any, grad_scale: Any) -> Values:
    """Settings of a step that must be equal in all processes, by their names in messages.

    Raises:
        TypeError, ValueError: for an `lr` or a `grad_scale` that is not valid.
    """
    engine.refresh()
    return {
        "the number of steps": engine.state.count,
        "the hyperparameters": engine.values(lr),
        "grad_scale": None if grad_scale is None else float(np.asarray(grad_scale)),
        "mask": mask is not None,
    }
