"""Every optimizer in programs of other languages, and by `Optimizer.step` as a reference.

The hyperparameters are those of the last case of each optimizer in the table of cases.
"""

from typing import Any

import numpy as np
from cases import CASES as TABLE
from cases import gradients, parameters

import fastadam as fa
from fastadam.embedding.c_interface import SUFFIXES, Interface
from fastadam.embedding.export import interface_of

N, STEPS = 77, 20  # no multiple of a vector
EVERY: dict[type[fa.Optimizer], dict[str, Any]] = {
    row.optimizer: row.hyper
    for row in TABLE
    if not row.optimizer.without_arrays().variant({**row.optimizer.defaults, **row.hyper}).sums
}  # a rule with sums takes several passes, which is refused
EVERY[fa.AdEMAMix] = EVERY[fa.AdEMAMix] | {"beta3_warmup": None}  # which calls a logarithm
KINDS = (fa.AdamW, fa.NAdam, fa.AdEMAMix, fa.SGD)  # powers, a product that is carried, a logarithm
CASES = {"float32": EVERY, "float64": {cls: EVERY[cls] for cls in KINDS}}
DTYPES = tuple(CASES)


def inputs(dtype: str) -> tuple[Any, Any]:
    """The parameters, and the gradients of each step."""
    return parameters(N, dtype), np.stack(gradients(N, STEPS, dtype))


def initial(cls: type[fa.Optimizer], dtype: str) -> list[Any]:
    """The state before the first step."""
    author, values = cls.without_arrays(), {**cls.defaults, **EVERY[cls]}
    start = author.initial(values)
    return [np.full(N, start.get(name, 0.0), dtype) for name in author.variant(values).state]


def expected(cls: type[fa.Optimizer], dtype: str) -> list[Any]:
    """The parameters and the state after all steps."""
    param, grads = inputs(dtype)
    opt = cls(param, **EVERY[cls])
    for grad in grads:
        opt.step(grad)
    return [param, *(arrays[0] for arrays in opt.state.values())]


def interface(cls: type[fa.Optimizer], dtype: str) -> Interface:
    """The declarations of an export with these hyperparameters."""
    return interface_of(cls, (dtype,), (), None, None, None, "nearest", EVERY[cls])


C_PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
{includes}
#define N {n}
#define STEPS {steps}
static {kind} grads[STEPS][N], array[6][N];
static void transfer(FILE *file, size_t done, size_t count)
{{
    if (!file || done != count || fclose(file)) exit(1);
}}
int main(void)
{{
    FILE *file = fopen("grads", "rb");
    transfer(file, fread(grads, sizeof grads, 1, file), 1);
{body}
    return 0;
}}
"""
C_STEP = """
    {{
        {p}_hyper hyper;
        {p}_constants_{s} constants;
        file = fopen("{name}.in", "rb");
        transfer(file, fread(array, sizeof array[0], {count}, file), {count});
        if ({p}_abi() != {u}_ABI) return 2;
        {p}_defaults(&hyper);
        for (int t = 1; t <= STEPS; t++) {{
            if ({p}_prepare_{s}(&hyper, t, &constants)) return 3;
            if (t % 2) {{
                if ({p}_{s}({arrays}, &constants, N)) return 4;
                continue;
            }}
            if ({p}_{s}_range({arrays}, &constants, 0, 30)) return 5;
            if ({p}_{s}_range({arrays}, &constants, 30, N)) return 6;
        }}
        file = fopen("{name}.out", "wb");
        transfer(file, fwrite(array, sizeof array[0], {count}, file), {count});
    }}
