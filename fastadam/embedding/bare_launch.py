"""The launches of bare functions: one for each parameter, bound to arrays that were checked."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from struct import Struct
from typing import Any
from weakref import ref

from ..cuda.addresses import places_of
from ..engine.backend import HOST, as_array, backend_of, refuse
from ..engine.launch import Launch, kernel_for
from ..engine.options import Options
from ..engine.row_gradient import RowGradient
from ..engine.row_launch import RowLaunch, check_rows_go_with
from ..engine.rule_sums import RuleSums
from ..kernels.formats import Formats
from ..memory.array_headers import KnownArrays, never
from ..memory.rows import Rows
from ..rules import Rule
from ..rules.algorithm import Values


def launch_for(
    rule: Rule, param: Any, grad: Any, forget: Callable[[Any], Any]
) -> "ParameterLaunch":
    """A new launch for a parameter.

    Args:
        grad: one of its gradients.
        forget: called with a weak reference once the parameter is no longer alive.
    """
    if isinstance(grad, Rows):
        return RowSparseLaunch(rule, param, forget)
    kind = ParameterLaunch if backend_of(param) is HOST else DeviceParameterLaunch
    return kind(rule, param, as_array(grad).dtype, forget)


class ParameterLaunch:
    """The launch for one parameter, and the arrays of its last step, remembered weakly."""

    def __init__(
        self, rule: Rule, param: Any, grad_dtype: Any, forget: Callable[[Any], Any]
    ) -> None:
        array, self._dtype = as_array(param), grad_dtype
        formats = Formats(array.dtype.name, grad_dtype.name)
        launch = Launch(rule, kernel_for(rule, formats, like=array), [array], [0])
        sums = RuleSums([launch], [array], [formats])
        self._launches, self._sequence = [launch, *sums.launches], [*sums.sequence, launch]
        self._owner, self._kept = ref(param, forget), sums
        self._known = KnownArrays()
        self._write_addresses = Struct(f"={2 + len(rule.state)}q").pack_into
        self.same = self._known.same
        self.write, self.run = launch.writer(0), self.runner(None)
        if sums:
            self.write = partial(_write_all, [each.writer(0) for each in self._launches])

    def takes(self, grad: Any) -> bool:
        """True if the launch is for gradients like this one."""
        return not isinstance(grad, Rows) and bool(as_array(grad).dtype == self._dtype)

    def runner(self, threads: int | None) -> Callable[[], None]:
        runs = [launch.table.runner(threads) for launch in self._sequence]
        return runs[0] if len(runs) == 1 else partial(_run_all, runs)

    def run_in(self, stream: Any) -> None:
        if stream is not None:
            refuse(stream)

    def bind(self, arrays: Sequence[Any], addresses: Sequence[int]) -> None:
        """Use these arrays, which were checked, until there are others."""
        self.same = never
        again = self._known.forget(arrays)  # until the table has their addresses
        for launch in self._launches:
            rows: Any = launch.table.rows
            self._write_addresses(rows, rows.itemsize, *addresses)
        self._known.note(arrays, again)
        self.same = self._known.same


def _write_all(writers: Sequence[Callable[[Values], None]], constants: Values) -> None:
    for write in writers:
        write(constants)


def _run_all(runs: Sequence[Callable[[], None]]) -> None:
    for run in runs:
        run()


class DeviceParameterLaunch(ParameterLaunch):
    """The same on a device, where arrays may be reallocated, and work goes to a stream."""

    def __init__(
        self, rule: Rule, param: Any, grad_dtype: Any, forget: Callable[[Any], Any]
    ) -> None:
        self._turn: Any = backend_of(param).lock()
        with self._turn:
            super().__init__(rule, param, grad_dtype, forget)
            self._start = super().runner(None)

    def runner(self, threads: int | None) -> Callable[[], None]:
        return partial(self.run_in, None)

    def run_in(self, stream: Any) -> None:
        from ..cuda.streams import orders_of

        with self._turn if stream is None else self._turn.on(stream):
            if self._turn.captures:
                raise RuntimeError(
                    "a bare step cannot be captured in a CUDA graph: its count would stay the same "
                    "when it is replayed; capture the step of an optimizer"
                )
            self._turn.join(orders_of([array() for array in self._known.seen]))
            self._start()

    def bind(self, arrays: Sequence[Any], addresses: Sequence[int]) -> None:
        super().bind(arrays, addresses)
        same, places = self.same, list(addresses)
        self.same = lambda arrays: same(arrays) and places_of(arrays) == places


class RowSparseLaunch(ParameterLaunch):
    """The same for row-sparse gradients, whose rows are checked in every step."""

    def __init__(self, rule: Rule, param: Any, forget: Callable[[Any], Any]) -> None:
        formats = Formats.alike(param.dtype.name)
        formats = replace(formats, grad=formats.compute)
        self._gradient = RowGradient(param, "grad", "param")
        check_rows_go_with(rule, self._gradient)
        launch = RowLaunch(rule, formats, (), [param], 0, self._gradient, Options(), None)
        self._launch: RowLaunch = launch
        self._owner = ref(param, forget)
        self.same = never
        self.write, self.run = launch.writer(0), self.runner(None)

    def takes(self, grad: Any) -> bool:
        return isinstance(grad, Rows)

    def runner(self, threads: int | None) -> Callable[[], None]:
        return partial(self._run, threads)

    def _run(self, limit: int | None) -> None:
        self._launch.table.run(limit)

    def bind(self, arrays: Sequence[Any], addresses: Sequence[int]) -> None:
        self._gradient.take(arrays[1])
        self._launch.table.rows[0, 1:] = addresses
        self._launch.spread()
