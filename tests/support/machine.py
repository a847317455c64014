"""The kernels whose machine code is committed: what each of them takes of a GPU.

Compiling them takes minutes. A row has the digest of the kernel that was compiled and checked, and
tests compile it again if the digest differs. After a change that is meant, look at the difference
that this makes in machine_code.csv
(pip install ".[ptx,test]"):

    python tests/support/machine.py
"""

import csv
import hashlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cases import CASES, DEFAULTS, FORMATS
from ptx_checks import check_norm, check_update
from sass import Code, machine_code

import fastadam as fa
from fastadam.cuda import compiler as cuda_compiler
from fastadam.cuda import target as cuda
from fastadam.engine.grad_norm import square
from fastadam.kernels import factory
from fastadam.kernels.formats import FLOAT, ROUND, Formats
from fastadam.kernels.rule_streams import streams
from fastadam.kernels.storage.base import WHOLE
from fastadam.kernels.storage.block_sums import Sums
from fastadam.kernels.stream import Stream
from fastadam.kernels.transforms import OPTIONS, ZERO_GRADS, staged
from fastadam.rules import ROW

TABLE = Path(__file__).with_name("machine_code.csv")
CAPABILITY = (9, 0)
COMPILERS = ("numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink")
SINGLE = Formats.alike("float32")
OTHERS = ("float16", "float32", "mask_state", "touched")  # instead of bfloat16, mask; of rows
ALL = (*(n for n in OPTIONS if n not in OTHERS and not n.startswith(ROUND)), ZERO_GRADS)


# Eight elements in float64, and what waits of them, are more than 128 registers hold.
SPILLED = ["AdamW in double, int8 state"]
# compiled by every run of the tests: an update, a block format, options, and a norm
SAMPLES = ("AdamW()", "AdamW in int8 state", "AdamW with clip_norm", "norm of float32")


class Update(NamedTuple):
    """The kernel of an update."""

    rule: fa.rule
    options: tuple[str, ...] = ()
    formats: Formats = SINGLE

    @property
    def parts(self):
        """A rule and its streams."""
        options = self.options + self.formats.options
        return staged(self.rule, options), streams(self.rule, options, self.formats)


class Norm(NamedTuple):
    """The kernel of the norm of gradients of a dtype."""

    dtype: str

    @property
    def parts(self):
        return square, (Stream("param", Sums(), "w"), Stream("grad", FLOAT[self.dtype], "r"))


def rules():
    """Every rule, once: many variants differ in their constants only.

    Kernels over rows have loops of another kind, which take no groups of neighbours.
    """
    found = {}
    for case in CASES:
        made = case.optimizer.__new__(case.optimizer)
        rule = made.variant(case.optimizer.defaults | case.hyper)
        if rule.over != ROW:
            found.setdefault(rule, case.id)
    return {name: rule for rule, name in found.items()}


ADAMW = fa.AdamW.rule
KERNELS = {
    **{name: Update(rule) for name, rule in rules().items()},
    **{f"AdamW in {name}": Update(ADAMW, (), formats) for name, formats in FORMATS.items()},
    **{
        f"AdamW with {name}": Update(ADAMW, (name,))
        for name in (*OPTIONS, ZERO_GRADS)
        if not name.startswith(ROUND)
    },
    **{
        f"{case.id} with all options": Update(case.optimizer.rule, ALL)
        for case in DEFAULTS[:2] + DEFAULTS[-1:]
    },
    **{
        f"{case.id} in double": Update(case.optimizer.rule, (), Formats.alike("float64"))
        for case in DEFAULTS[::3]
    },
    **{f"norm of {dtype}": Norm(dtype) for dtype in ("float32", "float64", "bfloat16")},
}


def kernel(name: str) -> factory.Kernel:
    return factory.kernel(*KERNELS[name].parts, cuda)


def digest(name: str) -> str:
    """The digest of the content of a kernel, and of the compiler that the first line leaves out."""
    content = f"{kernel(name).name} numba {version('numba')}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def row(name: str) -> dict[str, str]:
    """The row of a kernel, which is compiled and checked: its instruction counts, per element of
    its hottest loop.

    Raises:
        AssertionError: if it lacks a property that every kernel has.
    """
    run, described = kernel(name).run, KERNELS[name]
    text = cuda.ptx(run, CAPABILITY)
    if isinstance(described, Update):
        check_update(text, *described)
    else:
        check_norm(text)
    code = machine_code(cuda_compiler.binary(run, CAPABILITY))
    found = counts(name, code)
    assert not code.count("BAR", within=code.hot), "threads wait for each other in the loop"
    assert name in SPILLED or found["spills"] == "0", "registers in memory"
    assert code.registers <= 128, "two blocks of 256 threads would not fit"
    return {"kernel": name, **found}


def counts(name: str, code: Code) -> dict[str, str]:
    _, strs = KERNELS[name].parts
    block = min(stream.storage.block for stream in strs)
    elements = groups_of(strs, code) * cuda.GROUP if block == WHOLE else block // cuda.WARP
    found = {
        "registers": code.registers,
        "spills": code.count("LDL", "STL"),
        "barriers": code.count("BAR"),
        "instructions": code.count(),
        "FFMA": code.count("FFMA"),
        "per element": f"{code.count(within=code.hot) / elements:.1f}",
        "loads ahead": code.loads_ahead,
    }
    return {key: str(value) for key, value in found.items()}


def groups_of(strs, code: Code) -> int:
    """The number of groups of neighbours in one round of the hot loop of a kernel."""
    columns = [c for s in strs if s.mode != "w" for c in s.storage.stored if c.per == 1]
    loads = sum(-(-cuda.GROUP * np.dtype(c.dtype).itemsize // 16) for c in columns)
    return max(1, round(code.count("LDG", within=code.hot) / loads))


def versions() -> str:
    return ", ".join(f"{package} {version(package)}" for package in COMPILERS)


def table() -> tuple[str, dict[str, dict[str, str]]]:
    """The compilers of the committed table, and its rows by the names of kernels."""
    first, *lines = TABLE.read_text().splitlines()
    return first.removeprefix("# "), {each["kernel"]: each for each in csv.DictReader(lines)}


def write() -> None:
    rows = []
    for name in KERNELS:
        rows.append(row(name) | {"digest": digest(name)})
        print(*rows[-1].values(), sep="; ", file=sys.stderr)
    with TABLE.open("w", newline="") as file:
        print("#", versions(), file=file)
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write()
