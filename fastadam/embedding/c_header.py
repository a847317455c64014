"""The C header of an exported step."""

from collections.abc import Iterator
from textwrap import fill

from .. import __version__
from .arguments import Embedded
from .c_interface import CODES, SUFFIXES, Interface, c_name, code

ABOUT = """\
Functions may be called from any number of threads at once, for different elements. They keep no
state, allocate no memory, and call nothing. They set the floating-point mode of the thread to the
default one and restore it. Results are the same to the bit on every processor, for any division of
the elements among calls, and equal to those of fastadam.{cls} in Python.

Arrays have one element for each parameter, and addresses that are multiples of the size of an
element; 64 bytes are best. Arrays that are written overlap with no other. {start} 16-bit floats are
passed as their bits. The functions return FASTADAM_OK, or another code before anything changes.
"""
BLOCKS = """\
A state in int8 has a code for each element and a scale for each block of {block}; initialize both
with zeros. `first` is a multiple of {block}. A dither is any 32 bits, different at each step.
"""
EXAMPLE = """\
    {prefix}_hyper hyper;
    {record} constants;
    {prefix}_defaults(&hyper);
    for (int64_t step = 1; step <= steps; step++) {{
        {prefix}_prepare_{short}(&hyper, step, &constants);
        {function}({arguments}, &constants, n);
    }}
"""


def header(interface: Interface, flags: str, target: str) -> str:
    """The text of the header.

    Args:
        flags: hyperparameters that were fixed when the step was exported, for the comment.
        target: the name of the target, for the comment.
    """
    return "\n".join(_lines(interface, flags, target)) + "\n"


def _lines(interface: Interface, flags: str, target: str) -> Iterator[str]:
    guard = f"{interface.prefix.upper()}_H"
    yield from _comment(_introduction(interface, flags, target))
    yield from (f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", "")
    yield from ("#ifdef __cplusplus", 'extern "C" {', "#endif", "")
    yield "/* The layout of this header; compare it with the function below. */"
    yield f"#define {interface.prefix.upper()}_ABI {interface.abi:#010x}u"
    yield from ("", "#ifndef FASTADAM_CODES", "#define FASTADAM_CODES", "enum {")
    yield from (f"    FASTADAM_{n} = {code(n)}, /* {text} */" for n, text in CODES.items())
    yield from ("};", "#endif", "")
    yield from _structs(interface)
    yield from _functions(interface)
    for step in interface.steps:
        yield from _step(interface, step)
    yield from ("#ifdef __cplusplus", "}", "#endif", "", f"#endif /* {guard} */")


def _introduction(interface: Interface, flags: str, target: str) -> str:
    cls, step = interface.optimizer, interface.steps[0]
    start = "State is zero before the first step."
    if initial := cls.without_arrays().initial(interface.values):
        told = ", ".join(f"{name} is {number:g}" for name, number in initial.items())
        start = f"Before the first step {told}; other state is zero."
    text = f"fastadam {__version__}: {cls.__name__}{flags}, for {target}.\n\n"
    about = ABOUT.format(cls=cls.__name__, start=start)
    text += "\n\n".join(fill(part, 96) for part in about.split("\n\n")) + "\n"
    if step.block > 1:
        text += "\n" + BLOCKS.format(block=step.block)
    arguments = ", ".join(each.name for each in [*interface.parameters(step)][:-1])
    example = EXAMPLE.format(
        prefix=interface.prefix,
        record=interface.record(step.compute),
        short=SUFFIXES[step.compute],
        function=interface.function(step),
        arguments=arguments,
    )
    return f"{text}\n{example}"


def _comment(text: str) -> Iterator[str]:
    lines = text.rstrip().splitlines()
    if len(lines) == 1:
        yield f"/* {lines[0]} */"
        return
    yield f"/* {lines[0]}"
    yield from (f" * {line}".rstrip() for line in lines[1:])
    yield " */"


def _structs(interface: Interface) -> Iterator[str]:
    yield "/* Hyperparameters, named as in PyTorch; arrays hold one number for each element. */"
    yield f"typedef struct {interface.prefix}_hyper {{"
    carried = interface.constants.carried
    for name, default in interface.hyper:
        size = f"[{len(default)}]" if isinstance(default, tuple) else ""
        shown = default if isinstance(default, tuple) else (default,)
        told = ", ".join(f"{number:.17g}" for number in shown)
        more = "; carried from step to step" if name in carried else ""
        yield f"    double {c_name(name)}{size}; /* default {told}{more} */"
    if not interface.hyper:
        yield "    double unused;"
    yield from (f"}} {interface.prefix}_hyper;", "")
    for compute in interface.computes:
        kind = {"float32": "float", "float64": "double"}[compute]
        name = interface.record(compute)
        yield f"/* The constants of a step in {compute}. */"
        yield f"typedef struct {name} {{"
        yield from (f"    {kind} {c_name(each)};" for each in interface.constants.names)
        if not interface.constants.names:
            yield f"    {kind} unused;"
        yield from (f"}} {name};", "")


def _functions(interface: Interface) -> Iterator[str]:
    prefix, carried = interface.prefix, interface.constants.carried
    yield f"/* {prefix.upper()}_ABI of the object; another number means another layout. */"
    yield from (f"uint32_t {prefix}_abi(void);", "")
    yield "/* Store the default hyperparameters. */"
    yield from (f"void {prefix}_defaults({prefix}_hyper *hyper);", "")
    text = "Compute the constants of a step, counted from 1, from hyperparameters."
    if carried:
        text += (
            f" {', '.join(carried)} of `hyper` is updated: call the function once for each step, "
            "in order, and save the struct with a checkpoint. Give each dtype a struct of its own."
        )
    yield from _comment(fill(text, 90))
    const = "" if carried else "const "
    for compute in interface.computes:
        name = interface.record(compute)
        function = f"{prefix}_prepare_{SUFFIXES[compute]}"
        yield f"int {function}("
        yield f"    {const}{prefix}_hyper *hyper, int64_t step, {name} *constants);"
    yield ""


def _step(interface: Interface, step: Embedded) -> Iterator[str]:
    function, parameters = interface.function(step), [*interface.parameters(step)]
    declared = "".join(f"\n    {each.declaration}," for each in parameters)
    names = fill(", ".join(each.name for each in parameters), 80).replace("\n", "\n            ")
    formats = f"{step.formats.param} parameters, {step.formats.grad} gradients"
    yield from _comment(
        f"One step for {formats}, all elements.\n"
        + "".join(f"  {c_name(each.name)}: {_told(each.mode)}\n" for each in step.arguments)
    )
    yield from (f"int {function}({declared}\n    int64_t n);", "")
    yield "/* The same for the elements first to last - 1, of arrays that begin at element 0. */"
    yield f"int {function}_range({declared}\n    int64_t first,\n    int64_t last);"
    yield from ("", "#ifdef _OPENMP", "/* The same for all elements, in the threads of OpenMP. */")
    yield f"static inline int {function}_omp({declared}\n    int64_t n)"
    yield from ("{", "    const int64_t chunk = 65536;", "    int64_t first;", "    int code = 0;")
    yield "    #pragma omp parallel for schedule(static) reduction(max : code)"
    yield "    for (first = 0; first < n; first += chunk) {"
    yield "        int64_t last = n - first < chunk ? n : first + chunk;"
    yield f"        int result = {function}_range(\n            {names}, first, last);"
    yield from ("        code = result > code ? result : code;", "    }", "    return code;", "}")
    yield from ("#endif", "")


def _told(mode: str) -> str:
    return {"rw": "updated", "r": "read", "w": "written", "rz": "read, then set to zero"}[mode]
