"""Write the stub files, in which type checkers and editors find the arguments of each optimizer.

`python tests/support/stubs.py` reads signatures and defaults from the package itself; a test
compares the files with what this would write. It needs PyTorch.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import indent
from typing import Any

import fastadam.torch
from fastadam import functional, optimizers
from fastadam.engine import options
from fastadam.engine.hyperparameters import CHOICES, OPTIONAL
from fastadam.validation import choice, count, flag

PACKAGE = Path(fastadam.__file__).parent
NAMES = optimizers.__all__
TYPES = "Array Cores Count Dtype Flag Number OptionalPair Pair Params Scheduled ScheduledFlag"
TYPES += " ScheduledOptionalPair ScheduledPair ScheduledTriple Triple"
STRINGS = {"eps_mode": ("torch", "hat")}  # hyperparameters that are one of a few strings
EXTRAS = dict.fromkeys(("mask", "ema", "shadow"), "Array | None")
EXTRAS |= dict.fromkeys(("grad_scale", "clip_value", "ema_decay"), "Number | None")
EXTRAS |= {"norm": "Flag", "seed": "Count"}
FLAGS = dict.fromkeys(("foreach", "fused", "capturable", "differentiable"), "bool | None")


def literal(values: Iterable[str | None]) -> str:
    given = [*values]
    listed = ", ".join(f'"{value}"' for value in given if value is not None)
    return f"Literal[{listed}]" + " | None" * (None in given)


def option_type(name: str) -> str:
    """The type of an option, from its check."""
    check, limits = options.SPECS[name].check, options.SPECS[name].limits
    if check is flag:
        return "Flag"
    if check is choice:
        return literal(limits[0])
    if check is count:
        return "Count"
    if check is options._dtype:
        return f"{literal(limits[0])} | Dtype | None"
    return {"threads": "Count | None", "cores": "Cores | None"}.get(name, "Number | None")


def type_of(name: str, default: Any, scheduled: bool) -> str:
    """The type of an argument, from its name and default."""
    if name in FLAGS:
        return FLAGS[name]
    if name in options.SPECS:
        return option_type(name)
    if name in CHOICES:
        return literal((*CHOICES[name], *((None,) if default is None else ())))
    kinds = {bool: "Flag", tuple: "Pair", int: "Count", float: "Number", type(None): "Number"}
    kind = kinds.get(type(default))
    if kind is None:
        raise TypeError(f"{name}={default!r} has no type; add one to {__file__}")
    kind = "Triple" if kind == "Pair" and len(default) == 3 else kind
    kind = "OptionalPair" if kind == "Pair" and None in default else kind
    if scheduled and kind != "Count":
        kind = {"Number": "Scheduled"}.get(kind, f"Scheduled{kind}")
    return kind + " | None" * (default is None or name in OPTIONAL)


def arguments(function: Callable[..., Any], types: dict[str, str], scheduled: bool) -> list[str]:
    """The arguments of a function as lines of a stub."""
    lines, kind, stars = list[str](), inspect.Parameter, 0
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY and not stars:
            lines, stars = [*lines, "*"], 1
        star, stars = ("*", 1) if p.kind is p.VAR_POSITIONAL else ("", stars)
        note = types.get(p.name) or type_of(p.name, p.default, scheduled)
        default = "" if p.default is kind.empty else f" = {p.default!r}".replace("'", '"')
        lines.append(f"{star}{p.name}: {note}{default}")
    return lines


def method(
    head: str, lines: Iterable[str], margin: str, result: str = "None", text: str = " ..."
) -> str:
    body = "".join(f"{margin}    {line},\n" for line in lines)
    return f"{margin}def {head}(\n{body}{margin}) -> {result}:{text}\n"


def docstring(text: str) -> str:
    """A docstring as lines of a stub; editors show it."""
    raw = "r" * ("\\" in text)
    return indent(f'{raw}"""{inspect.cleandoc(text)}\n"""', "    ") + "\n"


def stub(about: str, modules: dict[str, str], names: Iterable[str], body: str) -> str:
    """A whole file; of `modules` those names are imported that the body has."""
    found = dict[str, str]()
    for module, listed in modules.items():
        used = [name for name in listed.split() if re.search(rf"\b{name}\b", body)]
        if used:
            line = f"from {module} import {', '.join(used)}\n"
            each = "".join(f"    {name},\n" for name in used)
            found[module] = line if len(line) <= 101 else f"from {module} import (\n{each})\n"
    groups = [
        [line for module, line in found.items() if kind(module)]
        for kind in (_standard, _installed, _own)
    ]
    imports = "\n".join("".join(group) for group in groups if group)
    known = "".join(f'    "{name}",\n' for name in names)
    note = "written by tests/support/stubs.py, do not edit"
    return f'"""{about}; {note}."""\n\n{imports}\n__all__ = [\n{known}]\n\n{body}'


def _standard(module: str) -> bool:
    return module == "typing"


def _own(module: str) -> bool:
    return module.startswith(".")


def _installed(module: str) -> bool:
    return not _standard(module) and not _own(module)


def core() -> str:
    """The classes for NumPy arrays."""
    classes, parts = [getattr(optimizers, name) for name in NAMES], list[str]()
    for cls in sorted(classes, key=lambda cls: len(cls.__mro__)):  # bases first
        types = {"params": "Params", "shadow": "Params | None"}
        lines = ["self", *arguments(cls, types, scheduled=True)]
        head = f"class {cls.__name__}({cls.__bases__[0].__name__}):\n"
        parts.append(head + docstring(cls._text) + "\n" + method("__init__", lines, "    "))
    modules = {"typing": "Literal", "..optimizer": "Optimizer", "..typing": TYPES}
    modules |= {".listing": "Listing"}
    parts.append(
        "def list() -> tuple[Listing, ...]: ...\n"
        "def by_name(name: str, *more: str) -> type[Optimizer]: ...\n"
    )
    return stub("Optimizers for NumPy arrays", modules, NAMES, "\n".join(parts))


def torch() -> str:
    """The classes for PyTorch."""
    parts = list[str]()
    for name in NAMES:
        cls = getattr(fastadam.torch, name)
        lines = arguments(cls, {"params": "ParamsT"}, scheduled=False)
        head = f"class {name}(Optimizer):\n{docstring(cls.__doc__)}\n"
        parts.append(head + method("__init__", ["self", *lines], "    "))
    modules = {"typing": "Literal", "torch.optim.optimizer": "ParamsT"}
    modules |= {"..typing": TYPES, ".optimizer": "Optimizer"}
    return stub("Optimizers for PyTorch", modules, NAMES, "\n".join(parts))


def bare() -> str:
    """The functions over bare buffers."""
    body, names = "", [name for name in NAMES if name.lower() in functional.NAMES]
    for name in names:
        cls, function = getattr(optimizers, name), getattr(functional, name.lower())
        arrays = ("param", "grad", *cls.rule.state)
        types = {"step": "Count", "stream": "Any", **dict.fromkeys(arrays, "Array"), **EXTRAS}
        lines = arguments(function, types, scheduled=True)
        lines.insert(len(arrays), "/")
        lines[len(arrays) + 1] = "*state: Array"  # of a variant, or scales of state in int8
        text = "\n" + docstring(function.__doc__).rstrip()
        body += "\n" * bool(body) + method(name.lower(), lines, "", "float | None", text)
    modules = {"typing": "Any Literal", ".typing": TYPES}
    return stub("Steps over bare buffers", modules, sorted(map(str.lower, names)), body)


FILES = {
    PACKAGE / "optimizers" / "__init__.pyi": core,
    PACKAGE / "torch" / "_optimizers.pyi": torch,
    PACKAGE / "_functional.pyi": bare,
}

if __name__ == "__main__":
    for path, written in FILES.items():
        path.write_text(written())
