"""Kernels for CUDA in Numba's simulator, against plain Python, bit for bit."""

import sys
from itertools import product

import foreign
import numpy as np
import pytest
from cases import COMPILED, DEFAULTS, FORMATS, TWO, Case
from columns import contents

from fastadam.cuda import simulator
from fastadam.cuda import target as cuda
from fastadam.engine.grad_norm import square
from fastadam.kernels import factory
from fastadam.kernels import plain_python as python
from fastadam.kernels.cpu.llvm import ALONE
from fastadam.kernels.formats import FLOAT, ROUND, Formats
from fastadam.kernels.rule_streams import streams
from fastadam.kernels.storage.block_sums import Sums
from fastadam.kernels.storage.elementwise import Single
from fastadam.kernels.stream import Stream
from fastadam.kernels.transforms import OPTIONS, ZERO_GRADS, staged
from fastadam.memory.launch_table import SKIPPED, Table, chunk_table

pytestmark = [
    pytest.mark.simulated,
    # np.errstate does not reach the threads of the simulator
    pytest.mark.filterwarnings("ignore:.* encountered in :RuntimeWarning"),
]

BLOCKS, THREADS = 3, 4  # in flight
SMALL, LARGE = (30, 9, 5, 4, 3, 1), (1000, 1025, 2500)
FLOATS = Formats.alike("float32")
LEFT_OUT = 4  # the row that has no gradient
ALIGNED = 64
OTHERS = ("float16", "float32", "mask_state")  # instead of bfloat16, and of mask
ALL = (*(n for n in OPTIONS if n not in OTHERS and not n.startswith(ROUND)), ZERO_GRADS)


@pytest.fixture(autouse=True)
def device(monkeypatch):
    """A small device, which faults as a real one where a group of neighbours is not aligned."""
    assert cuda.SIMULATED, "set NUMBA_ENABLE_CUDASIM=1"
    access = cuda.Memory.access

    def strict(self, dtype, scope):
        pieces = access(self, dtype, scope)
        if self.group == 1 or scope.endswith((".scratch", *ALONE)):
            return pieces
        size, itemsize = self.group_size(dtype), dtype.itemsize

        def checked(piece):
            def careful(address, index, *value):
                assert (address + index * itemsize) % size == 0, f"misaligned {scope}"
                return piece(address, index, *value)

            return careful

        return tuple(map(checked, pieces))

    monkeypatch.setattr(cuda.Memory, "access", strict)
    monkeypatch.setattr(cuda, "THREADS", THREADS)
    monkeypatch.setattr(factory, "_made", {})


def array(values, dtype, offset):
    """A copy that begins `offset` bytes behind an aligned address."""
    room = np.zeros(values.size * dtype.itemsize + offset + 2 * ALIGNED, np.uint8)
    start = -room.ctypes.data % ALIGNED + offset
    copy = room[start : start + values.size * dtype.itemsize].view(dtype)
    copy[:] = values
    return copy


def memory_for(strs, sizes, offsets):
    """Arrays for each column, one for each row: {(stream, part): [array, ...]}.

    A row may have one array that lies so many elements off; another one in each row.
    """
    rng, arrays = np.random.default_rng(0), {}
    columns = [(stream, k) for stream in strs for k, _ in enumerate(stream.storage.stored)]
    for number, (stream, part) in enumerate(columns):
        column, rows = stream.storage.stored[part], []
        dtype = np.dtype(column.dtype)
        for row, size in enumerate(sizes):
            values = contents(rng, stream, part, size)
            off = offsets[row % len(offsets)] if row % len(columns) == number else 0
            rows.append(array(values, dtype, off * dtype.itemsize))
        arrays[stream.name, part] = rows
    return arrays


def run(target, rule, strs, sizes, *, hyper=(), offsets=(0,), length=1024, skipped=(), steps=2):
    kernel = factory.kernel(rule, strs, target)
    arrays = memory_for(strs, sizes, offsets)
    table = Table(kernel, sizes, 1)
    table.chunks = chunk_table(sizes, length)
    for (name, part), rows in arrays.items():
        table.place(name, [row.ctypes.data for row in rows], part)
    for row in skipped:
        table.rows[row, 0] = SKIPPED
    table.pack(0, *(hyper[name] for name in rule.hyper))
    task = table._tasks(1).ctypes.data
    for _ in range(steps):
        kernel.run[BLOCKS, THREADS](task) if target is cuda else kernel.run(task)
    return arrays


def same_bits(rule, strs, sizes, **how):
    simulated, plain = (run(target, rule, strs, sizes, **how) for target in (cuda, python))
    for name, rows in plain.items():
        for row, want in enumerate(rows):
            bits = f"u{want.itemsize}"
            np.testing.assert_array_equal(
                simulated[name][row].view(bits), want.view(bits), f"{name}[{row}]"
            )
    return plain


def parts(case: Case, formats=FLOATS, options=()):
    """A rule with options, its streams, and the constants of a second step."""
    opt = case.optimizer.__new__(case.optimizer)
    group = case.optimizer.defaults | case.hyper | case.optimizer.carried
    group |= opt.carry(group, 2)
    rule = opt.variant(group)
    options += formats.options
    return staged(rule, options), streams(rule, options, formats), opt.hyper(group, 2)


