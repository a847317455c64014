"""Memory access of compiled targets, in LLVM: loads and stores of numbers by address.

Every stream is an alias scope of its own. The host has checked that no streams overlap; loads and
stores declare it, so that loops vectorise without checks at run time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from ..loops import enter, leave
from ..prefetching import LINE, no_prefetching

I32, I64 = ir.IntType(32), ir.IntType(64)
FUSED = ("contract",)  # one instruction for an addition and a product: only if that is exact
PARTS = ("", ".rest", ".scratch", ".folded.scratch", ".scale", ".number")  # the scopes of a stream
ALONE = (".scale", ".number", "table")  # scopes whose numbers are not accessed in groups


def _scopes(module: Any, names: Sequence[str]) -> Any:
    domain = module.add_metadata(["fastadam"])
    return module.add_metadata([module.add_metadata([f"fastadam.{n}", domain]) for n in names])


def _pointer(builder: Any, address: Any, data: Any, space: int) -> Any:
    """An address as a pointer into an address space."""
    pointer = builder.inttoptr(address, data.as_pointer())
    return builder.addrspacecast(pointer, data.as_pointer(space)) if space else pointer


def _hint(kind: Any, value: Any) -> str:
    """The likely cause of a wrong dtype in a rule, and the fix."""
    if value == types.float64:
        return (
            "an int, or a float64 from elsewhere, makes its arithmetic double precision; "
            "write a float literal (1.0 - x) or np.float32(1)"
        )
    if value == types.float32:
        return (
            "it consists of np.float32 constants; write them as float literals (0.5), or as floats "
            "at module level, which take the dtype of the parameter"
        )
    return "return a float on every path, such as 0.0 or 1.0 if grad > 0.0 else 0.0"


@intrinsic
def prefetch(typing, address):
    """Prefetch the cache line of an address, which may be any."""

    def generate(context, builder, signature, arguments):
        _prefetch(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _prefetch(builder: Any, address: Any) -> None:
    line = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [line, I32, I32, I32])
    function = builder.module.declare_intrinsic("llvm.prefetch", (line,), kind)
    read, keep, data = (ir.Constant(I32, number) for number in (0, 3, 1))
    builder.call(function, [builder.inttoptr(address, line), read, keep, data])


def prefetching(sizes: Mapping[int, int], count: int) -> Any:
    """`fetch(at, i)`: prefetch `count` elements from `i` on.

    Args:
        sizes: the bytes of an element of each array, by the place of its address in `at`.
    """

    @intrinsic
    def fetch(typing, at, i):
        def generate(context, builder, signature, arguments):
            at, i = arguments
            for place, size in sizes.items():
                offset = builder.mul(i, ir.Constant(I64, size))
                first = builder.add(builder.extract_value(at, place), offset)
                for byte in range(0, size * count, LINE):
                    _prefetch(builder, builder.add(first, ir.Constant(I64, byte)))
            return context.get_dummy_value()

        return types.void(at, types.int64), generate

    return fetch


class Memory:
    """Access to the numbers of the streams with the given names.

    Args:
        group: the number of neighbours that an access assumes to be aligned together.

    Attributes:
        space: the address space of all memory except scratch.
    """

    space = 0
    prefetch: Any = None
    prefetching = staticmethod(no_prefetching)
    folded: Any = None
    enter, leave = staticmethod(enter), staticmethod(leave)

    def __init__(self, names: Sequence[str], group: int = 1) -> None:
        self.group = group
        self.scopes = [f"{n}{part}" for n in names for part in PARTS]
        self.scopes.append("table")
        self.integer, _ = self.access(np.dtype(np.int64), "table")

    def group_size(self, dtype: "np.dtype[Any]") -> int:
        """The alignment, in bytes, that an access assumes."""
        return max(dtype.itemsize, min(16, self.group * dtype.itemsize))

    def access(self, dtype: "np.dtype[Any]", scope: str) -> tuple[Any, Any]:
        """`load(address, index)` and `store(address, index, value)` for numbers of one dtype."""
        kind, size = numba.from_dtype(dtype), dtype.itemsize
        others = tuple(name for name in self.scopes if name != scope)
        space = 0 if scope.endswith(".scratch") else self.space
        alone = scope.endswith(ALONE)
        alignment = size if alone else self.group_size(dtype)

        def place(context, builder, address, index):
            data = context.get_data_type(kind)
            return builder.gep(_pointer(builder, address, data, space), [index], inbounds=True)

        def scoped(builder, instruction):
            instruction.align = alignment
            instruction.set_metadata("alias.scope", _scopes(builder.module, (scope,)))
            instruction.set_metadata("noalias", _scopes(builder.module, others))
            return instruction

        @intrinsic
        def load(typing, address, index):
            def generate(context, builder, signature, arguments):
                return scoped(builder, builder.load(place(context, builder, *arguments)))

            return kind(types.int64, types.int64), generate

        @intrinsic
        def store(typing, address, index, value):
            if value != kind:
                raise TypingError(
                    f"{scope} is stored as {kind}, but the rule returns {value} for it: "
                    f"{_hint(kind, value)}"
                )

            def generate(context, builder, signature, arguments):
                where = place(context, builder, *arguments[:2])
                scoped(builder, builder.store(arguments[2], where))
                return context.get_dummy_value()

            return types.void(types.int64, types.int64, kind), generate

        return load, store

    def table(self, values: Any) -> Any:
        """`entry(i)`: an integer of a constant table, in the first-level cache if it is in use."""
        kind, nowhere = numba.from_dtype(values.dtype), tuple(self.scopes)

        @intrinsic
        def entry(typing, i):
            def generate(context, builder, signature, arguments):
                data = context.get_data_type(kind)
                numbers = [ir.Constant(data, int(value)) for value in values]
                form = ir.ArrayType(data, len(numbers))
                room = cgutils.global_constant(builder, "table", ir.Constant(form, numbers))
                place = builder.gep(room, [ir.Constant(I64, 0), arguments[0]], inbounds=True)
                number = builder.load(place)
                number.set_metadata("noalias", _scopes(builder.module, nowhere))
                return number

            return kind(types.int64), generate

        return entry

    def registers(self, dtype: "np.dtype[np.void]", record: Any) -> Any:
        """`take(address)`: loads a record into a named tuple of scalars.

        Loading it once, before the loop, lets LLVM keep the constants in registers.
        """
        kinds = [numba.from_dtype(dtype[name]) for name in record._fields]
        offsets = [dtype.fields[name][1] for name in record._fields] if dtype.fields else []
        space = self.space

        @intrinsic
        def take(typing, address):
            def generate(context, builder, signature, arguments):
                values = []
                for kind, offset in zip(kinds, offsets, strict=True):
                    where = builder.add(arguments[0], ir.Constant(I64, offset))
                    data = context.get_data_type(kind)
                    values.append(builder.load(_pointer(builder, where, data, space)))
                return context.make_tuple(builder, signature.return_type, values)

            return types.NamedTuple(kinds, record)(types.int64), generate

        return take

    @staticmethod
    def reserve(words: int) -> Any:
        """`reserve()`: the address of that many 32-bit words on the caller's stack."""

        @intrinsic
        def reserve(typing):
            def generate(context, builder, signature, arguments):
                if not words:
                    return ir.Constant(I64, 0)
                with builder.goto_entry_block():  # `alloca_once` would fill it with zeros
                    room = builder.alloca(ir.ArrayType(I32, words))
                room.align = 64
                return builder.ptrtoint(room, I64)

            return types.int64(), generate

        return reserve


