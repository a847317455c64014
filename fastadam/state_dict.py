"""What is saved of an optimizer, in PyTorch's layout, and how it is taken up again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .groups import CARRIED, Group, ParamGroup, Values

if TYPE_CHECKING:
    from .optimizer import Optimizer

# How PyTorch goes about a step; nothing that changes its result.
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
            arrays |= {name: _live(opt, group, name, number) for name in group.rule.state}
            known = {name: array for name, array in arrays.items() if array is not None}
            kept = {name: array.copy() if copy else array for name, array in known.items()}
            host = {k: np.array(v) for k, v in zip(opt.carried, carried[number], strict=True)}
            state[number] = {"step": _counter(step), **kept, **host}
    saved: dict[str, Any] = {"state": state, "param_groups": _groups(opt)}
    if opt._state.count != max(steps):  # several parameters took turns
        saved["step"] = _counter(opt._state.count)
    if opt._copies.ema:
        saved["ema"] = _numbered(opt._copies.ema.leaves, copy)
    if opt._accumulator and opt._accumulator.count:
        sums, seen = _numbered(opt._accumulator.sums, copy), opt._accumulator.seen
        grads = {number: array for number, array in sums.items() if seen[number]}
        saved["accumulated"] = {"count": opt._accumulator.count, "grads": grads}
    return saved


def _numbered(arrays: Sequence[Any], copy: bool) -> dict[int, Any]:
    return {number: array.copy() if copy else array for number, array in enumerate(arrays)}


def _live(opt: Optimizer, group: Group, name: str, number: int) -> Any:
    """State of a parameter; where a flag wants it since the last step, what it will start at."""
    array = opt._state.arrays[name][number]
    if array is None:
        start = opt.initial(group.at(opt._state.count)).get(name, 0)
        array = np.full_like(opt._parameters.arrays[number], start)
    return array


def _counter(step: int) -> Any:
    """A step count as PyTorch keeps it, in a wider type where that could not tell it exactly."""
    return np.array(step, np.float32 if step <= 1 << 24 else np.float64)


def _groups(opt: Optimizer) -> list[Values]:
    """The groups with the numbers of their parameters; a schedule as its present value."""
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
    """Take up a saved state, or change nothing.

    Raises:
        TypeError, ValueError: if groups, names or shapes do not fit.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict={state_dict!r} is not a dict")
    for key in ("state", "param_groups"):
        if key not in state_dict:
            raise ValueError(f"state_dict has no {key!r}; it has {list(state_dict)}")
    saved_groups = state_dict["param_groups"]
    if not isinstance(state_dict["state"], Mapping):
        raise TypeError(f"state_dict: state={state_dict['state']!r} is not a dict")
    if len(saved_groups) != len(opt.param_groups):
        raise ValueError(
            f"state_dict has {len(saved_groups)} param_groups, the optimizer "
            f"{len(opt.param_groups)}; give it the same groups first"
        )
    _check_numbers(state_dict)
    groups, numbers, step = [], [], opt._state.count + 1
    for raw, group, saved in zip(opt.param_groups, opt._groups, saved_groups, strict=True):
        groups.append(opt._settled(_merged(raw, saved), group.params, group.where, step))
        numbers += _numbers(raw, saved, group.where)
    entries = [_entry(state_dict["state"].get(number, {}), opt) for number in numbers]
    rules = [group.rule for group in groups for _ in group.params]
    for entry, rule, param, label in zip(
        entries, rules, opt._parameters.arrays, opt._parameters.names, strict=True
    ):
        _check_entry(entry, {*rule.state}, {*opt.carried}, param, f"state of {label}")
    steps = [int(entry.pop("step", 0)) for entry in entries]
    carried = [
        tuple(float(entry.pop(name, start)) for name, start in opt.carried.items())
        for entry in entries
    ]
    count = int(np.asarray(state_dict.get("step", max(steps))))
    if count < max(steps):
        raise ValueError(f"state_dict: step={count} is less than {max(steps)}, a parameter's count")
    ema = _averages(opt, state_dict, numbers)
    accumulated, sums = _accumulated(opt, state_dict, numbers)

    for raw, group in zip(opt.param_groups, groups, strict=True):
        raw.update(group.raw)
        group.raw = raw
    opt._plan = None
    opt._adopt(groups)
    opt._state.know(name for entry in entries for name in entry)  # of flags switched off as well
    opt._state.restore(opt._parameters.arrays, entries, steps, carried, count)
    opt._copies.restore(ema)
    if opt._accumulator:
        opt._accumulator.restore(accumulated, sums)


def _averages(opt: Optimizer, state_dict: Mapping[str, Any], numbers: Sequence[Any]) -> list[Any]:
    """The saved averages in the order of the parameters; none if there are none."""
    saved = state_dict.get("ema")
    if saved is None:
        return []
    if opt._copies.ema is None:
        raise ValueError(
            "state_dict has an 'ema', but the optimizer has no ema_decay; give it one, or delete "
            "the entry: del state_dict['ema']"
        )
    return _matching(opt, saved, numbers, "ema")


