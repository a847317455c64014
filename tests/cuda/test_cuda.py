"""Kernels for CUDA without a GPU: the driver, machine code on disk, and PTX."""

import os
import re
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from machine import CAPABILITY, KERNELS, SAMPLES, SINGLE, SPILLED, digest, row, table, versions
from processes import output
from ptx_checks import check_rounding, check_update
from sass import machine_code

import fastadam as fa
from fastadam.cuda import chain, numba_compat, prologue_kernel
from fastadam.cuda import code_cache as cuda_cache
from fastadam.cuda import compiler as cuda_compiler
from fastadam.cuda import driver as cuda_driver
from fastadam.cuda import target as cuda
from fastadam.engine.clipping import factor, factor_streams
from fastadam.engine.convert import identity
from fastadam.engine.grad_norm import norm_streams
from fastadam.kernels import factory
from fastadam.kernels.formats import Formats
from fastadam.kernels.rule_streams import streams


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
    device = SimpleNamespace(compute_capability=(9, 0), id=0)
    monkeypatch.setattr(
        cuda_driver.cuda, "current_context", lambda: SimpleNamespace(device=device), raising=False
    )
    assert driver.describe() == "compute capability 9.0, driver 0"
    driver.function("entry", b"code")
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
    entered = []

    @contextmanager
    def other():
        entered.append(1)
        device.id = 1
        yield
        device.id = 0

    monkeypatch.setattr(cuda_driver.cuda, "gpus", {1: other()}, raising=False)
    count = called.count("cuStreamCreate")
    with driver.on(1):  # has a stream aside of its own, and leaves the memory of others alone
        driver.prepare()
        freed = called.count("cuMemFreeHost")
        driver.pinned(8)
        assert called.count("cuMemFreeHost") == freed
    assert entered == [1]
    assert called.count("cuStreamCreate") == count + 1
    with driver.on(0):
        driver.prepare()
    assert called.count("cuStreamCreate") == count + 1
    codes["cuLaunchKernel"] = 719
    with pytest.raises(RuntimeError, match="error 719"):
        driver.launch(5, 1, 32, driver.arguments(7), 1)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1])


def changed(path):
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def of_another_kernel(path):
    code = cuda_cache.Code("other", b"other")
    cuda_cache._write(path.parent, path.name, "other", code)


def in_the_way(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [cut_off, changed, of_another_kernel, Path.unlink, in_the_way])
def test_machine_code_on_disk(spoil, tmp_path, monkeypatch):
    """It is made once, and again when a file is not what it should be."""
    monkeypatch.setattr(cuda_cache.config, "CACHE_DIR", str(tmp_path))
    code, made = cuda_cache.Code("entry", b"\x7fELF\n\0code"), []

    def make():
        made.append(code)
        return code

    def ask(device="9.0", fresh=False):
        assert cuda_cache.code_for("kernel_0123", device, make, fresh) == code
        return len(made)

    assert [ask(), ask(), ask("8.0"), ask("8.0"), ask(fresh=True), ask()] == [1, 1, 2, 2, 3, 3]
    files = [*tmp_path.glob("*/kernel_0123-*.cubin")]
    assert len(files) == 2
    for path in files:
        spoil(path)
    assert ask() == 4
    assert not [*tmp_path.glob("*/*.cubin.*")]  # pieces of files


def test_machine_code_without_a_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda_cache.config, "CACHE_DIR", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    code = cuda_cache.Code("entry", b"code")
    assert cuda_cache.code_for("kernel", "9.0", lambda: code) == code


def made(rule, streams):
    """A kernel, and its PTX."""
    run = factory.kernel(rule, streams, cuda).run
    return run, cuda.ptx(run, CAPABILITY)


