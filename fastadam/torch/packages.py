"""State_dicts of prodigyopt, schedulefree, pytorch_optimizer and the packages of authors."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ..rules.algorithm import Values

STATE = {
    "AdEMAMix": {"exp_avg": "exp_avg_fast"},
    "Adan": {"previous_grad": "neg_pre_grad"},
}  # by optimizer: the names of state elsewhere, and here
HYPER: dict[str, dict[str, tuple[str, ...]]] = {
    "AdEMAMix": {"t_alpha_beta3": ("alpha_warmup", "beta3_warmup")},
    "Adan": {"weight_decouple": ("no_prox",)},
    "RMSprop": {"decoupled_decay": ("decoupled_weight_decay",)},
    "Prodigy": {
        "use_bias_correction": ("bias_correction",),
        "decouple": ("decoupled_weight_decay",),
    },
}  # by optimizer: the names of hyperparameters elsewhere, and here
SHARED = {
    "weight_decouple": "decoupled_weight_decay",
    "decoupled": "decoupled_weight_decay",
    "caution": "cautious",
}  # names elsewhere of hyperparameters that some optimizers have here
USUAL = {
    "weight_decouple": True,
    "decoupled": True,
    "fixed_decay": False,
    "corrected_weight_decay": False,
    "caution": False,
}  # what an optimizer does here that has none of these
TENSORFLOW = "decoupled_decay"  # groups of timm's RMSpropTF, which has eps under the root, have it
AVERAGED = ("ScheduleFreeAdamW", "ScheduleFreeSGD")
SUMS = ("weight_sum", "lr_max")
DISTANCES = ("d", "d_max", "d_numerator")


class Counted(NamedTuple):
    """An optimizer of a package whose groups have numbers that are in the state of each parameter
    here.

    Attributes:
        mark: the name by which its groups are recognized.
        keys: names of its groups that are read, or have no meaning here.
        numbers: `numbers(group, where)`, the numbers of a group, by their names here.
        entry: `entry(entry)`, the rest of a parameter's state.
        group: `group(numbers)`, what its groups have besides, from the numbers of a parameter.
        back: `back(entry)`, the state of a parameter there.
    """

    mark: str
    keys: tuple[str, ...]
    numbers: Callable[[Values, str], dict[str, float]]
    entry: Callable[[Values], Values]
    group: Callable[[Values], Values]
    back: Callable[[Values], Values]


def from_package(
    name: str, known: Mapping[str, Any], state_dict: Mapping[str, Any]
) -> Mapping[str, Any]:
    """A state_dict with the names that an optimizer has here.

    Args:
        name: that of the optimizer.
        known: its hyperparameters.
        state_dict: the one of the package.

    Raises:
        ValueError: for state and weight decay that have no counterpart here.
    """
    hyper, counted = HYPER.get(name, {}), COUNTED.get(name)
    hyper = {theirs: (own,) for theirs, own in SHARED.items() if own in known} | hyper
    state, groups = dict(state_dict["state"]), list[Values]()
    for place, group in enumerate(state_dict["param_groups"]):
        where = f"state_dict: param_groups[{place}]"
        numbers, names = list(group["params"]), STATE.get(name, {})
        if group.get("lr_in_momentum"):
            names = {"momentum_buffer": "velocity"}
        if name == "RMSprop" and TENSORFLOW in group:
            group = {"eps_in_sqrt": True, **group}
        for number in numbers:
            if isinstance(entry := state.get(number), Mapping):
                state[number] = _renamed(entry, {key: (own,) for key, own in names.items()})
        if counted and counted.mark in group:
            carried = counted.numbers(group, where)
            tensors = {key: torch.tensor(v, dtype=torch.float64) for key, v in carried.items()}
            for number in numbers:
                if state.get(number):
                    state[number] = {**counted.entry(state[number]), **tensors}
            group = {key: value for key, value in group.items() if key not in counted.keys}
        entries = [e for n in numbers if isinstance(e := state.get(n), Mapping) and e]
        if not hasattr(torch.optim, name) and all("step" in entry for entry in entries):
            group = {key: value for key, value in group.items() if key != "step"}  # `to_package`'s
        groups.append(_renamed(group, hyper))
        _check_usual(groups[-1], where)
    return {**state_dict, "state": state, "param_groups": groups}


def _check_usual(group: Values, where: str) -> None:
    """Refuse variants of an update that an optimizer does not have here.

    Raises:
        ValueError: naming the hyperparameter.
    """
    for name, usual in USUAL.items():
        matters = name == "caution" or group.get("weight_decay")
        if matters and group.get(name, usual) != usual:
            raise ValueError(
                f"{where} has {name}={group[name]!r}, which the optimizer does not have; set "
                f"{name}={usual!r} there to change to its update"
            )


def to_package(name: str, saved: Values) -> Values:
    """A state_dict, with floats, that the package of the optimizer's authors loads as well: groups
    have the counts that those of some packages have."""
    if hasattr(torch.optim, name):
        return saved
    counted, state, groups = COUNTED.get(name), dict(saved["state"]), list[Values]()
    for group in saved["param_groups"]:
        own = [state[n] for n in group["params"] if "step" in state.get(n, ())]
        last: Values = max(own, key=lambda entry: float(entry["step"]), default={})
        more: Values = {"step": int(last["step"])} if last else {}
        if counted:
            state |= {n: counted.back(state[n]) for n in group["params"] if state.get(n)}
            more |= counted.group({**group, **last})
        groups.append({**group, **more})
    return {**saved, "state": state, "param_groups": groups}


def _renamed(values: Mapping[str, Any], names: Mapping[str, Sequence[str]]) -> Values:
    """Values with other names for some of them, unless these are there already."""
    result = dict(values)
    for theirs, ours in names.items():
        if theirs in result and not any(own in result for own in ours):
            value = result.pop(theirs)
            result |= dict.fromkeys(ours, value)
    return result


# Schedule-free optimizers


def _averages(group: Values, where: str) -> dict[str, float]:
    count = float(group["k"] if "k" in group else group["step"])
    if not group["train_mode"] and count:
        raise ValueError(
            f"{where} was saved after eval(), with the average in the place of the parameters; "
            "call train() of the optimizer that saves before saving"
        )
    return {"step": count, **{name: max(0.0, float(group[name])) for name in SUMS}}


def _averaging_group(values: Values) -> Values:
    rate = float(values.get("lr_max", -1.0))
    return {
        "k": int(values.get("step", 0)),
        "train_mode": True,
        "foreach": values.get("foreach", False),
        "weight_sum": float(values.get("weight_sum", 0.0)),
        "lr_max": rate,
        "scheduled_lr": max(0.0, rate),
    }


# Prodigy


def _distances(group: Values, where: str) -> dict[str, float]:
    """The estimates of the distance.

    Raises:
        ValueError: for a choice of elements, and another decay rate, that there is not here.
    """
    if (every := group.get("slice_p", 1)) != 1:
        raise ValueError(
            f"{where} has slice_p={every!r}: its 's' and 'p0' have one of {every} elements, and "
            "here they have all; go on from its parameters with a new state, and d0="
            f"{float(group['d'])!r}, its last estimate"
        )
    beta3, decay = group.get("beta3"), math.sqrt(group["betas"][1])
    if beta3 is not None and not math.isclose(beta3, decay):
        raise ValueError(
            f"{where} has beta3={beta3!r}, which is the root of betas[1] here, {decay!r}"
        )
    count = group["k"] if "k" in group else group["step"] - 1
    return {"step": float(count), **{name: float(group[name]) for name in DISTANCES}}


def _whole(entry: Values) -> Values:
    """State in the shape of the parameter; a start of zeros is one zero in prodigyopt."""
    like, flat = entry["exp_avg_sq"], dict[str, Any]()
    for name in ("s", "p0"):
        value = entry[name]
        same = value.numel() == like.numel()
        flat[name] = value.reshape(like.shape) if same else value.expand(like.shape).clone()
    return {"exp_avg": torch.zeros_like(like), **entry, **flat}


def _distance_group(values: Values) -> Values:
    most = values["growth_rate"]
    return {
        "k": int(values.get("step", 0)),
        **{name: float(values.get(name, 0.0)) for name in DISTANCES},
        "d": float(values.get("d") or values["d0"]),
        "d_max": float(values.get("d_max") or values["d0"]),
        "beta3": None,
        "growth_rate": math.inf if most is None else most,
        "use_bias_correction": values["bias_correction"],
        "decouple": values["decoupled_weight_decay"],
        "fsdp_in_use": False,
        "slice_p": 1,
    }


def _flat(entry: Values) -> Values:
    return {**entry, **{name: entry[name].flatten() for name in ("s", "p0")}}


COUNTED = dict.fromkeys(
    AVERAGED,
    Counted(
        "train_mode",
        ("k", "step", "train_mode", "scheduled_lr", *SUMS),
        _averages,
        dict,
        _averaging_group,
        dict,
    ),
) | {
    "Prodigy": Counted(
        "d_numerator",
        ("k", "step", "d_hat", "d_denom", "beta3", "slice_p", "fsdp_in_use", *DISTANCES),
        _distances,
        _whole,
        _distance_group,
        _flat,
    )
}
