"""`fastadam export --c`: arguments, and the call of the export."""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ..arguments import keyword, merged, optimizer

TARGETS = "native, x86-64-v3, x86-64-v4, aarch64, or TRIPLE+CPU as LLVM names them"


class Named(NamedTuple):
    """A class of an optimizer by its name, and hyperparameters."""

    name: str
    keywords: dict[str, Any]

    def found(self) -> Any:
        """The class.

        Raises:
            ValueError: if there is none.
        """
        from ... import optimizers

        if "." not in self.name:
            return optimizers.by_name(self.name)
        module, _, name = self.name.rpartition(".")
        if "" not in sys.path:
            sys.path.insert(0, "")  # the current folder, as for python -m
        try:
            found = getattr(import_module(module), name, None)
        except ModuleNotFoundError as error:
            raise ValueError(f"--c {self.name}: there is no module {error.name!r} here") from None
        if not isinstance(found, type):
            raise ValueError(f"--c {self.name}: module {module} has no class {name!r}")
        return found


def optimizer_or_class(text: str) -> Named:
    """An optimizer written as `sgd:momentum=0.9`, or a class as `module.Class:lr=0.1`."""
    name, _, rest = text.partition(":")
    if "." not in name:
        return Named(*optimizer(text))
    return Named(name, dict(keyword(part) for part in rest.split(",") if part))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a C library."""
    add = parser.add_argument
    add("--target", help=f"with --c: {TARGETS} (default: native)")
    add("--llvm-ir", action="store_true", help="with --c: also write LLVM IR")
    add("--asm", action="store_true", help="with --c: also write assembly")


def check_unused(arguments: argparse.Namespace) -> None:
    """Refuse options of a C library for PTX.

    Raises:
        ValueError: naming the option.
    """
    for name in ("target", "llvm_ir", "asm"):
        if getattr(arguments, name):
            raise ValueError(f"--{name.replace('_', '-')} goes with --c, not with --ptx")


def run(arguments: argparse.Namespace) -> int:
    """Compile and write; prints the names of the files.

    Raises:
        TypeError, ValueError, ImportError, OSError: in one line.
    """
    from ...bench.console import progress, say
    from ...embedding.export import export_c

    if arguments.cc:
        raise ValueError("--cc goes with --ptx; give --target")
    if arguments.header:
        raise ValueError("--header goes with --ptx; --c always writes a header")
    if arguments.output is None:
        raise ValueError("--c writes several files; give a folder: -o build")
    if arguments.output.exists() and not arguments.output.is_dir():
        raise ValueError(f"--output: {str(arguments.output)!r} is not a folder")
    name, keywords = arguments.c
    hyper = merged(keywords, dict(arguments.hyper))
    chosen: dict[str, Any] = {"dtypes": [arguments.params]} if arguments.params else {}
    notes: list[str] = []
    with progress() as show:
        files = export_c(
            Named(name, keywords).found(),
            arguments.output,
            target=arguments.target or "native",
            options=[option for names in arguments.options for option in names],
            grads=arguments.grads,
            state=arguments.state,
            compensation=arguments.compensation,
            rounding=arguments.rounding or "nearest",
            llvm_ir=arguments.llvm_ir,
            assembly=arguments.asm,
            told=notes.append,
            show=show,
            **chosen,
            **hyper,
        )
    for note in notes:
        say(f"fastadam export: {note}")
    for file in files:
        print(_told(file))
    return 0


def _told(file: Path) -> str:
    return f"{file} ({file.stat().st_size / 1e3:.0f} kB)"
