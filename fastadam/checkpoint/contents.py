"""Contents of a checkpoint: named arrays and metadata, from a state_dict and back."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..kernels.commit import Write, write
from ..memory.complex_numbers import as_reals
from ..rules.algorithm import Values
from .engine_state import EngineState
from .layout import dumped
from .load import loading, order_of
from .save import counter, save

PARAM, STATE, EMA, SUMS = "param", "state", "ema", "accumulated"
MODEL = "model"  # what else a model of PyTorch has
KINDS = (PARAM, STATE, EMA, SUMS, MODEL)
TEXTS = ("fastadam", "optimizer")  # metadata that is text; all other is JSON


class Contents(NamedTuple):
    """Arrays by name, and metadata."""

    arrays: dict[str, Any]
    metadata: dict[str, Any]


class Source(NamedTuple):
    """Contents to load: their name in messages, and how to copy and verify them.

    `checksum` is that of a file, by which processes that load together compare their files.
    """

    label: str
    contents: Contents
    write: Write = write
    verify: Callable[[], None] = lambda: None
    checksum: str | None = None


def contents_of(
    state_dict: Mapping[str, Any],
    params: Sequence[Any],
    carried: set[str],
    about: Mapping[str, Any],
) -> Contents:
    """The contents for a state_dict in the layout of the core, and the parameters that it is of.

    Args:
        state_dict: the state_dict, with arrays; in `state`, other values, and those whose names are
            in `carried`, are numbers.
        params: the arrays of the parameters, in order.
        carried: names of numbers.
        about: further metadata.
    """
    groups = state_dict["param_groups"]
    names = names_of(groups)
    arrays = {f"{PARAM}/{name}": param for name, param in zip(names, params, strict=True)}
    steps: list[int | None] = [None] * len(names)
    numbers: dict[str, list[Any]] = {}
    for number, entry in state_dict["state"].items():
        for key, value in entry.items():
            if key == "step":
                steps[number] = int(value)
            elif key in carried or not hasattr(value, "dtype"):
                numbers.setdefault(key, [None] * len(names))[number] = plain(
                    value, f"state {key!r}"
                )
            else:
                arrays[f"{STATE}/{key}/{names[number]}"] = as_reals(value)
    metadata = {
        **about,
        "params": names,
        "steps": steps,
        "carried": numbers,
        "groups": [plain(group, f"param_groups[{k}]") for k, group in enumerate(groups)],
    }
    if "step" in state_dict:
        metadata["count"] = int(state_dict["step"])
    for number, array in state_dict.get("ema", {}).items():
        arrays[f"{EMA}/{names[number]}"] = as_reals(array)
    if sums := state_dict.get("accumulated"):
        metadata["accumulated"] = int(sums["count"])
        grads = sums["grads"].items()
        arrays |= {f"{SUMS}/{names[number]}": as_reals(array) for number, array in grads}
    return Contents(arrays, metadata)


def names_of(groups: Sequence[Values]) -> list[str]:
    """A name for each parameter, no two alike: its own, or its number."""
    given = [
        names[i] if (names := group.get("param_names")) else None
        for group in groups
        for i, _ in enumerate(group["params"])
    ]
    owners = [k for k, group in enumerate(groups) for _ in group["params"]]
    numbers = [str(number) for number, _ in enumerate(given)]
    names = [name or number for name, number in zip(given, numbers, strict=True)]
    if max(Counter(names).values()) > 1:
        names = [f"{owner}.{name}" for owner, name in zip(owners, names, strict=True)]
    return names if len({*names}) == len(names) else numbers


def plain(value: Any, where: str) -> Any:
    """A value as JSON represents it: dicts with strings as keys, lists, texts, numbers, None.

    Raises:
        TypeError: naming the part that is anything else.
    """
    if isinstance(value, np.generic) or (hasattr(value, "item") and not getattr(value, "ndim", 1)):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(each, f"{where}[{k}]") for k, each in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(each, f"{where}[{key!r}]") for key, each in value.items()}
    raise TypeError(
        f"{where} is {value!r:.60} of type {type(value).__name__}; a checkpoint holds numbers, "
        "texts, None, lists of these, and dicts of these with strings as keys"
    )


def texts_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Metadata as texts, for a file."""
    return {key: each if key in TEXTS else dumped(each) for key, each in metadata.items()}


