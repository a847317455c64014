"""Facts about Numba, its threads, its kernel cache and the processor, in words."""

import platform
from functools import cache
from importlib import import_module
from pathlib import Path

FEATURES = ("avx", "avx2", "fma", "avx512f", "avx512bf16", "neon", "sve", "sve2", "bf16")
LAYERS = {"tbb": "tbbpool", "omp": "omppool", "workqueue": "workqueue"}


def cpu() -> str:
    """Name and architecture of the processor."""
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} ({platform.machine()})"


def features() -> str:
    """Instruction sets of the processor that matter here."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return ", ".join(name for name in FEATURES if features.get(name)) or f"none of {FEATURES}"


@cache
def _launched() -> str | None:
    """The threading layer, which Numba chooses at a step that is just large enough."""
    import numpy as np

    from .. import AdamW
    from ..kernels.cpu.threads import SERIAL_BELOW, threading_layer

    param, grad = np.zeros((2, SERIAL_BELOW), np.float32)
    AdamW(param, threads=2).step(grad)
    return threading_layer()


def layer() -> str:
    """The threading layer, and the reason for it."""
    from numba import config

    chosen, asked = _launched(), config.THREADING_LAYER
    if chosen is None:
        return "none: NUMBA_DISABLE_JIT is set"
    if asked != "default":
        return f"{chosen}, as NUMBA_THREADING_LAYER={asked} asks for"
    return f"{chosen}, the first that works of {', '.join(config.THREADING_LAYER_PRIORITY)}"


def layers() -> str:
    """The threading layers that work here."""

    def works(module: str) -> bool:
        try:
            import_module(f"numba.np.ufunc.{module}")
        except ImportError:
            return False
        return True

    return ", ".join(name for name, module in LAYERS.items() if works(module))


def layer_warning() -> str:
    """The consequence of a layer that only one Python thread may enter."""
    from ..kernels.cpu.threads import threading_layer

    if threading_layer() != "workqueue":
        return ""
    return (
        "large steps from several Python threads do not run in parallel with one another: while "
        "one uses all threads, the others use one each; pip install tbb"
    )


@cache
def cache_folders() -> list[Path]:
    """The folders of the kernels and of what runs them: those of Numba's that can be written to."""
    from numba.core.caching import FunctionCache

    from ..kernels import loops
    from ..kernels.cpu import target

    functions = loops.kernel, target.run
    try:
        return [Path(FunctionCache(target.with_file(each)).cache_path) for each in functions]
    except RuntimeError:
        return []


def kernel_cache() -> str:
    """The folder of the kernel cache, and the reason for it."""
    from numba import config

    from ..kernels import loops

    if not (folders := cache_folders()):
        return "none is writable, every process compiles; set NUMBA_CACHE_DIR to one that is"
    folder = folders[0]
    if folder == Path(loops.__file__).parent / "__pycache__":
        reason = "beside the package"
    elif config.CACHE_DIR and folder.is_relative_to(config.CACHE_DIR):
        reason = "in NUMBA_CACHE_DIR"
    else:
        reason = "for this user, since the folder of the package is read-only"
    return f"{folder} ({reason}; writable)"


def cache_size() -> str:
    """Number and size of the files in the kernel cache."""
    if not (folders := cache_folders()):
        return ""
    files = [path for folder in {*folders} if folder.exists() for path in folder.iterdir()]
    sizes = [path.stat().st_size for path in files if path.suffix in (".nbi", ".nbc")]
    return f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"


def cuda_device() -> str:
    """The GPU that Numba finds."""
    try:
        from numba import cuda

        if not cuda.is_available():
            return "no"
        name = getattr(cuda.current_context().device, "name", "simulator")
        return f"yes, {name.decode() if isinstance(name, bytes) else name}"
    except Exception:  # no driver, no toolkit, no CUDA in this Numba: there are many ways
        return "no"
