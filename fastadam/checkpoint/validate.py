"""Validation of saved state, before anything changes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.columns import ROW_STEP
from ..engine.convert import ORDER, SCALE, code_names, is_order
from ..kernels.formats import COMPENSATION, PAIRS, Formats
from ..kernels.storage.int8 import Int8
from ..memory.checks import SUPPORTED, check_kind
from ..memory.complex_numbers import as_reals
from ..memory.dtypes import named
from ..rules.algorithm import Values
from .engine_state import EngineState


def numeric(array: Any) -> bool:
    """True if an array holds real numbers, those of ml_dtypes included."""
    return array.dtype.kind in "fiu" or array.dtype.name in SUPPORTED


def matching(
    engine: EngineState,
    saved: Mapping[Any, Any],
    numbers: Sequence[Any],
    name: str,
    optional: bool = False,
) -> list[Any]:
    """Saved arrays in the order of the parameters, after checking their shapes."""
    if not isinstance(saved, Mapping):
        raise ValueError(f"state_dict: {name}={saved!r} must be a dict of arrays")
    if unknown := saved.keys() - {*numbers}:
        raise ValueError(f"state_dict: {name} has {_unknown(unknown, numbers)}")
    given = [saved.get(number) for number in numbers]
    arrays = [None if value is None else array_of(value, name) for value in given]
    for array, param, label in zip(
        arrays, engine.parameters.arrays, engine.parameters.names, strict=True
    ):
        if array is None and not optional:
            raise ValueError(f"state_dict: {name} lacks {label}")
        if array is not None and array.shape != param.shape:
            raise ValueError(
                f"state_dict: {name} of {label} has shape {array.shape}, expected {param.shape}"
            )
        if array is not None and not numeric(array):
            raise TypeError(f"state_dict: {name} of {label} has dtype {array.dtype}")
    return arrays


def check_numbers(state_dict: Mapping[str, Any]) -> None:
    """Check that the groups are groups, and that all state belongs to their parameters."""
    numbers = set()
    for group in state_dict["param_groups"]:
        if not isinstance(group, Mapping) or not isinstance(group.get("params"), list | tuple):
            raise ValueError(f"state_dict: the group {group!r} has no list 'params'")
        numbers |= {*group["params"]}
    if unknown := state_dict["state"].keys() - numbers:
        raise ValueError(f"state_dict: state has {_unknown(unknown, numbers)}")
    for number, entry in state_dict["state"].items():
        if not isinstance(entry, Mapping):
            raise TypeError(f"state_dict: state[{number!r}]={entry!r} is not a dict")


def _unknown(keys: Iterable[Any], numbers: Iterable[Any]) -> str:
    """The text for keys that belong to no parameter, with advice if they are strings of ints."""
    text = (
        f"the keys {sorted(map(repr, keys))}, but the groups have the parameters "
        f"{sorted(map(repr, numbers))}"
    )
    strings = {str(number) for number in numbers if isinstance(number, int)}
    return f"{text}; keys must be ints, not strings" if strings.issuperset(keys) else text


def averages_apart(
    engine: EngineState, state_dict: Mapping[str, Any], numbers: Sequence[Any]
) -> Mapping[str, Any]:
    """Convert a state_dict of `fastadam.torch`, which has averages in the state of each parameter.

    Any other state_dict is returned unchanged.
    """
    apart = {"ema", "shadow"} - {name for group in engine.groups for name in group.rule.all_state}
    saved = state_dict["state"]
    if not any(apart & entry.keys() for entry in saved.values()):
        return state_dict
    state = {
        number: {name: value for name, value in entry.items() if name not in apart}
        for number, entry in saved.items()
    }
    result = {**state_dict, "state": state}
    if any("ema" in entry for entry in saved.values()):
        pairs = zip(numbers, engine.parameters.arrays, strict=True)
        result["ema"] = {  # without steps, a parameter equals its average
            number: saved.get(number, {}).get("ema", param) for number, param in pairs
        }
    return result


def numbers_of(raw: Values, saved: Values, where: str) -> list[Any]:
    """The saved index of each parameter of a live group: by name, or else by order."""
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
            f"{where}state_dict has other param_names: missing "
            f"{sorted({*names} - {*saved_names})}, unknown {sorted({*saved_names} - {*names})}"
        )
    by_name = dict(zip(saved_names, numbers, strict=True))
    return [by_name[name] for name in names]


def array_of(value: Any, name: str = "a value") -> Any:
    """A saved number, array or tensor as a plain NumPy array.

    Arrays of 2-byte void, as which files store bfloat16, become bfloat16 again; complex numbers
    become pairs of reals.

    Raises:
        TypeError: for a masked array and the like.
    """
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # NumPy has no bfloat16
        return np.asarray(value.float()).astype(named("bfloat16"))
    check_kind(value, f"state_dict: {name}")
    array = np.asarray(value)
    return array.view(named("bfloat16")) if array.dtype == np.dtype("V2") else as_reals(array)


def owners_of(arrays: Iterable[Any]) -> set[int]:
    """The ids of the objects that own the memory of arrays."""
    return {id(_owner(array)) for array in arrays if array is not None}


def apart(arrays: Sequence[Any], owners: set[int]) -> list[Any]:
    """Saved arrays; those in the memory of these owners, which loading writes to, are copied."""
    return [a.copy() if a is not None and id(_owner(a)) in owners else a for a in arrays]


def _owner(array: Any) -> Any:
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def entry_of(saved: Mapping[str, Any], engine: EngineState) -> dict[str, Any]:
    """The saved state of a parameter as NumPy arrays."""
    entry = {name: array_of(value, name) for name, value in saved.items() if value is not None}
    free = engine.algorithm.uncounted or engine.algorithm.count_optional
    return {"step": np.array(1), **entry} if entry and free else entry


def taken_step(entry: dict[str, Any], label: str) -> int:
    """Remove the step count from an entry and return it; 0 for a parameter without state."""
    if not entry:
        return 0
    if "step" not in entry:
        raise ValueError(f"{label} lacks ['step']; it has {list(entry)}")
    return count_of(entry.pop("step"), label)


def count_of(step: Any, label: str) -> int:
    """A saved step count as an int."""
    step = np.asarray(step)
    if step.shape != ():
        raise ValueError(f"{label}: step has shape {step.shape}, expected ()")
    if step.dtype.kind not in "fiu" or not 0 <= step < 1 << 63 or step % 1:
        raise ValueError(f"{label}: step={step} must be a whole number >= 0")
    return int(step)


def check_entry(
    entry: Mapping[str, Any],
    wanted: set[str],
    carried: set[str],
    param: Any,
    label: str,
    formats: Formats | None = None,
) -> None:
    """Check the names, shapes and dtypes of the saved state of a parameter."""
    codes = code_names(entry)
    if missing := (wanted | {name + SCALE for name in codes}) - entry.keys():
        raise ValueError(f"{label} lacks {sorted(missing)}; it has {list(entry)}")
    blocks = {name + SCALE: (-(-param.size // Int8.block),) for name in codes}
    numbers: dict[str, tuple[int, ...]] = dict.fromkeys(carried, ())
    if formats:
        lines = (*formats.row_state, *formats.column_state)
        numbers |= {name: formats.shape_of(name, param.shape) for name in lines}
    if ORDER in entry:
        numbers[ORDER] = (param.ndim,)
    if ROW_STEP in entry:
        numbers[ROW_STEP] = param.shape[:1]
        if entry[ROW_STEP].dtype.kind not in "iu":
            raise TypeError(f"{label}: {ROW_STEP} has dtype {entry[ROW_STEP].dtype}, not of ints")
    for name, array in entry.items():
        shape = (numbers | blocks).get(name, param.shape)
        if array.shape != shape:
            raise ValueError(f"{label}: {name} has shape {array.shape}, expected {shape}")
        if not numeric(array):
            raise TypeError(f"{label}: {name} has dtype {array.dtype}, expected numbers")
    if ORDER in entry and not is_order(entry[ORDER].tolist(), param.shape):
        raise ValueError(
            f"{label}: {ORDER}={entry[ORDER].tolist()} is not an order of its dimensions"
        )


def check_compensation(entry: Mapping[str, Any], formats: Formats, label: str) -> None:
    """Check that saved low bits of a parameter have the format that the optimizer uses.

    Raises:
        ValueError: naming the option that they were saved with.
    """
    if COMPENSATION not in entry:
        return
    saved = entry[COMPENSATION].dtype.name
    rests = {pair.rest.outside: name for name, pair in PAIRS.items()}
    if rests.get(saved, saved) != formats.compensation:
        raise ValueError(
            f"{label} was saved with compensation={rests.get(saved, saved)!r}, but the optimizer "
            f"has compensation={formats.compensation!r} for it; use the same, or resume from the "
            "master weights of the saved run"
        )
