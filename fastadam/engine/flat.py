"""One buffer for a whole tree of arrays."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..kernels.commit import commit
from ..memory import checks
from ..memory.arrays import ARRAYS
from ..memory.complex_numbers import Pairs, as_pairs, as_reals, shown
from ..memory.containers import Container, Snapshot
from ..memory.dtypes import name_of
from ..memory.files.copying import copied
from ..memory.files.journal import room_for
from ..memory.files.layout import Layout, placed
from ..memory.files.mapping import mapping_of, opened
from ..memory.placement import GRADIENT
from ..memory.tree import Tree, dotted, entry_of, filled, indexed, listed, structure_of
from ..memory.tree import leaves as leaves_of
from ..processes.agreement import Agreement
from ..processes.communicator import communicator_of
from ..processes.hosts import Hosts, shared_bytes
from .backend import HOST, as_array, backend_named, backend_of


class Flat:
    """A tree of arrays in one aligned buffer; made by `fa.flatten`.

    Attributes:
        buffer: the one-dimensional array that holds every element, leaf after leaf, without gaps.
        tree: the tree, its arrays views into `buffer`.
        leaves: the same views as a list, in the order of the buffer.
        file: the path of the file that `buffer` lies in, or None.
        created: True if that file is new, so that the tree was copied into it.

    `flat["w"]` is the entry of a tree that is a dict, `flat[0]` the first array. Iteration gives
    the arrays in order, `len(flat)` their number, `np.asarray(flat)` the buffer.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> flat = fa.flatten({"w": np.ones((2, 2)), "b": np.zeros(2)})
        >>> flat["b"][...] = 3
        >>> len(flat), [array.shape for array in flat]
        (2, [(2, 2), (2,)])
        >>> np.asarray(flat)
        array([1., 1., 1., 1., 3., 3.])
    """

    buffer: Any
    tree: Tree
    leaves: list[Any]

    def __init__(
        self,
        structure: Tree,
        shapes: list[tuple[int, ...]],
        buffer: Any,
        pairs: Sequence[bool] = (),
    ) -> None:
        self._structure, self._shapes, self.buffer = structure, shapes, buffer
        self._pairs = list(pairs)  # which arrays are of complex numbers, two reals each
        sizes = [int(np.prod(shape)) for shape in shapes]
        stops = np.cumsum([0, *sizes]).tolist()
        views = [
            buffer[start:stop].reshape(shape)
            for start, stop, shape in zip(stops, stops[1:], shapes, strict=False)
        ]
        marks = self._pairs or [False] * len(views)
        self.leaves = [
            shown(view, view.view(Pairs)) if pair else view
            for view, pair in zip(views, marks, strict=True)
        ]
        self.tree = filled(structure, self.leaves)
        self._snapshot = Snapshot(self.tree)

    def views(self, name: str) -> list[Any]:
        """The views into the buffer; `name` is the name of the tree in messages.

        Raises:
            ValueError: if a view was replaced by another array.
        """
        if not self._snapshot.fits(self.tree):
            change = self._snapshot.change(self.tree)
            where = name + (change.where if change else "")
            raise ValueError(
                f"{where} is another array than the view into the buffer that was there; write "
                f"into the view instead: {where}[...] = value"
            )
        return self.leaves

    def container(self, label: str) -> Container:
        """The tree as a container whose changes are detected; `label` is its name in messages."""
        return Container(self.tree, f"{label}.tree", self._snapshot, f"{label}.leaves")

    def __setattr__(self, name: str, value: Any) -> None:
        if value is not vars(self).setdefault(name, value):
            raise AttributeError(
                f"Flat.{name} cannot be replaced, since views and optimizers use it; write into "
                "the arrays, such as flat.buffer[...] = value"
            )

    def __getitem__(self, key: Any) -> Any:
        return entry_of(self.tree, self.leaves, key, "flat")

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is not self[key]:  # as after flat["w"] += 1
            raise TypeError(
                f"flat[{key!r}] cannot be replaced, since it is a view into the buffer; write "
                f"into it: flat[{key!r}][...] = value"
            )

    def __len__(self) -> int:
        return len(self.leaves)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self.leaves)

    def __contains__(self, key: object) -> bool:
        """Return True if the tree is a dict with this key."""
        return isinstance(self.tree, Mapping) and key in self.tree

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = np.asarray(self.buffer)
        if copy is False and (array is not self.buffer or dtype not in (None, array.dtype)):
            raise ValueError("the buffer can be given in another dtype or place only as a copy")
        return array.astype(dtype or array.dtype, copy=bool(copy))

    def over(self, buffer: Any) -> "Flat":
        """The same layout over another one-dimensional array.

        Raises:
            TypeError: if it is not an array.
            ValueError: if it is not contiguous, or has another number of elements.
        """
        array = as_array(buffer)
        if not isinstance(array, ARRAYS):
            raise TypeError(f"Flat.over(): {buffer!r} is not an array; give one of one dimension")
        checks.check_kind(array, "Flat.over(): buffer")
        if tuple(array.shape) != tuple(self.buffer.shape):
            raise ValueError(
                f"Flat.over(): buffer has shape {tuple(array.shape)}, but the layout is for "
                f"{tuple(self.buffer.shape)}; give an array of one dimension with as many elements"
            )
        checks.check_contiguous(array, "Flat.over(): buffer")
        return self._over(array)

    def _over(self, buffer: Any) -> "Flat":
        return Flat(self._structure, self._shapes, buffer, self._pairs)

    def zeros_like(self) -> "Flat":
        """A new Flat of the same layout and dtype, zero everywhere."""
        backend, buffer = backend_of(self.buffer), self.buffer
        return self._over(*backend.zeros_beside([buffer], [buffer.size], buffer.dtype, GRADIENT))

    @property
    def file(self) -> str | None:
        mapping = mapping_of(self.buffer)
        return None if mapping is None else mapping.path

    @property
    def created(self) -> bool:
        mapping = mapping_of(self.buffer)
        return mapping is not None and mapping.created

    def flush(self) -> None:
        """Wait until everything written to the arrays is on the disk; do nothing without a file."""
        if (mapping := mapping_of(self.buffer)) is not None:
            commit(mapping.synced())

    def close(self) -> None:
        """Write everything to the file, and release it; do nothing without a file.

        The arrays can still be read. Further steps over them are refused.
        """
        if (mapping := mapping_of(self.buffer)) is not None:
            mapping.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._structure, self._shapes, self.buffer[:], self._pairs)

    def __repr__(self) -> str:
        arrays = "1 array" if len(self) == 1 else f"{len(self)} arrays"
        return f"Flat({self.buffer.size} x {self.buffer.dtype}, {arrays})"


def _restored(
    structure: Tree, shapes: list[tuple[int, ...]], values: Any, pairs: Sequence[bool] = ()
) -> Flat:
    buffer = backend_of(values).zeros(values.size, values.dtype)
    buffer[:] = values
    return Flat(structure, shapes, buffer, pairs)


def flatten(
    tree: Tree,
    *,
    device: str | None = None,
    file: "str | os.PathLike[str] | None" = None,
    shared: Any = None,
) -> Flat:
    """Copy a tree of arrays into one aligned buffer: on the device where they are, in a file, or in
    memory that several processes share.

    Gradients and state of an optimizer of the result have the same layout. Shapes, dtype and
    structure are kept; `flat.tree` contains views.

    Args:
        tree: one array, or dicts, lists and tuples of trees, of one dtype: float32, float64,
            bfloat16 or float16.
        device: "cuda" copies host arrays to a GPU, "cpu" arrays of a GPU to the host; default None:
            the buffer is where the arrays are.
        file: the path of a memory-mapped file for the buffer. A new file is created. An existing
            file, which must have been created for arrays of the same names, shapes and dtype, is
            opened: **the arrays have the values of the file, those of the tree are ignored**.
            `flat.created` tells the cases apart. Only one process can have the file open. Default
            None: the buffer is in memory.
        shared: a communicator, as for `fastadam.distributed.Sharded`: the buffer is shared by all
            of its processes on one host, with the values of the first of them. All processes make
            this call, with trees of the same shapes. Only `Sharded` can update it. Default None:
            the buffer belongs to this process alone.

    Raises:
        TypeError: if a leaf is not such an array, or the dtypes are mixed.
        ValueError: if there is no leaf, or if two arrays begin at the same element, such as tied
            weights (copies would not be tied); if the file does not match, is in use, or belongs to
            an interrupted step (the file is not changed); with `shared`, if the layouts of the
            processes differ.
        OSError: if the file cannot be opened or created, as on a full disk; if there is not enough
            shared memory.
        OtherProcessError: with `shared`, if another process raised an error.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> flat = fa.flatten({"w": np.ones((2, 3)), "b": np.zeros(3)})
        >>> flat.buffer.shape, flat.tree["w"].shape
        ((9,), (2, 3))
    """
    tree = listed(tree)
    if shared is not None:
        return _shared(tree, shared, device=device, file=file)
    named = _checked(tree)
    first = named[0][1]
    backend = backend_of(first) if device is None else backend_named(device)
    if backend is None:
        raise ValueError(f"device={device!r}; give 'cpu' or 'cuda', or None to stay")
    if file is not None:
        for name, leaf in named:
            if isinstance(leaf, Pairs):
                raise TypeError(
                    f"{name} is an array of complex numbers, which are not kept in files; leave "
                    f"file={os.fspath(file)!r} out"
                )
        return _in_file(tree, [leaf for _, leaf in named], os.fspath(file), backend is HOST)
    size = sum(leaf.size for _, leaf in named)
    return _filled(tree, named, backend.zeros(size, first.dtype), backend is HOST)


def _filled(tree: Tree, named: Sequence[tuple[str, Any]], buffer: Any, on_host: bool) -> Flat:
    """A Flat of the tree over a buffer, into which its numbers are copied."""
    pairs = [isinstance(leaf, Pairs) for _, leaf in named]
    flat = Flat(structure_of(tree), [leaf.shape for _, leaf in named], buffer, pairs)
    for view, (_, leaf) in zip(flat.leaves, named, strict=True):
        as_reals(view)[...] = np.asarray(leaf) if on_host else leaf
    return flat


def _checked(tree: Tree) -> list[tuple[str, Any]]:
    """The arrays of a tree that can be flattened, with their names."""
    named = [(indexed("tree", path), as_pairs(as_array(leaf))) for path, leaf in leaves_of(tree)]
    if not named:
        raise ValueError(f"tree={tree!r} contains no arrays; give at least one")
    for name, leaf in named:
        if isinstance(leaf, np.ndarray):  # copied, so that any layout is supported
            checks.check_kind(leaf, name)
            checks.check_dtype(leaf, name)
        else:
            checks.check_array(leaf, name, written=False)
    (first_name, first), *rest = named
    for name, leaf in rest:
        checks.check_together(leaf, name, first, first_name)
        if leaf.dtype != first.dtype:
            raise TypeError(
                f"{name} has dtype {leaf.dtype}, but {first_name} has {first.dtype}; one buffer "
                "has one dtype: convert, flatten each dtype separately, or give the optimizer the "
                "arrays"
            )
    _check_untied(named)
    return named


def _shared(tree: Tree, shared: Any, **others: Any) -> Flat:
    """The tree in memory that the processes of a host share."""
    comm = communicator_of(shared)
    agreement = Agreement(comm)
    with agreement.together() as settings:
        for name, value in others.items():
            if value is not None:
                raise ValueError(f"{name}={value!r} with shared: memory is shared on the host only")
        named = _checked(tree)
        if backend_of(named[0][1]) is not HOST:
            raise ValueError("shared is for arrays of the host; these lie on a device")
        settings["the names in tree"] = [name for name, _ in named]
        settings["the shapes in tree"] = [leaf.shape for _, leaf in named]
        settings["the dtype of tree"] = str(named[0][1].dtype)
    hosts, dtype = Hosts(comm), named[0][1].dtype
    raw = shared_bytes(comm, hosts, dtype.itemsize * sum(leaf.size for _, leaf in named))
    pairs = [isinstance(leaf, Pairs) for _, leaf in named]
    flat = Flat(structure_of(tree), [leaf.shape for _, leaf in named], raw.view(dtype), pairs)
    with agreement.together():
        for view, (_, leaf) in zip(flat.leaves, named, strict=True):
            if hosts.is_first:
                as_reals(view)[...] = leaf
    return flat


def _in_file(tree: Tree, arrays: Sequence[Any], path: str, on_host: bool) -> Flat:
    """The tree in a file, which is created if there is none."""
    if not on_host:
        raise ValueError(f"file={path!r} is for arrays of the host; leave out device and file")
    named = [
        (dotted(where) or "array", name_of(array.dtype), array.shape)
        for (where, _), array in zip(leaves_of(tree), arrays, strict=True)
    ]
    layout = Layout("parameters", "", placed(named))
    mapping = opened(path, layout, room_for(8))
    flat = Flat(structure_of(tree), [a.shape for a in arrays], mapping.flat(layout.entries))
    if mapping.created:
        try:
            for view, array in zip(flat.leaves, arrays, strict=True):
                copied(view, array)
            mapping.record({})
        except BaseException:  # the new file is incomplete
            mapping.discard()
            raise
    return flat


def _check_untied(named: list[tuple[str, Any]]) -> None:
    seen: dict[Any, str] = {}
    for name, leaf in named:
        where = checks.address(leaf)
        if leaf.size and where in seen:
            raise ValueError(
                f"{seen[where]} and {name} begin at the same element; flatten copies, and the "
                "copies would no longer be tied: give the array once"
            )
        if leaf.size:
            seen[where] = name
