"""Times of saving and loading a checkpoint, beside those of dd on the same disk, and extra memory.

    python bench/checkpoints.py FOLDER --gigabytes 4 --rounds 3

In each round, dd writes and reads a file of the size of the checkpoint and the checkpoint is saved
and loaded, one after the other, into new files: to delete an old one takes time as well. Before
each reading, the file is dropped from the cache. The results are in
bench/results/checkpoints.csv. Linux only.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import fastadam as fa
from fastadam.bench import machine
from fastadam.bench.csv_io import to_csv
from fastadam.bench.script import (
    Parser,
    at_least,
    existing_folder,
    output_file,
    positive,
    run_script,
)

RESULTS = Path(__file__).resolve().parent / "results" / "checkpoints.csv"
REFERENCES = {"save": "dd write", "load": "dd read"}
BLOCK = 1 << 20


@dataclass
class Time:
    """One measurement: megabytes of 10**6 bytes."""

    round: int
    task: str
    megabytes: float
    seconds: float
    extra_megabytes: float


def optimizer(nbytes: float) -> fa.AdamW:
    """An AdamW of three arrays per parameter, which are so many bytes together."""
    rng = np.random.default_rng(0)
    param = rng.random(int(nbytes / 12), np.float32)
    opt = fa.AdamW(param)
    opt.step(param - np.float32(0.5))
    return opt


def peak() -> float:
    """The peak of the memory of this process since it was last reset, in megabytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def drop(path: Path) -> None:
    """Drop a file, which is on the disk, from the cache."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def dd(*words: Any) -> None:
    subprocess.run(["dd", f"bs={BLOCK}", *words], check=True, capture_output=True)


def measured(path: Path, opt: Any, rounds: int) -> Iterator[Time]:
    """All measurements, in the order in which they are taken."""
    fa.save(path, opt)
    nbytes, other = path.stat().st_size, path.with_name("dd")
    write = ("if=/dev/zero", f"of={other}", f"count={nbytes // BLOCK}", "conv=fsync")
    tasks: dict[str, Callable[[], None]] = {
        "dd write": lambda: dd(*write),
        "save": lambda: fa.save(path, opt),
        "dd read": lambda: dd(f"if={other}", "of=/dev/null"),
        "load": lambda: fa.load(path, opt) and None,
    }
    written = {"dd write": other, "save": path}
    for number in range(rounds):
        for task, act in tasks.items():
            if task in written:
                written[task].unlink(missing_ok=True)
            os.sync()
            for file in (path, other):
                drop(file) if file.exists() else None
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
            before, began = peak(), perf_counter()
            act()
            seconds = perf_counter() - began
            yield Time(number, task, nbytes / 1e6, seconds, peak() - before)
    other.unlink()
    path.unlink()


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=existing_folder, help="on the disk to be measured")
    parser.add_argument("--gigabytes", type=positive, default=4.0)
    parser.add_argument("--rounds", type=at_least(1), default=3)
    parser.add_argument("--csv", type=output_file, default=RESULTS)
    given = parser.parse_args(argv)
    times = list[Time]()
    for time in measured(
        given.folder / "bench.safetensors", optimizer(given.gigabytes * 1e9), given.rounds
    ):
        times.append(time)
        rate = time.megabytes / time.seconds
        print(f"{time.task:9} {rate:6.0f} MB/s, {time.extra_megabytes:3.0f} MB more", flush=True)
    for task, reference in REFERENCES.items():
        ours, theirs = (
            median(time.seconds for time in times if time.task == name)
            for name in (task, reference)
        )
        print(f"{task}: {theirs / ours:.2f} of the speed of {reference}")
    given.csv.write_text(to_csv(machine.describe(fa.get_threads(), "numpy"), times, Time))
    return 0


if __name__ == "__main__":
    run_script(main)
