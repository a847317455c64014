"""Saving and loading of an optimizer's state, in PyTorch's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.convert import SCALE, code_names, dequantized, fitted, state_names
from ..engine.launch import kept_for
from ..engine.options import NAMES
from ..engine.param_groups import CARRIED, Group, ParamGroup, Values
from ..kernels.commit import commit, put, updated
from ..kernels.formats import COMPENSATION, compute_of
from ..validation import count as whole
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

if TYPE_CHECKING:
    from ..optimizer import Optimizer

# PyTorch's choices of an implementation, which do not change results.
IGNORED = ("foreach", "fused", "capturable", "differentiable")


def save(opt: Optimizer, copy: bool) -> dict[str, Any]:
    """The state_dict of an optimizer."""
    state: dict[int, dict[str, Any]] = {}
    steps = opt._state.steps
    carried = opt._state.carried
    groups = [group for group in opt._groups for _ in group.params]
    for number, (step, group) in enumerate(zip(steps, groups, strict=True)):
        if step:
            arrays = {name: each[number] for name, each in opt._state.arrays.items()}
            needed = () if opt.uncounted else group.rule.state  # uncounted state may be missing
            wanted = [name for name in needed if name in opt._state.arrays]
            arrays |= {name: _live(opt, group, name, number) for name in wanted}
            known = {name: array for name, array in arrays.items() if array is not None}
            kept = {name: np.array(array) if copy else array for name, array in known.items()}
            host = {k: np.array(v) for k, v in zip(opt.carried, carried[number], strict=True)}
            state[number] = {"step": _counter(step), **kept, **host}
    saved: dict[str, Any] = {"state": state, "param_groups": _groups(opt)}
    if opt._state.count != max(steps):  # no parameter was updated in all steps
        saved["step"] = _counter(opt._state.count)
    if opt._copies.ema:
        saved["ema"] = _numbered(opt._copies.ema.leaves, copy)
    if opt._accumulator and opt._accumulator.count:
        sums, seen = _numbered(opt._accumulator.sums, copy), opt._accumulator.seen
        grads = {number: array for number, array in sums.items() if seen[number]}
        saved["accumulated"] = {"count": opt._accumulator.count, "grads": grads}
    return saved


def dequantize(opt: Optimizer) -> dict[str, Any]:
    """The state_dict of an optimizer with floats in place of codes."""
    saved = save(opt, True)
    computes = [compute_of(param.dtype.name) for param in opt._parameters.arrays]
    for number, entry in saved["state"].items():
        coded = code_names(entry)
        for name in state_names(entry):
            if name in coded:
                scales = entry.pop(name + SCALE)
                entry[name] = dequantized(entry[name], scales, computes[number])
            elif name not in ("step", *opt.carried):
                entry[name] = entry[name].astype(computes[number], copy=False)
        entry.pop(COMPENSATION, None)
    return saved


def _numbered(arrays: Sequence[Any], copy: bool) -> dict[int, Any]:
    return {number: np.array(array) if copy else array for number, array in enumerate(arrays)}


def _live(opt: Optimizer, group: Group, name: str, number: int) -> Any:
    """State of a parameter; its initial value if it is needed only since a flag was changed."""
    array = opt._state.arrays[name][number]
    if array is None:
        start = opt.initial(group.at(opt._state.count)).get(name, 0)
        param = opt._parameters.arrays[number]
        array = np.full(param.shape, start, compute_of(param.dtype.name))
    return array


def _counter(step: int) -> Any:
    """A step count as PyTorch stores it, or in a wider type if float32 is not exact."""
    dtypes = {1 << 24: np.float32, 1 << 53: np.float64}
    return np.array(step, next((dtype for top, dtype in dtypes.items() if step <= top), np.int64))


def _groups(opt: Optimizer) -> list[Values]:
    """The groups with the indices of their parameters; a schedule is saved as its current value."""
    groups, first = [], 0
    for raw, group in zip(opt.param_groups, opt._groups, strict=True):
        present = group.at(max(1, opt._state.count))
        kept = {key: _copied(raw[key]) for key in CARRIED if key in raw}
        numbers = list(range(first, first + len(group.params)))
        groups.append({**present, **kept, "params": numbers})
        first += len(group.params)
    return groups


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def load(opt: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Load a saved state.

    Raises:
        TypeError, ValueError: if groups, names or shapes do not match; raised before anything
            changes.
    """
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
    if len(saved_groups) != len(opt.param_groups):
        raise ValueError(
            f"state_dict has {len(saved_groups)} param_groups, the optimizer "
            f"{len(opt.param_groups)}; create the optimizer with the same groups"
        )
    check_numbers(state_dict)
    numbers = [
        number
        for raw, group, saved in zip(opt.param_groups, opt._groups, saved_groups, strict=True)
        for number in numbers_of(raw, saved, group.where)
    ]
    state_dict = averages_apart(opt, state_dict, numbers)
    entries = [entry_of(state_dict["state"].get(number, {}), opt) for number in numbers]
    labels = [f"state of {name}" for name in opt._parameters.names]
    steps = [taken_step(entry, label) for entry, label in zip(entries, labels, strict=True)]
    count = count_of(state_dict.get("step", max(steps)), "state_dict")
    if count < max(steps):
        raise ValueError(f"state_dict: step={count} is less than {max(steps)}, a parameter's count")
    try:
        groups = [
            opt._settled(_merged(raw, saved), group.params, group.where, count + 1)
            for raw, group, saved in zip(opt.param_groups, opt._groups, saved_groups, strict=True)
        ]
    except (TypeError, ValueError) as error:
        raise type(error)(f"state_dict, its param_groups: {error}") from None
    owners = [group for group in groups for _ in group.params]
    for step, entry, group, param, label in zip(
        steps, entries, owners, opt._parameters.arrays, labels, strict=True
    ):
        if step or entry:
            free = group.switched or opt.uncounted
            wanted = {*opt.carried} | ({*()} if free else {*group.rule.state})
            check_entry(entry, wanted, {*opt.carried}, param, label)
            check_compensation(entry, group.options.formats(param), label)
    carried = [
        tuple(float(entry.pop(name, start)) for name, start in opt.carried.items())
        for entry in entries
    ]
    formats = [
        owner.options.formats(param)
        for owner, param in zip(owners, opt._parameters.arrays, strict=True)
    ]
    ema = _averages(opt, state_dict, numbers)
    accumulated, sums = _accumulated(opt, state_dict, numbers)

    with np.errstate(all="ignore"):  # overflow becomes infinite
        live = owners_of(array for arrays in opt._state.arrays.values() for array in arrays)
        entries = [dict(zip(e, apart([*e.values()], live), strict=True)) for e in entries]
        entries = [fitted(entry, each) for entry, each in zip(entries, formats, strict=True)]
        kept = [
            kept_for(tuple(sorted(state_names(entry))), each)
            for entry, each in zip(entries, formats, strict=True)
        ]
        edited = [
            updated(raw, group.raw) for raw, group in zip(opt.param_groups, groups, strict=True)
        ]
        for raw, group in zip(opt.param_groups, groups, strict=True):
            group.raw = raw
        arrays = opt._parameters.arrays
        names = [name for group in groups for name in group.rule.state]
        commit(
            [
                *edited,
                *put(opt, _plan=None),
                *opt._adopted(groups),
                *opt._state.restored(arrays, entries, kept, steps, carried, count, names),
                *opt._copies.restored(ema),
                *(opt._accumulator.restored(accumulated, sums) if opt._accumulator else ()),
            ]
        )


