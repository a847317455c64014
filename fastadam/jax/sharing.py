"""Sharing of work with XLA's threads, by atomic counters in memory that is never freed.

A slot belongs to one call at a time. The caller publishes its work there and asks XLA's pool for
helpers; each of them, and the caller, takes shares until none is left. A helper that the pool
starts late finds no share of the call that asked for it, and takes those of the next, or none. The
caller never waits for a helper that has not started.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..embedding.intrinsics import words
from ..kernels.cpu import llvm, target

SLOTS, SIZE = 64, 64  # bytes, a cache line
BUSY, EPOCH, NEXT, SHARES, FRAME, RECORD, ACTIVE = range(7)  # words of a slot
SCHEDULE, COUNT, DESTROY = 17, 18, 8  # functions of XLA's interface, by the word of its table
API, CONTEXT = 2, 3  # words of a call frame
LOW = (1 << 32) - 1
I32, I64 = ir.IntType(32), ir.IntType(64)
ORDER = "seq_cst"

word = llvm.Memory(()).integer


def _place(builder, slot, number):
    address = builder.add(slot, builder.mul(number, ir.Constant(I64, 8)))
    return builder.inttoptr(address, I64.as_pointer())


@intrinsic
def load(typing, slot, number):
    def generate(context, builder, signature, arguments):
        return builder.load_atomic(_place(builder, *arguments), ORDER, 8)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def store(typing, slot, number, value):
    def generate(context, builder, signature, arguments):
        builder.store_atomic(arguments[2], _place(builder, *arguments[:2]), ORDER, 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def add(typing, slot, number, value):
    """Add to a word; returns the number before."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("add", _place(builder, *arguments[:2]), arguments[2], ORDER)

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def exchange(typing, slot, number, value):
    """Replace a word; returns the number before."""

    def generate(context, builder, signature, arguments):
        return builder.atomic_rmw("xchg", _place(builder, *arguments[:2]), arguments[2], ORDER)

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def slots(typing):
    """The address of all slots."""

    def generate(context, builder, signature, arguments):
        kind, module = ir.ArrayType(I64, SLOTS * SIZE // 8), builder.module
        found = module.globals.get("fastadam.slots")
        if found is None:
            found = cgutils.add_global_variable(module, kind, "fastadam.slots")
            found.linkage, found.align = "internal", SIZE
            found.initializer = ir.Constant(kind, None)
        return builder.ptrtoint(found, I64)

    return types.int64(), generate


@intrinsic
def call(typing, function, structure):
    """Call a function of XLA's interface; returns its error, or 0."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(I64, [I64])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    return types.int64(types.int64, types.int64), generate


def apart(function: Any) -> Any:
    """A function of integers that returns nothing, to be compiled apart from its callers, and not
    if these are in the disk cache."""
    return njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **target.OPTIONS)(function)


def _called(context, builder, dispatcher, arguments):
    """Call what `apart` made, by name."""
    if not dispatcher.overloads:
        dispatcher.compile((types.int64,) * len(arguments))
    (found,) = dispatcher.overloads.values()
    context.active_code_library.add_linking_library(found.library)
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(I32, [pointer.as_pointer()] * 2 + [I64] * len(arguments))
    name = found.fndesc.mangled_name
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    rooms = [builder.alloca(pointer) for _ in range(2)]
    builder.call(function, [*rooms, *arguments])


def caller_of_work(dispatcher: Any) -> Any:
    """`work(frame, record, share, shares)`, which calls what `apart` made."""

    @intrinsic
    def work(typing, frame, record, share, shares):
        def generate(context, builder, signature, arguments):
            _called(context, builder, dispatcher, arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return work


def caller_of_join(dispatcher: Any) -> tuple[Any, Any]:
    """`join(slot)`, which calls what `apart` made, and `helper()`, the address of a C function
    that does."""

    @intrinsic
    def join(typing, slot):
        def generate(context, builder, signature, arguments):
            _called(context, builder, dispatcher, arguments)
            return context.get_dummy_value()

        return types.void(types.int64), generate

    @intrinsic
    def helper(typing):
        def generate(context, builder, signature, arguments):
            kind = ir.FunctionType(ir.VoidType(), [I64])
            name = builder.module.get_unique_name("fastadam.helper")
            function = ir.Function(builder.module, kind, name)
            function.linkage = "internal"
            inner = ir.IRBuilder(function.append_basic_block())
            _called(context, inner, dispatcher, function.args)
            inner.ret_void()
            return builder.ptrtoint(function, I64)

        return types.int64(), generate

    return join, helper


def joined(slot):
    """Take shares of the work in a slot; `work` is set by the linker."""
    add(slot, ACTIVE, 1)
    while True:
        ticket = add(slot, NEXT, 1)
        shares, epoch = load(slot, SHARES), load(slot, EPOCH)
        if ticket >> 32 != epoch or ticket & LOW >= shares:
            break
        work(load(slot, FRAME), load(slot, RECORD), ticket & LOW, shares)  # noqa: F821
    add(slot, ACTIVE, -1)


def threads_of(frame):
    """The number of threads of XLA's pool; 1 if there is none."""
    table, answer = word(frame, API), words((1,))
    error = call(word(table, COUNT), words((32, 0, word(frame, CONTEXT), answer)))
    if error != 0:
        call(word(table, DESTROY), words((24, 0, error)))
        return 1
    return word(answer, 0)


def free_slot():
    """The address of a slot, taken for the caller; 0 if all are in use."""
    slot = slots()
    for _ in range(SLOTS):
        if exchange(slot, BUSY, 1) == 0:
            return slot
        slot += SIZE
    return 0


def publish(slot, frame, record, shares):
    """Offer work. A helper that still has a ticket of earlier work sees the other epoch first."""
    epoch = load(slot, EPOCH) + 1
    store(slot, EPOCH, epoch)
    store(slot, FRAME, frame)
    store(slot, RECORD, record)
    store(slot, SHARES, shares)
    store(slot, NEXT, epoch << 32)


def ask(frame, function, slot):
    """Let XLA's pool call a function with a slot; False if it refuses."""
    table = word(frame, API)
    error = call(word(table, SCHEDULE), words((40, 0, word(frame, CONTEXT), function, slot)))
    if error != 0:
        call(word(table, DESTROY), words((24, 0, error)))
    return error == 0


def settle(slot):
    """Wait for the helpers that have begun, and give the slot back."""
    while load(slot, ACTIVE) != 0:
        pass
    store(slot, BUSY, 0)
