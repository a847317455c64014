"""`fastadam export`: a kernel as PTX or as a C library, for programs without Python."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import __version__
from ...bench.script import check_writable
from ..arguments import (
    add_precision,
    keyword,
    merged,
    names_of_optimizers,
    optimizer,
    precision,
)
from . import c_library

if TYPE_CHECKING:
    from ...kernels.factory import Kernel
    from ...kernels.formats import Formats
    from ...rules import Rule

HELP = "write the kernel of an optimizer as a C library or as PTX, for any program"

DESCRIPTION = """\
--c writes a C library into the folder -o: a header, an object, a static and a shared library, with
functions for each dtype and one from hyperparameters to constants. C, C++, Fortran and Rust link to
it; it needs neither Python nor any other library, and computes the same bits as Optimizer.step.

--ptx compiles the update of an optimizer for CUDA and prints its PTX, the portable assembly that
the driver of an NVIDIA GPU loads (cuModuleLoadData). No GPU is needed to compile it, and neither
Python nor fastadam to run it. The comment at its top describes a launch: the name of the entry, and
the layout of the tables that it reads.

Hyperparameters are numbers in such a table, so that one kernel supports all values. Only those that
change the arithmetic or the state need another kernel: momentum=0.9 adds a buffer to sgd. The
comment shows the constants of step 1 for them, and the meaning of int8 codes.
"""

EXAMPLES = """\
examples:
  fastadam export --c adamw -o build
  fastadam export --c sgd:momentum=0.9 -o build --target x86-64-v3 --params float32
  fastadam export --c my_module.MyOptimizer -o build --target aarch64
  fastadam export --ptx adamw -o adamw.ptx
  fastadam export --ptx sgd:momentum=0.9,nesterov=True
  fastadam export --ptx adam:amsgrad=True,lr=0.01 --params float64
  fastadam export --ptx lion --options clip_value,ema --cc 8.0
  fastadam export --ptx adamw --params bfloat16 --state int8 --compensation split8

--ptx needs a compiler for CUDA: pip install "fastadam[ptx]", or an installed CUDA toolkit. PTX for
a compute capability runs on every later GPU as well."""

INSTALL = 'pip install "fastadam[ptx]"'
OPTIONS = {
    "clip_value": "bounds each element of the gradient",
    "grad_scale": "multiplies the gradient",
    "grad_sum": "adds a buffer of earlier gradients, and clears it",
    "grad_power": "multiplies the gradient before everything else",
    "lower": "keeps parameters at or above a bound",
    "upper": "keeps parameters at or below a bound",
    "mask": "updates only the elements selected by a mask",
    "mask_state": "the same, and the state of the others stays",
    "ema": "updates an exponential moving average of the parameters",
    "bfloat16": "writes a copy of the parameters in bfloat16",
    "float16": "writes a copy of the parameters in float16",
    "float32": "writes a copy of the parameters in float32",
    "zero_grads": "clears the gradient",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastadam export`."""
    from ...kernels.formats import FLOAT

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    does = "\n".join(f"  {name:12}{what}" for name, what in OPTIONS.items())
    parser.description = f"{DESCRIPTION}\nWhat --options can add to the same pass:\n\n{does}\n"
    parser.epilog = EXAMPLES
    add = parser.add_argument
    kinds = parser.add_mutually_exclusive_group(required=True)
    names = names_of_optimizers(sums=False, matrices=False)
    kinds.add_argument(
        "--c",
        type=c_library.optimizer_or_class,
        metavar="OPTIMIZER",
        help=f"{names}; or a class of yours, as module.Class",
    )
    kinds.add_argument(
        "--ptx",
        type=optimizer,
        metavar="OPTIMIZER",
        help="an optimizer, written as for --c",
    )
    c_library.add_arguments(parser)
    add(
        "--hyper",
        type=keyword,
        nargs="+",
        default=[],
        action="extend",
        help=argparse.SUPPRESS,  # the earlier spelling of hyperparameters
    )
    add_precision(add, "params", "grads", "state", "compensation", "rounding")
    add("--dtype", dest="params", choices=tuple(FLOAT), help=argparse.SUPPRESS)  # earlier spelling
    add(
        "--options",
        type=_options,
        nargs="+",
        default=[],
        metavar="NAME",
        help="further parts of the kernel, from the list above; by commas or blanks",
    )
    add(
        "--cc",
        type=_capability,
        metavar="X.Y",
        help="with --ptx: least compute capability of the GPU (default: 9.0, which is H100; 8.0 is "
        "A100)",
    )
    add(
        "--header",
        type=Path,
        metavar="FILE",
        help="with --ptx: also write a C header with the tables of a launch as structs",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="with --ptx the output file (default: standard output), with --c a folder",
    )


def _options(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in OPTIONS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(OPTIONS)}")
    return names


