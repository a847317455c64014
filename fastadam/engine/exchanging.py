"""A block inside of which the parameters of an engine are exchanged, for evaluation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .averages import Exchange
from .engine import Engine


@contextmanager
def exchanging(engine: Engine, name: str, prepared: Callable[[], Exchange]) -> Iterator[None]:
    """A block in which an exchange is in effect.

    Args:
        engine: whose parameters are exchanged.
        name: of the exchange, for messages about a step or file that was interrupted.
        prepared: returns the exchange.
    """
    exchange: Exchange | None = None
    try:
        try:
            with engine.lock:
                engine.refresh()
                made = prepared()
                engine.note_edits()  # so that whatever comes next is refused
                exchange = made
                engine.mark(name)
                exchange.make()
            yield
        finally:
            _put_back(engine, exchange)
    finally:
        _put_back(engine, exchange)  # in case an interrupt came in between


def _put_back(engine: Engine, exchange: Exchange | None) -> None:
    with engine.lock:
        if exchange:
            exchange.undo()
            engine.note_done()