def metadata_of(texts: Mapping[str, str]) -> dict[str, Any]:
    """Metadata from the texts in a file.

    Raises:
        ValueError: if one is not valid JSON.
    """
    metadata = dict[str, Any]()
    for key in texts.keys() - {"header_crc32", "format", "crc32"}:
        try:
            metadata[key] = texts[key] if key in TEXTS else json.loads(texts[key])
        except ValueError as error:
            raise ValueError(f"its metadata {key!r} is not valid JSON: {error}") from None
    return metadata


def state_dict_of(contents: Contents) -> tuple[list[Any], dict[str, Any]]:
    """The parameters, and a state_dict in the layout of the core.

    Raises:
        ValueError: if something is missing, or belongs to nothing.
    """
    arrays, metadata = contents
    try:
        names, groups, steps = metadata["params"], metadata["groups"], metadata["steps"]
        carried = metadata["carried"]
        numbers = {name: number for number, name in enumerate(names)}
        state = {n: {"step": counter(s)} for n, s in enumerate(steps) if s is not None}
        for key, values in carried.items():
            for number, value in enumerate(values):
                if value is not None:
                    state.setdefault(number, {})[key] = np.array(value)
        saved: dict[str, Any] = {"state": state, "param_groups": groups}
        if "count" in metadata:
            saved["step"] = counter(metadata["count"])
        if "accumulated" in metadata:
            saved["accumulated"] = {"count": metadata["accumulated"], "grads": {}}
        places: dict[str, Any] = {PARAM: {}, EMA: {}}
        if "accumulated" in saved:
            places[SUMS] = saved["accumulated"]["grads"]
        for name, array in arrays.items():
            kind, _, path = name.partition("/")
            if kind == STATE:
                key, _, path = path.partition("/")
                state.setdefault(numbers[path], {})[key] = array
            elif kind != MODEL:
                places[kind][numbers[path]] = array
        if places[EMA]:
            saved["ema"] = places[EMA]
        return [places[PARAM][number] for number, _ in enumerate(names)], saved
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its arrays and metadata do not match: {error!r}") from None


def contents_of_engine(engine: EngineState, about: Mapping[str, Any]) -> Contents:
    """The contents of an engine, which share its memory."""
    carried = {*engine.algorithm.carried}
    options = replace(engine.options, state_file=None)  # a path of this machine
    about = {"optimizer": type(engine.algorithm).__name__, **about, "options": vars(options)}
    return contents_of(save(engine, False), engine.parameters.arrays, carried, about)


def restore(engine: EngineState, source: Source) -> None:
    """Load contents into an engine: parameters and state, all or nothing.

    Raises:
        TypeError, ValueError: naming the source, if it does not fit or is damaged; raised before
            anything changes.
    """
    try:
        saved, state_dict = state_dict_of(source.contents)
        operations = loading(engine, state_dict, source.write)
        order = order_of(engine, state_dict["param_groups"])
        params = engine.parameters
        for array, number, name in zip(params.arrays, order, params.names, strict=True):
            check_param(array, saved[number], name)
    except (TypeError, ValueError) as error:
        raise about_source(error, _with_its_optimizer(source, engine)) from None
    writes = [source.write(p, saved[n]) for p, n in zip(params.arrays, order, strict=True)]
    source.verify()
    with np.errstate(all="ignore"):
        engine.committed([*writes, *operations], "the loading of a checkpoint")


def check_param(array: Any, saved: Any, name: str) -> None:
    """Check that a saved parameter has the shape and the dtype of an array.

    Raises:
        ValueError: naming the parameter.
    """
    if tuple(array.shape) != tuple(saved.shape):
        raise ValueError(
            f"{name} has shape {tuple(saved.shape)} in the checkpoint, and {tuple(array.shape)} "
            "in the optimizer; load the file of these parameters"
        )
    if array.dtype != saved.dtype:
        raise ValueError(
            f"{name} is {saved.dtype} in the checkpoint, and {array.dtype} in the optimizer; "
            "parameters are not converted: read them with fastadam.load without an optimizer, "
            "and convert them"
        )
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only; set its flags.writeable to True")


def _with_its_optimizer(source: Source, engine: EngineState) -> str:
    """The label of a source, and the optimizer that saved it if that is another one."""
    saved_by = source.contents.metadata.get("optimizer")
    same = saved_by in (None, type(engine.algorithm).__name__)
    return source.label if same else f"{source.label}, saved by {saved_by}"


def about_source(error: Exception, label: str) -> Exception:
    """An error about a state_dict as one about a source, without advice to edit the dict."""
    text = str(error).partition(", or delete the entry: del state_dict")[0]
    for words, ours in {"state_dict: ": "", "state_dict, its": "its", "state_dict": "it"}.items():
        text = text.replace(words, ours)
    return type(error)(f"{label}: {text}")
