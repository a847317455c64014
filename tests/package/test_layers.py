"""Layers of the package: each imports from those below it alone, and no modules import each other.

All import statements count, also those inside functions and under `TYPE_CHECKING`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastadam

ROOT = Path(fastadam.__file__).parent
LAYERS = (
    {"validation", "rules"},
    {"kernels", "schedules"},
    {"memory"},
    {"processes"},
    {"engine"},
    {"checkpoint", "cuda", "typing"},
    {"optimizer"},
    {"optimizers"},
    {"embedding"},
    {"functional"},
    {"distributed", "memory_budget", "loss_scaler", "minimization", "torch"},
    {"bench"},
    {"jax"},
    {"cli"},
)
LIBRARIES = {
    "numba": ("kernels.cpu", "cuda", "embedding", "jax", "bench"),
    "jax": ("jax", "bench"),
    "torch": ("torch", "processes.process_group", "bench"),
}
ENTRY = {"", "__main__"}  # the package itself, which imports the public names of all layers
LAZY = ("engine.backend", "cuda.backend")  # the one import that points up, inside a function


def name_of(path: Path) -> str:
    """The module of a file, without the name of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in ROOT.rglob("*.py")}


def imported(module: str) -> Iterator[str]:
    """The modules that a module imports, with their full names."""
    path = FILES[module]
    full = f"fastadam.{module}" if module else "fastadam"
    package = full if path.name == "__init__.py" else full.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (above, node.module)))
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner.removeprefix("fastadam.") in FILES else base


IMPORTS = {
    module: {
        name.removeprefix("fastadam").removeprefix(".")
        for name in imported(module)
        if name.partition(".")[0] == "fastadam"
    }
    for module in FILES
}


def layer_of(module: str) -> int:
    """The number of the layer of a module."""
    first = module.partition(".")[0]
    return next(number for number, layer in enumerate(LAYERS) if first in layer)


def upward() -> set[tuple[str, str]]:
    """The imports from a layer that is not below."""
    return {
        (module, other)
        for module, others in IMPORTS.items()
        for other in (others & FILES.keys()) - {""}  # stubs are not modules
        if module not in ENTRY and module.partition(".")[0] != other.partition(".")[0]
        if layer_of(other) >= layer_of(module)
    } - {LAZY}


def test_every_layer_imports_from_layers_below() -> None:
    assert not upward()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_in_its_own_places_only(library: str) -> None:
    found = {
        (module, library)
        for module in FILES
        if library in {name.partition(".")[0] for name in imported(module)}
        and not any(f"{module}.".startswith(f"{place}.") for place in LIBRARIES[library])
    }
    assert not found


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """The sets of modules of which each imports, through others, all of the set."""
    reached = {module: {*others} for module, others in imports.items()}
    for middle in reached:
        for others in reached.values():
            if middle in others:
                others |= reached[middle]
    found = {
        frozenset(other for other in others if module in reached.get(other, ()))
        for module, others in reached.items()
        if module in others
    }
    return [{*circle} for circle in found]


def test_no_modules_import_each_other() -> None:
    imports = {module: others & FILES.keys() for module, others in IMPORTS.items() if module}
    module, other = LAZY
    imports[module].discard(other)
    for others in imports.values():
        others.discard("")
    assert not circles(imports)
