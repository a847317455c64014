"""The machine: composition, targets, machine code, tables; and that pieces from outside fit in."""

import re
from functools import cache
from itertools import pairwise

import foreign
import llvmlite
import numba
import numpy as np
import pytest
from cases import COMPILED, FORMATS, TWO, gradients, parameters
from columns import contents
from llvmlite.binding import get_host_cpu_name

import fastadam as fa
from fastadam.engine.grad_norm import square
from fastadam.engine.launch import kernel_for
from fastadam.kernels import factory, loops
from fastadam.kernels import plain_python as python
from fastadam.kernels.cpu import target as cpu
from fastadam.kernels.formats import FLOAT, ROUND, Formats
from fastadam.kernels.rule_streams import streams
from fastadam.kernels.storage.block_sums import Sums
from fastadam.kernels.storage.elementwise import Single
from fastadam.kernels.stream import Stream
from fastadam.kernels.transforms import OPTIONS, STATE, ZERO_GRADS, after, before, staged
from fastadam.memory.launch_table import SKIPPED, Table, balanced, chunk_length, chunk_table

F32, NUMBER = FLOAT["float32"], Single("float32")
ADAMW = fa.AdamW.rule
CONSTANTS = {
    "step_size": 1e-2,
    "beta1_comp": 0.1,
    "beta2": 0.999,
    "beta2_comp": 0.001,
    "root_scale": 1.5,
    "eps": 1e-8,
    "decay": 1e-4,
}


def adamw_streams(grad=F32, state=F32):
    names = (("param", F32, "rw"), ("grad", grad, "r"))
    return (*(Stream(*n) for n in names), *(Stream(STATE + n, state) for n in ADAMW.state))


