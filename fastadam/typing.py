"""Types of the arguments of optimizers, for annotations in your own code.

Checkers such as mypy and pyright find misspelt keywords and values of the wrong kind by them. The
signatures themselves are in stub files, which `tests/support/stubs.py` writes.

Examples:
    >>> import numpy as np, fastadam as fa
    >>> from fastadam.typing import Params, Scheduled
    >>> def trained(params: Params, lr: Scheduled = 1e-3) -> fa.Optimizer:
    ...     return fa.AdamW(params, lr, weight_decay=0.1)
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, SupportsFloat, SupportsIndex, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .engine.flat import Flat
    from .memory.rows import Rows

__all__ = ["Array", "Count", "Dtype", "Flag", "Grads", "Number", "Params", "Scheduled"]

Item = TypeVar("Item", covariant=True)


class DeviceArray(Protocol):
    """An array on a GPU: of CuPy, PyTorch, JAX, Numba or fastadam."""

    @property
    def __cuda_array_interface__(self) -> Any: ...


class Items(Protocol[Item]):
    """A list, a tuple, a view of a dict, or another collection, but no string."""

    def __contains__(self, item: object, /) -> bool: ...
    def __iter__(self) -> Iterator[Item]: ...
    def __len__(self) -> int: ...


class TorchDtype(Protocol):
    """A dtype of PyTorch."""

    @property
    def is_floating_point(self) -> bool: ...


Array: TypeAlias = NDArray[Any] | DeviceArray
Node: TypeAlias = "Array | Flat | Mapping[Any, Any] | Items[Any]"
Params: TypeAlias = "Array | Flat | Mapping[Any, Any] | Items[Node] | Iterator[Node]"
Grads: TypeAlias = "Params | Rows | Items[Node | Rows | None] | Iterator[Node | Rows | None]"

Number: TypeAlias = SupportsFloat
Count: TypeAlias = SupportsIndex | float
Flag: TypeAlias = bool | np.bool_
Pair: TypeAlias = tuple[Number, Number] | list[Any] | NDArray[Any]
OptionalPair: TypeAlias = tuple[Number | None, Number] | list[Any] | NDArray[Any]
Triple: TypeAlias = tuple[Number, Number, Number] | list[Any] | NDArray[Any]
Cores: TypeAlias = Items[SupportsIndex]
Dtype: TypeAlias = np.dtype[Any] | type[Any] | TorchDtype

Scheduled: TypeAlias = Number | Callable[[int], Number]
ScheduledFlag: TypeAlias = Flag | Callable[[int], Flag]
ScheduledPair: TypeAlias = tuple[Scheduled, Scheduled] | Pair | Callable[[int], Pair]
ScheduledOptionalPair: TypeAlias = (
    tuple[Scheduled | None, Scheduled] | OptionalPair | Callable[[int], OptionalPair]
)
ScheduledTriple: TypeAlias = (
    tuple[Scheduled, Scheduled, Scheduled] | Triple | Callable[[int], Triple]
)
