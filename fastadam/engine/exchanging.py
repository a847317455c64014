"""A `with` block in which the parameters of an engine are exchanged, for evaluation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..kernels.commit import commit
from .averages import Exchange
from .engine import Engine


@contextmanager
def exchanging(engine: Engine, name: str, prepared: Callable[[], Exchange]) -> Iterator[None]:
    """A `with` block in which an exchange is in effect.

    Args:
        engine: the engine of the parameters.
        name: the name of the block, for messages about an interrupted step or file.
        prepared: returns the exchange.
    """
    exchange: Exchange | None = None
    try:
        try:
            with engine.lock:
                engine.refresh()
                made = prepared()
                engine.note_edits()  # so that steps inside the block are refused
                exchange = made
                if engine.files:
                    commit(engine.files.begun(name))
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
            if engine.files:
                engine.files.note_done()
