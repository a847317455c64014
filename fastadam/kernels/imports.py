"""Imports that no interrupt can cut in two."""

import sys
from importlib import import_module
from threading import Thread
from types import ModuleType


def whole(name: str) -> ModuleType:
    """Import a module, all of it even if the caller is interrupted meanwhile.

    An import of Numba takes some tenths of a second. One that KeyboardInterrupt ends leaves a
    package that cannot be imported again in the process. Interrupts are raised in the main thread
    only, so another one imports it; after an interrupt it goes on.
    """
    if name not in sys.modules:
        failed = list[BaseException]()

        def load() -> None:
            try:
                import_module(name)
            except BaseException as error:
                failed.append(error)

        thread = Thread(target=load, name=f"import {name}")
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
    return import_module(name)  # waits for a thread that is at it
