"""The streams of rules: those of the rule itself, of its parts, and of the options of a step."""

from collections.abc import Callable
from dataclasses import replace

from ..rules import MATRIX, ROW, SIZE, Rule
from .formats import Formats
from .rule_parts import DIRECTION, by_element, lengths_of, results_of
from .storage.base import ROW as PER_ROW
from .storage.base import WHOLE, Storage
from .storage.block_sums import Sums
from .storage.elementwise import Single
from .storage.rows import RowNumber, RowSum
from .stream import Stream
from .transforms import (
    FACTOR,
    STAGES,
    STATE,
    SUM,
    ZERO_GRADS,
    arithmetic,
    of_gradients,
    staged,
)


def streams(rule: Rule, options: tuple[str, ...], formats: Formats) -> tuple[Stream, ...]:
    """The streams of a rule with options: param, grad, state, sums, then those of the options."""
    states = _states(rule, formats)
    found = RowSum if rule.over == ROW else Single
    sums = [Stream(SUM + name, found(formats.compute), "r") for name in rule.sums]
    if rule.sums and SIZE in results_of(rule):
        sums.append(Stream(SUM + SIZE, Single(formats.compute), "r"))
    if rule.matrix:
        sums.append(Stream(SUM + MATRIX, arithmetic(formats), "r"))
    sums += _lengths(rule)
    grad = Stream("grad", formats.grad_storage, "rz" if ZERO_GRADS in options else "r")
    param = Stream("param", formats.param_storage)
    return (param, grad, *states, *sums, *extras_of(options, formats))


def streams_of_terms(rule: Rule, options: tuple[str, ...], formats: Formats) -> tuple[Stream, ...]:
    """The streams of the first part of a rule: all are read only but the sums of blocks, or the
    matrix."""
    param, grad = Stream("param", formats.param_storage), Stream("grad", formats.grad_storage)
    adding = Sums(".folded.scratch") if rule.over == ROW else Sums()
    if rule.factors:
        adding = Sums(".folded.scratch", PER_ROW)
    sums = [Stream(SUM + name, adding, "w") for name in rule.sums]
    sums += _lengths(rule) if rule.factors else []
    if rule.matrix:
        sums = [Stream(SUM + MATRIX, arithmetic(formats), "w")]
    extras = extras_of(of_gradients(options), formats)
    return (
        *(stream._replace(mode="r") for stream in (param, grad, *_states(rule, formats, True))),
        *sums,
        *(stream._replace(mode="r") for stream in extras),
    )


def in_directions(rule: Rule, options: tuple[str, ...], formats: Formats) -> bool:
    """True if a step can keep the direction of a rule between its two parts: options change
    gradients only, and no state is packed in blocks."""
    plain = {*options} <= {*of_gradients(options), ZERO_GRADS} and not formats.options
    return rule.direction is not None and plain and formats.state_storage.block == WHOLE


def streams_of_directions(
    rule: Rule, options: tuple[str, ...], formats: Formats
) -> tuple[tuple[Stream, ...], tuple[Stream, ...]]:
    """The streams of both parts of a rule with a direction, for `in_directions`."""
    param, grad, *states = streams(replace(rule, sums=()), (), formats)
    number = Stream(DIRECTION, arithmetic(formats), "w")
    sums = [Stream(SUM + name, Sums(), "w") for name in rule.sums]
    grad = grad._replace(mode="rz" if ZERO_GRADS in options else "r")
    extras = extras_of(of_gradients(options), formats)
    results = [Stream(SUM + name, Single(formats.compute), "r") for name in results_of(rule)]
    first = param._replace(mode="r"), grad, *states, *sums, number, *extras
    return first, (param, number._replace(mode="r"), *results)


def _states(rule: Rule, formats: Formats, only_read: bool = False) -> list[Stream]:
    """The streams of state, or of factors."""
    prefix, mode = (FACTOR, "r") if rule.factors else (STATE, "rw")
    return [
        Stream(prefix + name, formats.storage_of(name, only_read), mode)  # type: ignore[arg-type]
        for name in rule.state
    ]


def _lengths(rule: Rule) -> list[Stream]:
    """The streams of the numbers that the loop of a kernel over rows reads."""
    return [Stream(name, Single("int64"), "r") for name in lengths_of(rule)]


def extras_of(options: tuple[str, ...], formats: Formats) -> list[Stream]:
    """The streams that options add."""
    return [
        Stream(name, _storage(storage, formats), mode)
        for key, option in STAGES.items()
        if key in options
        for name, (storage, mode) in option.extras.items()
    ]


def of_elements(
    rule: Rule, options: tuple[str, ...], formats: Formats
) -> tuple[Rule, tuple[Stream, ...]]:
    """A rule with sums over rows, wrapped by options, and its streams, for rows of one element:
    numbers of rows are numbers of elements."""
    known, key = rule.staged, (by_element, formats.compute)
    if key not in known:
        known[key] = by_element(rule, formats.compute)
    single, number = known[key], arithmetic(formats)
    found = (
        stream._replace(storage=number) if isinstance(stream.storage, RowNumber) else stream
        for stream in streams(single, options, formats)
    )
    return staged(single, options), tuple(found)


def _storage(asked: Storage | Callable[[Formats], Storage], formats: Formats) -> Storage:
    return asked(formats) if callable(asked) else asked
