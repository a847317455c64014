"""Kernels for CUDA without a GPU: in the simulator, and as PTX."""

import os
import re
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, DEFAULTS, FORMATS
from processes import output, run
from sass import machine_code

import fastadam as fa
from fastadam.kernels import cuda, cuda_compiler, cuda_driver, factory, gate
from fastadam.kernels.blocks import Sums
from fastadam.kernels.compose import Stream
from fastadam.kernels.formats import FLOAT, ROUND, Formats
from fastadam.kernels.stages import OPTIONS, ZERO_GRADS, staged, streams
from fastadam.kernels.storage import WHOLE, Elementwise
from fastadam.norm import factor, square

HERE = Path(__file__).parent
CAPABILITY = (9, 0)
SINGLE = Formats.alike("float32")
ALL = (*(n for n in OPTIONS if n != "float16" and not n.startswith(ROUND)), ZERO_GRADS)


@pytest.mark.parametrize("of", ["", "_walk", "_streams", "_torch"])
def test_in_the_simulator(of):
    file = f"simulator{of}.py"
    if of == "_torch":
        pytest.importorskip("torch")
    done = run(
        *("-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", file),
        cwd=HERE,
        NUMBA_ENABLE_CUDASIM="1",
        NUMBA_DISABLE_JIT="0",
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def test_other_processes_import_what_this_one_can(monkeypatch):
    """Packages may come from PYTHONPATH alone; a test that adds to it keeps them."""
    monkeypatch.setenv("PYTHONPATH", "there")
    code = "import os; print(os.environ['PYTHONPATH'])"
    assert output(code, PYTHONPATH="here").split(os.pathsep) == ["here", "there"]


def test_the_driver_is_called_as_it_wants(monkeypatch):
    """With so many arguments, and an error for whatever it refuses."""
    called, codes = [], {}

    class Library:
        def __getattr__(self, name):
            def function(*args):
                assert len(args) == len(cuda_driver._FUNCTIONS[name]), name
                called.append(name)
                return codes.get(name, 0)

            return function

    monkeypatch.setattr(cuda_driver, "memset", lambda *args: None)
    monkeypatch.setattr(cuda_driver.cuda, "defer_cleanup", nullcontext)
    driver = cuda_driver.Driver()
    driver._call = Library()
    driver.launch(5, 1, 32, driver.arguments(7), 1)
    driver.copy_in(1, 2, 3, 1)
    driver.copy_out(1, 2, 3, 1)
    driver.copy(1, 2, 3, 1)
    driver.clear(1, 2, 1)
    driver.finish(1)
    driver.finish_all()
    driver.prepare()
    assert not driver.capturing(3)
    event = driver.event()
    driver.record(event, 1)
    driver.follow(3, event)
    driver.reach(event)
    assert driver.reached(event)
    codes["cuEventQuery"] = cuda_driver.NOT_READY
    assert not driver.reached(event)
    with driver.relaxed():
        pass
    del event
    for _ in range(2):  # the first piece goes back before the second is made
        driver.pinned(8)
    assert {*called} == cuda_driver._FUNCTIONS.keys() - {"cuGetErrorString"}
    codes["cuLaunchKernel"] = 719
    with pytest.raises(RuntimeError, match="error 719"):
        driver.launch(5, 1, 32, driver.arguments(7), 1)


def rules():
    """Every rule there is, once: many variants differ in their constants only."""
    found = {}
    for case in CASES:
        made = case.optimizer.__new__(case.optimizer)
        rule = made.variant(case.optimizer.defaults | case.hyper)
        found.setdefault(rule, pytest.param(rule, id=case.id))
    return found.values()


def made(rule, streams):
    """A kernel, and its PTX."""
    run = factory.kernel(rule, streams, cuda).run
    return run, cuda.ptx(run, CAPABILITY)


def assembled(run):
    """The machine code of a kernel, as it would be loaded."""
    code = machine_code(cuda_compiler.binary(run, CAPABILITY))
    assert not code.count("LDL", "STL"), "registers in memory"
    assert code.registers <= 128, "two blocks of 256 threads would not fit"
    return code


def check(run, text, arrays, *, shared=False):
    """What holds for every kernel; `arrays` are the sizes of a number of each."""
    head, body = text.split("{", 1)
    assert head.count(".param") == 1
    assert not re.search(r"\bcall|\.extern|[.]local\b", text), "calls, or registers in memory"
    assert (".shared" in text) == shared
    masks = {min(16, 4 * size) - 1 for size in arrays}
    for mask in masks:
        assert re.search(rf"and\.b64\s+\S+ \S+ {mask};", body), "alignment is not looked at"
    assembled(run)


def check_rounding(text):
    """That every operation rounds once, by itself, to nearest, as on the CPU: what says so is not
    joined to anything else by the assembler either."""
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


def check_update(rule, options, formats):
    options += formats.options
    strs = streams(rule, options, formats)
    run, text = made(staged(rule, options), strs)
    check(run, text, sizes(strs), shared=any(s.storage.block < WHOLE for s in strs))
    for stream in strs:
        for column in stream.storage.stored:
            if column.per == 1 and stream.mode != "w":
                assert f"ld.global.{VECTORS[column.dtype]}" in text, stream
            if stream.storage.block == WHOLE and column.per == 1 and "w" in stream.mode:
                assert f"st.global.{VECTORS[column.dtype]}" in text, stream
    if formats.compute == "float32":
        assert not re.search(r"\.f64\b", text), "arithmetic in another precision"
    assert not re.search(r"\.approx|\.full|\.ftz", text), "arithmetic of less precision"
    check_rounding(text)
    return text


@pytest.mark.ptx
@pytest.mark.parametrize("rule", rules())
def test_every_rule_moves_four_at_once_without_doubles(rule):
    text = check_update(rule, (), SINGLE)
    loads, stores = (len(re.findall(rf"{what}\.global\.v4\.f32", text)) for what in ("ld", "st"))
    reads, writes = 2 + len(rule.state), 1 + len(rule.state)
    assert loads * writes == stores * reads  # however often the loop is unrolled
    assert loads % reads == 0


@pytest.mark.ptx
@pytest.mark.parametrize("formats", FORMATS.values(), ids=FORMATS)
def test_every_format_moves_four_at_once(formats):
    check_update(fa.AdamW.rule, (), formats)


@pytest.mark.ptx
@pytest.mark.parametrize("case", DEFAULTS[:2] + DEFAULTS[-1:], ids=lambda case: case.id)
def test_all_options_at_once(case):
    text = check_update(case.optimizer.rule, ALL, SINGLE)
    assert "ld.global.v4.u8" in text  # the mask
    assert "st.global.v4.u16" in text  # the copy in bfloat16


@pytest.mark.ptx
@pytest.mark.parametrize("case", DEFAULTS[::3], ids=lambda case: case.id)
def test_float64_is_float64_throughout(case):
    text = check_update(case.optimizer.rule, (), Formats.alike("float64"))
    assert not re.search(r"\.f32\b", text), "arithmetic in another precision"


@pytest.mark.ptx
def test_sums_are_made_in_shared_memory():
    strs = (Stream("param", Sums(), "w"), Stream("grad", FLOAT["float32"], "r"))
    run, text = made(square, strs)
    check(run, text, [4], shared=True)
    assert "bar.sync" in text
    assert "ld.global.v4.f32" in text
    assert "add.rn.f64" in text
    check_rounding(text)


@pytest.mark.ptx
def test_what_stands_before_launches_is_small():
    """The factor of a clip, and the gate that lets a step happen."""
    text = cuda.ptx(gate.compiled(), CAPABILITY)
    assert not re.search(r"\bcall|\.extern|[.]local\b", text)
    assert "bar.sync" in text
    check_rounding(text)
    assembled(gate.compiled())
    storage = Elementwise("factor", "float32", "float64", encode=np.float32)
    _, text = made(factor, (Stream("param", storage, "w"), Stream("grad", FLOAT["float64"], "r")))
    assert "sqrt.rn.f64" in text
    check_rounding(text)


@pytest.mark.ptx
def test_an_argument_may_be_left_out():
    """`max` of three is a function of two with one more, which a caller may leave out."""

    def three(param, grad, state, h):
        return max(param - grad, -3.0, h.lr), state

    check_update(fa.rule(hyper=("lr",))(three), (), SINGLE)


@pytest.mark.ptx
def test_other_capabilities():
    rule = fa.SGD.rule
    run, _ = made(rule, streams(rule, (), SINGLE))
    for capability in ((7, 5), (8, 0)):
        assert f".target sm_{capability[0]}{capability[1]}" in cuda.ptx(run, capability)


@pytest.mark.ptx
@pytest.mark.parametrize("optimizer", [fa.SGD, fa.Lion], ids=lambda each: each.__name__)
def test_nothing_is_contracted_behind_the_compiler(optimizer):
    """In the code that a device loads. Neither rule divides or takes a root, which need FMA."""
    run, _ = made(optimizer.rule, streams(optimizer.rule, (), SINGLE))
    code = assembled(run)
    assert code.count("FMUL")
    assert code.count("FADD")
    assert not code.count("FFMA")


def with_keywords_alone(run, monkeypatch):
    from numba import cuda

    return cuda.jit(**cuda_compiler.OPTIONS)(run.py_func)


def with_fma(run, monkeypatch):
    @contextmanager
    def untold(used):
        used.append({})
        yield

    monkeypatch.setattr(cuda_compiler, "_as_written", untold)
    return cuda_compiler.declared(run.py_func)


def with_fastmath(run, monkeypatch):
    return cuda_compiler.declared(run.py_func, fastmath=True)


@pytest.mark.ptx
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (with_keywords_alone, "lto=True"),
        (with_fma, "fma=None, fma[.]"),
        (with_fastmath, "fastmath=True"),
    ],
)
def test_a_kernel_compiled_otherwise_is_refused(change, found, monkeypatch):
    """What numba-cuda makes is looked at, before it is loaded."""
    run, _ = made(fa.AdamW.rule, streams(fa.AdamW.rule, (), SINGLE))
    with pytest.raises(RuntimeError, match=f"{found}.* bits of the CPU's; install numba-cuda=="):
        cuda.ptx(change(run, monkeypatch), CAPABILITY)


@pytest.mark.ptx
def test_what_does_not_go_with_numpy_is_named():
    code = """
        import numpy; numpy.__dict__.pop("row_stack"); numpy.__version__ = "2.5.0"
        from fastadam.kernels import cuda
        print(cuda.missing())
    """
    code = "; ".join(line.strip() for line in code.strip().splitlines())
    said = output(code)
    assert "uses numpy.row_stack, which NumPy 2.5.0 does not have; run: pip install" in said