@pytest.mark.ptx
@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel(name):
    """Of every rule, format and option: groups of neighbours move at once, nothing is rounded more
    or less than on the CPU, and a device needs what the committed table says.

    This was checked when the row was written, and holds as long as the content of the kernel and
    the compilers are the same; what differs, and a few of every kind, are compiled again.
    """
    compilers, rows = table()
    same, expected = compilers == versions(), rows[name]
    if name in SAMPLES or not same or expected.get("digest") != digest(name):
        found = row(name)
        expected.pop("digest", "")
        if same:
            assert found == expected, "if this is meant: python tests/support/machine.py"


@pytest.mark.ptx
def test_the_table_of_machine_code():
    """It has a row for each kernel, and holds what is asked of them."""
    _, rows = table()
    assert [*rows] == [*KERNELS]
    assert [name for name, each in rows.items() if each["spills"] != "0"] == SPILLED
    assert float(rows["AdamW in int8 state"]["per element"]) <= 130
    assert float(rows["norm of float32"]["per element"]) <= 25
    plain = ("SGD", "Lion", "Signum", "Rprop")  # they neither divide nor take a root
    names = [name for name in rows if name.startswith(plain) and "cautious=True" not in name]
    assert {rows[name]["FFMA"] for name in names} == {"0"}  # the mean of a mask is a division


@pytest.mark.ptx
def test_what_stands_before_launches_is_small():
    """The prologue kernel, and what follows the pass of a norm."""
    text = cuda.ptx(prologue_kernel.compiled(), CAPABILITY)
    assert not re.search(r"\bcall|\.extern|[.]local\b", text)
    assert "bar.sync" in text
    check_rounding(text)
    kernels = (
        factory.kernel(identity, norm_streams(Formats.alike("float64"), (), identity), cuda),
        factory.kernel(factor, factor_streams("float32"), cuda),
    )
    text = cuda.ptx(chain.compiled(kernels), CAPABILITY)
    assert not re.search(r"\bcall|\.extern|[.]local\b", text)
    assert "sqrt.rn.f64" in text
    assert [*re.findall(r"bar\.red|membar\.gl|atom\.\S+", text)] == [
        "membar.gl",
        "atom.global.add.u64",
        "bar.red",
        "membar.gl",
    ]
    check_rounding(text)


@pytest.mark.ptx
def test_an_argument_may_be_left_out():
    """`max` of three is a function of two with one more, which a caller may leave out."""

    def three(param, grad, state, h):
        return max(param - grad, -3.0, h.lr), state

    rule = fa.rule(hyper=("lr",))(three)
    _, text = made(rule, streams(rule, (), SINGLE))
    check_update(text, rule, (), SINGLE)


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
    code = machine_code(cuda_compiler.binary(run, CAPABILITY))
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

    numba_compat.verify()
    monkeypatch.setattr(numba_compat, "rounding_once", untold)
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
    """The PTX of numba-cuda is checked before it is loaded."""
    run, _ = made(fa.AdamW.rule, streams(fa.AdamW.rule, (), SINGLE))
    with pytest.raises(RuntimeError, match=f"{found}.* bits of the CPU's; (install|report)"):
        cuda.ptx(change(run, monkeypatch), CAPABILITY)


@pytest.mark.ptx
def test_numba_that_joins_products_and_sums_is_refused(monkeypatch):
    """Before any kernel is compiled."""
    run, _ = made(fa.SGD.rule, streams(fa.SGD.rule, (), SINGLE))
    monkeypatch.setattr(numba_compat, "rounding_once", lambda used: nullcontext())
    numba_compat.verify.cache_clear()
    with pytest.raises(RuntimeError, match="without rounding the product"):
        cuda.ptx(run, (7, 5))


@pytest.mark.ptx
def test_what_does_not_go_with_numpy_is_named():
    code = """
        import numpy; numpy.__dict__.pop("row_stack"); numpy.__version__ = "2.5.0"
        from fastadam.cuda import target as cuda
        print(cuda.missing())
    """
    code = "; ".join(line.strip() for line in code.strip().splitlines())
    said = output(code)
    assert "uses numpy.row_stack, which NumPy 2.5.0 does not have; run: pip install" in said
