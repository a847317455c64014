"""Exported C libraries: headers, other targets, errors."""

import ctypes
import math
import re
import shutil
import subprocess
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numba
import numpy as np
import pytest
from embedded_cases import DTYPES

import fastadam as fa
from fastadam.cli import main
from fastadam.embedding.archive import undefined_symbols
from fastadam.embedding.arguments import embedded
from fastadam.embedding.c_interface import CODES
from fastadam.embedding.c_object import _assembled
from fastadam.embedding.cuda_header import cuda_header
from fastadam.embedding.export import export_c, interface_of
from fastadam.embedding.llvm_module import Compiled, Spans, _power, span
from fastadam.embedding.targets import target_named
from fastadam.engine.grad_norm import norm_streams, square
from fastadam.kernels.cpu import target as cpu
from fastadam.kernels.factory import assembled
from fastadam.kernels.formats import Formats
from fastadam.kernels.transforms import staged


def needs(*programs):
    """Skips a test where a program is missing; CI has them all."""
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"there is no {', '.join(missing)}")


def interface(cls, **hyper):
    return interface_of(cls, DTYPES, (), None, None, None, "nearest", hyper)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """A folder with the library of AdamW."""
    folder = tmp_path_factory.mktemp("libraries")
    export_c(fa.AdamW, folder, dtypes=DTYPES, lr=0.05)
    return folder


def run(*words, cwd):
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


JUMP = re.compile(r"\s(?:j\w+|b(?:\.\w+)?|cbn?z|tbn?z)\s.*?(\.LBB\w+)")
PACKED = {
    "x86-64-v3": re.compile(r"v(?:add|sub|mul|div|sqrt)p[sd]\s.*%ymm"),
    "x86-64-v4": re.compile(r"v(?:add|sub|mul|div|sqrt)p[sd]\s.*%zmm"),
    "aarch64": re.compile(r"f(?:add|sub|mul|div|sqrt)\s+v\d+\.(?:4s|2d)"),
}
SCALAR = re.compile(r"v?(?:add|sub|mul|div|sqrt)s[sd]\s|f(?:add|sub|mul|div|sqrt)\s+[sd]\d")


def innermost_loops(assembly):
    """The instructions of each loop that contains no other."""
    lines = assembly.splitlines()
    labels = {line.partition(":")[0]: k for k, line in enumerate(lines) if line.startswith(".LBB")}
    ends = [(labels[found[1]], k) for k, line in enumerate(lines) if (found := JUMP.match(line))]
    loops = {(start, stop) for start, stop in ends if start <= stop}
    for start, stop in loops:
        if not any(start <= a and b <= stop for a, b in loops - {(start, stop)}):
            yield [line.strip() for line in lines[start : stop + 1]]


@needs("readelf", "nm")
@pytest.mark.parametrize("target", PACKED)
def test_an_object_of_any_target_stands_alone(target, tmp_path):
    """It calls nothing, and its loops over whole vectors have vector arithmetic only."""
    export_c(fa.AdamW, tmp_path, dtypes=DTYPES, target=target, assembly=True)
    made = tmp_path / "adamw.o"
    symbols = run("readelf", "-Ws", made, cwd=tmp_path)
    undefined = [line.split()[7:] for line in symbols.splitlines() if " UND " in line]
    assert undefined == [[]]  # the first entry of any table
    assert [*undefined_symbols(made.read_bytes())] == []
    machine = "AArch64" if target == "aarch64" else "X86-64"
    assert machine in run("readelf", "-h", made, cwd=tmp_path)
    assert "fastadam_adamw_f32 in fastadam.o" in run("nm", "-s", "libadamw.a", cwd=tmp_path)
    assert target in (tmp_path / "adamw.h").read_text()
    loops = innermost_loops((tmp_path / "adamw.s").read_text())
    vectors = [loop for loop in loops if any(map(PACKED[target].match, loop))]
    assert len(vectors) >= len(DTYPES)
    assert not [word for loop in vectors for word in loop if SCALAR.match(word)]


def norm():
    """The norm of a float32 array."""
    streams = norm_streams(Formats.alike("float32"))
    _, function = assembled(span, staged(square, ()), streams, cpu)
    return Compiled(function, "void(int64, int64, int64)")


def update():
    """The update of AdamW in float32."""
    return Spans.compiled(Spans.named(embedded("test", fa.AdamW)))


# For each kernel: the arithmetic of its largest run of instructions without a jump, what would
# change the bits there, and the loads before the first store: of four arrays two vectors each, and
# of one some more.
NEON = {
    update: ({"fsqrt", "fdiv", "fmul"}, {"fmla", "fmls"}, 4),
    norm: ({"fcvtl", "fcvtl2", "fmla"}, set(), 6),
}


def mnemonic(line):
    """The instruction of a line of assembly."""
    return line.partition("\t")[0]


