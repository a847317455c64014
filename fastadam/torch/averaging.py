"""Schedule-free optimizers for PyTorch: the modes of training and evaluation."""

from typing import Any

import torch

from ..engine.averages import Exchange
from ..kernels.commit import Operation, write
from .shards import local


class TrainAndEval:
    """The methods `train` and `eval`, as those of the package schedulefree."""

    def eval(self: Any) -> None:
        """Switch to evaluation: replace the parameters by their average.

        Steps, saving and loading are refused until `train()`, which restores the parameters bit for
        bit, from a copy that is kept until then.
        """
        with self._lock:
            if not isinstance(self._averages.swapped, Evaluation):
                self._check_not_swapped()
                with self._scope():
                    _to_average(self).make()
                self._written()

    def train(self: Any) -> None:
        """Switch to training: restore the parameters. A new optimizer is in this mode."""
        with self._lock:
            exchange = self._averages.swapped
            self._put_back(exchange if isinstance(exchange, Evaluation) else None)


class Evaluation(Exchange):
    """The exchange in effect between `eval()` and `train()`."""


@torch.no_grad()
def _to_average(optimizer: Any) -> Evaluation:
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
    return Evaluation(optimizer._averages, there, back, "call opt.train()")