def _averages(opt: Optimizer, state_dict: Mapping[str, Any], numbers: Sequence[Any]) -> list[Any]:
    """The saved averages in the order of the parameters; empty if there are none."""
    saved = state_dict.get("ema")
    if saved is None:
        return []
    if opt._copies.ema is None:
        raise ValueError(
            "state_dict has an 'ema', but the optimizer has no ema_decay; give it one, or delete "
            "the entry: del state_dict['ema']"
        )
    return apart(matching(opt, saved, numbers, "ema"), owners_of(opt._copies.ema.leaves))


def _accumulated(
    opt: Optimizer, state_dict: Mapping[str, Any], numbers: Sequence[Any]
) -> tuple[int, list[Any]]:
    """The number of accumulated micro-batches, and the sums; None for missing gradients."""
    saved = state_dict.get("accumulated")
    if saved is None:
        return 0, []
    if not isinstance(saved, Mapping) or saved.keys() != {"count", "grads"}:
        raise ValueError(f"state_dict: accumulated={saved!r} is not a dict of count and grads")
    count = whole("state_dict: accumulated count", saved["count"])
    steps = opt._options.accumulate_steps
    if not 0 < count < steps:
        raise ValueError(
            f"state_dict has the gradients of {count} micro-batches, but the optimizer has "
            f"accumulate_steps={steps}; give it a larger one, or delete the entry: "
            "del state_dict['accumulated']"
        )
    sums = matching(opt, saved["grads"], numbers, "accumulated grads", optional=True)
    return count, apart(sums, owners_of(opt._accumulator.sums if opt._accumulator else []))


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


def parts(opt: Optimizer) -> tuple[Any, ...]:
    """The arguments of `restored` besides the class, for copy and pickle."""
    state = opt.state_dict()
    raws = [{k: v for k, v in raw.items() if k != "params"} for raw in opt.param_groups]
    params: Any = opt._parameters.flat or opt._parameters.tree
    if not opt._parameters.alone:
        params = [
            {k: v for k, v in raw.items() if k in NAMES} | {"params": list(raw["params"])}
            for raw in opt.param_groups
        ]
    own = {k: v for k, v in vars(opt).items() if k not in opt._base}
    settings = (params, opt._defaults, opt._options)
    return settings, raws, state, opt._grads, own


def restored(
    cls: type[Optimizer],
    settings: tuple[Any, ...],
    raws: Sequence[Values],
    saved: dict[str, Any],
    grads: Any,
    own: Values,
) -> Optimizer:
    """Create an optimizer from its parts."""
    opt = cls.__new__(cls)
    vars(opt).update(own)
    opt._set_up(*settings)
    for raw, kept in zip(opt.param_groups, raws, strict=True):
        raw.update(kept)
    opt.load_state_dict(saved)
    opt._grads = grads
    return opt