@intrinsic
def squared(typing, value):
    """As `rules.functions.squared`; the square of a float32 may be fused with an addition."""

    def generate(context, builder, signature, arguments):
        wide = context.cast(builder, arguments[0], value, types.float64)
        return builder.fmul(wide, wide, flags=FUSED if value != types.float64 else ())

    return types.float64(value), generate


@intrinsic
def added(typing, one, other):
    """As `rules.functions.added`."""

    def generate(context, builder, signature, arguments):
        return builder.fadd(*arguments, flags=FUSED)

    return types.float64(types.float64, types.float64), generate


def shared(words: int) -> Any:
    """`reserve()`: the address of that many 32-bit words that a thread block of CUDA shares."""

    @intrinsic
    def reserve(typing):
        def generate(context, builder, signature, arguments):
            kind, module = ir.ArrayType(I32, words), builder.module
            name = module.get_unique_name("scratch")
            room = cgutils.add_global_variable(module, kind, name, addrspace=3)
            room.linkage, room.align = "internal", 16
            room.initializer = ir.Constant(kind, ir.Undefined)
            return builder.ptrtoint(builder.addrspacecast(room, kind.as_pointer()), I64)

        return types.int64(), generate

    return reserve


@intrinsic
def arrive(typing, address):
    """CUDA: add one to a 64-bit integer of all thread blocks; returns what it was."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(builder, arguments[0], I64, 1)
        return builder.atomic_rmw("add", pointer, ir.Constant(I64, 1), "monotonic")

    return types.int64(types.int64), generate


@intrinsic
def exchange(typing, number, apart):
    """CUDA warp shuffle: the number of the lane whose index differs in one bit."""
    return _shuffled(number, BUTTERFLY)


@intrinsic
def fetch(typing, number, lane):
    """CUDA warp shuffle: the number of a given lane."""
    return _shuffled(number, INDEXED)


BUTTERFLY, INDEXED = 3, 0  # modes of a shuffle


def _shuffled(number: Any, mode: int) -> Any:
    """The code generator of a warp shuffle, 32 bits at a time."""

    def generate(context, builder, signature, arguments):
        value, lane = arguments
        width, module, kind = number.bitwidth, builder.module, value.type
        lane = builder.trunc(lane, I32)
        answer = ir.LiteralStructType([I32, ir.IntType(1)])
        form = ir.FunctionType(answer, [I32] * 5)
        shuffle = cgutils.get_or_insert_function(module, form, "llvm.nvvm.shfl.sync.i32")

        def taken(word):
            words = [ir.Constant(I32, -1), ir.Constant(I32, mode), word, lane]
            got = builder.call(shuffle, [*words, ir.Constant(I32, 31)])
            return builder.extract_value(got, 0)

        bits = builder.bitcast(value, ir.IntType(width))
        if width == 32:
            return builder.bitcast(taken(bits), kind)
        high = builder.lshr(bits, ir.Constant(I64, 32))
        low, high = (builder.zext(taken(builder.trunc(x, I32)), I64) for x in (bits, high))
        return builder.bitcast(builder.or_(low, builder.shl(high, ir.Constant(I64, 32))), kind)

    return number(number, types.int64), generate


@intrinsic
def call_kernel(typing, kernel, task):
    """Call a compiled kernel by its address."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [I64])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def call_int_function(typing, function):
    """Call a C function `int(void)` by its address."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(I32, [])
        number = builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])
        return builder.sext(number, I64)

    return types.int64(types.int64), generate
