"""Public functions: save an optimizer and its model to a file, and load them."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from ..checkpoint import files
from ..checkpoint.contents import Contents, Source
from ..checkpoint.files import Checkpoint
from ..checkpoint.write import Progress
from ..memory.checks import short
from .contents import restore_model
from .optimizer import Optimizer


class _WithModel:
    """An optimizer and its model, saved and loaded together."""

    def __init__(self, optimizer: Any, model: Any) -> None:
        _check(optimizer, Optimizer, "optimizer", "an optimizer of fastadam.torch")
        _check(model, torch.nn.Module, "model", "a torch.nn.Module")
        self._optimizer, self._model = optimizer, model

    def _contents(self, about: dict[str, Any]) -> AbstractContextManager[Contents]:
        contents: AbstractContextManager[Contents] = self._optimizer._contents(about, self._model)
        return contents

    def _restore(self, source: Source) -> None:
        if self._optimizer is None:
            restore_model(self._model, source)
        else:
            self._optimizer._restore(source, self._model)


def _check(value: Any, kind: type, name: str, wanted: str) -> None:
    if value is not None and not isinstance(value, kind):
        other = isinstance(value, torch.optim.Optimizer)
        way_out = ", or use torch.save and torch.load with its state_dict()" if other else ""
        raise TypeError(
            f"{name}={short(value)} is of type {type(value).__name__}; give {wanted}{way_out}"
        )


def save(
    path: str | os.PathLike[str],
    optimizer: Optimizer,
    model: torch.nn.Module | None = None,
    *,
    extra: Any = None,
    progress: Progress | None = None,
) -> None:
    """Save an optimizer, and its model, to a file, as `fa.save` does.

    The file also loads into the optimizer of that name in fastadam, and the other way round.

    Args:
        path: the path of the file, such as "run.safetensors".
        optimizer: an optimizer of fastadam.torch; its tensors may have any strides, or be on a GPU.
        model: gives the parameters their names, and saves its other parameters and its buffers as
            `model/<name>`; default None: parameters have their number, or the name that they were
            given to the optimizer with.
        extra: values of your own, such as `{"scheduler": scheduler.state_dict()}`.
        progress: called as `progress(done, total)` with numbers of bytes.

    Raises:
        TypeError: for other objects, DTensors, and values that are neither numbers nor tensors.
        ValueError: if the model has not the parameters of the optimizer.
        OSError: if the file cannot be written.
        RuntimeError: inside `swap_ema()`.

    Examples:
        >>> import os, tempfile, torch, fastadam.torch
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> model = torch.nn.Linear(3, 1)
        >>> opt = fastadam.torch.AdamW(model.parameters(), lr=0.1)
        >>> model(torch.ones(2, 3)).sum().backward()
        >>> opt.step()
        >>> fastadam.torch.save(path, opt, model)
        >>> sorted(fastadam.torch.load(path, opt, model))[:3]
        ['param/bias', 'param/weight', 'state/exp_avg/bias']
    """
    if optimizer is None:
        raise TypeError("optimizer=None; give an optimizer of fastadam.torch")
    files.save(path, _WithModel(optimizer, model), extra=extra, progress=progress)


def load(
    source: str | os.PathLike[str] | Mapping[str, Any],
    optimizer: Optimizer | None = None,
    model: torch.nn.Module | None = None,
    *,
    verify: bool = True,
    progress: Progress | None = None,
) -> Checkpoint:
    """Load a file into an optimizer, into a model, or into both, as `fa.load`.

    Args:
        source: the path of a file, or the arrays of `fastadam.flat_state`, by name.
        optimizer: an optimizer of fastadam.torch; default None: only the model is loaded, if any.
        model: gives the parameters their names, and is loaded as well; default None.
        verify: False trusts the arrays in the file. Default True.
        progress: called as `progress(done, total)` with numbers of bytes that were verified.

    Returns:
        A dict of read-only NumPy arrays, with the attributes `metadata` and `extra`.

    Raises:
        TypeError, ValueError, OSError, RuntimeError: as `fastadam.load`.
    """
    if optimizer is None and model is None:
        return files.load(source, verify=verify, progress=progress)
    return files.load(source, _WithModel(optimizer, model), verify=verify, progress=progress)