def _accumulated(
    opt: Optimizer, state_dict: Mapping[str, Any], numbers: Sequence[Any]
) -> tuple[int, list[Any]]:
    """How many micro-batches are in the saved sums; the sums, None where there was no gradient."""
    saved = state_dict.get("accumulated")
    if saved is None:
        return 0, []
    steps, count = opt._options.accumulate_steps, int(saved["count"])
    if not 0 < count < steps:
        raise ValueError(
            f"state_dict has the gradients of {count} micro-batches, but the optimizer has "
            f"accumulate_steps={steps}; give it more, or delete the entry: "
            "del state_dict['accumulated']"
        )
    return count, _matching(opt, saved["grads"], numbers, "accumulated grads", optional=True)


def _matching(
    opt: Optimizer,
    saved: Mapping[Any, Any],
    numbers: Sequence[Any],
    name: str,
    optional: bool = False,
) -> list[Any]:
    """Saved arrays in the order of the parameters, of whose shapes they are."""
    arrays = [None if (array := saved.get(n)) is None else np.asarray(array) for n in numbers]
    for array, param, label in zip(
        arrays, opt._parameters.arrays, opt._parameters.names, strict=True
    ):
        if array is None and not optional:
            raise ValueError(f"state_dict: {name} lacks {label}")
        if array is not None and array.shape != param.shape:
            raise ValueError(
                f"state_dict: {name} of {label} has shape {array.shape}, expected {param.shape}"
            )
    return arrays


def _merged(raw: ParamGroup, saved: Values) -> ParamGroup:
    """The live group with the saved hyperparameters; a live schedule is not replaced."""
    merged = ParamGroup(raw)
    for name, value in saved.items():
        if name in IGNORED or name in ("params", "param_names"):
            continue
        live = raw.get(name)
        parts = live if isinstance(live, tuple | list) else [live]
        if not any(map(callable, parts)):
            merged[name] = value
    return merged


def _check_numbers(state_dict: Mapping[str, Any]) -> None:
    """Refuse state that belongs to no parameter, and groups that are none."""
    numbers = set()
    for group in state_dict["param_groups"]:
        if not isinstance(group, Mapping) or "params" not in group:
            raise ValueError(f"state_dict: the group {group!r} has no 'params'")
        numbers |= {*group["params"]}
    if strangers := state_dict["state"].keys() - numbers:
        raise ValueError(
            f"state_dict: state has the keys {sorted(map(repr, strangers))}, but the groups have "
            f"the parameters {sorted(map(repr, numbers))}; keys are ints, not strings"
        )
    for number, entry in state_dict["state"].items():
        if not isinstance(entry, Mapping):
            raise TypeError(f"state_dict: state[{number!r}]={entry!r} is not a dict")


def _numbers(raw: Values, saved: Values, where: str) -> list[Any]:
    """The saved number of each live parameter of a group: by name, or else by order."""
    numbers = list(saved["params"])
    if len(numbers) != len(raw["params"]):
        raise ValueError(
            f"{where}state_dict has {len(numbers)} parameters, the optimizer {len(raw['params'])}"
        )
    names, saved_names = raw.get("param_names"), saved.get("param_names")
    if not names or not saved_names or len({*names}) < len(names):
        return numbers
    if {*names} != {*saved_names}:
        raise ValueError(
            f"{where}state_dict has other names: missing {sorted({*names} - {*saved_names})}, "
            f"unknown {sorted({*saved_names} - {*names})}"
        )
    by_name = dict(zip(saved_names, numbers, strict=True))
    return [by_name[name] for name in names]


def _entry(saved: Mapping[str, Any], opt: Optimizer) -> dict[str, Any]:
    """The saved state of a parameter as NumPy arrays."""
    entry = {name: np.asarray(value) for name, value in saved.items() if value is not None}
    return {"step": np.array(1), **entry} if entry and opt.uncounted else entry


def _check_entry(
    entry: Mapping[str, Any], states: set[str], carried: set[str], param: Any, label: str
) -> None:
    if not entry:  # a parameter that has taken no step
        return
    if missing := {"step", *states, *carried} - entry.keys():
        raise ValueError(f"{label} lacks {sorted(missing)}; it has {list(entry)}")
    for name, array in entry.items():
        shape = () if name == "step" or name in carried else param.shape
        if array.shape != shape:
            raise ValueError(f"{label}: {name} has shape {array.shape}, expected {shape}")
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{label}: {name} has dtype {array.dtype}, expected numbers")
    if not entry["step"] >= 0 or entry["step"] % 1:
        raise ValueError(f"{label}: step={entry['step']} is no count")


def parts(opt: Optimizer) -> tuple[Any, ...]:
    """What `restored` needs besides the class, for copy and pickle."""
    state = opt.state_dict()
    raws = [{k: v for k, v in raw.items() if k != "params"} for raw in opt.param_groups]
    params: Any = opt._parameters.flat or opt._parameters.tree
    if not opt._parameters.alone:
        params = [{"params": list(group.params)} for group in opt._groups]
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
    """An optimizer from its parts."""
    opt = cls.__new__(cls)
    vars(opt).update(own)
    opt._set_up(*settings)
    for raw, kept in zip(opt.param_groups, raws, strict=True):
        raw.update(kept)
    opt.load_state_dict(saved)
    opt._grads = grads
    return opt
