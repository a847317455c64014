"""Static libraries, and the symbols of ELF objects, without tools of a compiler."""

import struct
from collections.abc import Iterator, Sequence

UNDEFINED, NULL_NAME = 0, 0
SYMBOLS = 2  # the type of the section that holds the symbol table


def static_library(data: bytes, symbols: Sequence[str]) -> bytes:
    """An archive of one object, with the index of symbols that linkers look for.

    Args:
        symbols: the functions that the object defines.
    """
    names = b"".join(symbol.encode() + b"\0" for symbol in symbols)
    size = 4 + 4 * len(symbols) + len(names)
    start = 8 + 60 + size + size % 2
    index = struct.pack(f">{1 + len(symbols)}I", len(symbols), *[start] * len(symbols)) + names
    return b"!<arch>\n" + _member("/", index) + _member("fastadam.o/", data)


def _member(name: str, data: bytes) -> bytes:
    """A member with fixed date and owner, so that the same object gives the same archive."""
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode()
    return head + data + b"\n" * (len(data) % 2)


def undefined_symbols(data: bytes) -> Iterator[str]:
    """The names that a 64-bit little-endian ELF object takes from elsewhere."""
    (offset,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, offset + size * k) for k in range(count)]
    for section in sections:
        if section[1] == SYMBOLS:
            strings = sections[section[6]][4]
            for place in range(section[4], section[4] + section[5], section[9]):
                name, _, _, where = struct.unpack_from("<IBBH", data, place)
                if where == UNDEFINED and name != NULL_NAME:
                    start = strings + name
                    yield data[start : data.index(b"\0", start)].decode()