@pytest.mark.parametrize("case", COMPILED, ids=lambda case: case.id)
def test_every_rule(case):
    rule, strs, hyper = parts(case)
    start = memory_for(strs, SMALL, (0,))
    after = same_bits(rule, strs, SMALL, hyper=hyper, skipped=[LEFT_OUT])
    for row in range(len(SMALL)):
        same = np.array_equal(start["param", 0][row], after["param", 0][row])
        assert same == (row == LEFT_OUT)


# one rule in every dtype, another in one
PAIRS = [*product(TWO[:1], FLOAT), (TWO[1], "float32")]


@pytest.mark.parametrize(("case", "dtype"), PAIRS, ids=lambda each: getattr(each, "id", each))
def test_rules_with_all_options_and_alignments(case, dtype):
    rule, strs, hyper = parts(case, Formats.alike(dtype), ALL)
    same_bits(rule, strs, SMALL, hyper=hyper, offsets=(0, 1, 2, 3))


@pytest.mark.parametrize("formats", FORMATS.values(), ids=FORMATS)
def test_formats(formats):
    rule, strs, hyper = parts(DEFAULTS[0], formats)
    same_bits(rule, strs, SMALL, hyper=hyper, offsets=(0, 1, 2, 3), skipped=[LEFT_OUT])
    if formats.state == "int8":  # in blocks, the last of which is not whole
        same_bits(rule, strs, (600, 256), hyper=hyper, length=512, steps=1)


def test_a_rule_in_little_memory():
    rule, strs, hyper = parts(DEFAULTS[-1], FORMATS["split8, int8, rounded"])
    same_bits(rule, strs, (300, 5), hyper=hyper)


@pytest.mark.parametrize("option", [*OPTIONS, ZERO_GRADS])
def test_each_option(option):
    rule, strs, hyper = parts(TWO[1], options=(option,))
    for offsets in ((0,), (1,)):
        same_bits(rule, strs, SMALL, hyper=hyper, offsets=offsets, skipped=[LEFT_OUT])


@pytest.mark.parametrize("length", [1000, 1024, 1 << 20])
def test_long_arrays_in_several_chunks(length):
    rule, strs, hyper = parts(DEFAULTS[0])
    same_bits(rule, strs, LARGE, hyper=hyper, offsets=(0, 1), length=length, steps=1)


@pytest.mark.parametrize(
    ("dtype", "option", "length"),
    [*((dtype, (), 1024) for dtype in FLOAT), ("float32", ("grad_scale",), 1 << 20)],
    ids=[*FLOAT, "scaled"],
)
def test_sums_of_blocks(dtype, option, length):
    """The same tree on every device, so that norms have the same bits."""
    _, *inputs = streams(square, option, Formats.alike(dtype))
    strs = (
        Stream("param", Sums(), "w"),
        *(stream._replace(mode="r") for stream in inputs),
    )
    narrow = FLOAT[dtype].compute != dtype  # decoded in plain Python
    rule, sizes = staged(square, option), (*SMALL, *(LARGE[1:2] if narrow else LARGE))
    same_bits(rule, strs, sizes, length=length, offsets=(0, 1), steps=1)


def test_warps_of_a_device(monkeypatch):
    """As many lanes as there are, and two warps of them: sums and int8 have the same bits."""
    lanes = cuda.Memory.warps._replace(width=32)
    for module, name, value in (
        (cuda, "WARP", 32),
        (simulator, "WARP", 32),
        (cuda, "THREADS", 64),
        (cuda.Memory, "warps", lanes),
        (sys.modules[__name__], "THREADS", 64),
    ):
        monkeypatch.setattr(module, name, value)
    sums = (Stream("param", Sums(), "w"), Stream("grad", FLOAT["float32"], "r"))
    same_bits(square, sums, (2048, 1023, 129, 17), length=2048, offsets=(0, 1), steps=1)
    rule, strs, hyper = parts(DEFAULTS[0], FORMATS["int8 state"])
    same_bits(rule, strs, (600, 37), hyper=hyper, steps=1)


@pytest.mark.parametrize("block", [32, 256, 2048])
def test_foreign_blocks(block):
    """By warps, or, where a block is too long for registers, by a team of threads."""
    rule, (param, grad, *states), hyper = parts(DEFAULTS[0])
    coded = [state._replace(storage=foreign.Int8(block)) for state in states]
    strs = (param, grad._replace(storage=foreign.BFLOAT16), *coded)
    same_bits(rule, strs, (300, 5), hyper=hyper, offsets=(0, 1), length=2048, steps=1)


def test_a_misaligned_group_would_be_noticed():
    wide = cuda.Memory(["param"]).wide
    load, _ = wide.access(np.dtype(np.float32), "param")
    data = array(np.zeros(8), np.dtype(np.float32), 4)
    with pytest.raises(AssertionError, match="misaligned"):
        load(data.ctypes.data, 0)
    assert Single("float32").stored[0].per > 1  # and is not a group
