"""Gradients of a step, some of them row-sparse."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..memory import checks
from ..memory.array_headers import never
from ..memory.arrays import is_device
from ..memory.parameter_changes import ParameterChanges
from ..memory.rows import Rows, RowsDtype, check_place
from .backend import HOST, as_array, backend_of
from .gradients import OtherDtypesError, StepArrays
from .options import Options
from .row_gradient import RowGradient


class RowStepArrays(StepArrays):
    """Gradients, some of them row-sparse; all are checked at every step.

    The address of a row-sparse one is that of its norm, which the norm of all gradients reads. The
    launches of its parameter read its rows from `rows`.
    """

    kind = RowGradient

    def __init__(
        self,
        params: Sequence[Any],
        param_names: Sequence[str],
        names: Sequence[str],
        dtypes: Sequence[Any],
        cleared: bool,
    ) -> None:
        check = checks.check_cleared if cleared else checks.check_gradient
        super().__init__(params, param_names, names, dtypes, check, as_array, True, cleared)
        triples = zip(params, names, param_names, strict=True)
        self.rows = [
            self.kind(*triple) if isinstance(dtype, RowsDtype) else None
            for triple, dtype in zip(triples, dtypes, strict=True)
        ]

    def same(self, arrays: Sequence[Any]) -> bool:
        return False

    def comparison(self, changes: ParameterChanges) -> Callable[[Sequence[Any]], bool]:
        return never

    def seen(self, arrays: Sequence[Any]) -> Sequence[Any]:
        return [array.values if isinstance(array, Rows) else array for array in arrays]

    def bind(self, arrays: Sequence[Any]) -> None:
        """Check gradients, store the addresses of dense ones, and sort the rows of the others.

        Raises:
            TypeError, ValueError, IndexError: if one does not match its parameter.
            OtherDtypesError: if only dtypes differ, or other gradients are row-sparse.
        """
        places = [k for k, rows in enumerate(self.rows) if rows]
        for k in places:
            if arrays[k] is not None and not isinstance(arrays[k], Rows):
                self._check(as_array(arrays[k]), *self._described(k))
                raise OtherDtypesError(
                    [
                        array.dtype if i == k else dtype
                        for i, (array, dtype) in enumerate(zip(arrays, self._dtypes, strict=True))
                    ]
                )
        if len(places) < len(arrays):
            super().bind([None if self.rows[k] else array for k, array in enumerate(arrays)])
        else:
            self.active, self.addresses = [False] * len(places), [0] * len(places)
        for k in places:
            given, gradient = arrays[k], self.rows[k]
            if given is not None and gradient:
                check_place(given, *self._described(k))
                self.check_free(checks.span(given.values, f"{self._names[k]}.values"))
                gradient.take(given)
                self.active[k], self.addresses[k] = True, checks.address(gradient.root)

    def _described(self, k: int) -> tuple[str, Any, str]:
        return self._names[k], self._params[k], self._param_names[k]


def gradients_for(
    params: Sequence[Any],
    param_names: Sequence[str],
    names: Sequence[str],
    dtypes: Sequence[Any],
    cleared: bool,
) -> StepArrays:
    """The gradients of parameters, dense or row-sparse according to their dtypes."""
    backend = backend_of(params[0])
    if backend is HOST and any(isinstance(dtype, RowsDtype) for dtype in dtypes):
        return RowStepArrays(params, param_names, names, dtypes, cleared)
    return backend.gradients(params, param_names, names, dtypes, cleared)


def check_rows(dtypes: Iterable[Any], options: Options, param: Any) -> None:
    """Refuse row-sparse gradients with options that need dense ones, and on a device with options
    that need a separate pass.

    Args:
        dtypes: the dtypes of the gradients.
        options: the options of the optimizer.
        param: one of the parameters.

    Raises:
        ValueError: naming the option.
    """
    if not any(isinstance(dtype, RowsDtype) for dtype in dtypes):
        return
    if is_device(param):
        _check_on_device(options)
    if options.accumulates:
        raise ValueError(
            f"grads holds Rows, but accumulate_steps={options.accumulate_steps} would keep a sum "
            "for every element; leave it out, and give the rows of all micro-batches to one step: "
            "fa.Rows(np.concatenate(indices), np.concatenate(values) / len(values))"
        )
    if options.zero_grads:
        raise ValueError(
            "grads holds Rows, which zero_grads=True does not clear; leave zero_grads out"
        )


def _check_on_device(options: Options) -> None:
    """Refuse options that row-sparse steps support on the host only.

    Raises:
        ValueError: naming the option.
    """
    chosen = options.chosen
    for name in ("clip_norm", "skip_nonfinite"):
        if name in chosen:
            raise ValueError(
                f"grads holds Rows, of which the norm is taken on the host only, and the "
                f"parameters lie on a device; leave out {name}={chosen[name]!r}, or give "
                "gradients of all elements"
            )
