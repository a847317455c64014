"""Sparse gradients, such as those of `nn.Embedding(sparse=True)`, as rows of the core."""

from typing import Any

import torch

from ..memory.rows import Rows
from ..rules.algorithm import Values
from .tensors import ParameterMemory, flat

ACCEPT = ("SGD", "Adagrad", "RowwiseAdagrad", "SparseAdam")  # others refuse, as in PyTorch
ONLY = "SparseAdam"  # accepts no others


def is_sparse(tensor: Any) -> bool:
    """True for a gradient that holds rows of its parameter."""
    return tensor is not None and tensor.layout == torch.sparse_coo


def check_layout(tensor: Any, memory: ParameterMemory, owner: str, core: str) -> None:
    """Refuse a gradient whose layout an optimizer does not accept.

    Args:
        tensor: the gradient.
        memory: of its parameter.
        owner: the name of the class of the optimizer.
        core: that of its core.

    Raises:
        RuntimeError: in the words of PyTorch, where it has any.
    """
    if tensor.layout == torch.strided:
        if core == ONLY:
            raise RuntimeError(
                f"{owner} does not support dense gradients, please consider Adam instead"
            )
        return
    name = f"the gradient of {memory.name}"
    if not (is_sparse(tensor) and core in ACCEPT):
        hint = ", please consider SparseAdam instead" if owner in ("Adam", "AdamW") else ""
        raise RuntimeError(f"{owner} does not support sparse gradients{hint}")
    if tensor.device.type != "cpu":
        raise RuntimeError(
            f"{name} is sparse and on {tensor.device}; {owner} takes sparse gradients on the CPU "
            "only: give dense gradients, as nn.Embedding(sparse=False) does"
        )
    if tensor.is_complex():
        raise RuntimeError(f"{name} is sparse and complex; give dense complex gradients")
    if tensor.sparse_dim() != 1:
        raise RuntimeError(
            f"{name} has {tensor.sparse_dim()} sparse dimensions; give it one, the rows of the "
            "parameter, as nn.Embedding(sparse=True) does"
        )
    if not memory.part.is_contiguous():
        raise RuntimeError(
            f"{name} is sparse, but the parameter, with strides {memory.part.stride()}, is not "
            "contiguous; its rows must lie in one piece each"
        )


def check_hyper(owner: str, values: Values) -> None:
    """Refuse hyperparameters that PyTorch refuses with sparse gradients, or takes otherwise.

    Raises:
        RuntimeError: naming the hyperparameter.
    """
    if values.get("weight_decay"):
        raise RuntimeError("weight_decay option is not compatible with sparse gradients")
    if values.get("momentum"):
        raise RuntimeError(
            f"{owner}: with momentum={values['momentum']}, PyTorch updates every row that ever had "
            "a sparse gradient; use momentum=0, or dense gradients"
        )


def by_rows(memory: ParameterMemory) -> Any:
    """The array of a parameter with its rows."""
    rows = memory.part.shape[0] if memory.part.dim() else 1
    return memory.array.reshape(rows, memory.array.size // rows if rows else 0)


def rows_of(tensor: Any) -> Rows:
    """The rows in a sparse gradient."""
    values = tensor._values().detach().contiguous()
    count = values.shape[0]
    width = values.numel() // count if count else values.shape[1:].numel()
    return Rows(tensor._indices()[0].numpy(), flat(values).reshape(count, width))


def with_whole_steps(saved: Values) -> Values:
    """A state_dict whose steps are ints, as PyTorch's SparseAdam has them: it computes powers of
    tensors in their own dtype."""
    state = {
        number: {name: int(value) if name == "step" else value for name, value in entry.items()}
        for number, entry in saved["state"].items()
    }
    return {**saved, "state": state}
