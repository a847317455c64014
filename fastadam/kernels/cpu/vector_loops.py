"""Loops to be vectorised, which may carry numbers from one iteration to the next, as a maximum.

Two vectors of the greatest width are loaded before the first is stored: a load waits for an earlier
store whose address agrees with its own in the low twelve bits. Loops of few elements are vectorised
too, instead of being unrolled.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import I32, I64

TRUE = ir.Constant(ir.IntType(1), 1)
WIDE = '"prefer-vector-width"="512"'  # of a function; LLVM would use half of such registers


class Distinct(ir.values.MDValue):  # type: ignore[misc]
    """Metadata that is equal to no other, although it has the same content."""

    def descr(self, buf: list[str]) -> None:
        buf += ("distinct !{}", "\n")


@cache
def each(width: int, whole: bool) -> Any:
    """`each(step, at, first, count, more)`: call `step(at, i, more)` for each i from `first` to
    `count`, for so many at a time, or two vectors of them if `width` is 0; unless these are `whole`
    vectors, masks leave out the lanes beyond `count`."""

    @intrinsic
    def each(typing, step, at, first, count, more):
        inner = step.get_call_type(typing, (at, types.int64, more), {})

        def generate(context, builder, signature, arguments):
            _, at, first, count, more = arguments
            call = context.get_function(step, inner)

            def body(i, joined):
                call(builder, (at, i, more))
                return []

            looped(builder, first, count, [], body, width, whole)
            return context.get_dummy_value()

        return types.void(step, at, types.int64, types.int64, more), generate

    return each


@intrinsic
def fold(typing, step, at, first, count, more, start):
    """Call `joined = step(at, i, more, joined)` for each i from `first` to `count`, beginning with
    `start`, no iteration of which reads what another one writes."""
    inner = step.get_call_type(typing, (at, types.int64, more, start), {})

    def generate(context, builder, signature, arguments):
        _, at, first, count, more, start = arguments
        kind = signature.args[-1]
        call = context.get_function(step, inner)

        def body(i, joined):
            numbers = rebuilt(context, builder, kind, iter(joined))
            return [*leaves(builder, kind, call(builder, (at, i, more, numbers)))]

        starts = [*leaves(builder, kind, start)]
        ends = looped(builder, first, count, starts, body, independent=True)
        return rebuilt(context, builder, kind, iter(ends))

    return start(step, at, types.int64, types.int64, more, start), generate


def folded(step: Any, start: Any) -> Any:
    """`each(at, first, count, more)`, as `MemoryAccess.folded` says."""

    def each(at, first, count, more):
        return fold(step, at, first, count, more, start)

    return each


def looped(
    builder: Any,
    first: Any,
    count: Any,
    starts: Sequence[Any],
    body: Callable[[Any, Sequence[Any]], Sequence[Any]],
    width: int = 0,
    whole: bool = True,
    independent: bool = False,
) -> list[Any]:
    """Build a loop over the integers from `first` to `count`; returns the numbers it carries.

    Args:
        starts: the numbers that it carries, at the beginning.
        body: `body(i, numbers)` builds an iteration, and returns the numbers that follow.
        width: the integers that an iteration of the vectorised loop takes, 0 for two vectors.
        whole: False if the last iteration may take fewer.
        independent: True if no iteration reads what another one writes.
    """
    before, block = builder.block, builder.append_basic_block("loop")
    after = builder.append_basic_block("loop.end")
    builder.cbranch(builder.icmp_signed("<", first, count), block, after)
    builder.position_at_end(block)
    i = builder.phi(I64)
    i.add_incoming(first, before)
    carried = [builder.phi(number.type) for number in starts]
    results = body(i, carried)
    following = builder.add(i, ir.Constant(I64, 1), flags=["nsw"])
    i.add_incoming(following, builder.block)
    again = builder.cbranch(builder.icmp_signed("<", following, count), block, after)
    more = [parallel(builder.module, block)] if independent else []
    again.set_metadata("llvm.loop", hinted(builder.module, width, whole, more))
    last = builder.block
    builder.position_at_end(after)
    ends = [builder.phi(number.type) for number in starts]
    for phi, end, begin, result in zip(carried, ends, starts, results, strict=True):
        for each, place in ((phi, before), (end, before)):
            each.add_incoming(begin, place)
        for each, place in ((phi, last), (end, last)):
            each.add_incoming(result, place)
    set.add(builder.function.attributes, WIDE)  # llvmlite's own `add` knows few names
    return ends


def hinted(module: Any, width: int, whole: bool = True, more: Sequence[Any] = ()) -> Any:
    """The metadata of a loop with hints for its compilation, and more of it."""
    hints = {"interleave.count": I32(1 if width else 2), "unroll.disable": None}  # in LLVM's words
    if width:
        hints["vectorize.width"] = I32(width)
    if not whole:
        hints["vectorize.predicate.enable"] = TRUE
    nodes = [
        module.add_metadata(
            [ir.MetaDataString(module, f"llvm.loop.{name}"), *([number] if number else [])]
        )
        for name, number in hints.items()
    ]
    loop = ir.values.MDValue(module, [], name=str(len(module.metadata)))
    loop.operands = (loop, *nodes, *more)  # a loop is identified by metadata that refers to itself
    return loop


def parallel(module: Any, block: Any) -> Any:
    """The metadata of a loop by which the calls in it read nothing that those of other iterations
    write."""
    group = Distinct(module, [], name=str(len(module.metadata)))
    for instruction in block.instructions:
        if isinstance(instruction, ir.CallInstr):
            instruction.set_metadata("llvm.access.group", group)
    accesses = ir.MetaDataString(module, "llvm.loop.parallel_accesses")
    return module.add_metadata([accesses, group])


def leaves(builder: Any, kind: Any, value: Any) -> Iterator[Any]:
    """The numbers of a nested tuple."""
    if not isinstance(kind, types.BaseTuple):
        yield value
        return
    for k, inner in enumerate(kind):
        yield from leaves(builder, inner, builder.extract_value(value, k))


def rebuilt(context: Any, builder: Any, kind: Any, numbers: Iterator[Any]) -> Any:
    """A nested tuple of these numbers."""
    if not isinstance(kind, types.BaseTuple):
        return next(numbers)
    parts = [rebuilt(context, builder, inner, numbers) for inner in kind]
    return context.make_tuple(builder, kind, parts)
