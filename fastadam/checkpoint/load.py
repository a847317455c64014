"""Loading of a state_dict, this library's or PyTorch's, as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.columns import columns_for, rows_of
from ..engine.convert import fitted, state_names
from ..engine.edits import ParamGroup
from ..engine.options import NAMES
from ..engine.param_groups import Group, checked_group
from ..kernels.commit import Operation, Write, updated, write
from ..rules.algorithm import Values
from ..validation import count as whole
from .engine_state import EngineState
from .validate import (
    apart,
    averages_apart,
    check_compensation,
    check_entry,
    check_numbers,
    count_of,
    entry_of,
    matching,
    numbers_of,
    owners_of,
    taken_step,
)

# PyTorch's choices of an implementation, which do not change results.
IGNORED = ("foreach", "fused", "capturable", "differentiable")


def load(engine: EngineState, state_dict: Mapping[str, Any]) -> None:
    """Load a saved state.

    Raises:
        TypeError, ValueError: if groups, names or shapes do not match; raised before anything
            changes.
    """
    operations = loading(engine, state_dict)
    with np.errstate(all="ignore"):  # overflow becomes infinite
        engine.committed(operations, "the loading of a state_dict")


def loading(
    engine: EngineState, state_dict: Mapping[str, Any], write: Write = write
) -> list[Operation]:
    """The operations that load a saved state, in which `write` fills the arrays.

    Raises:
        TypeError, ValueError: as `load`.
    """
    saved_groups = _checked(engine, state_dict)
    numbers = order_of(engine, saved_groups)
    state_dict = averages_apart(engine, state_dict, numbers)
    entries = [entry_of(state_dict["state"].get(number, {}), engine) for number in numbers]
    labels = [f"state of {name}" for name in engine.parameters.names]
    steps = [taken_step(entry, label) for entry, label in zip(entries, labels, strict=True)]
    count = _count(state_dict, steps)
    groups = _groups(engine, saved_groups, count)
    owners = [group for group in groups for _ in group.params]
    _check_entries(engine, entries, owners, steps, labels)
    carried = [
        tuple(float(entry.pop(name, start)) for name, start in engine.algorithm.carried.items())
        for entry in entries
    ]
    ema = _averages(engine, state_dict, numbers)
    accumulated, sums = _accumulated(engine, state_dict, numbers)

    with np.errstate(all="ignore"):  # overflow becomes infinite
        entries, kept = _fitted(engine, entries, owners)
        edited = [
            updated(raw, group.raw) for raw, group in zip(engine.param_groups, groups, strict=True)
        ]
        for raw, group in zip(engine.param_groups, groups, strict=True):
            group.raw = raw
        arrays = engine.parameters.arrays
        names = [name for group in groups for name in group.rule.all_state]
        operations = [
            *edited,
            *engine.invalidated(),
            *engine.adopted(groups),
            *engine.state.restored(arrays, entries, kept, steps, carried, count, names, write),
            *engine.copies.restored(ema, write),
        ]
        if engine.accumulator:
            operations += engine.accumulator.restored(accumulated, sums, write)
    return operations


def _checked(engine: EngineState, state_dict: Mapping[str, Any]) -> Sequence[Values]:
    """The saved groups of a state_dict that has the entries that it must have."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict={state_dict!r} is not a dict")
    for key in ("state", "param_groups"):
        if key not in state_dict:
            raise ValueError(f"state_dict has no {key!r}; it has {list(state_dict)}")
    saved_groups = state_dict["param_groups"]
    if not isinstance(state_dict["state"], Mapping):
        raise TypeError(f"state_dict: state={state_dict['state']!r} is not a dict")
    if not isinstance(saved_groups, list | tuple):
        raise TypeError(f"state_dict: param_groups={saved_groups!r} is not a list")
    if len(saved_groups) != len(engine.param_groups):
        raise ValueError(
            f"state_dict has {len(saved_groups)} param_groups, the optimizer "
            f"{len(engine.param_groups)}; create the optimizer with the same groups"
        )
    check_numbers(state_dict)
    return saved_groups


def _count(state_dict: Mapping[str, Any], steps: Sequence[int]) -> int:
    """The count of steps of the optimizer, from those of its parameters if it is not saved."""
    count = count_of(state_dict.get("step", max(steps)), "state_dict")
    if count < max(steps):
        raise ValueError(f"state_dict: step={count} is less than {max(steps)}, a parameter's count")
    return count


