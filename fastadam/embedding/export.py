"""Export of a step as a C library: header, object, static and shared library."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..rules.algorithm import Values
from ..validation import alternatives
from .archive import static_library, undefined_symbols
from .arguments import embedded
from .c_header import header
from .c_interface import SUFFIXES, Interface
from .c_object import Output, built
from .targets import Target, target_named
from .tracing import traced

HERE = "export_c()"


def export_c(
    optimizer: Any,
    folder: Path | str,
    *,
    dtypes: Sequence[str] = ("float32", "float64", "bfloat16"),
    target: str = "native",
    options: Sequence[str] = (),
    grads: Any = None,
    state: Any = None,
    compensation: str | None = None,
    rounding: str = "nearest",
    llvm_ir: bool = False,
    assembly: bool = False,
    told: Callable[[str], None] = lambda line: None,
    show: Callable[[str, float], None] = lambda label, fraction: None,
    **hyper: Any,
) -> list[Path]:
    """Write an optimizer as a C library, for programs without Python.

    `adamw.h`, `adamw.o`, `libadamw.a` and `libadamw.so` have, for each dtype, a function for all
    elements and one for a range of them, and a function from hyperparameters to constants. The
    header documents them. Nothing else is needed to compile or run a program: no Python, no Numba,
    no library. Results are bit-identical to those of `Optimizer.step`.

    Args:
        optimizer: the class.
        folder: the folder for the files; it is created.
        dtypes: dtypes of the parameters, each with functions of its own.
        target: "native", "x86-64-v3", "x86-64-v4", "aarch64", or an LLVM triple and a CPU, such as
            "aarch64-unknown-linux-gnu+neoverse-v1".
        options, grads, state, compensation, rounding: as for `fa.compiled`.
        llvm_ir: True also writes the optimized LLVM IR.
        assembly: True also writes the assembly.
        told: called with a message for each file that is not written.
        show: called with a label and the completed fraction, for a progress bar.
        hyper: hyperparameters; numbers become the defaults of the C program, flags are fixed.

    Returns:
        The files.

    Raises:
        TypeError, ValueError: before anything is written; for a target that LLVM does not know, and
            for a rule that calls functions whose results depend on the target, such as `math.exp`.
        OSError: if a file cannot be written.

    Examples:
        >>> import tempfile, fastadam as fa
        >>> from fastadam.embedding.export import export_c
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = export_c(fa.Lion, folder, dtypes=["float32"])
        >>> files[0].name, files[1].name
        ('lion.h', 'lion.o')
    """
    interface = interface_of(
        optimizer, dtypes, options, grads, state, compensation, rounding, hyper
    )
    chosen = target_named(target)
    output = built(interface, chosen, show)
    _check_alone(output, chosen, interface)
    flags = "".join(f", {name}={interface.values[name]}" for name in hyper)
    texts: dict[str, str | bytes] = {
        f"{interface.name}.h": header(interface, flags, _shown(chosen)),
        f"{interface.name}.o": output.object,
    }
    if chosen.is_elf:
        library = static_library(output.object, output.symbols)
        texts[f"lib{interface.name}.a"] = library
    texts |= {f"{interface.name}.ll": output.llvm_ir} if llvm_ir else {}
    texts |= {f"{interface.name}.s": output.assembly} if assembly else {}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in texts]
    for file, text in zip(files, texts.values(), strict=True):
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return files + _linked(folder, interface.name, chosen, told)


def interface_of(
    optimizer: Any,
    dtypes: Sequence[str],
    options: Sequence[str],
    grads: Any,
    state: Any,
    compensation: str | None,
    rounding: str,
    hyper: Values,
) -> Interface:
    """The C interface of an optimizer.

    Raises:
        TypeError, ValueError: for incompatible formats, options or hyperparameters.
    """
    if isinstance(dtypes, str):
        raise TypeError(f"{HERE}: dtypes={dtypes!r} is one string; write ({dtypes!r},)")
    if not dtypes:
        raise ValueError(f"{HERE}: dtypes is empty; give some of {', '.join(SUFFIXES)}")
    for dtype in dtypes:
        if dtype not in SUFFIXES:
            end = alternatives(dtype, SUFFIXES, f"choose from {', '.join(SUFFIXES)}")
            raise ValueError(f"{HERE}: dtype {dtype!r} is unknown{end}")
    steps = [
        embedded(HERE, optimizer, dtype, options, grads, state, compensation, rounding, hyper)
        for dtype in dict.fromkeys(dtypes)
    ]
    cls, values = steps[0].optimizer, steps[0].values
    if cls is None:
        raise TypeError(f"{HERE}: {optimizer!r} is a rule; give the class of the optimizer")
    author = cls.without_arrays()
    changed = [
        name
        for name in hyper
        if author.variant({**cls.defaults, name: values[name]}) is not author.variant(cls.defaults)
    ]
    low = [word for word in (state, compensation) if word]
    name = "_".join([cls.__name__.lower(), *changed, *low, *dict.fromkeys(options)])
    return Interface(name, cls, values, tuple(steps), traced(author, values))


def _check_alone(output: Output, target: Target, interface: Interface) -> None:
    """Refuse an object that needs functions of a library.

    Raises:
        ValueError: naming them.
    """
    names = sorted(undefined_symbols(output.object)) if target.is_elf else []
    if names:
        raise ValueError(
            f"{interface.optimizer.__name__} needs {', '.join(names)} of a library on "
            f"{target.name}; choose a later processor, such as x86-64-v3"
        )


def _shown(target: Target) -> str:
    return target.triple if target.name == "native" else f"{target.name} ({target.triple})"


def _linked(folder: Path, name: str, target: Target, told: Callable[[str], None]) -> list[Path]:
    """The shared library, if there is a linker for the target."""
    linker, output = target.linker(), folder / f"lib{name}.so"
    if linker is None:
        told(f"{output.name} is left out: there is no linker for {target.triple} here")
        return []
    words = [*linker, "-o", str(output), str(folder / f"{name}.o")]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        told(f"{output.name} is left out: {done.stderr.strip().splitlines()[-1:]}")
        return []
    return [output]
