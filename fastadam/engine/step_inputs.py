"""Inputs of a step in place of gradients: a target of the parameters, and weighted sums."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ..kernels.formats import COMPENSATION, Formats, compute_of
from ..kernels.storage.weighted import weight_name
from ..memory.complex_numbers import Pairs, as_reals
from ..memory.dtypes import name_of
from ..memory.rows import Rows
from ..validation import number
from .accumulation import add
from .backend import as_array, backend_of
from .columns import alike
from .convert import identity
from .gradients import OtherDtypesError, StepArrays
from .launch import Launch, kernel_for
from .options import Options
from .parameters import Parameters
from .row_inputs import gradients_for

TARGET = "target"
MOST_INPUTS = 16  # of one pass


class Kind(NamedTuple):
    """A kind of steps that share their kernels.

    Attributes:
        transforms: the transforms of the inputs in place of gradients.
        inputs: the number of arrays that a kernel adds for each parameter; 0: one array, without
            a weight.
    """

    transforms: tuple[str, ...] = ()
    inputs: int = 0


PLAIN = Kind()


@dataclass(frozen=True)
class StepInputs:
    """Arrays of a step from which the kernel computes the gradients.

    Attributes:
        kind: the kind of the step.
        weights: the weights of the inputs; empty for a target that is one tree.
        arrays: for each input, its arrays, in the order of the parameters.
        labels: the name of each input in messages.
    """

    kind: Kind
    weights: tuple[float, ...]
    arrays: tuple[Sequence[Any], ...]
    labels: tuple[str, ...]

    def seen(self, params: Sequence[Any]) -> "Sums":
        """The gradients, for readers other than the kernels."""
        return Sums(self, params)


class Sums(Sequence[Any]):
    """The gradients that the inputs represent, each computed on access."""

    def __init__(self, inputs: StepInputs, params: Sequence[Any]) -> None:
        self._inputs, self._params = inputs, params

    def __len__(self) -> int:
        return len(self._params)

    def __getitem__(self, number: Any) -> Any:
        inputs = self._inputs
        arrays = [np.asarray(as_reals(as_array(each[number]))) for each in inputs.arrays]
        with np.errstate(all="ignore"):
            total = arrays[0]
            for k, weight in enumerate(inputs.weights):
                total = total + arrays[k] * weight if k else total * weight
            return self._params[number] - total if TARGET in inputs.kind.transforms else total


class OtherInputs:
    """The inputs of a step after the first, whose arrays a kernel reads like gradients.

    Args:
        parameters: the parameters of the optimizer.
        dtypes: the dtypes of the arrays of the first input.
        inputs: the inputs of a step; later steps have as many, of the same names.
    """

    def __init__(self, parameters: Parameters, dtypes: Sequence[Any], inputs: StepInputs) -> None:
        self._labels = inputs.labels
        self._parts = [
            _arrays_for(parameters, dtypes, parameters.called(label)) for label in inputs.labels[1:]
        ]

    def protect(self, spans: Sequence[Any]) -> None:
        """Set the memory that a step writes, in which no array may lie."""
        for part in self._parts:
            part.protect(spans)

    def bind(self, inputs: StepInputs, first: StepArrays, launches: Sequence[Launch]) -> None:
        """Check the arrays, and set their addresses and weights in the launches.

        Raises:
            TypeError, ValueError: for arrays unlike those of the first input.
        """
        for k, part in enumerate(self._parts, 1):
            _bind(part, inputs.arrays[k], self._labels[k], self._labels[0])
            if part.active != first.active:
                _refuse_missing(part.active, first.active, self._labels[k], self._labels[0])
            for launch in launches:
                launch.place("grad", part.addresses, k)
        for launch in launches:
            for k, weight in enumerate(inputs.weights):
                launch.set_number(weight_name(k), weight)


class LongSum:
    """The sum of more inputs than a kernel takes, computed in several passes.

    Attributes:
        sums: the arrays.
    """

    def __init__(self, parameters: Parameters, options: Options) -> None:
        self._parameters, self._threads = parameters, options.threads
        arrays = parameters.arrays
        compute = [options.formats(array).compute for array in arrays]
        self.sums = list(arrays)
        backend = backend_of(arrays[0])
        for dtype, places in alike(compute).items():
            for k in places:
                total = backend.zeros(arrays[k].size, dtype).reshape(arrays[k].shape)
                self.sums[k] = total.view(Pairs) if isinstance(arrays[k], Pairs) else total
        self._compute = compute

    def take(self, inputs: StepInputs, protected: Sequence[Any]) -> list[Any]:
        """The sums of inputs, None for parameters without an array in any of them.

        Raises:
            TypeError, ValueError: for arrays of different dtypes, before any is read.
        """
        arrays, labels = self._parameters.arrays, inputs.labels
        dtypes = [array.dtype for array in arrays]
        first, places = None, []
        for given, label in zip(inputs.arrays, labels, strict=True):
            named = self._parameters.called(label)
            part = _arrays_for(self._parameters, dtypes, named, protected)
            try:
                part.bind(given)
            except OtherDtypesError as other:
                if first is None:
                    dtypes = list(other.dtypes)
                    part = _arrays_for(self._parameters, dtypes, named, protected)
                _bind(part, given, label, labels[0])
            first = first or part
            if part.active != first.active:
                _refuse_missing(part.active, first.active, label, labels[0])
            places.append(part.addresses)
        assert first
        self._run(dtypes, first.active, places, inputs.weights)
        return [s if there else None for s, there in zip(self.sums, first.active, strict=True)]

    def _run(
        self,
        dtypes: Sequence[Any],
        active: Sequence[bool],
        places: Sequence[Sequence[int]],
        weights: Sequence[float],
    ) -> None:
        pairs = zip(self._compute, dtypes, active, strict=True)
        kinds = [(c, dtype.name) if there else None for c, dtype, there in pairs]
        for start in range(0, len(weights), MOST_INPUTS):
            some = range(start, min(start + MOST_INPUTS, len(weights)))
            rule = add if start else identity
            for names, members in alike(kinds).items():
                if names is None:
                    continue
                formats = Formats(names[0], names[1], inputs=len(some))
                kernel = kernel_for(rule, formats, (), self.sums[0])
                launch = Launch(rule, kernel, self.sums, members)
                for k, place in enumerate(some):
                    launch.place("grad", places[place], k)
                    launch.set_number(weight_name(k), weights[place])
                launch.table.runner(self._threads)()


def inputs_of(
    parameters: Parameters, options: Options, grads: Any, target: Any, inputs: Any, scale: Any
) -> StepInputs:
    """The inputs of a step from its argument `target` or `inputs`; only the structure is checked.

    Raises:
        TypeError, ValueError: for arguments that exclude each other, and other structures.
    """
    if grads is not None or (target is not None and inputs is not None):
        given = [("grads", grads), ("target", target), ("inputs", inputs)]
        names = " and ".join(name for name, value in given if value is not None)
        raise TypeError(
            f"step() got {names}; give one of them (a target may be a list of pairs (weight, tree))"
        )
    name = TARGET if inputs is None else "inputs"
    _check_options(options, name, scale)
    value = target if inputs is None else inputs
    if inputs is None and not _are_pairs(target):
        arrays = parameters.matched(target, TARGET)
        return StepInputs(Kind((TARGET,)), (), (_no_rows(arrays, TARGET),), (TARGET,))
    weights, trees, labels = zip(*_pairs(value, name), strict=True)
    _check_weights(weights, parameters, name)
    arrays = tuple(
        _no_rows(parameters.matched(tree, label), label)
        for tree, label in zip(trees, labels, strict=True)
    )
    kind = Kind((TARGET,) if inputs is None else (), len(weights))
    return StepInputs(kind, weights, arrays, labels)


def _check_options(options: Options, name: str, scale: Any) -> None:
    if options.accumulates:
        raise ValueError(
            f"step({name}=) with accumulate_steps={options.accumulate_steps}: give all trees to "
            "one step, as inputs=[(weight, tree), ...], and make the optimizer without it"
        )
    if options.zero_grads:
        raise ValueError(
            f"step({name}=) only reads, but zero_grads=True writes zeros; make the optimizer "
            "without it"
        )
    if name == TARGET and scale is not None:
        raise TypeError(
            f"step(target=) got grad_scale={scale!r}, but a target is not a gradient of a scaled "
            "loss; leave it out"
        )
    if name == TARGET and options.compensation and options.measures:
        raise ValueError(
            f"step(target=) with {COMPENSATION}={options.compensation!r} has no norm; make the "
            "optimizer without clip_norm and skip_nonfinite"
        )


def _are_pairs(value: Any) -> bool:
    """True for pairs of a weight and a tree, which no tree of arrays can be."""
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(
            isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], Real)
            for pair in value
        )
    )


def _pairs(value: Any, name: str) -> Iterator[tuple[float, Any, str]]:
    """The weight, the tree and the label of each input."""
    value = [*value] if isinstance(value, Iterator) else value
    if not isinstance(value, list | tuple) or not value:
        raise TypeError(f"step(): {name}={value!r:.60} is not a list of pairs (weight, tree)")
    for k, pair in enumerate(value):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise TypeError(f"step(): {name}[{k}] is not a pair (weight, tree); give (1.0, tree)")
        yield number(f"step(): the weight {name}[{k}][0]", pair[0]), pair[1], f"{name}[{k}][1]"


def _check_weights(weights: Sequence[float], parameters: Parameters, name: str) -> None:
    """Refuse weights that the arithmetic of a parameter would make infinite."""
    largest = max(weights, key=abs)
    if abs(largest) <= float(np.finfo(np.float32).max):
        return
    if any(compute_of(name_of(array.dtype)) == "float32" for array in parameters.arrays):
        place = f"{name}[{weights.index(largest)}][0]"
        raise ValueError(f"step(): the weight {place}={largest} is too large for float32")


def _no_rows(arrays: Sequence[Any], label: str) -> Sequence[Any]:
    for array in arrays:
        if isinstance(array, Rows):
            raise TypeError(f"{label} holds Rows, which are for gradients; give whole arrays")
    return arrays


def _arrays_for(
    parameters: Parameters, dtypes: Sequence[Any], names: Sequence[str], spans: Sequence[Any] = ()
) -> StepArrays:
    made = gradients_for(parameters.arrays, parameters.names, names, dtypes, False)
    made.protect(spans)
    return made


def _bind(part: StepArrays, arrays: Sequence[Any], label: str, first: str) -> None:
    """Check arrays whose dtypes must be those of the first input.

    Raises:
        TypeError: naming the input.
    """
    try:
        part.bind(arrays)
    except OtherDtypesError as other:
        raise TypeError(
            f"{label} has dtypes {sorted({dtype.name for dtype in other.dtypes})}, other than "
            f"{first} for the same parameters; convert one of them"
        ) from None


def _refuse_missing(one: Sequence[bool], other: Sequence[bool], label: str, first: str) -> None:
    number = next(k for k, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    raise ValueError(
        f"parameter {number} has an array in {label if one[number] else first} and None in "
        f"{first if one[number] else label}; give None in all inputs, or zeros in this one"
    )
