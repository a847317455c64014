"""Programs in C, in Fortran and for Numba that take the steps of every optimizer."""

import shutil
import subprocess

import numba
import numpy as np
import pytest
from embedded_cases import (
    CASES,
    DTYPES,
    c_program,
    expected,
    fortran_program,
    initial,
    inputs,
    interface,
    numba_program,
)

import fastadam as fa
from fastadam.embedding.export import export_c


def run(*words, cwd):
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def built_by_gcc(dtype, folder):
    (folder / "program.c").write_text(c_program(dtype))
    strict = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    run("gcc", *strict, "program.c", *libraries(dtype), "-o", "program", cwd=folder)


def built_by_gfortran(dtype, folder):
    (folder / "program.f90").write_text(fortran_program(dtype))
    line = ["gfortran", "-ffree-line-length-none", "program.f90", *libraries(dtype)]
    run(*line, "-o", "program", cwd=folder)


COMPILERS = {"gcc": built_by_gcc, "gfortran": built_by_gfortran}


def libraries(dtype):
    return [f"lib{interface(cls, dtype).name}.a" for cls in CASES[dtype]]


def compared(cls, dtype, language, found):
    with pytest.MonkeyPatch.context() as patch:  # plain Python has the bits of compiled code
        patch.setattr(numba.config, "DISABLE_JIT", True)
        wanted_arrays = expected(cls, dtype)
    for got, wanted in zip(found, wanted_arrays, strict=True):
        np.testing.assert_array_equal(got, wanted, f"{cls.__name__} in {language}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_optimizer_in_c_and_in_fortran_has_the_same_bits(dtype, tmp_path):
    """As `opt.step`, over twenty steps; in float64, one optimizer of every kind."""
    param, grads = inputs(dtype)
    (tmp_path / "grads").write_bytes(grads.tobytes())
    for cls, hyper in CASES[dtype].items():
        export_c(cls, tmp_path, dtypes=[dtype], **hyper)
        data = b"".join(array.tobytes() for array in (param, *initial(cls, dtype)))
        (tmp_path / f"{interface(cls, dtype).name}.in").write_bytes(data)
    found = {compiler for compiler in COMPILERS if shutil.which(compiler)}
    for compiler in found:
        COMPILERS[compiler](dtype, tmp_path)
        run("./program", cwd=tmp_path)
        for cls in CASES[dtype]:
            output = tmp_path / f"{interface(cls, dtype).name}.out"
            compared(cls, dtype, compiler, np.fromfile(output, dtype).reshape(-1, param.size))
            output.unlink()
    if found != COMPILERS.keys():
        pytest.skip(f"there is no {', '.join(COMPILERS.keys() - found)}")


def test_every_kind_of_optimizer_in_a_program_of_numba_has_the_same_bits():
    """The constants of all others are compared in test_compiled.py."""
    dtype, cases = "float32", CASES["float64"]
    param, grads = inputs(dtype)
    arrays = [(param.copy(), *initial(cls, dtype)) for cls in cases]
    scope = {f"class_{k}": cls for k, cls in enumerate(cases)}
    for k, (cls, hyper) in enumerate(cases.items()):
        scope[f"step_{k}"] = fa.compiled(cls, dtype, **hyper)
    exec(numba_program(cases), scope)
    numba.njit(scope["program"])(grads, tuple(arrays))
    for cls, own in zip(cases, arrays, strict=True):
        compared(cls, dtype, "Numba", own)
