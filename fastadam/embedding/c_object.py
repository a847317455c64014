"""The object of a C interface, for any target that LLVM knows."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from llvmlite import binding, ir
from numba.core import cgutils

from ..engine.hyperparameters import range_of
from ..kernels.cpu import float_mode
from ..validation import BELOW_ONE, NOT_NEGATIVE, Range
from .arguments import Argument, Embedded
from .c_interface import Interface, code
from .llvm_module import Compiled, compiled_constants, compiled_step
from .targets import Target

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
BOUNDS = {NOT_NEGATIVE.text: (0.0, math.inf), BELOW_ONE.text: (0.0, 1.0)}
INTEGERS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "uint32": 32, "int32": 32}


class Output(NamedTuple):
    """A compiled interface.

    Attributes:
        module: the optimized module of LLVM.
        machine: the compiler of the target.
        object: the object.
        symbols: the functions of the interface.
    """

    module: Any
    machine: Any
    object: bytes
    symbols: list[str]

    @property
    def llvm_ir(self) -> str:
        return str(self.module)

    @property
    def assembly(self) -> str:
        return str(self.machine.emit_assembly(self.module))


def built(
    interface: Interface,
    target: Target,
    show: Callable[[str, float], None] = lambda label, fraction: None,
) -> Output:
    """Compile an interface for a target.

    Args:
        show: called with a label and the completed fraction.

    Raises:
        TypeError: for a rule or constants that cannot be compiled.
        ValueError: if they call functions whose results depend on the target.
    """
    target.compiler()  # refuses an unknown target at once
    steps = list[Compiled]()
    for number, step in enumerate(interface.steps):
        show(f"{interface.name}, {step.formats.param}", number / (1 + len(interface.steps)))
        steps.append(compiled_step(step))
    show(f"{interface.name}, {target.name}", 1 - 1 / (1 + len(interface.steps)))
    constants = compiled_constants(interface.constants, interface.optimizer.__name__)
    entries = _Entries(interface, target.machine)
    for step, inner in zip(interface.steps, steps, strict=True):
        entries.add_step(step, inner.name)
    entries.add_abi()
    entries.add_defaults()
    for compute in interface.computes:
        entries.add_prepare(compute, constants.name)
    return _assembled(str(entries.module), [*steps, constants], entries.symbols, target)


def _assembled(text: str, parts: Sequence[Compiled], symbols: list[str], target: Target) -> Output:
    machine = target.compiler()
    module = binding.parse_assembly(_retargeted(text, target))
    for part in parts:
        module.link_in(binding.parse_assembly(_retargeted(part.text, target)))
    module.name = symbols[0]
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    for each in [*module.functions, *module.global_variables]:
        if not each.is_declaration and each.name not in symbols:
            each.linkage = "internal"
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    options.loop_interleaving = options.loop_unrolling = True
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    module.verify()
    return Output(module, machine, machine.emit_object(module), symbols)


def _retargeted(text: str, target: Target) -> str:
    """The text of a module without the target it was made for, and without calls of libc."""
    lines = []
    for line in text.splitlines():
        if line.startswith(("target datalayout", "target triple")):
            continue
        if line.startswith("define ") and line.endswith("{"):
            line = f'{line[:-1]}"no-builtins" {{'  # loops do not become calls of memset
        lines.append(line)
    return "\n".join(lines)


def _pointer(kind: Any) -> Any:
    return kind.as_pointer()


def _llvm_type(dtype: str) -> Any:
    return FLOATS.get(dtype) or ir.IntType(INTEGERS[dtype])


class _Entries:
    """The module of the functions that a C program calls."""

    def __init__(self, interface: Interface, machine: str) -> None:
        self.interface, self.machine = interface, machine
        self.module, self.symbols = ir.Module("fastadam"), list[str]()
        self._hyper = [
            ir.ArrayType(FLOATS["float64"], len(default))
            if isinstance(default, tuple)
            else FLOATS["float64"]
            for _, default in interface.hyper
        ] or [FLOATS["float64"]]

    def _function(self, name: str, result: Any, *kinds: Any) -> tuple[Any, ir.IRBuilder]:
        function = ir.Function(self.module, ir.FunctionType(result, kinds), name)
        self.symbols.append(name)
        return function, ir.IRBuilder(function.append_basic_block())

    def _inner(self, name: str, result: Any, *kinds: Any) -> Any:
        """A function that Numba compiled: a status, places for result and exception, arguments."""
        known = self.module.globals.get(name)
        form = ir.FunctionType(I32, [_pointer(result), _pointer(_pointer(I8)), *kinds])
        return known or ir.Function(self.module, form, name)

    def add_abi(self) -> None:
        _, builder = self._function(f"{self.interface.prefix}_abi", I32)
        builder.ret(ir.Constant(I32, self.interface.abi))

    def add_defaults(self) -> None:
        record = ir.LiteralStructType(self._hyper)
        name = f"{self.interface.prefix}_defaults"
        function, builder = self._function(name, ir.VoidType(), _pointer(record))
        numbers = [
            number
            for _, default in self.interface.hyper
            for number in (default if isinstance(default, tuple) else (default,))
        ]
        for place, number in zip(self._places(builder, function.args[0]), numbers, strict=True):
            builder.store(ir.Constant(FLOATS["float64"], number), place)
        builder.ret_void()

    def _places(self, builder: ir.IRBuilder, record: Any) -> list[Any]:
        """The place of each number in a struct of hyperparameters."""
        data = builder.bitcast(record, _pointer(FLOATS["float64"]))
        sizes = [
            len(default) if isinstance(default, tuple) else 1 for _, default in self.interface.hyper
        ]
        return [builder.gep(data, [ir.Constant(I64, k)]) for k in range(sum(sizes))]

    def add_prepare(self, compute: str, inner: str) -> None:
        """The function from hyperparameters to the constants of a step."""
        constants, kind = self.interface.constants, FLOATS[compute]
        record = ir.LiteralStructType(self._hyper)
        short = self.interface.record(compute).rpartition("_")[2]
        function, builder = self._function(
            f"{self.interface.prefix}_prepare_{short}", I32, _pointer(record), I64, _pointer(kind)
        )
        given, step, out = function.args
        self._fail(builder, builder.or_(_is_null(builder, given), _is_null(builder, out)), "NULL")
        self._fail(builder, builder.icmp_signed("<", step, ir.Constant(I64, 1)), "STEP")
        places = self._places(builder, given)
        numbers = [builder.load(place) for place in places]
        for (name, k), number in zip(constants.numbers, numbers, strict=False):
            default = self.interface.optimizer.defaults[name]
            within = range_of(name, default if k is None else default[k])
            self._fail(builder, _out_of_range(builder, number, within), "HYPER")
        count, double = len(constants.names), FLOATS["float64"]
        results = ir.ArrayType(double, count + len(constants.carried))
        called = self._inner(inner, results, *[double] * (1 + len(numbers)))
        room, error = builder.alloca(results), builder.alloca(_pointer(I8))
        builder.call(called, [room, error, builder.sitofp(step, double), *numbers])
        zero, bad = ir.Constant(I32, 0), ir.Constant(ir.IntType(1), 0)
        values = [
            builder.load(builder.gep(room, [zero, ir.Constant(I32, k)]))
            for k in range(results.count)
        ]
        for value in values:
            bad = builder.or_(bad, builder.fcmp_unordered("uno", value, value))
        self._fail(builder, bad, "HYPER")
        for k, value in enumerate(values):
            if k >= count:
                builder.store(value, places[len(constants.numbers) + k - count])
                continue
            value = builder.fptrunc(value, kind) if compute == "float32" else value
            builder.store(value, builder.gep(out, [ir.Constant(I64, k)]))
        builder.ret(ir.Constant(I32, code("OK")))

    def add_step(self, step: Embedded, inner: str) -> None:
        """The functions that update a range of elements, and all."""
        name, arguments = self.interface.function(step), step.arguments
        kinds = [
            _llvm_type(a.column.dtype) if a.is_number else _pointer(_llvm_type(a.column.dtype))
            for a in arguments
        ]
        kinds.append(_pointer(FLOATS[step.compute]))
        ranged, builder = self._function(f"{name}_range", I32, *kinds, I64, I64)
        self._range(builder, ranged.args, arguments, step.block, inner)
        whole, builder = self._function(name, I32, *kinds, I64)
        zero = ir.Constant(I64, 0)
        builder.ret(builder.call(ranged, [*whole.args[:-1], zero, whole.args[-1]]))

    def _range(
        self,
        builder: ir.IRBuilder,
        given: Sequence[Any],
        arguments: Sequence[Argument],
        block: int,
        inner: str,
    ) -> None:
        *values, constants, first, last = given
        zero = ir.Constant(I64, 0)
        bad = builder.icmp_signed("<", first, zero)
        self._fail(builder, builder.or_(bad, builder.icmp_signed("<", last, first)), "RANGE")
        if block > 1:
            inside = builder.and_(first, ir.Constant(I64, block - 1))
            self._fail(builder, builder.icmp_signed("!=", inside, zero), "BLOCK")
        with builder.if_then(builder.icmp_signed("==", first, last), likely=False):
            builder.ret(ir.Constant(I32, code("OK")))
        addresses = [
            self._address(builder, value, argument)
            for value, argument in zip(values, arguments, strict=True)
        ]
        records = builder.ptrtoint(constants, I64)
        self._check_addresses(builder, addresses, records, arguments, first, last)
        row = _table(builder, [zero, *addresses])
        chunk = _table(builder, [zero, first, last])
        pointer = _pointer(I8)
        called = self._inner(inner, pointer, I64, I64, I64)
        result, error = builder.alloca(pointer), builder.alloca(pointer)
        mode = float_mode.begin(builder, self.machine)
        builder.call(called, [result, error, row, chunk, records])
        float_mode.end(builder, mode, self.machine)
        builder.ret(ir.Constant(I32, code("OK")))

    def _address(self, builder: ir.IRBuilder, value: Any, argument: Argument) -> Any:
        if not argument.is_number:
            return builder.ptrtoint(value, I64)
        room = builder.alloca(value.type)
        builder.store(value, room)
        return builder.ptrtoint(room, I64)

    def _check_addresses(
        self,
        builder: ir.IRBuilder,
        addresses: Sequence[Any],
        records: Any,
        arguments: Sequence[Argument],
        first: Any,
        last: Any,
    ) -> None:
        zero = ir.Constant(I64, 0)
        arrays = [
            (address, argument)
            for address, argument in zip(addresses, arguments, strict=True)
            if not argument.is_number
        ]
        null = builder.icmp_signed("==", records, zero)
        for address, _ in arrays:
            null = builder.or_(null, builder.icmp_signed("==", address, zero))
        self._fail(builder, null, "NULL")
        low = zero
        for address, argument in arrays:
            below = ir.Constant(I64, argument.size - 1)
            low = builder.or_(low, builder.and_(address, below))
        self._fail(builder, builder.icmp_signed("!=", low, zero), "MISALIGNED")
        spans = [_span(builder, address, argument, first, last) for address, argument in arrays]
        overlap = ir.Constant(ir.IntType(1), 0)
        for (one, (_, a)), (other, (_, b)) in combinations(zip(spans, arrays, strict=True), 2):
            if a.mode != "r" or b.mode != "r":
                left = builder.icmp_unsigned("<", one[0], other[1])
                both = builder.and_(left, builder.icmp_unsigned("<", other[0], one[1]))
                overlap = builder.or_(overlap, both)
        self._fail(builder, overlap, "OVERLAP")

    def _fail(self, builder: ir.IRBuilder, condition: Any, name: str) -> None:
        with builder.if_then(condition, likely=False):
            builder.ret(ir.Constant(I32, code(name)))


def _is_null(builder: ir.IRBuilder, pointer: Any) -> Any:
    return builder.icmp_unsigned("==", builder.ptrtoint(pointer, I64), ir.Constant(I64, 0))


def _out_of_range(builder: ir.IRBuilder, number: Any, within: Range) -> Any:
    """True for a number outside of a range, and for NaN."""
    double = FLOATS["float64"]
    least, above = BOUNDS.get(within.text, (-math.inf, math.inf))
    compared = ">=" if least == 0 else ">"
    low = builder.fcmp_ordered(compared, number, ir.Constant(double, least))
    return builder.not_(
        builder.and_(low, builder.fcmp_ordered("<", number, ir.Constant(double, above)))
    )


def _span(
    builder: ir.IRBuilder, address: Any, argument: Argument, first: Any, last: Any
) -> tuple[Any, Any]:
    """The addresses of the first element of a range, and of that after the last."""
    per, size = argument.column.per, ir.Constant(I64, argument.size)
    if per > 1:
        shift = ir.Constant(I64, per.bit_length() - 1)
        first = builder.lshr(first, shift)
        last = builder.lshr(builder.add(last, ir.Constant(I64, per - 1)), shift)
    return (
        builder.add(address, builder.mul(first, size)),
        builder.add(address, builder.mul(last, size)),
    )


def _table(builder: ir.IRBuilder, words: Sequence[Any]) -> Any:
    """The address of 64-bit integers on the stack."""
    room = cgutils.alloca_once(builder, ir.ArrayType(I64, len(words)))
    for number, word in enumerate(words):
        builder.store(word, builder.gep(room, [ir.Constant(I32, 0), ir.Constant(I32, number)]))
    return builder.ptrtoint(room, I64)
