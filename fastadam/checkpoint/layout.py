"""Layout of a checkpoint file: the safetensors format, and a checksum of every part.

A file is the length of its header (8 bytes, little-endian), the header (JSON), and the bytes of the
tensors without gaps. The header is known before any tensor is read, and its length does not depend
on the checksums in it: tensors can be written in any order, also by several processes.

Source: https://github.com/huggingface/safetensors, section Format.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from ..memory.dtypes import named

FORMAT, VERSION = "fastadam", 1
DTYPES = {
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
    "F32": "float32",
    "I32": "int32",
    "U32": "uint32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I16": "int16",
    "U16": "uint16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
CODES = {name: code for code, name in DTYPES.items()}
LENGTH = 8  # bytes of the length of the header
ALIGNMENT = 64  # of the first tensor in the file
LONGEST = 100_000_000  # bytes of a header that the safetensors library accepts
START = b'{"__metadata__":{"header_crc32":"'  # how each header begins; its checksum follows
NO_CRC = "0" * 8


class Tensor(NamedTuple):
    """A tensor in a file: the code of its dtype, its shape, its bytes among those of all."""

    code: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def dtype(self) -> Any:
        """The dtype for NumPy.

        Raises:
            ImportError: if it is bfloat16, and ml_dtypes is missing.
        """
        return named(DTYPES[self.code])


@dataclass(frozen=True)
class Layout:
    """The tensors of a file by name, in the order of their bytes, and its metadata."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> "Layout":
        """The layout of a file with these arrays; each begins at a multiple of its itemsize.

        Args:
            arrays: anything with a dtype and a shape, by name.
            metadata: texts, besides format, version and checksums.

        Raises:
            TypeError: for a dtype that the format does not have.
            ValueError: if the header would be too long for other programs.
        """
        for name, array in arrays.items():
            if array.dtype.name not in CODES:
                raise TypeError(f"{name} has dtype {array.dtype}, which a checkpoint cannot hold")
        tensors, start = dict[str, Tensor](), 0
        for name in sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize):
            array = arrays[name]
            shape = tuple(map(int, array.shape))
            stop = start + prod(shape) * array.dtype.itemsize
            tensors[name] = Tensor(CODES[array.dtype.name], shape, start, stop)
            start = stop
        layout = cls(tensors, {"format": FORMAT, "version": str(VERSION), **metadata})
        if layout.begin > LONGEST:
            raise ValueError(
                f"the header would have {layout.begin} bytes, and {LONGEST} are allowed; save "
                "fewer arrays, or less in extra"
            )
        return layout

    @property
    def nbytes(self) -> int:
        """The bytes of all tensors."""
        return max((tensor.stop for tensor in self.tensors.values()), default=0)

    @cached_property
    def begin(self) -> int:
        """The place in the file at which the bytes of the tensors begin."""
        return len(self.header(dict.fromkeys(self.tensors, 0)))

    def header(self, crcs: Mapping[str, int]) -> bytes:
        """The first bytes of the file, up to the tensors, with the checksum of each tensor."""
        hexes = {name: f"{crcs[name]:08x}" for name in self.tensors}
        metadata = {"header_crc32": NO_CRC, **self.metadata, "crc32": dumped(hexes)}
        entries = {
            name: {"dtype": t.code, "shape": t.shape, "data_offsets": (t.start, t.stop)}
            for name, t in self.tensors.items()
        }
        text = dumped({"__metadata__": metadata, **entries}).encode()
        text += b" " * (-(LENGTH + len(text)) % ALIGNMENT)
        text = _with_crc(text, f"{crc32(text):08x}")
        return len(text).to_bytes(LENGTH, "little") + text


def dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _with_crc(text: bytes, crc: str) -> bytes:
    """A header with another checksum of itself."""
    return START + crc.encode() + text[len(START) + len(crc) :]


def parsed(text: bytes, nbytes: int) -> tuple[Layout, dict[str, int]]:
    """The layout and the checksums in a header, all of it checked.

    Args:
        text: the header without its length.
        nbytes: the bytes that follow it in the file.

    Raises:
        ValueError: saying what is wrong.
    """
    header = _checked_json(text, "the header")
    metadata, tensors = _metadata(header, text), _tensors(header)
    layout = Layout(tensors, metadata)
    if layout.nbytes != nbytes:
        problem = "truncated" if nbytes < layout.nbytes else "too long"
        raise ValueError(
            f"it is {problem}: the header is followed by {nbytes} bytes, but its tensors have "
            f"{layout.nbytes}"
        )
    hexes = _checked_json(metadata.get("crc32", ""), "the list of checksums")
    if hexes.keys() != tensors.keys():
        raise ValueError("its list of checksums has other names than its tensors")
    return layout, {name: int(text, 16) for name, text in hexes.items()}


def _checked_json(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object in which no key is repeated."""

    def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found = list(pairs)
        if len(dict(found)) < len(found):
            raise ValueError("a name is repeated")
        return dict(found)

    try:
        found = json.loads(text if isinstance(text, str) else text.decode(), object_pairs_hook=once)
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is not valid JSON: {error}") from None
    return found


def _metadata(header: dict[str, Any], text: bytes) -> dict[str, str]:
    """The metadata of a header of this format and a known version."""
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise ValueError("it was not written by fastadam: its metadata has no format='fastadam'")
    version = metadata.get("version", "")
    if not (isinstance(version, str) and version.isascii() and version.isdigit()):
        raise ValueError(f"its version={version!r} is not a number")
    if int(version) > VERSION:
        raise ValueError(
            f"it was written by a newer fastadam, in version {version} of the format; this one "
            f"reads versions up to {VERSION}: install a newer fastadam"
        )
    crc = metadata.get("header_crc32")
    if not text.startswith(START) or crc != f"{crc32(_with_crc(text, NO_CRC)):08x}":
        raise ValueError("its header is damaged: the checksum differs")
    return metadata


def _tensors(header: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a header, whose bytes follow each other."""
    tensors = {name: _tensor(name, entry) for name, entry in header.items()}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if tensor.start != end:
            raise ValueError(f"{name!r} begins at byte {tensor.start}, expected {end}")
        end = tensor.stop
    return tensors


def _tensor(name: str, entry: Any) -> Tensor:
    try:
        code, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        known = all(type(number) is int and number >= 0 for number in [*shape, start, stop])
        nbytes = prod(shape) * (1 if code == "BOOL" else int(code.lstrip("BFIU")) // 8)
    except (TypeError, ValueError, KeyError, AttributeError):
        known = False
    if not known or code not in DTYPES or stop - start != nbytes:
        raise ValueError(f"the entry of {name!r} is wrong: {entry!r:.200}")
    return Tensor(code, tuple(shape), start, stop)


def check_byte_order() -> None:
    """Refuse a machine whose numbers have another byte order than the format.

    Raises:
        RuntimeError: on such a machine.
    """
    if sys.byteorder != "little":
        raise RuntimeError("checkpoint files are little-endian, and this machine is not")


def as_bytes(array: Any) -> Any:
    """The bytes of a contiguous NumPy array, which share its memory."""
    return array.reshape(-1).view(np.uint8)