def _groups(engine: EngineState, saved_groups: Sequence[Values], count: int) -> list[Group]:
    """The groups with their saved hyperparameters."""
    merged = map(_merged, engine.param_groups, saved_groups)
    try:
        return [
            checked_group(
                engine.algorithm, engine.options, raw, group.params, group.where, count + 1
            )
            for raw, group in zip(merged, engine.groups, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise type(error)(f"state_dict, its param_groups: {error}") from None


def _check_entries(
    engine: EngineState,
    entries: Sequence[Values],
    owners: Sequence[Group],
    steps: Sequence[int],
    labels: Sequence[str],
) -> None:
    """Refuse state that the rules of the groups do not have, or that does not have its shape."""
    algorithm = engine.algorithm
    for step, entry, group, param, label in zip(
        steps, entries, owners, engine.parameters.arrays, labels, strict=True
    ):
        if step or entry:
            free = group.switched or algorithm.uncounted
            wanted = {*algorithm.carried} | ({*()} if free else {*group.rule.of(param.shape).state})
            formats = group.formats(param)
            check_entry(entry, wanted, {*algorithm.carried}, param, label, formats)
            check_compensation(entry, formats, label)


def _fitted(
    engine: EngineState, entries: Sequence[Values], owners: Sequence[Group]
) -> tuple[list[Values], list[Any]]:
    """The entries in the formats of the state, apart from its arrays, and their columns."""
    arrays = engine.parameters.arrays
    formats = [
        owner.formats(param, size=size)
        for owner, param, size in zip(owners, arrays, engine.sizes, strict=True)
    ]
    live = owners_of(array for arrays in engine.state.arrays.values() for array in arrays)
    copied = [dict(zip(e, apart([*e.values()], live), strict=True)) for e in entries]
    fitted_entries = [fitted(entry, each) for entry, each in zip(copied, formats, strict=True)]
    columns = [
        columns_for(tuple(sorted(state_names(entry))), each) | rows_of(entry, param)
        for entry, each, param in zip(fitted_entries, formats, arrays, strict=True)
    ]
    return fitted_entries, columns


def order_of(engine: EngineState, saved_groups: Sequence[Values]) -> list[Any]:
    """The saved index of each parameter."""
    groups = zip(engine.param_groups, engine.groups, saved_groups, strict=True)
    return [n for raw, group, saved in groups for n in numbers_of(raw, saved, group.where)]


def _averages(
    engine: EngineState, state_dict: Mapping[str, Any], numbers: Sequence[Any]
) -> list[Any]:
    """The saved averages in the order of the parameters; empty if there are none."""
    saved = state_dict.get("ema")
    if saved is None:
        return []
    if engine.copies.ema is None:
        raise ValueError(
            "state_dict has an 'ema', but the optimizer has no ema_decay; give it one, or delete "
            "the entry: del state_dict['ema']"
        )
    return apart(matching(engine, saved, numbers, "ema"), owners_of(engine.copies.ema.leaves))


def _accumulated(
    engine: EngineState, state_dict: Mapping[str, Any], numbers: Sequence[Any]
) -> tuple[int, list[Any]]:
    """The number of accumulated micro-batches, and the sums; None for missing gradients."""
    saved = state_dict.get("accumulated")
    if saved is None:
        return 0, []
    if not isinstance(saved, Mapping) or saved.keys() != {"count", "grads"}:
        raise ValueError(f"state_dict: accumulated={saved!r} is not a dict of count and grads")
    count = whole("state_dict: accumulated count", saved["count"])
    steps = engine.options.accumulate_steps
    if not 0 < count < steps:
        raise ValueError(
            f"state_dict has the gradients of {count} micro-batches, but the optimizer has "
            f"accumulate_steps={steps}; give it a larger one, or delete the entry: "
            "del state_dict['accumulated']"
        )
    sums = matching(engine, saved["grads"], numbers, "accumulated grads", optional=True)
    return count, apart(sums, owners_of(engine.accumulator.sums if engine.accumulator else []))


def _merged(raw: ParamGroup, saved: Values) -> ParamGroup:
    """The live group with the saved hyperparameters; a live schedule is not replaced."""
    merged = ParamGroup(raw)
    for name, value in saved.items():
        if name in IGNORED or name in NAMES or name in ("params", "param_names"):
            continue
        live = raw.get(name)
        parts = live if isinstance(live, tuple | list) else [live]
        if not any(map(callable, parts)):
            merged[name] = value
    return merged
