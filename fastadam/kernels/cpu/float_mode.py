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
ON_X86, ON_ARM = ("x86_64", "amd64"), ("aarch64", "arm64")
ARM = MACHINE in ON_ARM
# Round to nearest, keep subnormal numbers, no traps; the mask leaves out MXCSR's status flags.
SETTINGS = dict.fromkeys(ON_X86, (0x1F80, 0xFFC0))  # the default mode, and its bits
ELSEWHERE = (0, -1)
DEFAULT, MODE = SETTINGS.get(MACHINE, ELSEWHERE)
binding.initialize_native_asmparser()


def _barrier(builder):
    """Keep loads and stores, and so the arithmetic in between, on their side of a change."""
    kind = ir.FunctionType(ir.VoidType(), [])
    builder.asm(kind, "", "~{memory}", [], side_effect=True)


def _call(builder, name, result, *arguments):
    kind = ir.FunctionType(result, [each.type for each in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def _get(builder, machine):
    """The register with the mode, as 64 bits."""
    if machine in ON_ARM:
        return _call(builder, "llvm.aarch64.get.fpcr", I64)
    if machine not in ON_X86:
        return ir.Constant(I64, 0)
    room = cgutils.alloca_once(builder, I32)
    place = builder.bitcast(room, ir.IntType(8).as_pointer())
    _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), place)
    return builder.zext(builder.load(room), I64)


def _set(builder, mode, machine):
    if machine in ON_ARM:
        _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), mode)
    elif machine in ON_X86:
        room = cgutils.alloca_once(builder, I32)
        builder.store(builder.trunc(mode, I32), room)
        place = builder.bitcast(room, ir.IntType(8).as_pointer())
        _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), place)


def _differs(builder, mode, machine):
    default, mask = SETTINGS.get(machine, ELSEWHERE)
    return builder.icmp_unsigned(
        "!=", builder.and_(mode, ir.Constant(I64, mask)), ir.Constant(I64, default)
    )


def begin(builder, machine=MACHINE):
    """Generate code that switches to the default mode; returns the mode before."""
    mode = _get(builder, machine)
    default, _ = SETTINGS.get(machine, ELSEWHERE)
    with builder.if_then(_differs(builder, mode, machine), likely=False):
        _set(builder, ir.Constant(I64, default), machine)
    _barrier(builder)
    return mode


def end(builder, mode, machine=MACHINE):
    """Generate code that switches back to a mode."""
    _barrier(builder)
    with builder.if_then(_differs(builder, mode, machine), likely=False):
        _set(builder, mode, machine)


@intrinsic
def enter(typing):
    """Switch to the default mode; returns the mode before, for `leave`."""
    return types.int64(), lambda context, builder, signature, arguments: begin(builder)


@intrinsic
def leave(typing, mode):
    """Switch back to the mode before `enter`."""

    def generate(context, builder, signature, arguments):
        end(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate
