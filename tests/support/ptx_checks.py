"""Properties of the PTX of kernels: of every one, of updates, and of norms."""

import re

import numpy as np

from fastadam.kernels.formats import Formats
from fastadam.kernels.rule_streams import streams


def check(text, arrays):
    """Check the properties of every kernel; `arrays` are the sizes of a number of each."""
    head, body = text.split("{", 1)
    assert head.count(".param") == 1
    assert not re.search(r"\bcall|\.extern|[.]local\b", text), "calls, or registers in memory"
    assert ".shared" not in text
    masks = {min(16, 4 * size) - 1 for size in arrays}
    for mask in masks:
        assert re.search(rf"and\.b64\s+\S+ \S+ {mask};", body), "alignment is not looked at"


def check_rounding(text):
    """Check that every operation rounds once, to nearest, as on the CPU.

    An explicit rounding mode also prevents the assembler from fusing operations.
    """
    assert not re.search(r"\bfma\b|\bmad\.f", text)
    assert not re.search(r"\b(add|sub|mul|div|sqrt)\.f(32|64)\b", text)


def sizes(streams):
    return [
        np.dtype(column.dtype).itemsize
        for s in streams
        for column in s.storage.stored
        if column.per == 1
    ]


VECTORS = {"float32": "v4.f32", "float64": "v2.f64", "uint16": "v4.u16", "int16": "v4.u16"}
VECTORS |= {"uint8": "v4.u8", "int8": "v4.u8"}  # sixteen bytes at most


def check_update(text, rule, options, formats):
    strs = streams(rule, options + formats.options, formats)
    check(text, sizes(strs))
    for stream in strs:
        for column in stream.storage.stored:
            if column.per == 1 and stream.mode != "w":
                assert f"ld.global.{VECTORS[column.dtype]}" in text, stream
            if column.per == 1 and "w" in stream.mode:
                assert f"st.global.{VECTORS[column.dtype]}" in text, stream
    if formats.compute == "float32":
        assert not re.search(r"\.f64\b", text), "arithmetic in another precision"
    assert not re.search(r"\.approx|\.full|\.ftz", text), "arithmetic of less precision"
    if formats == Formats.alike("float64"):
        assert not re.search(r"\.f32\b", text), "arithmetic in another precision"
    if not options and formats == Formats.alike("float32"):
        loads, stores = (len(re.findall(rf"{op}\.global\.v4\.f32", text)) for op in ("ld", "st"))
        reads, writes = 2 + len(rule.state), 1 + len(rule.state)
        assert loads * writes == stores * reads  # however often the loop is unrolled
        assert loads % reads == 0
    check_rounding(text)


def check_norm(text):
    check(text, [])
    assert re.search(r"ld\.global\.v[24]\.", text)
    assert "shfl.sync" in text
    assert "add.rn.f64" in text
    check_rounding(text)
