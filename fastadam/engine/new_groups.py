"""New parameter groups, completely checked before any is added."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from ..memory.complex_numbers import Pairs
from ..memory.dtypes import name_of
from ..memory.shared import shared_mapping_of
from ..rules import ROW
from ..rules.algorithm import Values
from .edits import ParamGroup
from .engine_parts import EngineParts
from .group_arguments import SHADOW, check_group, copies_in
from .matrices import check_factors, check_matrices
from .options import LOW
from .param_groups import Group, checked_group
from .parameters import Gathered, Parameters
from .state import spans


class NewGroups(NamedTuple):
    """Checked groups, ready to be added.

    Attributes:
        groups: the groups, checked.
        parameters: the parameters of the optimizer, with those of the groups.
        shadows: the arrays that receive copies of the new parameters, None for those without.
    """

    groups: list[Group]
    parameters: Parameters
    shadows: list[Any]

    @property
    def arrays(self) -> list[Any]:
        """The new parameters."""
        return [array for group in self.groups for array in group.params]


def new_groups(engine: EngineParts, raws: Sequence[Any], alone: bool) -> NewGroups:
    """Check groups that are to be added, without changing anything.

    Args:
        engine: the engine to which they are to be added.
        raws: the user's dicts.
        alone: True for parameters that were given without groups.

    Raises:
        TypeError, ValueError: for invalid groups.
    """
    _check_room(engine)
    first = len(engine.groups)
    labels = ["" if alone else f"param_groups[{first + k}]" for k, _ in enumerate(raws)]
    for raw, where in zip(raws, labels, strict=True):
        check_group(raw, where)
    trees = [
        (raw["params"], "params" if alone else f"{where}['params']")
        for raw, where in zip(raws, labels, strict=True)
    ]
    gathered = engine.parameters.checked(trees, spans(engine.state.arrays))
    if engine.partition is None:
        _check_unshared(gathered)
    given = [raw.get("param_names") for raw in raws]
    parameters = engine.parameters.with_groups(gathered, alone, given)
    engine.copies.check(name_of(array.dtype) for array in parameters.arrays)
    each_shadow = [copies_in(raw, each) for raw, each in zip(raws, gathered, strict=True)]
    shadows = list(chain.from_iterable(each_shadow))
    engine.copies.check_given(shadows, parameters)
    members = zip(raws, gathered, labels, strict=True)
    groups = [_group(engine, raw, each, where) for raw, each, where in members]
    for name in LOW if not first else ():
        others = [group for group in groups if name not in group.raw]
        dtypes = [name_of(array.dtype) for group in others for array in group.params]
        engine.options.check_params(dtypes, [name])
    return NewGroups(groups, parameters, shadows)


def _group(engine: EngineParts, raw: Values, gathered: Gathered, where: str) -> Group:
    """A checked group, whose dict includes the defaults of the optimizer."""
    unique = len({*gathered.paths}) == len(gathered.arrays)
    names = {"param_names": gathered.paths} if unique else {}
    own = ParamGroup(names | engine.defaults | raw | {"params": tuple(gathered.arrays)})
    dict.pop(own, SHADOW, None)
    params, label, step = own["params"], where and f"{where}: ", engine.state.count + 1
    group = checked_group(engine.algorithm, engine.options, own, params, label, step)
    dtypes = [name_of(array.dtype) for array in gathered.arrays]
    group.options.check_params(dtypes, LOW.keys() & raw.keys(), group.where)
    pieces = engine.partition is not None
    check_matrices(engine.algorithm, group.rule, gathered.arrays, gathered.names, pieces)
    check_factors(group.rule, gathered.arrays, gathered.names)
    if any(isinstance(array, Pairs) for array in gathered.arrays):
        _check_complex(group)
    group.raw.edits = engine.edits
    return group


def _check_room(engine: EngineParts) -> None:
    """Refuse new parameters if there is a state file, which was created without them.

    Raises:
        ValueError: naming the file.
    """
    if engine.files and engine.files.keeps_state:
        raise ValueError(
            f"add_param_group(): {engine.options.state_file} has no room for more parameters; "
            "give all groups to the constructor"
        )


def _check_unshared(gathered: Sequence[Gathered]) -> None:
    """Refuse memory that is shared with other processes.

    Raises:
        ValueError: naming the first such array.
    """
    for each in gathered:
        for array, name in zip(each.arrays, each.names, strict=True):
            mapping = shared_mapping_of(array)
            if mapping is not None and len(mapping.processes) > 1:
                raise ValueError(
                    f"{name} is in memory that {len(mapping.processes)} processes share, each of "
                    "which would update it; give it to fastadam.distributed.Sharded"
                )


def _check_complex(group: Group) -> None:
    """Refuse options and rules that are not defined for complex numbers.

    Raises:
        ValueError: naming the option, or the rule.
    """
    group.options.check_complex(group.where)
    rule = group.rule
    if rule.over == ROW or any(form.factors for form in rule.forms):
        raise ValueError(
            f"{group.where}{rule.name} adds up {', '.join(rule.sums)} of rows of real numbers, but "
            "there are parameters of complex numbers; give a.view(np.float32), which shares its "
            "memory (np.float64 for complex128)"
        )
