"""Vectorised loops that carry numbers from one iteration to the next, such as a maximum."""

from collections.abc import Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .llvm import I64, WIDE, hinted


class Distinct(ir.values.MDValue):  # type: ignore[misc]
    """Metadata that is equal to no other, although it has the same content."""

    def descr(self, buf: list[str]) -> None:
        buf += ("distinct !{}", "\n")


@intrinsic
def fold(typing, step, at, first, count, more, start):
    """Call `joined = step(at, i, more, joined)` for each i from `first` to `count`, beginning with
    `start`, in a loop to be vectorised, no iteration of which reads what another one writes."""
    inner = step.get_call_type(typing, (at, types.int64, more, start), {})

    def generate(context, builder, signature, arguments):
        _, at, first, count, more, start = arguments
        kind = signature.args[-1]
        call = context.get_function(step, inner)
        starts = [*leaves(builder, kind, start)]
        before, body = builder.block, builder.append_basic_block("fold")
        after = builder.append_basic_block("fold.end")
        builder.cbranch(builder.icmp_signed("<", first, count), body, after)
        builder.position_at_end(body)
        i = builder.phi(I64)
        i.add_incoming(first, before)
        carried = [builder.phi(number.type) for number in starts]
        joined = call(builder, (at, i, more, rebuilt(context, builder, kind, iter(carried))))
        results = [*leaves(builder, kind, joined)]
        following = builder.add(i, ir.Constant(I64, 1), flags=["nsw"])
        i.add_incoming(following, builder.block)
        again = builder.cbranch(builder.icmp_signed("<", following, count), body, after)
        independent(builder, body, again)
        last = builder.block
        builder.position_at_end(after)
        ends = [builder.phi(number.type) for number in starts]
        for phi, end, begin, result in zip(carried, ends, starts, results, strict=True):
            for each, place in ((phi, before), (end, before)):
                each.add_incoming(begin, place)
            for each, place in ((phi, last), (end, last)):
                each.add_incoming(result, place)
        set.add(builder.function.attributes, WIDE)
        return rebuilt(context, builder, kind, iter(ends))

    return start(step, at, types.int64, types.int64, more, start), generate


def folded(step: Any, start: Any) -> Any:
    """`each(at, first, count, more)`, as `MemoryAccess.folded` says."""

    def each(at, first, count, more):
        return fold(step, at, first, count, more, start)

    return each


def independent(builder: Any, body: Any, again: Any) -> None:
    """Declare that the calls in a loop read nothing that those of other iterations write."""
    module = builder.module
    group = Distinct(module, [], name=str(len(module.metadata)))
    for instruction in body.instructions:
        if isinstance(instruction, ir.CallInstr):
            instruction.set_metadata("llvm.access.group", group)
    parallel = [ir.MetaDataString(module, "llvm.loop.parallel_accesses"), group]
    again.set_metadata("llvm.loop", hinted(module, [module.add_metadata(parallel)]))


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
