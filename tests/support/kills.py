"""Saves that are killed: whoever loads the file then finds the old checkpoint or the new one.

python tests/support/kills.py 200
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import numpy as np

import fastadam as fa

SIZE = 50_000  # elements of each of three arrays: a save takes some milliseconds
SAVES = 2.0  # that a process has time for, at most


def optimizer(value: float) -> fa.SGD:
    return fa.SGD([np.full(SIZE, float(value)) for _ in range(3)])


def save_forever(path: Path, first: int) -> NoReturn:
    number = first
    while True:
        number += 1
        fa.save(path, optimizer(number), extra=number)


def check(path: Path, last: int) -> int:
    """The number of the checkpoint in the file, which must be whole, and not older than the last.

    Raises:
        ValueError: if it is not.
    """
    opt = optimizer(0)
    number = fa.load(path, opt).extra
    if number < last or any((param != number).any() for param in opt.params):
        raise ValueError(f"after checkpoint {last}, the file has {number}: {opt.params}")
    return int(number)


def killed(folder: Path, kills: int, seed: int = 0) -> tuple[int, int]:
    """Kill so many processes that save; how many left a part of a file, and were replacing one.

    Raises:
        ValueError: if the file is neither the old one nor the new one.
    """
    rng, path = random.Random(seed), folder / "run.safetensors"
    began = time.perf_counter()
    fa.save(path, optimizer(1), extra=1)
    longest = SAVES * (time.perf_counter() - began)
    last, leftovers, new = 1, 0, 0
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            save_forever(path, last)
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        leftovers += len(os.listdir(folder)) > 1
        number = check(path, last)
        last, new = number, new + (number > last)
    fa.save(path, optimizer(last), extra=last)
    if os.listdir(folder) != [path.name]:
        raise ValueError(f"the last save left {os.listdir(folder)}")
    return leftovers, new


def full_disk(folder: Path) -> str:
    """Save to a disk that becomes full; the message, or why there is no such disk.

    Raises:
        ValueError: if the old file is not there any more, or anything else is.
    """
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE * 40}", "none", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return "not tried, since a small disk cannot be mounted"
    try:
        path = folder / "run.safetensors"
        fa.save(path, optimizer(1), extra=1)
        try:
            fa.save(path, optimizer(2), extra=2)
        except OSError as error:
            if check(path, 1) == 1 and os.listdir(folder) == [path.name]:
                return str(error)
        raise ValueError(f"a full disk has {os.listdir(folder)}")
    finally:
        subprocess.run(["umount", folder], check=True)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as name:
        print("full disk:", full_disk(Path(name)))
        parts, saved = killed(Path(name), count)
    print(f"{count} kills: {parts} left a part of a file, {saved} saved a new one; 0 wrong")
