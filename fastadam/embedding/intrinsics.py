"""Numba intrinsics that pass the arguments of a step to a kernel."""

from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from .arguments import Argument
from .llvm_module import Spans

I32, I64 = ir.IntType(32), ir.IntType(64)
NAMES = {"boolean": "bool"}  # names of Numba types that differ from NumPy's


def address_of_array(argument: Argument) -> Any:
    """`place(array)`: the address of its first element; refuses arrays of other types."""
    name, dtypes = argument.name, argument.dtypes
    written, shown = argument.mode != "r", " or ".join(argument.dtypes)

    @intrinsic
    def place(typing, array):
        if not isinstance(array, types.Array) or array.ndim != 1 or array.layout != "C":
            raise TypingError(
                f"{name} must be a one-dimensional contiguous array of {shown}, such as "
                f"a.reshape(-1) or a[start:stop]; it is {array}"
            )
        dtype = NAMES.get(str(array.dtype), str(array.dtype))
        if dtype not in dtypes:
            raise TypingError(f"{name} must be an array of {shown}; it is one of {dtype}")
        if written and not array.mutable:
            raise TypingError(f"{name} is written to, and must not be a read-only array")

        def generate(context, builder, signature, arguments):
            data = context.make_array(array)(context, builder, arguments[0]).data
            return builder.ptrtoint(data, I64)

        return types.int64(array), generate

    return place


def address_of_number(argument: Argument) -> Any:
    """`place(number)`: the address of a copy on the stack, in the dtype of a kernel."""
    name, kind = argument.name, numba.from_dtype(np.dtype(argument.column.dtype))

    @intrinsic
    def place(typing, number):
        if not isinstance(number, types.Number | types.Boolean):
            raise TypingError(f"{name} must be a number; it is {number}")

        def generate(context, builder, signature, arguments):
            value = context.cast(builder, arguments[0], number, kind)
            return _on_stack(builder, [value])

        return types.int64(number), generate

    return place


@intrinsic
def words(typing, numbers):
    """The address of 64-bit integers on the stack."""
    if not isinstance(numbers, types.BaseTuple):
        raise TypingError("words takes a tuple")

    def generate(context, builder, signature, arguments):
        parts = cgutils.unpack_tuple(builder, arguments[0])
        kinds = numbers.types
        cast = [context.cast(builder, p, k, types.int64) for p, k in zip(parts, kinds, strict=True)]
        return _on_stack(builder, cast)

    return types.int64(numbers), generate


def constants_of(count: int, compute: str) -> tuple[Any, Any]:
    """`missing(constants)` and `place(constants)`: whether a tuple or an array has too few
    constants, and the address of a record of them on the stack."""
    kind = numba.from_dtype(np.dtype(compute))

    def check(constants):
        if isinstance(constants, types.BaseTuple):
            good = all(isinstance(each, types.Number) for each in constants)
            good = good and len(constants) == count
        else:
            array = isinstance(constants, types.Array)
            good = array and constants.ndim == 1 and constants.layout == "C"
        if good:
            return
        raise TypingError(
            f"constants must be a tuple of {count} numbers, or a contiguous vector of them, as "
            f"Optimizer.constants(step=...) returns; it is {constants}"
        )

    @intrinsic
    def missing(typing, constants):
        check(constants)

        def generate(context, builder, signature, arguments):
            if isinstance(constants, types.BaseTuple):
                return cgutils.false_bit
            length = context.make_array(constants)(context, builder, arguments[0]).nitems
            return builder.icmp_signed("!=", length, ir.Constant(length.type, count))

        return types.boolean(constants), generate

    @intrinsic
    def place(typing, constants):
        check(constants)

        def generate(context, builder, signature, arguments):
            if isinstance(constants, types.BaseTuple):
                values, kinds = cgutils.unpack_tuple(builder, arguments[0]), [*constants]
            else:
                data = context.make_array(constants)(context, builder, arguments[0]).data
                spots = [builder.gep(data, [ir.Constant(I64, k)]) for k in range(count)]
                values, kinds = list(map(builder.load, spots)), [constants.dtype] * count
            cast = [
                context.cast(builder, value, each, kind)
                for value, each in zip(values, kinds, strict=True)
            ]
            return _on_stack(builder, cast)

        return types.int64(constants), generate

    return missing, place


def caller_of_span(name: str) -> Any:
    """`update(table, chunks, records)`, which calls the update of this name.

    Its module becomes a part of that of the caller, and both are optimized together.
    """

    @intrinsic
    def update(typing, table, chunks, records):
        def generate(context, builder, signature, arguments):
            span = Spans.compiled(name)
            module = binding.parse_assembly(span.text)
            for each in module.functions:
                if not each.is_declaration:
                    each.linkage = "weak_odr"  # other functions may link it as well
            context.active_code_library.add_llvm_module(module)
            pointer = ir.IntType(8).as_pointer()
            form = ir.FunctionType(I32, [pointer.as_pointer()] * 2 + [I64] * 3)
            called = cgutils.get_or_insert_function(builder.module, form, span.name)
            rooms = [cgutils.alloca_once(builder, pointer) for _ in range(2)]
            builder.call(called, [*rooms, *arguments])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return update


def _on_stack(builder, values):
    """The address of values in an array on the stack."""
    if not values:
        return ir.Constant(I64, 0)
    room = cgutils.alloca_once(builder, ir.ArrayType(values[0].type, len(values)))
    zero = ir.Constant(ir.IntType(32), 0)
    for number, value in enumerate(values):
        spot = builder.gep(room, [zero, ir.Constant(ir.IntType(32), number)], inbounds=True)
        builder.store(value, spot)
    return builder.ptrtoint(room, I64)
