"""Running Python in another process."""

import os
import subprocess
import sys
from pathlib import Path


def python(code: str, *, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, all warnings errors."""
    return run("-W", "error", "-c", code, cwd=cwd, **env)


def run(
    *words: str | Path, cwd: Path | None = None, timeout: float = 240, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments. PYTHONPATH goes before what there is of it, where the rest
    of what the tests need may come from."""
    if "PYTHONPATH" in env:
        paths = filter(None, (env["PYTHONPATH"], os.environ.get("PYTHONPATH")))
        env["PYTHONPATH"] = os.pathsep.join(paths)
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **env},
        timeout=timeout,
        check=False,
    )


def output(code: str, *, cwd: Path | None = None, **env: str) -> str:
    """The output of the process, which must succeed."""
    done = python(code, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
