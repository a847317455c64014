"""Streams of a device: the stream of a step, and its dependencies."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from .addresses import places_of
from .context import driver, work
from .driver import LEGACY, PER_THREAD


def handle_of(stream: Any) -> int:
    """The handle of a stream of any library.

    Args:
        stream: a handle, or an object of CuPy, Numba, PyTorch, or with `__cuda_stream__`.

    Raises:
        TypeError: for anything else.
    """
    for name in ("cuda_stream", "ptr", "__cuda_stream__", "handle"):
        found = getattr(stream, name, None)
        if found is not None:
            break
    else:
        found = stream
    if callable(found):
        found = found()
    if isinstance(found, tuple):  # (version, handle)
        found = found[-1]
    found = getattr(found, "value", found) or 0
    try:
        if isinstance(found, bool | str | bytes | float):
            raise TypeError
        handle = int(found)
    except (TypeError, ValueError):
        handle = -1
    if handle < 0:
        raise TypeError(
            f"stream={stream!r} is not a stream; give a handle, or a stream of CuPy, Numba or "
            "PyTorch"
        )
    return handle or LEGACY


class StreamOrder:
    """The order of work on fastadam's own memory: the stream in which it was last used.

    Work in another stream first waits for this one. Once a CUDA graph uses the memory, the host
    waits for the device, since replays of a graph are not visible to it.
    """

    def __init__(self) -> None:
        self._stream, self._replayed = LEGACY, False
        self._event: Any = None

    def capture(self) -> None:
        """Wait for all work queued so far, before a graph uses the memory."""
        if self._stream == LEGACY:
            self._event = driver.event()
            driver.record(self._event, LEGACY)
        driver.reach(self._event)
        self._replayed = True

    def ask(self) -> None:
        """Return None: no library announces a stream for this memory."""

    def enter(self, stream: int, other: None = None) -> None:
        """Continue work in a stream."""
        if self._replayed:
            driver.finish_all()
            return
        if stream == self._stream != PER_THREAD:
            return
        if self._stream == LEGACY:
            _let_wait(stream, LEGACY)
        else:
            driver.follow(stream, self._event)

    def leave(self, stream: int, other: None = None) -> None:
        """Record work in a stream, by an event, since the stream may no longer exist later."""
        if self._replayed:
            driver.finish(stream)
        self._stream = stream
        if stream != LEGACY:
            self._event = self._event or driver.event()
            driver.record(self._event, stream)


class ForeignStream:
    """The order of work on memory of another library, which announces its stream.

    Args:
        ask: returns that stream, or None if there is nothing to wait for.
    """

    def __init__(self, ask: Callable[[], int | None]) -> None:
        self.ask = ask

    def capture(self) -> None:
        if self.ask() not in (None, work.stream):
            raise RuntimeError(
                f"a step is captured in the stream {work.stream}, but its arrays announce the "
                f"stream {self.ask()}; make the captured stream the current one"
            )

    @staticmethod
    def enter(stream: int, other: int | None) -> None:
        """Continue work in a stream, after that in `other`, the announced one."""
        if other is not None and other != stream:
            _let_wait(stream, other)

    @staticmethod
    def leave(stream: int, other: int | None) -> None:
        if other is not None and other != stream:
            _let_wait(other, stream)


def _let_wait(stream: int, other: int) -> None:
    """Make a stream wait for the work queued in another."""
    event = driver.event()
    driver.record(event, other)
    driver.follow(stream, event)


NEVER = ForeignStream(lambda: None)  # never waits


def stream_of_torch(device: int | None = None) -> int:
    """The handle of PyTorch's current stream, without creating an object, which would take longer
    than a step."""
    torch = sys.modules["torch"]
    raw = getattr(torch._C, "_cuda_getCurrentRawStream", None)
    if raw is None:
        return torch.cuda.current_stream(device).cuda_stream or LEGACY
    return raw(torch._C._cuda_getDevice() if device is None else device) or LEGACY


@cache
def _order_of_kind(kind: Any) -> ForeignStream | None:
    """The stream of all arrays of a class, the current one of the thread; None if they differ.

    CuPy exports the stream with each array. PyTorch exports none and uses its current stream.
    """
    names = {(base.__module__.partition(".")[0], base.__name__) for base in kind.__mro__}
    if ("torch", "Tensor") in names:
        return ForeignStream(stream_of_torch)
    if ("cupy", "ndarray") in names:
        return ForeignStream(lambda: sys.modules["cupy"].cuda.get_current_stream().ptr or LEGACY)
    return None


def order_of(array: Any) -> Any:
    """The order of work on an array: its StreamOrder, or a ForeignStream."""
    kind: Any = type(array)
    known = getattr(array, "order", None) or _order_of_kind(kind)
    if known is not None:
        return known
    if not getattr(array, "stream", 1) or not hasattr(array, "__cuda_array_interface__"):
        return NEVER  # one of Numba, or of its simulator
    return ForeignStream(lambda: _announced(array))


def _announced(array: Any) -> int | None:
    stream = array.__cuda_array_interface__.get("stream")
    return None if stream is None else int(stream) or LEGACY


def orders_of(arrays: Sequence[Any]) -> dict[Any, None]:
    """The orders of work on several arrays, without repetitions; None is skipped."""
    orders: dict[Any, None] = {}
    for kind in dict.fromkeys(map(type, arrays)):
        if shared := _order_of_kind(kind):
            orders[shared] = None
        elif kind is not type(None):
            orders |= {order_of(array): None for array in arrays if type(array) is kind}
    return orders


@contextmanager
def in_order(*arrays: Any) -> Iterator[None]:
    """A `with` block for work on arrays of a device, in the stream of the active StreamScope, or in
    the default stream."""
    orders = orders_of(arrays)
    if work.turn is not None:
        work.turn.join(orders)
        yield
        return
    driver.bind()
    asked = {order: order.ask() for order in orders}
    for order, other in asked.items():
        order.enter(LEGACY, other)
    yield
    for order, other in asked.items():
        order.leave(LEGACY, other)


class StreamScope:
    """The lock of an optimizer on a device, which queues all its work in one stream.

    The stream is the one given to `on`; else the one announced by the parameters, or else by the
    gradients; else the default stream.

    Args:
        params: returns the parameters.

    Attributes:
        order: the order of work on the optimizer's own memory.
        captures: True while the stream is being captured in a CUDA graph.
        captured: the bookkeeping of steps replayed from graphs; None without any.
    """

    captures = False

    def __init__(self, params: Callable[[], Sequence[Any]]) -> None:
        self.order, self._lock, self._params = StreamOrder(), Lock(), params
        self.captured: Any = None
        self._joined: dict[Any, int | None] = {}  # by the streams that they announced
        self._known: tuple[Any, ...] = ((), {}, (), [])
        self._chosen = False
        self._before: tuple[int, Any] = (LEGACY, None)

    def __enter__(self) -> None:
        self._begin(None)

    def __exit__(self, *error: Any) -> None:
        self._end()

    @contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        """The scope as a context with a given stream."""
        self._begin(handle_of(stream))
        try:
            yield
        finally:
            self._end()

    def _begin(self, stream: int | None) -> None:
        self._lock.acquire()
        self._before, self._joined = (work.stream, work.turn), {}
        try:
            driver.bind()
            orders = self._orders()
            asked = {order: order.ask() for order in orders}
            stream = stream or _first(asked)
            self._chosen = stream is not None
            work.stream, work.turn = stream or LEGACY, self
            if work.stream == LEGACY:
                _check_beside_torch()
            elif driver.capturing(work.stream):
                self._capture()
            self._join({self.order: None, **asked})
            if self.captured is not None:
                self.captured.begin(self)
        except BaseException:
            self._end()
            raise

    def _orders(self) -> dict[Any, None]:
        """The orders of work on the parameters, after a check that no parameter was reallocated."""
        params = self._params()
        if self._known[0] is not params:
            foreign = [param for param in params if param.source is not None]
            sources = [param.source for param in foreign]
            self._known = params, orders_of(params), sources, [one.address for one in foreign]
        orders: dict[Any, None]
        _, orders, sources, addresses = self._known
        if places_of(sources) != addresses:
            raise ValueError(
                "a parameter has other memory than when the optimizer was made; write into the "
                "array in place (tensor.copy_), or make a new optimizer"
            )
        return orders

    def _capture(self) -> None:
        """Begin to queue only launches in the stream; other work uses the stream `aside`, and is
        waited for."""
        self.captures, self._relaxed = True, driver.relaxed()
        self._relaxed.__enter__()
        work.aside = driver.aside

    def join(self, orders: Iterable[Any]) -> None:
        """Make the stream wait for work on further memory in other streams, and later work there
        wait for the end of this scope."""
        self._join({order: order.ask() for order in orders if order not in self._joined})

    def _join(self, asked: Mapping[Any, int | None]) -> None:
        if not self._chosen and (stream := _first(asked)) is not None:
            self._move(stream)
        for order, other in asked.items():
            if self.captures:
                order.capture()
            else:
                order.enter(work.stream, other)
            self._joined[order] = other

    def _move(self, stream: int) -> None:
        if driver.capturing(stream):
            raise RuntimeError(
                f"the gradients announce the stream {stream}, which is being captured, but the "
                "parameters announce none; give step() that stream"
            )
        for order, other in self._joined.items():
            order.leave(work.stream, other)
        work.stream, self._chosen = stream, True
        for order, other in self._joined.items():
            order.enter(stream, other)

    def _end(self) -> None:
        try:
            if self.captured is not None:
                self.captured.end(self)
            if not self.captures:
                for order, other in self._joined.items():
                    order.leave(work.stream, other)
        finally:
            if self.captures:
                self.captures, work.aside = False, None
                self._relaxed.__exit__(None, None, None)
            work.stream, work.turn = self._before
            self._lock.release()


def _check_beside_torch() -> None:
    """Refuse to work in the default stream while PyTorch captures another."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "PyTorch is capturing a stream, but a step would go into another: give it "
            "stream=torch.cuda.current_stream()"
        )


def _first(asked: Mapping[Any, int | None]) -> int | None:
    """The first announced stream, or None."""
    return next((stream for stream in asked.values() if stream is not None), None)
