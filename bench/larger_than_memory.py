"""Times of steps over files, beside dd on the same disk and np.memmap, and memory in use.

    python bench/larger_than_memory.py FOLDER --gigabytes 6 --rounds 3

The files of an AdamW have so many bytes: parameters and two arrays of state, float32; those of the
same parameters in bfloat16 with `compensation="split8"` and int8 state are smaller. Gradients are
in memory. In each round, one after the other: dd writes a file of that size, and reads it; steps
with and without reading ahead; a step of `np.memmap` arrays, whose pages the system drops when it
likes. Each begins with files that are not in the cache, and ends when all is on the disk. After the
first round, the bits are compared with those of arrays in memory. Twice the size must be free on
the disk. The results are in bench/results/larger-than-memory.csv. Linux only.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import perf_counter
from typing import Any

import ml_dtypes
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
from fastadam.memory.files import advice

RESULTS = Path(__file__).resolve().parent / "results" / "larger-than-memory.csv"
BLOCK = 1 << 22
PERIOD = 1 << 20  # elements after which the gradients repeat, so that a short run checks all bits
LOW = {"state_dtype": "int8", "compensation": "split8", "min_quantized_size": 0}


@dataclass
class Time:
    """One measurement: megabytes of 10**6 bytes, those of the files, and those in memory."""

    round: int
    task: str
    megabytes: float
    seconds: float
    resident_megabytes: float


def mapped() -> float:
    """The megabytes of mapped files that are in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssFile:")[1].split()[0]) * 1024 / 1e6


@contextmanager
def watched(found: list[float]) -> Iterator[None]:
    """Put the most megabytes of mapped files that were in memory meanwhile into a list."""
    done, before, most = Event(), mapped(), [0.0]

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], mapped() - before)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        found.append(most[0])


def drop(paths: Any) -> None:
    """Drop files from the cache."""
    os.sync()
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def dd(*words: Any) -> None:
    subprocess.run(["dd", f"bs={BLOCK}", *words], check=True, capture_output=True)


@contextmanager
def reading(ahead: Callable[..., None]) -> Iterator[None]:
    """Read ahead in another way."""
    before, advice.bring_in = advice.bring_in, ahead
    try:
        yield
    finally:
        advice.bring_in = before


def asking(start: int, stop: int, written: bool) -> None:
    """Ask for pages, and let each fault map its own."""
    first, size = advice._pages(start, stop)
    advice._madvise()(first, size, advice.WILLNEED)


class Run:
    """An optimizer over files of its own.

    Args:
        folder: for the files.
        size: the number of elements.
        dtype: of the parameters.
        resident: the bytes that may be in memory.
        options: those of the optimizer.
    """

    def __init__(self, folder: Path, size: int, dtype: Any, resident: int, **options: Any) -> None:
        folder.mkdir()
        self.folder, self.steps, self.options, self.dtype = folder, 0, options, dtype
        flat = fa.flatten(np.broadcast_to(dtype(1), (size,)), file=folder / "weights.bin")
        state = folder / "state.bin"
        self.flat = flat
        self.opt = fa.AdamW(flat, state_file=state, resident_bytes=resident, **options)
        self.paths = [folder / "weights.bin", state]
        self.part = np.random.default_rng(0).standard_normal(PERIOD).astype(dtype)
        self.grad = np.resize(self.part, size)

    @property
    def nbytes(self) -> int:
        return self.opt.memory().in_files

    def step(self) -> None:
        self.opt.step(self.grad)
        self.steps += 1

    def check(self) -> None:
        """Compare the parameters with those of an optimizer in memory.

        Raises:
            AssertionError: if a bit differs.
        """
        part = np.full(PERIOD, 1, self.dtype)
        other = fa.AdamW(part, **self.options)
        for _ in range(self.steps):
            other.step(self.part)
        for start in range(0, self.flat.buffer.size, PERIOD):
            piece = self.flat.buffer[start : start + PERIOD]
            assert piece.tobytes() == part[: piece.size].tobytes(), start
        drop(self.paths)


def measured(folder: Path, size: int, resident: int, rounds: int) -> Iterator[Time]:
    """All measurements, in the order in which they are taken."""
    plain = Run(folder / "plain", size, np.float32, resident)
    low = Run(folder / "low", size, ml_dtypes.bfloat16, resident, **LOW)
    other, nbytes = folder / "dd", plain.nbytes
    count = nbytes // BLOCK
    dd("if=/dev/zero", f"of={other}", f"count={count}", "conv=fsync")

    def with_memmap() -> None:
        shape = (3, count * BLOCK // 12)
        arrays = np.memmap(other, np.float32, "r+", shape=shape)  # pages that are mapped stay
        param, *state = map(np.asarray, arrays)
        fa.functional.adamw(param, plain.grad[: param.size], *state, step=1, lr=1e-3)
        arrays.flush()

    tasks: dict[str, tuple[int, Callable[[], None]]] = {
        "dd write": (
            nbytes,
            lambda: dd("if=/dev/zero", f"of={other}", f"count={count}", "conv=notrunc,fdatasync"),
        ),
        "dd read": (nbytes, lambda: dd(f"if={other}", "of=/dev/null")),
        "float32": (nbytes, plain.step),
        "float32, asked for": (nbytes, lambda: _reading(asking, plain.step)),
        "float32, not read ahead": (nbytes, lambda: _reading(lambda *a: None, plain.step)),
        "bfloat16, split8, int8": (low.nbytes, low.step),
        "np.memmap": (nbytes, with_memmap),
    }
    for run in (plain, low):  # the first touch of new blocks of a file takes longer
        run.step()
    for number in range(rounds):
        for task, (size_of, act) in tasks.items():
            drop([other, *plain.paths, *low.paths])
            found, began = list[float](), perf_counter()
            with watched(found):
                act()
            yield Time(number, task, size_of / 1e6, perf_counter() - began, found[0])
        if not number:
            for run in (plain, low):
                run.check()
            print("the bits are those of arrays in memory", flush=True)


def _reading(ahead: Callable[..., None], act: Callable[[], None]) -> None:
    with reading(ahead):
        act()


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=existing_folder, help="on the disk to be measured")
    parser.add_argument("--gigabytes", type=positive, default=6.0)
    parser.add_argument("--resident", type=positive, default=2.0**30, help="bytes; default 1 GiB")
    parser.add_argument("--rounds", type=at_least(1), default=3)
    parser.add_argument("--csv", type=output_file, default=RESULTS)
    given = parser.parse_args(argv)
    times, size = list[Time](), int(given.gigabytes * 1e9 / 12)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for time in measured(Path(folder), size, int(given.resident), given.rounds):
            times.append(time)
            print(
                f"{time.task:24} {time.seconds:6.2f} s for {time.megabytes:.0f} MB, "
                f"{time.resident_megabytes:.0f} MB in memory",
                flush=True,
            )
    taken = {
        task: median(time.seconds for time in times if time.task == task)
        for task in dict.fromkeys(time.task for time in times)
    }
    both = taken["dd read"] + taken["dd write"]
    for task, seconds in taken.items():
        if not task.startswith("dd"):
            print(f"{task}: {both / seconds:.2f} of the speed of dd, reading and writing")
    given.csv.write_text(to_csv(machine.describe(fa.get_threads(), "numpy"), times, Time))
    return 0


if __name__ == "__main__":
    run_script(main)
