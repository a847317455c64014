"""State of a sharded optimizer as one of the whole parameters, and back."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..checkpoint.save import counter
from ..checkpoint.validate import array_of, check_numbers, count_of, numbers_of
from ..engine.convert import ORDER, SCALE
from ..engine.partition import Piece
from ..kernels.storage.int8 import Int8
from ..memory.dtypes import named
from ..processes.agreement import Agreement
from ..processes.communicator import Communicator, gathered
from ..rules.algorithm import Values
from .whole_rows import Division

Entries = dict[int, dict[str, Any]]


class Described(NamedTuple):
    """An array of the state of a whole parameter, without its values.

    `per` is the number of elements of the parameter for each element of the array.
    """

    dtype: Any
    shape: tuple[int, ...]
    per: int = 1


def described_state(
    comm: Communicator,
    pieces: Sequence[Piece],
    entries: Mapping[int, Values],
    divisions: Sequence[Division],
    of_rows: Collection[str],
) -> Entries:
    """The state of whole parameters, with descriptions in place of arrays.

    Args:
        comm: the processes.
        pieces: those of this process.
        entries: for each of them its state by name.
        divisions: those of the parameters.
        of_rows: the names of state with a number for each row.
    """
    whole = dict[int, dict[str, Any]]()
    texts = list(map(json.loads, Agreement(comm).texts(json.dumps(_summary(pieces, entries)))))
    for _, each in texts:
        for number, values in each.items():
            whole[int(number)] = {name: np.array(v, dtype) for name, (v, dtype) in values.items()}
    there = {tuple(column) for columns, _ in texts for column in columns}
    coded = {name + SCALE for _, name, dtype in there if dtype == "int8"}
    for number, name, dtype in sorted(there):
        division = divisions[number]
        per = Int8.block if name in coded else division.per(name, of_rows)
        whole.setdefault(number, {})[name] = Described(
            named(dtype), _shape_of(division, per, name, of_rows), per
        )
    return {number: whole[number] for number in sorted(whole)}


def _shape_of(division: Division, per: int, name: str, of_rows: Collection[str]) -> tuple[int, ...]:
    """The shape of state with a number for each `per` elements of a parameter."""
    single = per == 1 and name not in of_rows
    return division.shape if single else (-(-division.size // per),)


def whole_state(
    comm: Communicator,
    of_rank: Sequence[Sequence[Piece]],
    entries: Mapping[int, Values],
    divisions: Sequence[Division],
    of_rows: Collection[str],
) -> Entries:
    """The state of whole parameters, from that of the pieces in each process.

    Args:
        comm: the processes.
        of_rank: the pieces of each.
        entries: for each piece of this process its state by name.
        divisions, of_rows: as for `described_state`.
    """
    pieces = of_rank[comm.rank]
    whole = described_state(comm, pieces, entries, divisions, of_rows)
    columns = dict[tuple[str, str, int], list[int]]()
    for number, entry in whole.items():
        for name, each in entry.items():
            if isinstance(each, Described):
                columns.setdefault((name, each.dtype.name, each.per), []).append(number)
    for (name, dtype, per), numbers in sorted(columns.items()):
        owners = {*numbers}
        own = [entries[k][name].reshape(-1) for k, p in enumerate(pieces) if p.number in owners]
        joined = np.concatenate(own) if own else np.empty(0, named(dtype))
        sizes = [sum(_count(p, per) for p in each if p.number in owners) for each in of_rank]
        parts = gathered(comm, joined, sizes)
        for number in numbers:
            whole[number][name] = np.empty(whole[number][name].shape, named(dtype))
        for each, part in zip(of_rank, parts, strict=True):
            at = 0
            for piece in each:
                if piece.number in owners:
                    first, count = piece.start // per, _count(piece, per)
                    flat = whole[piece.number][name].reshape(-1)
                    flat[first : first + count] = part[at : at + count]
                    at += count
    return whole


def _summary(pieces: Sequence[Piece], entries: Mapping[int, Values]) -> tuple[list[Any], Any]:
    """The names and dtypes of arrays of each parameter, and its numbers, from its pieces here."""
    columns, numbers = set[tuple[int, str, str]](), dict[int, dict[str, Any]]()
    for place, entry in entries.items():
        number = pieces[place].number
        for name, value in entry.items():
            if value.ndim:
                columns.add((number, name, value.dtype.name))
            else:
                numbers.setdefault(number, {})[name] = (value.item(), value.dtype.name)
    return sorted(columns), numbers


def _count(piece: Piece, per: int) -> int:
    return -(-(piece.stop - piece.start) // per)


def state_of_pieces(
    saved: Mapping[str, Any],
    groups: Sequence[Values],
    pieces: Sequence[Piece],
    divisions: Sequence[Division],
    names: Sequence[str],
    scalars: Collection[str],
    of_rows: Collection[str],
) -> dict[str, Any]:
    """A state_dict of the pieces in this process, from one of the whole parameters.

    Args:
        groups: for each live group its "params", and "param_names" if it has names.
        divisions: those of the parameters.
        scalars: the names of state that is one number.
        of_rows: the names of state with a number for each row.

    Raises:
        TypeError, ValueError: if it is not one, or of other shapes.
    """
    if not isinstance(saved, Mapping) or not {"state", "param_groups"} <= saved.keys():
        raise ValueError("state_dict is not a dict with 'state' and 'param_groups'")
    numbers = saved_numbers(saved, groups)
    result = dict(saved)
    state = saved["state"]
    for number, key in enumerate(numbers):  # also those of which there is no piece here
        dict(_sliced(state.get(key, {}), scalars, of_rows, Piece(number, 0, 0), divisions, names))
    result["state"] = {
        place: dict(
            _sliced(state[numbers[piece.number]], scalars, of_rows, piece, divisions, names)
        )
        for place, piece in enumerate(pieces)
        if numbers[piece.number] in state
    }
    if "ema" in saved:
        result["ema"] = {
            place: _sliced_average(saved["ema"][numbers[piece.number]], piece, divisions, names)
            for place, piece in enumerate(pieces)
        }
    places, first, groups_of_pieces = iter(range(len(pieces))), 0, []
    for group, other in zip(groups, saved["param_groups"], strict=True):
        owned = range(first, first + len(group["params"]))
        first += len(group["params"])
        mine = [next(places) for piece in pieces if piece.number in owned]
        kept = {name: value for name, value in other.items() if name != "param_names"}
        groups_of_pieces.append({**kept, "params": mine})
    result.pop("accumulated", None)
    count = count_of(saved["step"], "state_dict") if "step" in saved else _longest(state)
    return result | {"param_groups": groups_of_pieces, "step": counter(count)}


def count_apart(count: int, state: Mapping[int, Values]) -> dict[str, Any]:
    """The optimizer's count as part of a state_dict, where no parameter has taken all its steps."""
    return {} if count == _longest(state) else {"step": counter(count)}