@pytest.mark.parametrize("kernel", NEON, ids=lambda kernel: kernel.__name__)
def test_kernels_for_neon_load_several_vectors_before_they_store(kernel):
    """No machine of the tests can run them."""
    wanted, never, least = NEON[kernel]
    made = kernel()
    target = target_named("aarch64-unknown-linux-gnu+neoverse-n1")
    assembly = _assembled("", [made], [made.name], target).assembly
    assert not re.search(r"\sblr?\s", assembly)  # calls
    blocks = [block.split("\n\t") for block in re.split(r"\n\.L\w+:", assembly)]
    vectors = [block for block in blocks if wanted <= {*map(mnemonic, block)}]
    loop = max(vectors, key=len)
    words = [*map(mnemonic, loop)]
    assert not never & {*words}
    assert not [line for line in loop if SCALAR.match(line)]
    loads = [k for k, word in enumerate(words) if word in ("ldp", "ldr", "ld1")]
    (first, *_) = [k for k, word in enumerate(words) if word in ("stp", "str", "st1")]
    assert sum(k < first for k in loads) >= least


@needs("gcc", "g++")
def test_the_header_serves_c_and_cplusplus(libraries):
    header = libraries / "adamw.h"
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
    run("gcc", "-std=c99", "-fopenmp", *strict, "-x", "c", header, cwd=libraries)
    run("g++", *strict, "-x", "c++", header, cwd=libraries)
    assert all(len(line) <= 100 for line in header.read_text().splitlines())


@needs("gcc")
def test_the_example_for_cuda_compiles_with_its_header(tmp_path):
    """It is compiled only; its structs have the sizes of the tables."""
    step = embedded("test", fa.AdamW)
    header = cuda_header("fastadam_adamw_float32", step, 256)
    (tmp_path / "adamw_cuda.h").write_text(header)
    example = Path(__file__).parents[2] / "examples" / "c" / "cuda.c"
    (tmp_path / "sizes.c").write_text(
        '#include "adamw_cuda.h"\n'
        f"_Static_assert(sizeof(fastadam_adamw_float32_row) == {8 * (1 + len(step.arguments))}, "
        '"row");\n'
        f"_Static_assert(sizeof(fastadam_adamw_float32_constants) == {step.record.itemsize}, "
        '"record");\n'
        '_Static_assert(sizeof(fastadam_task) == 40 && sizeof(fastadam_chunk) == 24, "task");\n'
    )
    for source in (example, "sizes.c"):
        run("gcc", "-I.", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", source, cwd=tmp_path)


@pytest.fixture(scope="module")
def adamw(libraries):
    if not (libraries / "libadamw.so").exists():
        pytest.skip("there is no linker")
    return ctypes.CDLL(str(libraries / "libadamw.so"))


@pytest.mark.parametrize("name", CODES)
def test_mistakes_have_return_codes(name, adamw):
    """Nothing is changed then."""
    n = 8
    buffers = np.zeros((4, n), np.float32)
    where = [row.ctypes.data for row in buffers]
    hyper, constants = np.zeros(6), np.zeros(8, np.float32)
    adamw.fastadam_adamw_defaults(ctypes.c_void_p(hyper.ctypes.data))
    assert hyper.tolist() == [0.05, 0.9, 0.999, 1e-8, 1e-2, 0.0]
    step, first, last = 1, 0, n
    if name == "NULL":
        where[1] = None
    elif name == "RANGE":
        first = n + 1
    elif name == "MISALIGNED":
        where[2] += 2
    elif name == "OVERLAP":
        where[3] = where[0] + 4
    elif name == "STEP":
        step = 0
    elif name == "HYPER":
        hyper[1] = math.nan
    elif name == "BLOCK":
        return  # there is no int8 state here
    given, made = (ctypes.c_void_p(each.ctypes.data) for each in (hyper, constants))
    code = adamw.fastadam_adamw_prepare_f32(given, ctypes.c_int64(step), made)
    code = code or adamw.fastadam_adamw_f32_range(
        *map(ctypes.c_void_p, where), made, *map(ctypes.c_int64, (first, last))
    )
    assert code == [*CODES].index(name)
    assert name == "OK" or not buffers.any()


def test_another_layout_has_another_number():
    """Of hyperparameters, of constants, of arrays, of dtypes, and of the order of names."""
    layouts = [
        interface_of(cls, dtypes, options, None, state, None, "nearest", hyper)
        for cls, dtypes, options, state, hyper in (
            (fa.SGD, DTYPES, (), None, {}),
            (fa.SGD, DTYPES, (), None, {"momentum": 0.9}),
            (fa.SGD, DTYPES[:1], (), None, {}),
            (fa.SGD, DTYPES, ("ema",), None, {}),
            (fa.Lion, DTYPES, (), None, {}),
            (fa.Lion, DTYPES, (), "int8", {}),
        )
    ]
    assert len({layout.abi for layout in layouts}) == len(layouts)
    assert interface(fa.SGD).abi == interface(fa.SGD).abi

    class Reordered(fa.Lion):
        defaults = dict(sorted(fa.Lion.defaults.items()))

    before, after = (
        interface_of(cls, DTYPES, (), None, None, None, "nearest", {})
        for cls in (fa.Lion, Reordered)
    )
    assert before.abi != after.abi


def test_powers_are_correctly_rounded():
    """Against exact fractions, and against decimals of 60 digits."""
    inner, rng = _power(), np.random.default_rng(0)
    power = numba.njit(lambda base, exponent: inner(base, exponent))
    for base, count in zip(rng.random(300), rng.integers(1, 300, 300), strict=True):
        exact = Fraction(base) ** int(count)
        wanted = exact.numerator / exact.denominator
        assert wanted < 1e-280 or power(base, float(count)) == wanted
    with localcontext() as context:
        context.prec = 60
        for base, exponent in zip(2 * rng.random(300), 50 * rng.random(300), strict=True):
            assert power(base, exponent) == float(Decimal(base) ** Decimal(exponent))
    assert [power(0.0, 2.0), power(0.5, -2.0), power(-2.0, 3.0)] == [0.0, 4.0, -8.0]
    assert math.isnan(power(-2.0, 0.5))


@fa.rule(hyper=("lr",))
def softened(param, grad, state, h):
    return param - h.lr * math.tanh(grad), state


class Softened(fa.Optimizer):
    rule = softened
    defaults = {"lr": 0.1}

    def hyper(self, group, step):
        return {"lr": group["lr"]}


class Decaying(fa.SGD):
    def hyper(self, group, step):
        constants = fa.SGD.hyper(self, group, 2)
        return constants | {"lr": group["lr"] * math.exp(-0.1 * step)}


def test_functions_that_differ_from_target_to_target_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"softened uses math\.tanh, whose last digits depend"):
        export_c(Softened, tmp_path, dtypes=["float32"])
    with pytest.raises(ValueError, match=r"Decaying.hyper\(\) calls exp, whose result differs"):
        export_c(Decaying, tmp_path, dtypes=["float32"])
    assert list(tmp_path.iterdir()) == []


