"""Planning of the memory of training, before any arrays exist."""

from typing import Any

from .engine.averages import ParameterCopies
from .engine.budget import LARGE, Budget, budget_of
from .engine.options import NAMES, Options
from .engine.param_groups import values_of
from .kernels.formats import FLOAT
from .optimizer import Optimizer
from .optimizers import by_name
from .rules.algorithm import Algorithm
from .validation import check_known, choice, count, dtype_name

__all__ = ["Budget", "plan"]


def plan(
    n_params: float,
    optimizer: str | type[Optimizer] = "AdamW",
    *,
    params: Any = "float32",
    grads: Any = None,
    file: Any = None,
    **keywords: Any,
) -> Budget:
    """The bytes that training a given number of parameters would need in memory.

    Nothing is allocated or compiled. The parameters are assumed to be one array; arrays shorter
    than `min_quantized_size` would not have `int8` state. State with one number for each row is
    not counted.
    `fa.Optimizer.memory` returns the same for an existing optimizer.

    Args:
        n_params: the number of elements; a float such as 7e9 is accepted.
        optimizer: the name of an optimizer, in any case, or a class; default "AdamW".
        params: the dtype of the parameters: "float32" (default), "float64", "bfloat16" or
            "float16".
        grads: the dtype of the gradients; default None: that of the parameters.
        file: the file of the parameters, as for `fa.flatten`; default None: they
            are in memory. With `state_file=` the state is counted as in a file as well.
        keywords: options of the optimizer such as `state_dtype`, `compensation`, `shadow_dtype`,
            `ema_decay`, `accumulate_steps` or `clip_norm`, described at
            `fa.Optimizer`, and hyperparameters such as `amsgrad=True` or
            `momentum=0.9`, some of which need more state.

    Raises:
        TypeError, ValueError: as the optimizer does, and for an invalid count or name.

    Examples:
        >>> import fastadam as fa
        >>> low = dict(params="bfloat16", state_dtype="int8", compensation="split8")
        >>> fa.plan(7e9, **low)
                      kept as                  bytes  per parameter  plain float32  per parameter
        params        bfloat16                 14 GB           2.00          28 GB           4.00
        grads         bfloat16                 14 GB           2.00          28 GB           4.00
        state         int8, float32 / 256   14.22 GB           2.03          56 GB           8.00
        compensation  int8                      7 GB           1.00            0 B           0.00
        total                               49.22 GB           7.03         112 GB          16.00
        moved                               84.44 GB          12.06         196 GB          28.00
        >>> fa.plan(7e9, "lion").per_param
        12.0
    """
    size = count("plan(): n_params", n_params, hint="give a count of elements, such as 7e9")
    if size >= 1 << 63:
        raise ValueError(f"plan(): n_params={n_params!r} must be below 2**63")
    found = by_name(optimizer) if isinstance(optimizer, str) else optimizer
    if not (isinstance(found, type) and issubclass(found, Algorithm) and hasattr(found, "rule")):
        raise TypeError(f"plan(): {optimizer!r} is not an optimizer; give its name or its class")
    params = choice("plan(): params", dtype_name(params), FLOAT)
    grads = choice("plan(): grads", params if grads is None else dtype_name(grads), FLOAT)
    if grads == "float64" != params:
        raise ValueError(f"plan(): grads='float64' is for float64 parameters; these are {params}")
    check_known(keywords, [*found.defaults, *NAMES], f"plan(): {found.__name__}")
    options = Options(**{name: keywords.pop(name) for name in NAMES if name in keywords})
    made = found.without_arrays()
    values = values_of(made, keywords, "plan(): ")
    options.check_rule(made.variant(values))
    options.check_params([params])
    ParameterCopies(options).check([params])
    rule, formats = made.variant(values), options.formats_of(params, grads, size)
    members = [(rule, formats.ruled(rule, LARGE).of_any_row, size)]
    budget = budget_of(members, options)
    return budget if file is None else budget_of(members, options, budget.params)
