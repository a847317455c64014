"""Constants of a step that depend on learning rates in the memory of a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.stream import record_of
from .command_buffer import table_of
from .device_rate import CONSTANT, MOST, DeviceRate

if TYPE_CHECKING:
    from ..engine.launch_plan import StepPlan
    from ..rules.algorithm import Algorithm, Values


class Tracing:
    """An algorithm whose `hyper` is called with learning rates that the host does not know.

    Attributes:
        constants: the results of `hyper` for each record, in the order of a plan.
    """

    def __init__(self, algorithm: Algorithm) -> None:
        self.carry, self._hyper = algorithm.carry, algorithm.hyper
        self.constants: list[Mapping[str, Any]] = []

    def hyper(self, group: Values, step: int) -> Any:
        constants = self._hyper(group, step)
        if not isinstance(constants, Mapping):
            return constants
        self.constants.append(constants)
        return {n: 0.0 if isinstance(c, DeviceRate) else c for n, c in constants.items()}


def rates_of(values: Sequence[Values]) -> list[DeviceRate]:
    """The learning rates of groups that are on the device."""
    return [rate for each in values if isinstance(rate := each.get("lr"), DeviceRate)]


class DeviceConstants:
    """Constants that the prologue kernel computes, and their places.

    Args:
        plan: the plan with their records.
        rates: the learning rates.
        traced: the results of `hyper` for each record.

    Attributes:
        entries: for each constant, its entry in the command buffer.
    """

    def __init__(
        self, plan: StepPlan, rates: Sequence[DeviceRate], traced: Sequence[Mapping[str, Any]]
    ) -> None:
        from . import prologue_kernel as prologue

        self._records, self._keys = plan.records, [*_names(traced)]
        self._sources = _places(rates)
        self.entries: list[tuple[int, ...]] = []
        for number, name in self._keys:
            (launch, record), source = plan.records[number], traced[number][name].rate
            kernel = launch.kernel
            fields: Any = record_of(kernel.rule, kernel.streams[0].storage.compute).fields
            dtype, place, *_ = fields[name]
            first = table_of(launch).home + record * kernel.record.size
            kind = prologue.KINDS[source.dtype.name]
            self.entries.append((first + place, dtype.itemsize, source.address, kind))

    def serves(self, plan: StepPlan, rates: Sequence[DeviceRate]) -> bool:
        """True if the records, and the addresses of the learning rates, are unchanged."""
        return self._records is plan.records and self._sources == _places(rates)

    def page(self, traced: Sequence[Mapping[str, Any]]) -> Any:
        """The operations that compute the constants, for a page.

        Raises:
            RuntimeError: if other constants depend on a learning rate than before.
        """
        if {*_names(traced)} - {*self._keys}:
            raise RuntimeError("the set of constants that depend on lr must not change with lr")
        words = np.zeros((len(self._keys), 1 + MOST), np.int64)
        numbers = words.view(np.float64)
        for word, constants, (number, name) in zip(words, numbers, self._keys, strict=True):
            value = traced[number][name]
            operations = getattr(value, "operations", ((CONSTANT, value),))
            for k, (operation, constant) in enumerate(operations):
                word[0] |= operation << 8 * k
                constants[1 + k] = constant
        return words.ravel()


def _places(rates: Sequence[DeviceRate]) -> list[tuple[int, str]]:
    return [(rate.rate.address, rate.rate.dtype.name) for rate in rates]


def _names(traced: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    return [
        (number, name)
        for number, constants in enumerate(traced)
        for name, value in constants.items()
        if isinstance(value, DeviceRate)
    ]
