"""Checkpoint files that several processes write together, each process its own parts."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from ..checkpoint.atomic import replaced, shared, write_all
from ..checkpoint.checksums import Checksums, Part, combined
from ..checkpoint.contents import EMA, PARAM, STATE, SUMS, Contents, texts_of
from ..checkpoint.layout import Layout, check_byte_order
from ..checkpoint.write import Progress, Share, write_shares
from ..engine.partition import Piece
from ..processes.agreement import Agreement
from ..processes.communicator import Communicator
from .state_dict import Described

FIRST = 0  # the process that creates and renames the file


class Own(NamedTuple):
    """The parts of a process: its pieces, all parameters, and the state_dict of the pieces."""

    pieces: Sequence[Piece]
    params: Sequence[Any]
    state_dict: Mapping[str, Any]


def write_together(
    comm: Communicator, path: str, contents: Contents, own: Own, progress: Progress | None
) -> None:
    """Write a file of which each process has parts, as `checkpoint.write.write_file`.

    Args:
        comm: the processes, which have the same contents.
        path: of the file, in a folder that all processes share.
        contents: what the file has; the arrays of the state are descriptions.
        own: the parts of this process.
        progress: called with the bytes that this process wrote, and those that it will write.

    Raises:
        OSError, TypeError, ValueError: as `write_file`; the file is unchanged then.
        OtherProcessError: if another process raised an error; the file is unchanged then.
    """
    agreement, first = Agreement(comm), comm.rank == FIRST
    with ExitStack() as made:
        with agreement.together():
            check_byte_order()
            layout = Layout.of(contents.arrays, texts_of(contents.metadata))
            shares = sorted(_shares(contents, own, first), key=_place_in(layout))
            file = made.enter_context(replaced(path)) if first else None
        temporary = agreement.texts(os.path.abspath(file.name) if file else "")[FIRST]
        with agreement.together():
            if file:
                parts = _written(file, layout, shares, progress)
            else:
                with shared(temporary, path) as opened:
                    parts = _written(opened, layout, shares, progress)
        texts = agreement.texts(json.dumps(parts))
        with agreement.together():
            if file:
                file.seek(0)
                write_all(file, layout.header(_combined(layout, texts)))
                made.close()  # it is on the disk, and has its name


def _written(
    file: Any, layout: Layout, shares: Sequence[Share], progress: Progress | None
) -> dict[str, list[Part]]:
    """The checksums of the parts of this process, which are written."""
    with Checksums() as checksums:
        write_shares(file, layout, shares, checksums, progress)
        names = {share.name for share in shares}
        return {name: checksums.parts(name) for name in sorted(names)}


def _combined(layout: Layout, texts: Sequence[str]) -> dict[str, int]:
    """The checksums of all tensors, from those of the parts of all processes."""
    parts: dict[str, list[Part]] = {name: [] for name in layout.tensors}
    for text in texts:
        for name, some in json.loads(text).items():
            parts[name] += [Part(*each) for each in some]
    return {
        name: combined(parts[name], tensor.stop - tensor.start)
        for name, tensor in layout.tensors.items()
    }


def _place_in(layout: Layout) -> Any:
    return lambda share: layout.tensors[share.name].start + share.start


def _shares(contents: Contents, own: Own, first: bool) -> Iterator[Share]:
    """The parts of tensors that this process writes."""
    arrays, names = contents.arrays, contents.metadata["params"]
    entries, averages = own.state_dict["state"], own.state_dict.get("ema", {})
    for place, (number, start, stop) in enumerate(own.pieces):
        path, span = names[number], (start, stop)
        param = own.params[number].reshape(-1)[start:stop]
        yield _share(f"{PARAM}/{path}", span, 1, param)
        if place in averages:
            yield _share(f"{EMA}/{path}", span, 1, averages[place])
        for key, value in entries.get(place, {}).items():
            described = arrays.get(f"{STATE}/{key}/{path}")
            if isinstance(described, Described):
                yield _share(f"{STATE}/{key}/{path}", span, described.per, value)
    if first:
        for name, array in arrays.items():
            if name.startswith(f"{SUMS}/"):
                yield Share(name, 0, array.nbytes, array)


def _share(name: str, span: tuple[int, int], per: int, array: Any) -> Share:
    """The part of a tensor that has an element for each `per` elements of a parameter."""
    start, stop = span[0] // per * array.itemsize, -(-span[1] // per) * array.itemsize
    return Share(name, start, stop, array)
