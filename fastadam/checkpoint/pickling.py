"""The parts of an optimizer that pickle and copy.deepcopy keep."""

from typing import Any

from ..engine.group_arguments import SHADOW
from ..engine.options import NAMES


def pickled(opt: Any) -> tuple[Any, ...]:
    """The arguments for setting up an optimizer again, and the values to load into it: the groups,
    the state_dict, its own gradients, and attributes of a subclass.

    Raises:
        TypeError: for an optimizer whose state is in a file.
    """
    engine = opt._engine
    if engine.options.state_file:
        raise TypeError(
            f"an optimizer with a state_file can be neither pickled nor copied, since "
            f"{engine.options.state_file} is open once; save it with fastadam.save, or load its "
            "state_dict(copy=False) into another optimizer"
        )
    state, copies = opt.state_dict(), iter(engine.copies.given)
    raws = [{k: v for k, v in raw.items() if k != "params"} for raw in opt.param_groups]
    params: Any = engine.parameters.flat or engine.parameters.tree
    if not engine.parameters.alone:
        params = [
            {k: v for k, v in raw.items() if k in NAMES}
            | {"params": list(raw["params"]), SHADOW: [next(copies) for _ in raw["params"]]}
            for raw in opt.param_groups
        ]
    own = {k: v for k, v in vars(opt).items() if k not in ("_engine", "rule")}
    shadow = opt.shadow if engine.parameters.alone and engine.copies.copied else None
    settings = (params, engine.defaults, engine.options, None, shadow)
    return settings, raws, state, engine.grads, own