def test_constants_of_own_classes_may_use_functions_in_numba():
    """There they are those of Python's library, which is the same."""
    fa.compiled(Decaying)
    found = numba.njit(lambda t: Decaying.constants(step=t, lr=0.5))(3)
    assert found == Decaying.constants(step=3, lr=0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--c", "lionn", "-o", "x"], "did you mean Lion"),
        (["--c", "lion"], "give a folder: -o build"),
        (["--c", "lion", "-o", __file__], "is not a folder"),
        (["--c", "lion", "-o", "x", "--target", "sparc"], "target 'sparc' is not native"),
        (["--c", "lion", "-o", "x", "--target", "a-b-c+d"], "cannot be compiled for"),
        (["--c", "lion", "-o", "x", "--target", "aarch64-unknown-linux-gnu+z80"], "no CPU 'z80'"),
        (["--c", "lion", "-o", "x", "--cc", "9.0"], "--cc goes with --ptx"),
        (["--ptx", "lion", "--asm"], "--asm goes with --c"),
        (["--c", "lion", "-o", "x", "--ptx", "lion"], "not allowed with"),
        (["--c", "lion:betas=2", "-o", "x"], "betas=2 must be 2 numbers"),
        (["--c", "no.Such", "-o", "x"], "there is no module 'no'"),
        (["--c", "math.Such", "-o", "x"], "module math has no class 'Such'"),
        (["--c", "math.pi", "-o", "x"], "module math has no class 'pi'"),
        (["--c", "rmsprop:centered=True", "-o", "x", "--state", "int8"], "leave state_dtype out"),
    ],
)
def test_errors_are_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("fastadam export: error: ")
    assert message in last
    assert not (tmp_path / "x").exists()


def test_the_command_writes_what_it_tells(capsys, tmp_path):
    words = [
        "--c",
        "sgd:lr=0.5",
        "--params",
        "float32",
        "--llvm-ir",
        "--asm",
        "--target",
        "aarch64",
    ]
    assert main(["export", *words, "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    names = {line.partition(" (")[0].rpartition("/")[2] for line in shown.out.splitlines()}
    assert names == {file.name for file in tmp_path.iterdir()}
    assert names >= {"sgd.h", "sgd.o", "libsgd.a", "sgd.ll", "sgd.s"}
    assert ("libsgd.so" in names) != ("libsgd.so is left out" in shown.err)
    assert "double lr; /* default 0.5 */" in (tmp_path / "sgd.h").read_text()
