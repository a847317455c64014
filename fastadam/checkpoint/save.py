"""Saving: the state of an optimizer as a state_dict in PyTorch's layout."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.convert import SCALE, code_names, dequantized, state_names
from ..engine.param_groups import CARRIED, Group
from ..kernels.formats import COMPENSATION, compute_of
from ..memory.complex_numbers import as_reals, shown
from ..rules.algorithm import Values
from .engine_state import EngineState


def save(engine: EngineState, copy: bool) -> dict[str, Any]:
    """The state_dict of an optimizer.

    Args:
        engine: that of the optimizer.
        copy: False gives views of the live arrays.
    """
    state: dict[int, dict[str, Any]] = {}
    algorithm, steps = engine.algorithm, engine.state.steps
    carried = engine.state.carried
    groups = [group for group in engine.groups for _ in group.params]
    for number, (step, group) in enumerate(zip(steps, groups, strict=True)):
        if step:
            arrays = {name: each[number] for name, each in engine.state.arrays.items()}
            param = engine.parameters.arrays[number]
            needed = (
                () if algorithm.uncounted else group.rule.of(param.shape).state
            )  # uncounted state may be missing
            wanted = [name for name in needed if name in engine.state.arrays]
            arrays |= {name: _live(engine, group, name, number) for name in wanted}
            known = {
                name: shown(array, param) for name, array in arrays.items() if array is not None
            }
            kept = {name: np.array(array) if copy else array for name, array in known.items()}
            pairs = zip(algorithm.carried, carried[number], strict=True)
            host = {name: np.array(value) for name, value in pairs}
            state[number] = {"step": counter(step), **kept, **host}
    saved: dict[str, Any] = {"state": state, "param_groups": _groups(engine)}
    if engine.state.count != max(steps):  # no parameter was updated in all steps
        saved["step"] = counter(engine.state.count)
    if engine.copies.ema:
        saved["ema"] = _numbered(engine.parameters.shown(engine.copies.ema).leaves, copy)
    if engine.accumulator and engine.accumulator.count:
        shown_sums = map(shown, engine.accumulator.sums, engine.parameters.arrays)
        sums, seen = _numbered(list(shown_sums), copy), engine.accumulator.seen
        grads = {number: array for number, array in sums.items() if seen[number]}
        saved["accumulated"] = {"count": engine.accumulator.count, "grads": grads}
    return saved


def dequantize(engine: EngineState) -> dict[str, Any]:
    """The state_dict of an optimizer with floats in place of codes."""
    saved = save(engine, True)
    computes = [compute_of(param.dtype.name) for param in engine.parameters.arrays]
    for number, entry in saved["state"].items():
        coded = code_names(entry)
        for name in state_names(entry):
            if name in coded:
                scales = entry.pop(name + SCALE)
                values = dequantized(entry[name], scales, computes[number])
                entry[name] = shown(values, engine.parameters.arrays[number])
            elif name not in ("step", *engine.algorithm.carried):
                reals = as_reals(entry[name]).astype(computes[number], copy=False)
                entry[name] = shown(reals, engine.parameters.arrays[number])
        entry.pop(COMPENSATION, None)
    return saved


def _numbered(arrays: Sequence[Any], copy: bool) -> dict[int, Any]:
    return {number: np.array(array) if copy else array for number, array in enumerate(arrays)}


def _live(engine: EngineState, group: Group, name: str, number: int) -> Any:
    """State of a parameter; its initial value if it is needed only since a flag was changed."""
    array = engine.state.arrays[name][number]
    if array is None:
        start = engine.algorithm.initial(group.at(engine.state.count)).get(name, 0)
        param = engine.parameters.arrays[number]
        shape = group.formats(param).shape_of(name, param.shape)
        array = np.full(shape, start, compute_of(param.dtype.name))
    return array


def counter(step: int) -> Any:
    """A step count as PyTorch stores it, or in a wider type if float32 is not exact."""
    dtypes = {1 << 24: np.float32, 1 << 53: np.float64}
    return np.array(step, next((dtype for top, dtype in dtypes.items() if step <= top), np.int64))


def _groups(engine: EngineState) -> list[Values]:
    """The groups with the indices of their parameters; a schedule is saved as its current value."""
    groups, first = [], 0
    for raw, group in zip(engine.param_groups, engine.groups, strict=True):
        present = group.at(max(1, engine.state.count))
        kept = {key: _copied(raw[key]) for key in CARRIED if key in raw}
        numbers = list(range(first, first + len(group.params)))
        groups.append({**present, **kept, "params": numbers})
        first += len(group.params)
    return groups


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value
