"""Imports that KeyboardInterrupt cannot leave half done."""

import sys
from functools import cache
from importlib import import_module
from threading import Thread
from types import ModuleType


@cache
def whole(name: str) -> ModuleType:
    """Import a module completely, even if the caller is interrupted meanwhile.

    Importing Numba takes tenths of a second. If KeyboardInterrupt ends the import, the package
    cannot be imported again in the process. Interrupts are raised in the main thread only, so
    another thread imports the module, and continues after an interrupt.
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
    return import_module(name)  # waits for a thread that is importing it
