"""Checkpoints of the demo: written after each epoch, and read to continue from there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...bench.digits import Epoch, Score
from ...checkpoint.files import load
from ...checkpoint.files import save as write
from ...optimizer import Optimizer
from ...schedules import Plateau


def save(
    path: Path,
    opt: Optimizer,
    rng: np.random.Generator,
    history: list[Epoch],
    progress: Callable[[int, int], object],
) -> None:
    """Write the optimizer, the state of the random generator and the scores of all epochs.

    Raises:
        OSError: if the file cannot be written; an older one is left as it is.
    """
    schedule = opt.param_groups[0]["lr"]
    extra = {
        "random": rng.bit_generator.state,
        "epochs": [list(epoch) for epoch in history],
        "plateau": schedule.state_dict() if isinstance(schedule, Plateau) else None,
    }
    write(path, opt, extra=extra, progress=progress)


def resume(path: Path, opt: Optimizer, rng: np.random.Generator, epochs: int) -> list[Epoch]:
    """Load what `save` wrote, and return the scores of the epochs that are done.

    Args:
        path: the file.
        opt: an optimizer made with the options of the saved run.
        rng: the random generator, set to its saved state.
        epochs: how many there will be, those that are done among them.

    Raises:
        OSError, ValueError: if the file is of another run, or all epochs are done.
    """
    schedule = opt.param_groups[0]["lr"]
    extra = load(path).extra
    if not isinstance(extra, dict) or extra.keys() != {"random", "epochs", "plateau"}:
        raise ValueError(f"--resume: {str(path)!r} was not written by fastadam demo --save")
    if (extra["plateau"] is None) == isinstance(schedule, Plateau):
        raise ValueError(f"--resume: {str(path)!r} has another --schedule; give that of its run")
    history = [_epoch(*each) for each in extra["epochs"]]
    if len(history) >= epochs:
        raise ValueError(
            f"--epochs: {epochs} is not more than the {len(history)} epochs of {str(path)!r}"
        )
    load(path, opt)
    rng.bit_generator.state = extra["random"]
    if isinstance(schedule, Plateau):
        schedule.load_state_dict(extra["plateau"])
    return history


def _epoch(number: int, train: Any, valid: Any, lr: float | None) -> Epoch:
    return Epoch(number, Score(*train), Score(*valid), lr)
