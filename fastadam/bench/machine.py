"""What a measurement depends on: the machine and the versions. No host name, no path."""

import ctypes
import os
import platform
import subprocess
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__
from ..kernels.threads import threading_layer

GB = 1e9
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from malloc.h


def describe(threads: int, *packages: str) -> dict[str, str]:
    """The machine, the versions (of more packages, if some are named) and the date, as text by
    name."""
    total = _total_memory()
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count() or "unknown"),
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
    """Bytes that can be used without swapping, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return _total_memory()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def busy() -> str | None:
    """What to say where more threads wanted a core in the last minute than there are cores."""
    try:
        load, cores = os.getloadavg()[0], os.cpu_count() or 1
    except (AttributeError, OSError):  # Windows
        return None
    if load <= cores:
        return None
    return (
        f"This machine is busy (load {load:.1f}, cores {cores}): a step with threads waits for all "
        "of them, and its time may say nothing. Close what else is running."
    )


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed for later temporaries; elsewhere, do nothing.

    By default it gives large blocks back to the system, or not, as it happened to go before: at
    1e6 elements, page faults make the same NumPy step take 1.8 ms in one process and 7.5 ms in
    another. Kept memory is best for the contenders with temporaries, and the same every time.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_MMAP_THRESHOLD, 2**31 - 1)


def release_freed_memory() -> None:
    """Give back to the system what was kept, before another size is tried."""
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
