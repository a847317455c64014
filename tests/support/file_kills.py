"""Processes killed at random moments of steps over files, and what the files say afterwards.

python tests/support/file_kills.py        # 200 kills
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import fastadam as fa

SIZE, STEPS = 40_000, 12  # enough for several windows, and more steps than a child takes


def tree():
    return {"w": np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)}


def gradient(step):
    return {"w": np.random.default_rng(step).standard_normal(SIZE).astype(np.float32)}


def opened(folder):
    """Parameters and optimizer of two files in a folder."""
    flat = fa.flatten(tree(), file=Path(folder) / "weights.bin")
    state = Path(folder) / "state.bin"
    return flat, fa.AdamW(flat, lr=0.01, ema_decay=0.9, state_file=state, resident_bytes=1 << 25)


def moment(flat, opt):
    """Parameters, state and average, as bytes."""
    arrays = [flat.buffer, *(column[0] for column in opt.state.values()), opt.ema.buffer]
    return [b"" if array is None else array.tobytes() for array in arrays]


def references():
    """The moments after each number of steps, without files."""
    flat = fa.flatten(tree())
    opt = fa.AdamW(flat, lr=0.01, ema_decay=0.9)
    found = [moment(flat, opt)]
    for step in range(1, STEPS + 1):
        opt.step(gradient(step))
        found.append(moment(flat, opt))
    return found


def killed(folder, seconds):
    """Take steps in a child, and kill it after some seconds."""
    child = os.fork()
    if not child:
        try:
            flat, opt = opened(folder)
            while opt.steps < STEPS:
                opt.step(gradient(opt.steps + 1))
            del flat
            signal.pause()
        finally:
            os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def outcomes(kills, seed=0):
    """The numbers of kills that left files of one moment, and files that say what was in progress.

    Raises:
        AssertionError, ValueError: if files are of no moment and do not say so.
    """
    expected, rng, found = references(), random.Random(seed), Counter()
    with TemporaryDirectory() as base:
        for number in range(kills):
            folder = Path(base) / str(number)
            folder.mkdir()
            killed(folder, rng.uniform(0.0, 0.06))
            try:
                flat, opt = opened(folder)
            except ValueError as error:
                if "in progress when" not in str(error):
                    raise
                found["in progress"] += 1
                continue
            there = moment(flat, opt)
            if opt.steps:
                assert there == expected[opt.steps], opt.steps
            else:
                assert there[0] == expected[0][0]
            found["whole"] += 1
    return found


if __name__ == "__main__":
    result = outcomes(int((sys.argv[1:] or [200])[0]))
    print(f"{result.total()} kills of steps over files: {dict(result)}, none silently wrong")
