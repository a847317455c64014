"""The machine code of a kernel, as text: what a device would load, without one.

`nvdisasm` is taken from the wheels of the extra `ptx`, or from the path.
"""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_LINE = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);")
_REGISTERS = re.compile(r"EIATTR_REGCOUNT\n(?:.*\n){1,6}?.*word\s+index.*\n.*\.word\s+0x(\w+)")
_LABEL = re.compile(r"^(\.L_\w+):")


@cache
def tool(name: str) -> str | None:
    """The path of a program of the toolkit."""
    found = find_spec("nvidia")
    for root in found.submodule_search_locations or () if found else ():
        for path in sorted(Path(root).glob(f"*/bin/{name}")):
            return str(path)
    return shutil.which(name)


@dataclass(frozen=True)
class Code:
    """The machine code of a kernel.

    Attributes:
        names: the instructions in order, modifiers left out.
        bytes: the bytes that each of them moves from or to global memory.
        loops: where each loop begins and ends among them, both included; inner ones first.
    """

    registers: int
    names: tuple[str, ...]
    bytes: tuple[int, ...]
    loops: tuple[tuple[int, int], ...]

    def count(self, *names: str, within: tuple[int, int] | None = None) -> int:
        """The number of instructions of the given names, or of all."""
        first, last = within or (0, len(self.names) - 1)
        part = self.names[first : last + 1]
        return sum(name in names for name in part) if names else len(part)

    @property
    def hot(self) -> tuple[int, int]:
        """The loop that moves most: of those without loops inside, the one with the widest
        accesses, and of these the one with most."""

        def inner(loop):
            return not any(o != loop and loop[0] <= o[0] and o[1] <= loop[1] for o in self.loops)

        def moved(loop):
            part = self.bytes[loop[0] : loop[1] + 1]
            return max(part), sum(part)

        return max(filter(inner, self.loops), key=moved)

    @property
    def loads_ahead(self) -> int:
        """The loads of the hot loop before the first of its stores."""
        first, last = self.hot
        part = self.names[first : last + 1]
        return part[: part.index("STG")].count("LDG") if "STG" in part else part.count("LDG")


def machine_code(binary: bytes) -> Code:
    """The code of a file that has one kernel."""
    program = tool("nvdisasm")
    assert program, 'nvdisasm is missing; run: pip install "fastadam[ptx]"'
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        done = subprocess.run([program, file.name], capture_output=True, text=True, check=True)
    registers = [int(number, 16) for number in _REGISTERS.findall(done.stdout)]
    names, moved, labels, jumps = [], [], {}, []
    for line in done.stdout.splitlines():
        if label := _LABEL.match(line.strip()):
            labels[label[1]] = len(names)
        elif found := _LINE.search(line):
            if found[2].startswith("BRA") and (to := re.search(r"\.L_\w+", found[3])):
                jumps.append((to[0], len(names)))
            names.append(found[2].partition(".")[0])
            moved.append(_moved(found[2]))
    back = {}  # of several jumps to one label the last
    for label, at in jumps:
        if labels[label] < at:
            back[labels[label]] = at
    loops = sorted(back.items(), key=lambda loop: loop[1] - loop[0])
    return Code(max(registers), tuple(names), tuple(moved), tuple(loops))


def _moved(name: str) -> int:
    """The bytes that an instruction moves from or to global memory."""
    if not name.startswith(("LDG", "STG")):
        return 0
    sizes = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}
    return next((sizes[part] for part in name.split(".") if part in sizes), 4)