def _longest(state: Mapping[Any, Values]) -> int:
    """The most steps that a parameter has taken; PyTorch saves no step for some optimizers."""
    taken = (array_of(entry.get("step", 1), "step") for entry in state.values() if entry)
    return max((count_of(step, "state_dict") for step in taken), default=0)


def saved_numbers(saved: Mapping[str, Any], groups: Sequence[Values]) -> list[Any]:
    """The saved index of each parameter.

    Raises:
        ValueError: if groups or names do not match.
    """
    if len(saved["param_groups"]) != len(groups):
        raise ValueError(
            f"state_dict has {len(saved['param_groups'])} param_groups, the optimizer "
            f"{len(groups)}; create the optimizer with the same groups"
        )
    check_numbers(saved)
    return [
        number
        for group, other in zip(groups, saved["param_groups"], strict=True)
        for number in numbers_of(group, other, "")
    ]


def accumulated(
    saved: Mapping[str, Any], groups: Sequence[Values], arrays: Sequence[Any], steps: int
) -> tuple[int, list[Any]]:
    """The number of micro-batches that were added up, and their sums; none without any.

    Raises:
        ValueError: if an update takes fewer.
    """
    window = saved.get("accumulated")
    if not window:
        return 0, []
    if window["count"] >= steps:
        raise ValueError(
            f"state_dict has the gradients of {window['count']} micro-batches, but the optimizer "
            f"has accumulate_steps={steps}; give it a larger one, or delete the entry: "
            "del state_dict['accumulated']"
        )
    numbers = saved_numbers(saved, groups)
    sums = [window["grads"].get(number) for number in numbers]
    for total, array in zip(sums, arrays, strict=True):
        if total is not None and np.shape(total) != array.shape:
            raise ValueError(
                f"state_dict: accumulated grads have the shape {np.shape(total)} where the "
                f"parameter has {array.shape}"
            )
    return window["count"], sums


def _sliced(
    entry: Values,
    numbers: Collection[str],
    of_rows: Collection[str],
    piece: Piece,
    divisions: Sequence[Division],
    names: Sequence[str],
) -> Iterator[tuple[str, Any]]:
    """The state of a piece, from that of the whole parameter."""
    if ORDER in entry:
        raise ValueError(
            f"state of {names[piece.number]} has codes in the order of another memory layout; "
            "load it into fastadam.torch, and save its dequantized_state()"
        )
    for name, value in entry.items():
        array = array_of(value, name)
        if name in numbers:
            yield name, array
            continue
        coded = name.endswith(SCALE) and name.removesuffix(SCALE) in entry
        division = divisions[piece.number]
        per = Int8.block if coded else division.per(name, of_rows)
        shape = _shape_of(division, per, name, of_rows)
        yield name, _part(array, piece, per, division, shape, f"{name} of {names[piece.number]}")


def _sliced_average(
    value: Any, piece: Piece, divisions: Sequence[Division], names: Sequence[str]
) -> Any:
    """The average of a piece, from that of the whole parameter."""
    division = divisions[piece.number]
    label = f"ema of {names[piece.number]}"
    return _part(array_of(value, "ema"), piece, 1, division, division.shape, label)


def _part(
    array: Any, piece: Piece, per: int, division: Division, shape: tuple[int, ...], name: str
) -> Any:
    """The numbers of a piece, of an array with one for each `per` elements of a parameter."""
    if array.shape != shape:
        raise ValueError(f"state_dict: {name} has shape {array.shape}, expected {shape}")
    flat = np.ascontiguousarray(array).reshape(-1)[piece.start // per : -(-piece.stop // per)]
    return flat.reshape(division.shape_of(piece)) if shape == division.shape else flat
