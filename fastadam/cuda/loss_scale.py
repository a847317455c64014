"""Loss scales in the memory of a device, which computes their inverse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..engine.backend import backend_of
from ..engine.launch import Launch
from ..kernels.factory import kernel
from ..kernels.formats import floats
from ..kernels.stream import Stream
from ..rules import rule
from .array import as_array, zeros

if TYPE_CHECKING:
    from ..engine.clipping import ClipFactor

DTYPES = ("float32", "float64")  # of a scale


@rule()
def inverse(param, grad, state, h):  # type: ignore[no-untyped-def]
    """In float64."""
    return 1.0 / grad, state


class DeviceScale:
    """The factor of gradients for a loss scale on the device.

    Args:
        launches: the launches of an update.
        clip: computes clip factors; None without clipping.
    """

    def __init__(self, launches: Sequence[Launch], clip: ClipFactor | None) -> None:
        self._clip, self._launches = clip, launches
        streams = {launch.kernel.streams[0].storage.compute for launch in launches}
        self._factors = {dtype: zeros(1, dtype) for dtype in ("float64", *sorted(streams))}
        self._runs: dict[str, tuple[list[Launch], Callable[[], None]]] = {}
        self._before: list[Any] | None = None  # the addresses of the host's factors

    @property
    def address(self) -> int:
        """The address of the factor in float64."""
        address: int = self._factors["float64"].address
        return address

    def follow(self, scale: Any) -> None:
        """Compute the factor from a scale, and make the launches use it.

        Raises:
            TypeError: if it is not one number.
        """
        from .context import work
        from .streams import orders_of

        array = as_array(scale)
        if array.size != 1 or array.dtype.name not in DTYPES:
            raise TypeError(
                f"step(): grad_scale is an array of {array.dtype} and shape {array.shape}; give "
                "one number of float32"
            )
        work.turn.join(orders_of([scale]))
        launches, run = self._run_for(array.dtype.name)
        for launch in launches:
            launch.place("grad", [array.address])
        if self._before is None:
            self._before = [launch.table.placed(name) for launch, name in self._users()]
            for launch, name in self._users():
                factor = self._factors[dtype_of(launch, name)]
                launch.table.place(name, [factor.address] * len(launch.members))
        run()

    def release(self) -> None:
        """Make the launches use the factor of the host again."""
        if self._before is not None:
            for (launch, name), places in zip(self._users(), self._before, strict=True):
                launch.table.place(name, places)
            self._before = None

    def _users(self) -> Iterable[tuple[Launch, str]]:
        """The launches that read the factor, and the kernel streams by which they do."""
        if self._clip:
            return [(launch, "unscale") for launch in self._clip.launches]
        return [(each, "grad_scale") for each in self._launches if "grad_scale" in each.numbers]

    def _run_for(self, dtype: str) -> tuple[list[Launch], Callable[[], None]]:
        if dtype not in self._runs:
            made = []
            for kind, factor in self._factors.items():
                streams = (
                    Stream("param", floats(kind, "float64"), "w"),
                    Stream("grad", floats(dtype, "float64"), "r"),
                )
                target = backend_of(factor).target
                made.append(Launch(inverse, kernel(inverse, streams, target), [factor], [0]))
            (run,), _ = backend_of(factor).chained(made, None)
            self._runs[dtype] = made, run
        return self._runs[dtype]


def dtype_of(launch: Launch, name: str) -> str:
    """The dtype in which a launch reads a stream of single numbers."""
    (stream,) = [each for each in launch.kernel.streams if each.name == name]
    return stream.storage.stored[0].dtype
