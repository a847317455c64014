"""Learning rates in the memory of a device: traces the operations of `hyper` on them.

`hyper` runs on the host, which does not know the rate. It is called with an object that records the
operations on it; the prologue kernel repeats them in float64, with the current rate.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .array import as_array

# Operations on the number so far with a constant, or with the rate.
ADD, TIMES, OVER, UNDER, FROM, TIMES_RATE, OVER_RATE, UNDER_RATE, CONSTANT = range(1, 10)
MOST = 6  # operations that one constant of a step may take


class DeviceRate:
    """A number computed from a learning rate on a device.

    Args:
        rate: the array of one number, float32 or float64.
        operations: pairs of an operation and its constant, in order; none for the rate itself.
    """

    __slots__ = ("operations", "rate")

    def __init__(self, rate: Any, operations: tuple[tuple[int, float], ...] = ()) -> None:
        self.rate, self.operations = rate, operations

    def _then(self, operation: int, constant: Any = 0.0) -> Any:
        if isinstance(constant, DeviceRate):
            self._refuse()
        if len(self.operations) == MOST:
            self._refuse()
        return DeviceRate(self.rate, (*self.operations, (operation, float(constant))))

    def __add__(self, other: Any) -> Any:
        return self._then(ADD, other)

    def __sub__(self, other: Any) -> Any:
        return self._then(ADD, -other)

    def __rsub__(self, other: Any) -> Any:
        return self._then(FROM, other)

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, DeviceRate):
            return self._then(TIMES, other)
        return self._then(TIMES_RATE) if not other.operations else other * self

    def __truediv__(self, other: Any) -> Any:
        if not isinstance(other, DeviceRate):
            return self._then(OVER, other)
        if not other.operations:
            return self._then(OVER_RATE)
        return other._then(UNDER_RATE) if not self.operations else self._refuse()

    def __rtruediv__(self, other: Any) -> Any:
        return self._then(UNDER, other)

    def __neg__(self) -> Any:
        return self._then(TIMES, -1.0)

    __radd__, __rmul__ = __add__, __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceRate) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.rate.address, self.rate.dtype.name, self.operations

    def _refuse(self, *others: Any) -> NoReturn:
        raise TypeError(
            "lr is a tensor on the GPU, and the host does not know its value; hyper() may add, "
            "multiply and divide, up to six times, but not compare or convert it: give lr as a "
            "float"
        )

    __float__ = __int__ = __bool__ = __abs__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __pow__ = __rpow__ = _refuse

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __repr__(self) -> str:
        return f"DeviceRate({self.operations})"


def device_rate(lr: Any) -> DeviceRate:
    """A learning rate from an array of one number on a device.

    Raises:
        TypeError: if it is something else.
    """
    array = as_array(lr)
    if array.size != 1 or array.dtype.name not in ("float32", "float64"):
        raise TypeError(
            f"lr is an array of {array.dtype} and shape {array.shape} on a device; give one number "
            "of float32 or float64"
        )
    return DeviceRate(array)
