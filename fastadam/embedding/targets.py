"""Targets of an export: an LLVM triple, a CPU and its features."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from tempfile import TemporaryFile
from typing import Any

from llvmlite import binding

LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
LINUX = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
WIDE = "-prefer-256-bit"  # LLVM would use half of the registers of x86-64-v4
LINKERS = {
    "x86_64": ("x86_64-linux-gnu-ld", "x86_64-linux-gnu-gcc"),
    "aarch64": ("aarch64-linux-gnu-ld", "aarch64-linux-gnu-gcc"),
}


@dataclass(frozen=True)
class Target:
    """The processor and the system for which an object is compiled.

    Attributes:
        name: as it was given.
        triple: LLVM's name of architecture and system.
        cpu: LLVM's name of the processor.
        features: further features, as LLVM writes them.
    """

    name: str
    triple: str
    cpu: str
    features: str = ""

    @cached_property
    def machine(self) -> str:
        """The architecture."""
        return self.triple.partition("-")[0].replace("arm64", "aarch64")

    @property
    def is_elf(self) -> bool:
        return "linux" in self.triple or "none" in self.triple or "freebsd" in self.triple

    def compiler(self) -> Any:
        """LLVM's compiler for it.

        Raises:
            ValueError: if LLVM does not know it.
        """
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
        try:
            found = binding.Target.from_triple(self.triple)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(f"target {self.name!r} cannot be compiled for: {reason}") from None
        with _complaints() as complaints:
            machine = found.create_target_machine(
                cpu=self.cpu, features=self.features, opt=3, reloc="pic", codemodel="default"
            )
            known = "not a recognized processor" not in complaints()
        if not known:
            raise ValueError(
                f"target {self.name!r}: LLVM knows no CPU {self.cpu!r} for {self.machine}; "
                "give one of those that llc -mcpu=help lists, such as generic"
            )
        return machine

    def linker(self) -> list[str] | None:
        """The command that links a shared library, up to its arguments; None if there is none."""
        host = binding.get_process_triple().partition("-")[0]
        here = self.machine == host and sys.platform == "linux"
        names = (*LINKERS.get(self.machine, ()), *(("ld", "gcc", "cc") if here else ()))
        path = next(filter(None, map(shutil.which, (*names, "ld.lld"))), None)
        if path is None or not self.is_elf:
            return None
        options = ["-shared", "-nostdlib"] if path.endswith(("cc", "gcc")) else ["-shared"]
        return [path, *options]


@contextmanager
def _complaints() -> Iterator[Callable[[], str]]:
    """The standard error of LLVM, which reports an unknown CPU nowhere else."""
    with TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: _text_of(file)
        finally:
            os.dup2(before, 2)
            os.close(before)


def _text_of(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))


def target_named(text: str) -> Target:
    """The target of a name: "native", a level of x86-64, "aarch64", or TRIPLE+CPU.

    Raises:
        ValueError: for another name.
    """
    if text == "native":
        features = binding.get_host_cpu_features().flatten()
        wide = f",{WIDE}" if "+avx512f" in features else ""
        cpu = binding.get_host_cpu_name()
        return Target(text, binding.get_process_triple(), cpu, features + wide)
    if text in LEVELS:
        return Target(text, LINUX["x86_64"], text, WIDE if text == LEVELS[-1] else "")
    if text == "aarch64":
        return Target(text, LINUX["aarch64"], "generic")
    triple, plus, cpu = text.partition("+")
    if not plus or triple.count("-") < 2 or not cpu:
        raise ValueError(
            f"target {text!r} is not native, {', '.join(LEVELS)}, aarch64, or TRIPLE+CPU such as "
            "aarch64-unknown-linux-gnu+neoverse-v1"
        )
    return Target(text, triple, cpu)
