"""The floating-point mode of a thread: kernels compute in the default mode and restore the old one.

Rounding and flushing of subnormal numbers are settings of a thread. Libraries change them
(`torch.set_flush_denormal`, code linked with `-ffast-math`) for some threads and not for others;
results would then depend on the thread that computes an element.
"""

import platform

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I32, I64 = ir.IntType(32), ir.IntType(64)
MACHINE = platform.machine().lower()
X86, ARM = MACHINE in ("x86_64", "amd64"), MACHINE in ("aarch64", "arm64")
# Round to nearest, keep subnormal numbers, no traps; the mask leaves out MXCSR's status flags.
DEFAULT, MODE = (0x1F80, 0xFFC0) if X86 else (0, -1)
binding.initialize_native_asmparser()
CLOBBER = ",~{memory}"  # a barrier for loads and stores, and so for the arithmetic in between


def _asm(builder, result, text, constraint, *arguments):
    kind = ir.FunctionType(result, [each.type for each in arguments])
    return builder.asm(kind, text, constraint + CLOBBER, arguments, side_effect=True)


def _get(builder):
    """The register with the mode, as 64 bits."""
    if ARM:
        return _asm(builder, I64, "mrs $0, fpcr", "=r")
    if not X86:
        return ir.Constant(I64, DEFAULT)
    room = cgutils.alloca_once(builder, I32)
    _asm(builder, ir.VoidType(), "stmxcsr ($0)", "r", builder.ptrtoint(room, I64))
    return builder.zext(builder.load(room), I64)


def _set(builder, mode):
    if ARM:
        _asm(builder, ir.VoidType(), "msr fpcr, $0", "r", mode)
    elif X86:
        room = cgutils.alloca_once(builder, I32)
        builder.store(builder.trunc(mode, I32), room)
        _asm(builder, ir.VoidType(), "ldmxcsr ($0)", "r", builder.ptrtoint(room, I64))


def _differs(builder, mode):
    return builder.icmp_unsigned(
        "!=", builder.and_(mode, ir.Constant(I64, MODE)), ir.Constant(I64, DEFAULT)
    )


@intrinsic
def enter(typing):
    """Switch to the default mode; returns the mode before, for `leave`."""

    def generate(context, builder, signature, arguments):
        mode = _get(builder)
        with builder.if_then(_differs(builder, mode), likely=False):
            _set(builder, ir.Constant(I64, DEFAULT))
        return mode

    return types.int64(), generate


@intrinsic
def leave(typing, mode):
    """Switch back to the mode before `enter`."""

    def generate(context, builder, signature, arguments):
        with builder.if_then(_differs(builder, arguments[0]), likely=False):
            _set(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate
