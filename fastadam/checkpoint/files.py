"""Public functions: save an optimizer to a file, load it, and return its arrays by name."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..memory.dtypes import named
from .contents import Contents, Source, plain, texts_of
from .layout import CODES, DTYPES, dumped
from .read import CheckpointFile
from .write import Progress, write_file

METADATA = "metadata"  # the name of the metadata among arrays
LABEL = "source"  # what arrays are called in messages


class Saved(Protocol):
    """An optimizer, of NumPy arrays or of tensors of PyTorch."""

    def _contents(self, about: dict[str, Any]) -> AbstractContextManager[Contents]:
        """The contents of a checkpoint, which share memory; no step is taken in the block."""

    def _restore(self, source: Source) -> None:
        """Load the contents of a checkpoint, all or nothing."""


@runtime_checkable
class SavedTogether(Saved, Protocol):
    """An optimizer of which several processes keep a part; all of them save and load."""

    def _together(self) -> AbstractContextManager[Any]:
        """A block without messages, an exception in which is raised in all processes."""

    def _write(self, path: str, about: dict[str, Any], progress: Progress | None) -> None:
        """Write the part of this process to one file."""


class Checkpoint(dict[str, Any]):
    """The arrays in a checkpoint by name, read-only and mapped from its file.

    Names are `param/<path>`, `state/<name>/<path>`, `ema/<path>` for averages and
    `accumulated/<path>` for sums of micro-batches, where the path is the name of the parameter, or
    its number.

    Attributes:
        metadata: everything else: `optimizer`, `params`, `steps`, `groups`, `options` and so on.
    """

    def __init__(self, arrays: Mapping[str, Any], metadata: dict[str, Any]) -> None:
        super().__init__(arrays)
        self.metadata = metadata

    @property
    def extra(self) -> Any:
        """The values that were given to `save` as `extra`; None without any."""
        return self.metadata.get("extra")

    def __reduce__(self) -> tuple[Any, ...]:
        return Checkpoint, (dict(self), self.metadata)


def save(
    path: str | os.PathLike[str],
    optimizer: Saved,
    *,
    extra: Any = None,
    progress: Progress | None = None,
) -> None:
    """Save an optimizer to a file: parameters, state, and everything else to resume from.

    The file has the safetensors format. It is complete on the disk before it takes the place of an
    older file of that name: a process that is killed, or a full disk, leaves the older file.
    Arrays are written from their own memory; extra memory is less than 64 MB.

    Args:
        path: the path of the file, such as "run.safetensors".
        optimizer: an optimizer of fastadam or of fastadam.torch. All processes of a
            `fastadam.distributed.Sharded` optimizer save to the same path.
        extra: values of your own, such as `{"epoch": 3, "scaler": scaler.state_dict()}`: numbers,
            strings, None, and lists and dicts of these. Tuples become lists. Default None.
        progress: called as `progress(done, total)` with numbers of bytes, for a progress bar.

    Raises:
        TypeError: if `optimizer` is not an optimizer, or `extra` has other values.
        OSError: if the file cannot be written: the disk is full, the folder missing or read-only.
        RuntimeError: inside `swap_ema()`.

    Examples:
        >>> import numpy as np, fastadam as fa, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> w = np.ones(3, np.float32)
        >>> opt = fa.AdamW(w, lr=0.1)
        >>> info = opt.step(np.ones(3, np.float32))
        >>> fa.save(path, opt, extra={"epoch": 3})
        >>> other = fa.AdamW(np.zeros(3, np.float32), lr=0.1)
        >>> fa.load(path, other).extra, other.steps, other.params
        ({'epoch': 3}, 1, array([0.899, 0.899, 0.899], dtype=float32))
    """
    optimizer = _checked(optimizer)
    with _together(optimizer):
        path = os.fspath(path)
        if not isinstance(path, str):
            raise TypeError(f"path={path!r} is not a string")
        _check_progress(progress)
        about = _about(extra)
    if isinstance(optimizer, SavedTogether):
        optimizer._write(path, about, progress)
        return
    with optimizer._contents(about) as contents:
        write_file(path, contents.arrays, texts_of(contents.metadata), progress)


def load(
    source: str | os.PathLike[str] | Mapping[str, Any],
    optimizer: Saved | None = None,
    *,
    verify: bool = True,
    progress: Progress | None = None,
) -> Checkpoint:
    """Load a checkpoint into an optimizer, or return its arrays.

    Create the optimizer as for a new run, with the parameters and options that you want; its
    parameters and its state are overwritten in place. Options may differ from those of the saved
    run: state is converted as by `load_state_dict`, and a schedule given to the optimizer is kept.
    Parameters are matched by name if both sides have names, otherwise by order.

    Args:
        source: the path of a file, or the arrays of `fa.flat_state`, by name.
        optimizer: an optimizer of fastadam or of fastadam.torch; default None: nothing is loaded.
            All processes of a `fastadam.distributed.Sharded` optimizer load together.
        verify: False trusts the arrays in the file, which are compared with their checksums
            otherwise; the header is always checked. Default True.
        progress: called as `progress(done, total)` with numbers of bytes that were verified.

    Returns:
        A dict of read-only arrays, mapped from the file, with attributes `metadata` and `extra`.

    Raises:
        ValueError: if the file is truncated, damaged, of another format or of a newer version, or
            does not fit the optimizer; raised before anything changes, with the name of the file.
        TypeError: if `source` or `optimizer` is of another type.
        OSError: if the file cannot be read.
        RuntimeError: inside `swap_ema()`.

    Examples:
        >>> import numpy as np, fastadam as fa, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "run.safetensors")
        >>> fa.save(path, fa.SGD({"w": np.ones(2)}, lr=0.1))
        >>> {name: array.tolist() for name, array in fa.load(path).items()}
        {'param/w': [1.0, 1.0]}
    """
    if optimizer is not None:
        _checked(optimizer)
    with ExitStack() as opened:
        with _together(optimizer):
            _check_progress(progress)
            found = opened.enter_context(_opened(source, verify, progress))
        if optimizer is None:
            found.verify()
        else:
            optimizer._restore(found)
    return Checkpoint(*found.contents)


def flat_state(optimizer: Saved, *, extra: Any = None, copy: bool = True) -> dict[str, Any]:
    """Everything that `save` writes, as NumPy arrays by name, for `numpy.savez`, HDF5 or Zarr.

    `fa.load` takes these arrays, or what was read from such a file, in place of a path.

    Args:
        optimizer: an optimizer of fastadam or of fastadam.torch.
        extra: as of `fa.save`.
        copy: False returns views of live arrays where it can, to save without doubling memory.

    Returns:
        A dict with the names of `save`, and the array `metadata`: JSON as bytes (uint8).

    Raises:
        TypeError: if `optimizer` is not an optimizer, or `extra` has other values.
        RuntimeError: inside `swap_ema()`.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> opt = fa.SGD({"w": np.ones(3)}, momentum=0.9)
        >>> info = opt.step({"w": np.ones(3)})
        >>> {name: array.shape for name, array in fa.flat_state(opt).items() if name != "metadata"}
        {'param/w': (3,), 'state/momentum_buffer/w': (3,)}
    """
    with _checked(optimizer)._contents(_about(extra)) as (arrays, metadata):
        flat = {name: np.array(each) if copy else np.asarray(each) for name, each in arrays.items()}
    kinds = {name: (CODES[array.dtype.name], array.shape) for name, array in flat.items()}
    text = dumped({"metadata": metadata, "arrays": kinds}).encode()
    return {**flat, METADATA: np.frombuffer(text, np.uint8).copy()}


@contextmanager
def _opened(source: Any, verify: bool, progress: Progress | None) -> Iterator[Source]:
    """The contents of a file, or of arrays; the file is open in the block."""
    if not isinstance(source, str | os.PathLike):
        yield Source(LABEL, _contents_of(source))
        return
    with CheckpointFile(source) as file:

        def check() -> None:
            if verify:
                file.verify(progress)

        contents = Contents(file.arrays(), file.metadata)
        yield Source(file.path, contents, file.write, check, file.checksum)
        file.check_unchanged()


def _contents_of(source: Mapping[str, Any]) -> Contents:
    """The contents of arrays as `flat_state` returns them."""
    try:
        text = np.asarray(source[METADATA]).tobytes().decode()
        known = json.loads(text)
        metadata, kinds = known["metadata"], known["arrays"]
    except (KeyError, ValueError, TypeError) as error:
        raise TypeError(
            f"source={type(source).__name__} must be a path, or arrays of fastadam.flat_state with "
            f"{METADATA!r} among them: {error!r}"
        ) from None
    if missing := [name for name in kinds if name not in source]:
        raise ValueError(f"{LABEL} lacks {missing}")
    arrays = {
        name: _as_saved(source[name], code, shape, name) for name, (code, shape) in kinds.items()
    }
    return Contents(arrays, metadata)


def _as_saved(array: Any, code: str, shape: list[int], name: str) -> Any:
    """An array with its saved dtype, as which files that lack bfloat16 store two bytes.

    Raises:
        ValueError: if it has another dtype or shape.
    """
    array, dtype = np.asarray(array), named(DTYPES[code])
    if array.dtype != dtype and code == "BF16" and array.dtype.str[1:] in ("V2", "u2", "i2"):
        array = np.ascontiguousarray(array).view(dtype).reshape(array.shape)
    if array.dtype != dtype or array.shape != tuple(shape):
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}, but was saved as {dtype} of shape "
            f"{tuple(shape)}"
        )
    return array


def _about(extra: Any) -> dict[str, Any]:
    """Metadata besides that of the optimizer."""
    from .. import __version__

    about: dict[str, Any] = {"fastadam": __version__}
    return about if extra is None else {**about, "extra": plain(extra, "extra")}


def _together(optimizer: Saved | None) -> AbstractContextManager[Any]:
    """A block in which an exception is raised in all processes of the optimizer."""
    return optimizer._together() if isinstance(optimizer, SavedTogether) else nullcontext()


def _checked(optimizer: Any) -> Saved:
    if not hasattr(optimizer, "_contents") or isinstance(optimizer, type):
        raise TypeError(
            f"optimizer={optimizer!r:.60} is of type {type(optimizer).__name__}; give an optimizer "
            "of fastadam or of fastadam.torch"
        )
    found: Saved = optimizer
    return found


def _check_progress(progress: Any) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"progress={progress!r} must be a function of (done, total), or None")
