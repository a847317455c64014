"""Sparse gradients of PyTorch: parity with its own optimizers, and what they refuse."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest

import fastadam as fa

torch = pytest.importorskip("torch")

import fastadam.torch  # noqa: E402
from fastadam.torch.sparse import check_layout  # noqa: E402

HYPER = {
    "SGD": {"lr": 0.1, "maximize": True},
    "Adagrad": {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.1},
    "SparseAdam": {"lr": 0.01, "betas": (0.8, 0.95)},
}
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}  # of the contract: sums differ


def models(dtype):
    """Two equal models with an embedding and a bag of embeddings, their gradients sparse."""
    torch.manual_seed(0)
    made = [
        torch.nn.ModuleList(
            [torch.nn.Embedding(30, 4, sparse=True), torch.nn.EmbeddingBag(20, 4, sparse=True)]
        ).to(dtype)
        for _ in range(2)
    ]
    made[1].load_state_dict(made[0].state_dict())
    return made


def backward(model, indices, bags):
    embedding, bag = model
    model.zero_grad()
    loss = embedding(indices).tanh().sum()
    if bags is not None:
        loss = loss + bag(bags).tanh().sum()
    loss.backward()


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", HYPER)
def test_fifty_steps_follow_torch(name, dtype, request):
    if dtype == torch.float64:
        request.getfixturevalue("in_plain_python")
    ours, theirs = models(dtype)
    a = getattr(fastadam.torch, name)(ours.parameters(), **HYPER[name])
    b = getattr(torch.optim, name)(theirs.parameters(), **HYPER[name])
    for step in range(50):
        indices, bags = torch.randint(0, 30, (3, 4)), torch.randint(0, 20, (5, 3))
        for model in (ours, theirs):
            backward(model, indices, None if step == 3 else bags)
        a.step()
        b.step()
        if step == 25:  # go on with each other's state
            saved = a.state_dict(), b.state_dict()
            a = getattr(fastadam.torch, name)(ours.parameters(), **HYPER[name])
            b = getattr(torch.optim, name)(theirs.parameters(), **HYPER[name])
            a.load_state_dict(saved[1])
            b.load_state_dict(saved[0])
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=TOLERANCES[dtype])
    keys = [{*entry} for entry in b.state.values()]
    assert [{*entry} for entry in a.state.values()] == keys


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.usefixtures("in_plain_python")
def test_numbers_of_rows_are_state_of_tensors():
    """The bits of NumPy arrays, and those of a run that was saved and loaded."""
    model, _ = models(torch.float32)
    tables = [table.detach().numpy().copy() for table in model.parameters()]
    opt = fastadam.torch.RowwiseAdagrad(model.parameters(), lr=0.1)
    core = fa.RowwiseAdagrad(tables, lr=0.1)
    for step in range(4):
        backward(model, torch.randint(0, 30, (3, 4)), torch.randint(0, 20, (5, 3)))
        grads = [table.grad for table in model.parameters()]
        pairs = [(g._indices()[0].numpy(), g._values().numpy()) for g in grads]
        core.step([fa.Rows(*pair) for pair in pairs])
        if step == 2:
            saved = copy.deepcopy(opt.state_dict())
            opt = fastadam.torch.RowwiseAdagrad(model.parameters(), lr=0.1)
            opt.load_state_dict(saved)
        opt.step()
    for table, tensor in zip(tables, model.parameters(), strict=True):
        np.testing.assert_array_equal(tensor.detach().numpy(), table)
    sums = opt.state[model[0].weight]["sum"]
    np.testing.assert_array_equal(sums.numpy(), core.state["sum"][0])
    assert opt.memory().state == sum(4 * len(table) for table in tables)
    bad = opt.state_dict()
    bad["state"][0]["sum"] = torch.zeros(7)
    opt.load_state_dict(bad)
    with pytest.raises(ValueError, match=r"has shape \(7,\), but \(30,\) is that of the rows"):
        opt.step()


@pytest.mark.usefixtures("in_plain_python")
def test_sparse_and_dense_gradients_alternate():
    (model, other), dense = models(torch.float32), torch.nn.Linear(2, 2)
    opt = fastadam.torch.Adagrad([*model.parameters(), *dense.parameters()], clip_norm=1.0)
    plain = fastadam.torch.Adagrad([*other.parameters(), *dense.parameters()], clip_norm=1.0)
    indices, bags = torch.tensor([[1, 1, 2, 1]]), torch.tensor([[0, 3]])
    for _ in range(2):
        for each in (model, other):
            backward(each, indices, bags)
        opt.step()
        for parameter in other.parameters():
            parameter.grad = parameter.grad.to_dense()
        plain.step()
        assert opt.info.grad_norm == pytest.approx(plain.info.grad_norm, rel=1e-6)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)  # the sum of three in float32
    version = model[0].weight._version
    model[0].weight.grad = torch.zeros_like(model[0].weight)
    opt.step()
    assert model[0].weight._version > version


REFUSED = {
    "Adam": ({}, "Adam does not support sparse gradients, please consider SparseAdam instead"),
    "RMSprop": ({}, "RMSprop does not support sparse gradients"),
    "SGD": ({"momentum": 0.9}, "every row that ever had a sparse gradient"),
    "Adagrad": ({"weight_decay": 0.1}, "weight_decay option is not compatible with sparse"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("in_plain_python")
def test_what_torch_refuses(name):
    hyper, message = REFUSED[name]
    model, _ = models(torch.float32)
    before = model[0].weight.detach().clone()
    opt = getattr(fastadam.torch, name)(model.parameters(), **hyper)
    backward(model, torch.tensor([[1, 2]]), None)
    with pytest.raises(RuntimeError, match=message):
        opt.step()
    assert torch.equal(model[0].weight, before)


def test_unusual_gradients_are_refused():
    weight = torch.nn.Parameter(torch.ones(4, 3))
    opt = fastadam.torch.SparseAdam([weight])
    weight.grad = torch.ones(4, 3)
    with pytest.raises(RuntimeError, match="does not support dense gradients, please consider"):
        opt.step()
    weight.grad = torch.eye(4, 3).to_sparse()
    with pytest.raises(RuntimeError, match="2 sparse dimensions"):
        opt.step()
    places, values = torch.zeros(1, 2, dtype=torch.int64), torch.zeros(2, 3)
    gradient = torch.sparse_coo_tensor(
        places, values, (4, 3), device="meta", check_invariants=False
    )
    memory = SimpleNamespace(name="w")
    with pytest.raises(RuntimeError, match="the gradient of w is sparse and on meta; SGD takes"):
        check_layout(gradient, memory, "SGD", "SGD")
    weight.grad = torch.ones(4, 3).to_sparse(1)
    with pytest.raises(ValueError, match="zero_grads=True does not clear"):
        fastadam.torch.SparseAdam([weight], zero_grads=True).step()
    with pytest.raises(ValueError, match="lazy='rows': sparse gradients update"):
        fastadam.torch.SparseAdam([weight], lazy="rows")
    other = torch.nn.Parameter(torch.ones(3, 4).t())
    other.grad = torch.ones(4, 3).to_sparse(1)
    with pytest.raises(RuntimeError, match="not contiguous"):
        fastadam.torch.SparseAdam([other]).step()
    assert (weight == 1).all()
    opt.step()
    assert (weight < 1).all()
