"""The machine, its load and the versions, recorded with measurements; no host name, no path."""

import ctypes
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numba

import fastadam as fa

from .. import __version__
from ..kernels.cpu import threads as policy
from ..kernels.cpu.threads import threading_layer

GB = 1e9
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from malloc.h


def describe(threads: int, *packages: str, load: float | None = None) -> dict[str, str]:
    """The machine, the versions (of more packages, if some are named) and the date, as text by
    name.

    Args:
        threads: number of threads of each contender.
        packages: whose versions matter besides.
        load: average load of the minute before measuring, if the system reports one.
    """
    total = _total_memory()
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count() or "unknown"),
        **({} if load is None else {"load": f"{load:.2f}"}),
        "threads": str(threads),
        "threading layer": threading_layer() or "none",
        "memory": "unknown" if total is None else f"{total / GB:.0f} GB",
        **_software("numpy", "numba", "torch", *packages),
    }


def describe_gpu() -> dict[str, str]:
    """The GPU in use, the versions and the date, as text by name."""
    from numba import config, cuda

    context = cuda.current_context()
    name = "simulator" if config.ENABLE_CUDASIM else context.device.name
    capability = getattr(context.device, "compute_capability", ())
    return {
        "gpu": name.decode() if isinstance(name, bytes) else name,
        "gpu memory": f"{context.get_memory_info()[1] / GB:.0f} GB",
        "compute capability": ".".join(map(str, capability)),
        "driver": _driver(),
        "cpu": _cpu(),
        **_software("numpy", "numba", "numba-cuda", "torch"),
    }


def describe_cuda(*packages: str) -> dict[str, str]:
    """The GPU that PyTorch uses, or none, the versions and the date, as text by name."""
    import torch

    gpu = {"gpu": "none", "gpu memory": "none", "driver": "none"}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        gpu = {
            "gpu": properties.name,
            "gpu memory": f"{properties.total_memory / GB:.0f} GB",
            "compute capability": f"{properties.major}.{properties.minor}",
            "driver": _driver(),
        }
    cores = {"cpu": _cpu(), "cores": str(os.cpu_count() or "unknown")}
    return {**gpu, **cores, **_software("numpy", "numba", "torch", *packages)}


def _software(*packages: str) -> dict[str, str]:
    return {
        "os": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "fastadam": __version__,
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def _driver() -> str:
    """The version of the driver of the GPU."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        return answer.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def available_memory() -> int | None:
    """Bytes that can be used without swapping, or None if the system does not report them."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return _total_memory()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def load_average() -> float | None:
    """The average number of threads that wanted a core in the last minute; None on Windows."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def busy(machine: Mapping[str, str]) -> str:
    """The load, if it was larger than the number of cores when something was measured; or ""."""
    try:
        load, cores = float(machine["load"]), int(machine["cores"])
    except (KeyError, ValueError):
        return ""
    return (
        f"measured on a busy machine (load {load:.1f}, {counted(cores, 'core')})"
        if load > cores
        else ""
    )


def counted(number: int | str, noun: str) -> str:
    """A number and a noun, in the plural unless it is one."""
    return f"{number} {noun}" + ("" if str(number) == "1" else "s")


def most_threads() -> int:
    """The number of threads that a compiled contender can use."""
    return int(numba.config.NUMBA_NUM_THREADS)


def check_threads(threads: int) -> None:
    """Refuse more threads than Numba was started with.

    Raises:
        ValueError: with the variable that sets the number.
    """
    if not 1 <= threads <= (started := most_threads()):
        raise ValueError(
            f"threads={threads} is outside 1..{started}, the threads that Numba was started with; "
            "set the environment variable NUMBA_NUM_THREADS for more"
        )


@contextmanager
def using_threads(threads: int, torch: bool) -> Iterator[None]:
    """Let every contender use the same number of threads.

    Raises:
        ValueError: if Numba was started with fewer.
    """
    check_threads(threads)
    before, chosen = numba.get_num_threads(), policy._chosen
    numba.set_num_threads(threads)
    fa.set_threads(threads)
    restore_torch = _use_torch_threads(threads) if torch else lambda: None
    try:
        yield
    finally:
        numba.set_num_threads(before)
        fa.set_threads(chosen)
        restore_torch()


def _use_torch_threads(threads: int) -> Callable[[], None]:
    import torch

    restore: Callable[[], None] = partial(torch.set_num_threads, torch.get_num_threads())
    torch.set_num_threads(threads)
    return restore


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory for later temporaries; elsewhere, do nothing.

    By default it returns large blocks to the system or not, depending on earlier allocations: at
    1e6 elements, page faults make the same NumPy step take 1.8 ms in one process and 7.5 ms in
    another. Kept memory is best for the contenders with temporaries, and the same every time.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_MMAP_THRESHOLD, 2**31 - 1)


def release_freed_memory() -> None:
    """Return kept memory to the system, before another size is measured."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _cpu() -> str:
    """The processor's name."""
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return platform.processor() or platform.machine()