def _capability(text: str) -> tuple[int, int]:
    if not re.fullmatch(r"\d+\.\d", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a compute capability such as 9.0")
    major, minor = text.split(".")
    return int(major), int(minor)


def run(arguments: argparse.Namespace) -> int:
    """Compile, describe, print or write."""
    if arguments.c:
        return c_library.run(arguments)
    c_library.check_unused(arguments)
    from ...cuda import target as cuda
    from ...embedding.arguments import Embedded, check_one_pass
    from ...embedding.cuda_header import cuda_header
    from ...kernels.factory import kernel
    from ...kernels.rule_streams import streams
    from ...kernels.transforms import staged
    from ...optimizers import by_name
    from .abi import described

    asked = {name for names in arguments.options for name in names}
    options = tuple(name for name in OPTIONS if name in asked)
    name, keywords = arguments.ptx
    given = merged(keywords, dict(arguments.hyper))
    formats = _formats(arguments, given)
    _check_copies(options, formats.param)
    for option, path in (("--output", arguments.output), ("--header", arguments.header)):
        if path is not None:
            check_writable(option, path)
    variant = _variant(name, given)
    check_one_pass("", variant.rule)
    names = options + formats.options
    rule = staged(variant.rule, names)
    made = kernel(rule, streams(variant.rule, names, formats), cuda)
    text = _compiled(made, arguments.cc or (9, 0))
    low = _told(formats)
    entry = "_".join(["fastadam", name.lower(), *low, *variant.flags, *options])
    title = " ".join([name, *low, *variant.told, *(f"+{each}" for each in options)])
    head = [
        f"fastadam {__version__}: {title}",
        "",
        *described(made, rule, entry, cuda.THREADS, variant.constants),
    ]
    if arguments.header:
        step = Embedded(by_name(name), variant.values, variant.rule, formats, names)
        arguments.header.write_text(cuda_header(entry, step, cuda.THREADS))
    comment = "".join(f"// {line}".rstrip() + "\n" for line in head)
    _write(comment + _tidied(text, entry), entry, arguments.output)
    return 0


def _formats(arguments: argparse.Namespace, hyper: dict[str, Any]) -> "Formats":
    """Formats of parameters, gradients and state, checked as for an optimizer.

    Raises:
        TypeError, ValueError: for formats or hyperparameters that do not go together.
    """
    from ...kernels.formats import Formats
    from ...memory_budget import plan

    param = arguments.params or "float32"
    plan(
        1, arguments.ptx.name, params=param, grads=arguments.grads, **precision(arguments), **hyper
    )
    return Formats(
        param,
        arguments.grads or param,
        arguments.state,
        arguments.compensation,
        arguments.rounding or "nearest",
    )


def _told(formats: "Formats") -> list[str]:
    """Words for the dtype of the parameters, and for formats that do not follow from it."""
    rest = {
        f"grads_{formats.grad}": formats.grad != formats.param,
        f"state_{formats.state}": formats.state not in (None, formats.compute),
        f"{formats.compensation}": formats.compensation is not None,
        f"{formats.rounding}": formats.rounding != "nearest",
    }
    return [formats.param, *(word for word, there in rest.items() if there)]


def _check_copies(options: Sequence[str], dtype: str) -> None:
    copies = [name for name in options if name in ("bfloat16", "float16")]
    if len(copies) > 1:
        raise ValueError("--options bfloat16 and float16 are one copy in two formats; give one")
    if {"mask", "mask_state"} <= {*options}:
        raise ValueError("--options mask and mask_state exclude each other; give one")
    if copies and dtype != "float32":
        raise ValueError(f"--options {copies[0]} is for float32 parameters; these are {dtype}")


class _Variant(NamedTuple):
    """The kernel that hyperparameters choose.

    Attributes:
        values: all hyperparameters.
        flags: the names of those that changed the rule.
        told: all that were given.
        constants: the record of a first step.
    """

    rule: "Rule"
    values: dict[str, Any]
    flags: list[str]
    told: list[str]
    constants: dict[str, float]


def _variant(optimizer: str, given: dict[str, Any]) -> _Variant:
    from ...engine.param_groups import values_of
    from ...optimizers import by_name

    cls = by_name(optimizer)
    made = cls.without_arrays()
    values = values_of(made, given)
    defaults = cls.defaults
    flags = [
        name
        for name in given
        if made.variant({**defaults, name: values[name]}) is not made.variant(defaults)
    ]
    carried = values | cls.carried
    constants = made.hyper(carried | made.carry(carried, 1), 1)
    told = [f"{name}={values[name]}" for name in given]
    return _Variant(made.variant(values), values, flags, told, constants)


def _compiled(made: "Kernel", capability: tuple[int, int]) -> str:
    """The PTX of a kernel.

    Raises:
        ImportError: where there is no compiler for it.
        ValueError: if the compiler does not know the compute capability.
    """
    from ...cuda import target as cuda

    shown = ".".join(map(str, capability))
    try:
        text = cuda.ptx(made.run, capability)
    except Exception as error:
        if cuda.SIMULATED:
            raise ValueError("the simulator makes no PTX; unset NUMBA_ENABLE_CUDASIM") from error
        if reason := cuda.missing():
            raise ImportError(f"no compiler for CUDA ({reason}); run: {INSTALL}") from error
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"--cc {shown} cannot be compiled for: {reason}") from error
    (target,) = re.findall(r"^\.target sm_(\d+)(\d)", text, re.MULTILINE)
    if capability != tuple(map(int, target)):
        known = ".".join(target)
        raise ValueError(
            f"--cc {shown} is unknown to the compiler; PTX for an older one runs there too: "
            f"give --cc {known}"
        )
    return text


def _tidied(text: str, entry: str) -> str:
    """PTX with an entry of this name, without Numba's unused globals."""
    (mangled,) = re.findall(r"^\.visible \.entry (\S+)\(", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if not _unused(line, text)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).replace(mangled, entry) + "\n"


def _unused(line: str, text: str) -> bool:
    """Test if a line is a comment, or declares a global that nothing refers to."""
    found = re.fullmatch(r"\.(?:visible|common) \.global .* (\S+);", line)
    return line.lstrip().startswith("//") or (
        found is not None and len(re.findall(rf"{re.escape(found[1])}\b", text)) == 1
    )


def _write(text: str, entry: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
    else:
        output.write_text(text)
        print(f"{output}: {entry}, {len(text) / 1e3:.0f} kB", file=sys.stderr)
