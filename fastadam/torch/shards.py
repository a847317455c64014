"""DTensors: the shard of this process, and state with one number per block of elements."""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import torch

from ..rules import ROW, Rule

PLAIN = {torch.Tensor, torch.nn.Parameter}


def is_sharded(tensor: Any) -> bool:
    """True if a tensor is a DTensor."""
    return hasattr(tensor, "_local_tensor")


def unwrapped(tensor: Any) -> Any:
    """Replace a tensor subclass by its inner tensor, if it has one of the same shape and dtype.

    DTensors, and results of collectives that are not complete yet, are returned unchanged.
    """
    if type(tensor) in PLAIN:
        return tensor
    names = inner_names(tensor)
    if len(names) == 1 and not is_sharded(tensor) and not hasattr(tensor, "trigger_wait"):
        inner = getattr(tensor, names[0])
        if (inner.shape, inner.dtype) == (tensor.shape, tensor.dtype):
            return unwrapped(inner)
    return tensor


def inner_names(tensor: Any) -> list[str]:
    """The names of the tensors that a wrapper consists of; none for any other tensor."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    return [] if flatten is None else [*flatten()[0]]


def local(tensor: Any) -> Any:
    """The part of a tensor in this process, without wrappers; for a DTensor its shard."""
    return tensor if type(tensor) in PLAIN else unwrapped(getattr(tensor, "_local_tensor", tensor))


def gradient_part(grad: Any, param: Any) -> Any:
    """The part of a gradient that belongs to the part of its parameter in this process.

    A gradient with other placements, such as partial sums of tensor parallelism, is redistributed.
    """
    wanted = getattr(param, "placements", None)
    if wanted is not None and getattr(grad, "placements", wanted) != wanted:
        with torch.no_grad():
            grad = grad.redistribute(param.device_mesh, wanted)
    part = local(grad)
    return part.trigger_wait() if hasattr(part, "trigger_wait") else part


class BlockShape(NamedTuple):
    """The shape of a tensor with one number for each block of elements.

    Attributes:
        shape: the shape.
        part: that of the part in this process.
        placements: the placements of a DTensor.
    """

    shape: tuple[int, ...]
    part: tuple[int, ...]
    placements: tuple[Any, ...] | None = None


def block_shape(param: Any, per: int) -> BlockShape:
    """The shape of a tensor with one number per block of elements of a parameter.

    Each shard of a DTensor has blocks of its own. If shards are rows of whole blocks, the numbers
    have rows, too, which are sharded alike. Otherwise they have a row for each shard, as long as
    that of the largest one.
    """
    if not is_sharded(param):
        blocks = -(-param.numel() // per)
        return BlockShape((blocks,), (blocks,))
    if not is_ragged(param, per):
        columns = prod(param.shape[1:]) // per
        part = param._local_tensor.shape[0], columns
        return BlockShape((param.shape[0], columns), part, param.placements)
    from torch.distributed.tensor import Replicate, Shard

    lengths, counts, placements = [*param.shape], list[int](), list[Any]()
    for count, dim in _split(param):
        placements.append(Replicate() if dim is None else Shard(len(counts)))
        if dim is not None:
            lengths[dim] = -(-lengths[dim] // count)
            counts.append(count)
    blocks = -(-prod(lengths) // per)
    return BlockShape((*counts, blocks), (*[1] * len(counts), blocks), tuple(placements))


def row_zeros(param: Any, length: int, dtype: Any) -> Any:
    """Zeros, one per row of so many elements; those of a DTensor are sharded as its rows."""
    part = local(param)
    numbers = torch.zeros(part.numel() // length, dtype=dtype, device=part.device)
    if not is_sharded(param):
        return numbers
    return whole_of(numbers, param, (param.numel() // length,))


def is_ragged(param: Any, per: int) -> bool:
    """True if the blocks of a DTensor depend on the number of its shards."""
    if not is_sharded(param):
        return False
    if not param.dim() or any(dim not in (None, 0) for _, dim in _split(param)):
        return True
    return bool(prod(param.shape[1:]) % per)


def block_zeros(param: Any, per: int, dtype: Any) -> Any:
    """Zeros, one per block of elements of a parameter."""
    shape, size, placements = block_shape(param, per)
    part = torch.zeros(size, dtype=dtype, device=local(param).device)
    return part if placements is None else whole_of(part, param, shape, placements)


def whole_of(part: Any, param: Any, shape: Sequence[int], placements: Any = None) -> Any:
    """The DTensor of a shape whose part in this process is a tensor, on the mesh of a parameter.

    The part stays where it is: with FSDP2's `CPUOffloadPolicy` on the host, while the mesh is one
    of GPUs, to which `DTensor.from_local` would copy it.

    Args:
        placements: by default those of the parameter.
    """
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta

    whole = torch.empty(shape, dtype=part.dtype, device="meta")
    meta = TensorMeta(whole.shape, whole.stride(), whole.dtype)
    spec = DTensorSpec(param.device_mesh, tuple(placements or param.placements), tensor_meta=meta)
    return DTensor(part, spec, requires_grad=False)


def shard_of(param: Any) -> int:
    """The index of the shard in this process, equal for replicas; 0 for other tensors."""
    number = 0
    if is_sharded(param):
        places = param.device_mesh.get_coordinate() or ()
        for (count, dim), place in zip(_split(param), places, strict=False):
            number = number if dim is None else number * count + place
    return number


def _split(param: Any) -> Iterator[tuple[int, int | None]]:
    """For each dimension of the mesh, its length and the dimension of the DTensor it shards."""
    for length, placement in zip(param.device_mesh.shape, param.placements, strict=True):
        yield length, getattr(placement, "dim", None)


def check_whole(params: Iterable[Any], rules: Iterable[Rule]) -> None:
    """Refuse DTensors that are in several processes, for rules with sums over whole parameters.

    Raises:
        RuntimeError: naming the rule.
    """
    summing = [rule for rule in rules if rule.sums or rule.matrix]
    for param in filter(is_sharded, params) if summing else ():
        cut = [dim for _, dim in _split(param) if dim is not None]
        for rule in summing if cut else ():
            if rule.over == ROW:
                _check_whole_rows(param, cut, rule)
                continue
            doing = "adds up numbers of" if rule.sums else "transforms"
            raise RuntimeError(
                f"{rule.name} {doing} whole parameters, but DTensors are updated shard "
                "by shard; use parameters that are not sharded, or another optimizer"
            )


def _check_whole_rows(param: Any, cut: Iterable[int], rule: Rule) -> None:
    """Refuse a DTensor of which a shard may have a part of a row.

    Raises:
        RuntimeError: naming the rule.
    """
    lengths = {rule.row_length(param.shape), rule.row_length(param._local_tensor.shape)}
    if any(cut) or len(lengths) > 1:
        raise RuntimeError(
            f"{rule.name} adds up numbers of rows, but shards of a DTensor of shape "
            f"{tuple(param.shape)} have parts of them; shard it by its first dimension, or use "
            "another optimizer"
        )
