"""Schedule-free optimizers for PyTorch: the modes of training and evaluation."""

from collections.abc import Mapping
from typing import Any

import torch

from ..engine.averages import Exchange
from ..kernels.commit import Operation, write
from .shards import local

MODE = ("k", "train_mode", "scheduled_lr")  # of a group of the package schedulefree
SUMS = ("weight_sum", "lr_max")


class TrainAndEval:
    """The methods `train` and `eval`, as those of the package schedulefree."""

    _evaluating: Exchange | None = None

    def eval(self: Any) -> None:
        """Let the parameters be their average, for evaluation.

        Steps, saving and loading are refused until `train()`, which brings the parameters back, bit
        for bit; until then there is a copy of them.
        """
        with self._lock:
            if self._evaluating is None:
                self._check_not_swapped()
                with self._scope():
                    exchange = _to_average(self)
                    exchange.make()
                self._evaluating = exchange
                self._written()

    def train(self: Any) -> None:
        """Let the parameters be those of training again; an optimizer begins with them."""
        with self._lock:
            exchange, self._evaluating = self._evaluating, None
        self._put_back(exchange)

    def load_state_dict(self: Any, state_dict: Any) -> None:
        """Resume from a saved state of this class, of that of fastadam, or of schedulefree.

        Raises:
            TypeError, ValueError: as for other optimizers, and for a state of schedulefree that was
                saved in the mode of evaluation.
        """
        super().load_state_dict(_of_package(state_dict))  # type: ignore[misc]


@torch.no_grad()
def _to_average(optimizer: Any) -> Exchange:
    """Prepare the exchange of the parameters of training with their average."""
    there, back = list[Operation](), list[Operation]()
    for group in optimizer.param_groups:
        weight = optimizer._core._outward(group)
        for param in group["params"]:
            entry = optimizer.state.get(param, {})
            if "z" in entry:
                part, z = local(param).detach(), local(entry["z"]).detach()
                wide = torch.promote_types(part.dtype, z.dtype)
                there.append(write(part, part.to(wide).lerp(z.to(wide), weight)))
                back.append(write(part, part.clone()))
    return Exchange(optimizer._averages, there, back, "call opt.train()")


def _of_package(state_dict: Any) -> Any:
    """A state_dict of schedulefree, whose groups count, as one that counts for each parameter.

    Raises:
        ValueError: if it was saved in the mode of evaluation.
    """
    if not isinstance(state_dict, Mapping):
        return state_dict
    groups, state = state_dict.get("param_groups"), state_dict.get("state")
    if not isinstance(groups, list) or not isinstance(state, Mapping):
        return state_dict
    if not all(isinstance(group, Mapping) and "k" in group for group in groups):
        return state_dict
    state = dict(state)
    for group in groups:
        if not group["train_mode"] and group["k"]:
            raise ValueError(
                "state_dict was saved after eval(), with the average in the place of the "
                "parameters; call train() of the optimizer of schedulefree before saving"
            )
        counts = {"step": torch.tensor(float(group["k"]))}
        counts |= {name: torch.tensor(max(0.0, group[name]), dtype=torch.float64) for name in SUMS}
        for number in group["params"]:
            if number in state:
                state[number] = {**state[number], **counts}
    own = [{n: v for n, v in group.items() if n not in (*MODE, *SUMS)} for group in groups]
    return {**state_dict, "state": state, "param_groups": own}