"""


def c_program(dtype: str) -> str:
    """The text of a program in C that takes the steps of every optimizer.

    It reads `grads`, and for each optimizer `NAME.in`, the parameters and the state; it writes
    `NAME.out`.
    """
    body, made = "", [interface(cls, dtype) for cls in CASES[dtype]]
    for each in made:
        count = 1 + len(each.steps[0].rule.state)
        arrays = ["array[0]", "grads[t - 1]", *(f"array[{k}]" for k in range(1, count))]
        names = {"p": each.prefix, "u": each.prefix.upper(), "s": SUFFIXES[dtype]}
        body += C_STEP.format(**names, name=each.name, count=count, arrays=", ".join(arrays))
    includes = "\n".join(f'#include "{each.name}.h"' for each in made)
    kind = {"float32": "float", "float64": "double"}[dtype]
    return C_PROGRAM.format(includes=includes, n=N, steps=STEPS, body=body, kind=kind)


FORTRAN_INTERFACE = """
        subroutine defaults_{k}(hyper) bind(c, name="{p}_defaults")
            import
            real(c_double) :: hyper(*)
        end subroutine
        function prepare_{k}(hyper, step, constants) &
                bind(c, name="{p}_prepare_{s}") result(code)
            import
            real(c_double) :: hyper(*)
            integer(c_int64_t), value :: step
            real({kind}) :: constants(*)
            integer(c_int) :: code
        end function
        function step_{k}({names}, constants, n) bind(c, name="{p}_{s}") result(code)
            import
            real({kind}) :: {declared}, constants(*)
            integer(c_int64_t), value :: n
            integer(c_int) :: code
        end function
"""
FORTRAN_STEP = """
    open(unit=1, file="{name}.in", access="stream", form="unformatted")
    read(1) a(:, 0:{last})
    close(1)
    call defaults_{k}(hyper)
    do t = 1, {steps}
        if (prepare_{k}(hyper, t, constants) /= 0) stop 3
        if (step_{k}({arrays}, constants, {n}_c_int64_t) /= 0) stop 4
    end do
    open(unit=1, file="{name}.out", access="stream", form="unformatted", status="replace")
    write(1) a(:, 0:{last})
    close(1)
"""
FORTRAN_PROGRAM = """
program embedded
    use iso_c_binding
    implicit none
    interface
{interfaces}
    end interface
    real(c_double) :: hyper(16)
    real({kind}) :: constants(16), a({n}, 0:5), g({n}, {steps})
    integer(c_int64_t) :: t
    open(unit=1, file="grads", access="stream", form="unformatted")
    read(1) g
    close(1)
{body}
end program
"""


def fortran_program(dtype: str) -> str:
    """The same in Fortran."""
    interfaces = body = ""
    kind, short = {"float32": "c_float", "float64": "c_double"}[dtype], SUFFIXES[dtype]
    for k, cls in enumerate(CASES[dtype]):
        made = interface(cls, dtype)
        last = len(made.steps[0].rule.state)
        names = [f"x{j}" for j in range(2 + last)]
        interfaces += FORTRAN_INTERFACE.format(
            k=k,
            p=made.prefix,
            s=short,
            kind=kind,
            names=", ".join(names),
            declared=", ".join(f"{name}(*)" for name in names),
        )
        arrays = ["a(:, 0)", "g(:, t)", *(f"a(:, {j})" for j in range(1, 1 + last))]
        arrays = ", ".join(arrays)
        body += FORTRAN_STEP.format(k=k, n=N, name=made.name, steps=STEPS, arrays=arrays, last=last)
    return FORTRAN_PROGRAM.format(interfaces=interfaces, body=body, n=N, steps=STEPS, kind=kind)


def numba_program(cases: dict[type[fa.Optimizer], dict[str, Any]]) -> str:
    """The same for Numba: `program(grads, arrays)`, with `step_K` and `class_K` of each optimizer,
    and `arrays`, the parameters and the state of each."""
    lines = ["def program(grads, arrays):", f"    for t in range(1, {STEPS} + 1):"]
    for k, (cls, hyper) in enumerate(cases.items()):
        count = len(cls.without_arrays().variant({**cls.defaults, **hyper}).state)
        state = "".join(f"arrays[{k}][{j}], " for j in range(1, 1 + count))
        constants = ", ".join(["step=t", *(f"{name}={value!r}" for name, value in hyper.items())])
        given = f"arrays[{k}][0], grads[t - 1], {state}class_{k}.constants({constants})"
        lines.append(f"        step_{k}({given})")
    return "\n".join(lines)
