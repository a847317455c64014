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
    return [f"lib{interface(cls, dtype).name}.a" for cls in CASES]


def compared(cls, dtype, language, found):
    for got, wanted in zip(found, expected(cls, dtype), strict=True):
        np.testing.assert_array_equal(got, wanted, f"{cls.__name__} in {language}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_optimizer_in_every_language_has_the_same_bits(dtype, tmp_path):
    """As `opt.step`, over twenty steps; one test, since all languages share what Numba compiles."""
    param, grads = inputs(dtype)
    arrays = [(param.copy(), *initial(cls, dtype)) for cls in CASES]
    (tmp_path / "grads").write_bytes(grads.tobytes())
    for cls, own in zip(CASES, arrays, strict=True):
        export_c(cls, tmp_path, dtypes=[dtype], **CASES[cls])
        data = b"".join(array.tobytes() for array in own)
        (tmp_path / f"{interface(cls, dtype).name}.in").write_bytes(data)
    found = {compiler for compiler in COMPILERS if shutil.which(compiler)}
    for compiler in found:
        COMPILERS[compiler](dtype, tmp_path)
        run("./program", cwd=tmp_path)
        for cls in CASES:
            output = tmp_path / f"{interface(cls, dtype).name}.out"
            compared(cls, dtype, compiler, np.fromfile(output, dtype).reshape(-1, param.size))
            output.unlink()
    scope = {f"class_{k}": cls for k, cls in enumerate(CASES)}
    for k, cls in enumerate(CASES):
        scope[f"step_{k}"] = fa.compiled(cls, dtype, **CASES[cls])
    exec(numba_program(), scope)
    numba.njit(scope["program"])(grads, tuple(arrays))
    for cls, own in zip(CASES, arrays, strict=True):
        compared(cls, dtype, "Numba", own)
    if found != COMPILERS.keys():
        pytest.skip(f"there is no {', '.join(COMPILERS.keys() - found)}")
