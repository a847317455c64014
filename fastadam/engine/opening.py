"""Opening of an optimizer's files: the state file, and parameters that are in files."""

from typing import Any

from ..memory.arrays import is_device
from .engine_parts import EngineParts
from .files import OptimizerFiles, state_layout
from .new_groups import NewGroups
from .options import Options
from .param_groups import initial_state
from .partition import Partition


def files_for(engine: EngineParts, new: NewGroups) -> OptimizerFiles | None:
    """The files of an engine after groups are added; None if there are none.

    The state file is opened, or created.

    Raises:
        ValueError, OSError: as `open`.
    """
    arrays, options = new.parameters.arrays, engine.options
    if engine.files:
        engine.files.follow(arrays)
        return engine.files
    files = OptimizerFiles(options, arrays, engine.state, engine.accumulator)
    if files.keeps_state:
        _check_state_file(options, arrays[0], engine.partition)
        _open(engine, files, new)
        for owner in (engine.state, engine.copies, engine.accumulator):
            if owner:
                owner.store = files
    return files if files else None


def _open(engine: EngineParts, files: OptimizerFiles, new: NewGroups) -> None:
    """Open the state file, with places for the state of the new groups."""
    algorithm, groups, count = engine.algorithm, new.groups, len(new.parameters.arrays)
    starts = [initial_state(algorithm, group.rule, group.at(1)) for group in groups]
    names = [name for group in groups for name in group.raw.get("param_names") or ()]
    if len({*names}) != count:
        names = [*map(str, range(count))]
    layout, kept = state_layout(type(algorithm).__name__, groups, starts, names, engine.options)
    files.open(layout, kept, count * (3 + len(algorithm.carried) + len(kept) // count))


def _check_state_file(options: Options, first: Any, partition: Partition | None) -> None:
    """Refuse a state file for arrays and options that do not support it.

    Raises:
        ValueError: naming them.
    """
    where = f"state_file={options.state_file!r}"
    if is_device(first):
        raise ValueError(f"{where} is for arrays of the host; these lie on a device")
    if partition:
        raise ValueError(f"{where} is for one process; a part of the state is in each of these")
    if options.lazy != "torch":
        raise ValueError(f"{where} has no room for counts by row; leave out lazy={options.lazy!r}")