def memory_for(streams, size, seed=0):
    """Arrays for each column of each stream: {(stream, part): array}."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for stream in streams:
        for part, column in enumerate(stream.storage.stored):
            values = contents(rng, stream, part, size)
            arrays[stream.name, part] = values.astype(column.dtype)
    return arrays


def run(rule, streams, target, size=700, steps=3, tasks=1, change=None):
    kernel = factory.kernel(rule, streams, target)
    arrays = memory_for(streams, size)
    if change:
        change(arrays)
    table = Table(kernel, [size], 1)
    for (name, part), array in arrays.items():
        table.place(name, array.ctypes.data, part=part)
    table.pack(0, *[CONSTANTS.get(name, 0.5) for name in rule.hyper])
    for _ in range(steps):
        table.parallel(tasks)()
    return arrays


def test_blocks_of_every_kind_have_the_bits_of_plain_python():
    """Codes of a block are written with the update of the next one, if its signs are as expected;
    here some blocks have other signs, a NaN in one of them, or too few elements."""

    def change(arrays):
        for name in ("exp_avg", "exp_avg_sq"):
            arrays[STATE + name, 0][:] = 0
        grad = arrays["grad", 0]
        grad[512:1024], grad[300], grad[1600] = np.abs(grad[512:1024]), np.nan, -np.nan

    strs = streams(ADAMW, (), Formats("float32", "float32", "int8"))  # ten blocks, 17 elements
    compiled, plain = (run(ADAMW, strs, target, 2577, change=change) for target in (cpu, python))
    for key, array in plain.items():
        np.testing.assert_array_equal(compiled[key], array, err_msg=str(key))
    negative = np.signbit(plain[STATE + "exp_avg", 1].view(np.float32))
    assert [bool(negative[k]) for k in (0, 2, 3, 4, 9)] == [True, False, False, True, True]


def same_on_both_targets(rule, streams):
    compiled, plain = (run(rule, streams, target) for target in (cpu, python))
    start = memory_for(streams, 700)
    for key, array in plain.items():
        np.testing.assert_array_equal(compiled[key], array, err_msg=str(key))
    assert not np.array_equal(start["param", 0], plain["param", 0])
    return start, plain


@pytest.mark.parametrize("case", COMPILED, ids=lambda case: case.id)
def test_compiled_code_is_vectorised_and_has_the_bits_of_plain_python(case, pytestconfig):
    rule = case.optimizer(np.ones(1, np.float32), **case.hyper).rule
    strs, kernel_rule = streams(rule, (), Formats.alike("float32")), staged(rule, ())
    check_vectorised(kernel_rule, strs, "float32", pytestconfig.cache)
    same_on_both_targets(kernel_rule, strs)


def test_a_foreign_storage_fits_in():
    """bfloat16 gradients and int8 block states, which the package does not know."""
    start, after_steps = same_on_both_targets(
        ADAMW, adamw_streams(foreign.BFLOAT16, foreign.Int8())
    )
    assert after_steps[STATE + "exp_avg", 0].dtype == np.int8
    np.testing.assert_array_equal(after_steps["grad", 0], start["grad", 0])


def test_a_foreign_option_fits_in():
    """Scaled and then cleared gradients, and an average of the parameters behind the rule."""
    rule = before(ADAMW, foreign.halved, ("factor",))
    rule = after(rule, foreign.averaged, ("average", "comp"))
    param, grad, *states = adamw_streams()
    extras = [Stream("factor", NUMBER), Stream("average", F32), Stream("comp", NUMBER)]
    streams = (param, grad._replace(mode="rz"), *states, *extras)
    start, result = same_on_both_targets(rule, streams)
    assert not result["grad", 0].any()
    assert not np.array_equal(start["average", 0], result["average", 0])


def test_a_stream_that_is_only_written():
    shadow = after(ADAMW, lambda old, new, extra: (new, (new,)), ("shadow",))
    streams = (*adamw_streams(), Stream("shadow", foreign.BFLOAT16, "w"))
    _, result = same_on_both_targets(shadow, streams)
    want = result["param", 0].view(np.uint32)
    assert np.abs((want >> 16).astype(int) - result["shadow", 0].astype(int)).max() <= 1


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1023, 1024, 1025, 5000])
def test_sums_of_blocks_have_the_same_bits_on_both_targets(size):
    streams = (Stream("param", Sums(), "w"), Stream("grad", F32, "r"))
    compiled, plain = (run(square, streams, target, size) for target in (cpu, python))
    np.testing.assert_array_equal(compiled["param", 0], plain["param", 0])
    want = np.sum(np.float64(plain["grad", 0]) ** 2)
    assert plain["param", 0].sum() == pytest.approx(want, rel=1e-15)  # a tree of ten levels


OTHERS = ("float16", "float32", "mask_state")  # instead of bfloat16, and of mask
ALL = tuple(n for n in OPTIONS if n not in OTHERS and not n.startswith(ROUND))


# each that is not among all; in the simulator of a GPU, each alone
SEVERAL = [*((name,) for name in OPTIONS if name not in ALL), ("clip_value",), (*ALL, ZERO_GRADS)]


@pytest.mark.parametrize("options", SEVERAL, ids=str)
def test_options_have_the_same_bits_on_both_targets(options):
    rule = staged(ADAMW, options)
    same_on_both_targets(rule, streams(ADAMW, options, Formats.alike("float32")))


PARTS = ("float16, rounded", "float16 gradients", "double, half gradients", "split8, int8")
WHOLES = {name: formats for name, formats in FORMATS.items() if name not in PARTS}


@pytest.mark.parametrize("formats", WHOLES.values(), ids=WHOLES)  # in the simulator, all
def test_formats_have_the_same_bits_on_both_targets(formats):
    rule = ADAMW
    same_on_both_targets(staged(rule, formats.options), streams(rule, formats.options, formats))


@pytest.mark.parametrize("case", TWO, ids=lambda case: case.id)
@pytest.mark.parametrize(
    ("dtype", "options"),
    [("float64", ()), ("float32", (*ALL, ZERO_GRADS))],
    ids=["float64", "all options"],
)
def test_machine_code_is_vectorised_and_in_one_precision(case, dtype, options, pytestconfig):
    rule = case.optimizer(np.ones(1, dtype), **case.hyper).rule
    strs = streams(rule, options, Formats.alike(dtype))
    check_vectorised(staged(rule, options), strs, dtype, pytestconfig.cache)
    same_on_both_targets(staged(rule, options), strs)


COMPILER = f"numba {numba.__version__}, llvmlite {llvmlite.__version__}, {get_host_cpu_name()}"


def check_vectorised(rule, streams, dtype, cache):
    """Check that all arithmetic is in this precision, and vectors of it.

    The name of a kernel has the digest of its content: one that has passed need not be compiled
    again by the same compiler for the same processor. pytest's cache remembers it.
    """
    name, _ = factory.assembled(loops.kernel, rule, streams, cpu)
    place = f"fastadam/vectorised/{name}"
    if cache.get(place, "") != COMPILER:
        check_text(machine_code(rule, streams), dtype)
        cache.set(place, COMPILER)


def check_text(text, dtype):
    arithmetic = r"\bv?(?:add|sub|mul|div|sqrt|min|max|fm\w+|fnm\w+)"
    packed, other = ("ps", "d") if dtype == "float32" else ("pd", "s")
    assert re.search(rf"{arithmetic}{packed}\b", text), "no vector arithmetic"
    assert not re.search(rf"{arithmetic}[ps]{other}\b", text), "arithmetic in another precision"
    assert not re.search(r"\bv?cvts[sd]2s[sd]|\bv?cvtp[sd]2p[sd]", text), "conversions"


@cache  # variants that differ in numbers alone have one kernel
def machine_code(rule, streams):
    """The text of a kernel, compiled anew: a cached one has no text. Other tests load it then."""
    kept, cfunc = [], cpu.cfunc

    def kept_cfunc(*args, **kwargs):
        return lambda function: kept.append(cfunc(*args, **kwargs)(function)) or kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numba.core.caching.FunctionCache.load_overload", lambda *_: None)
        patch.setattr(cpu, "cfunc", kept_cfunc)
        factory._make(rule, streams, cpu, False, ())
    return kept[-1]._library.get_asm_str()


def test_a_second_step_compiles_nothing(monkeypatch):
    opt = fa.AdamW(np.ones(5, np.float32))
    opt.step(np.ones(5, np.float32))
    monkeypatch.setattr(factory, "_make", lambda *_: pytest.fail("compiled again"))
    opt.step(np.ones(5, np.float32))
    opt.param_groups[0]["lr"] = 0.5
    opt.step(np.zeros(5, np.float32), lr=0.1)
    fa.AdamW([np.ones(3, np.float32), np.ones((2, 2), np.float32)]).step(
        [None, np.ones((2, 2), "f")]
    )


# Tables


@pytest.mark.parametrize("sizes", [[5], [0, 3, 0], [4096, 4097, 1], [0], [100_000] * 3])
@pytest.mark.parametrize("length", [1, 7, 256, 4096])
def test_chunks_cover_every_element_once(sizes, length):
    if max(sizes) // length > 20_000:
        length = 4096
    chunks = chunk_table(sizes, length)
    seen = [np.zeros(size, int) for size in sizes]
    for row, start, stop in chunks:
        assert 0 < stop - start <= length
        seen[row][start:stop] += 1
    assert all((count == 1).all() for count in seen)


def test_chunks_of_arrays_beyond_32_bits():
    sizes = [3, 5_000_000_000, 0, 2**33 + 1]
    chunks = chunk_table(sizes, 65536)
    assert chunks.dtype == np.int64
    assert (chunks[:, 1] < chunks[:, 2]).all()
    lengths = chunks[:, 2] - chunks[:, 1]
    assert [lengths[chunks[:, 0] == row].sum() for row in range(4)] == sizes
    assert chunks[-1].tolist() == [3, 2**33, 2**33 + 1]


def test_a_kernel_reaches_elements_beyond_32_bits():
    """The same elements, said to lie 2**33 elements further on from an address as far before."""
    far, size = 1 << 33, 1000
    kernel = kernel_for(ADAMW, Formats.alike("float32"))
    want = run(ADAMW, adamw_streams(), cpu, size, steps=1)
    arrays = memory_for(adamw_streams(), size)
    table = Table(kernel, [size], 1)
    for (name, _), array in arrays.items():
        table.place(name, array.ctypes.data - 4 * far)
    table.chunks[:, 1:] += far
    table.pack(0, *[CONSTANTS.get(name, 0.5) for name in ADAMW.hyper])
    table.serial()
    for key, array in want.items():
        np.testing.assert_array_equal(arrays[key], array)


def test_a_skipped_row_is_not_touched():
    arrays = memory_for(adamw_streams(), 300)
    table = Table(kernel_for(ADAMW, Formats.alike("float32")), [300], 1)
    for (name, _), array in arrays.items():
        table.place(name, array.ctypes.data)
    table.rows[0, 0] = SKIPPED
    table.serial()
    for key, array in memory_for(adamw_streams(), 300).items():
        np.testing.assert_array_equal(arrays[key], array)


@pytest.mark.parametrize("tasks", [1, 2, 3, 16])
def test_tasks_have_about_as_many_elements_each(tasks):
    sizes = [1_000_000, *([1000] * 500), 300_000]
    length = chunk_length(sum(sizes))
    chunks = chunk_table(sizes, length)
    cuts = balanced(chunks, tasks)
    assert cuts[0] == 0
    assert cuts[-1] == len(chunks)
    lengths = chunks[:, 2] - chunks[:, 1]
    shares = [lengths[a:b].sum() for a, b in pairwise(cuts)]
    assert sum(shares) == sum(sizes)
    assert max(shares) - sum(sizes) / tasks <= length


def test_small_arrays_are_not_split():
    sizes = [1000] * 1000
    assert len(chunk_table(sizes, chunk_length(sum(sizes)))) == 1000


def test_names_of_kernels_tell_their_content():
    names = {
        factory.kernel(fa.AdamW.rule, adamw_streams(grad), cpu).name
        for grad in (F32, foreign.BFLOAT16)
    }
    assert len(names) == 2
    assert kernel_for(fa.Adam.rule, Formats.alike("float32")).name.startswith(
        "adam_f32_f32_f32_f32_"
    )
    assert (
        kernel_for(fa.Adam.rule, Formats.alike("float32")).name
        != kernel_for(ADAMW, Formats.alike("float32")).name
    )


def test_gradients_do_not_change():
    grad = gradients(10, 1)[0]
    kept = grad.copy()
    fa.Adam(parameters(10), maximize=True, weight_decay=0.1).step(grad)
    np.testing.assert_array_equal(grad, kept)
