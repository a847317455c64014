"""State of some shards, loaded with others; a fake process group stands for them."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
dist = torch.distributed

import fastadam.torch as ft  # noqa: E402
from fastadam.torch.offload import CPUOffload  # noqa: E402
from fastadam.torch.shard_sums import ShardSums  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("in_plain_python")]

SHAPES = ((5, 256), (7, 41))  # rows of whole blocks, and others; the fourth shard of five is empty
INT8 = {"lr": 0.05, "state_dtype": "int8", "min_quantized_size": 1}
MOMENTS = ("exp_avg", "exp_avg_sq")


class Shards:
    """The processes of a mesh, one after the other.

    Args:
        size: the number of processes.
        make: makes an optimizer of its parameters.
        device: that of the mesh while steps are taken.
    """

    def __init__(self, size, make, device="cpu"):
        self.size, self.make, self.device = size, make, device
        self.opts, self.params = [], []
        self._each(self._made)

    def _each(self, function):
        found = []
        for rank in range(self.size):
            store = fake.FakeStore()
            dist.init_process_group("fake", store=store, rank=rank, world_size=self.size)
            try:
                found.append(function(rank))
            finally:
                dist.destroy_process_group()
        return found

    def _made(self, rank):
        mesh = dist.device_mesh.init_device_mesh("cpu", (self.size,))
        self.params.append([torch.nn.Parameter(_part(v, mesh, rank)) for v in _values(0)])
        self.opts.append(self.make(self.params[-1]))

    def step(self, seed):
        def taken(rank):
            for param, grad in zip(self.params[rank], _values(seed), strict=True):
                param.grad = _part(grad, param.device_mesh, rank)
            mesh = param.device_mesh
            mesh._device_type = self.device
            self.opts[rank].step()
            self.opts[rank].state_dict()
            mesh._device_type = "cpu"

        self._each(taken)

    def weights(self):
        """The whole parameters."""
        return [
            torch.cat([p.detach()._local_tensor for p in each])
            for each in zip(*self.params, strict=True)
        ]

    def saved(self):
        """The whole tensors of a distributed checkpoint, from the shards of the state_dicts."""
        states = self._each(lambda rank: self.opts[rank].state_dict())
        entries = {}
        for number in range(len(SHAPES)):
            each = [state["state"][number] for state in states]
            entries[number] = {name: _whole([e[name] for e in each]) for name in each[0]}
        return {"state": entries, "param_groups": states[0]["param_groups"]}

    def load(self, saved, weights):
        def loaded(rank):
            mesh = self.params[rank][0].device_mesh
            with torch.no_grad():
                for param, weight in zip(self.params[rank], weights, strict=True):
                    param._local_tensor.copy_(_part(weight, mesh, rank)._local_tensor)
            state = {
                number: {
                    name: _part(v, mesh, rank) if v.dim() > 1 else v.clone()
                    for name, v in entry.items()
                }
                for number, entry in saved["state"].items()
            }
            self.opts[rank].load_state_dict({**saved, "state": state})

        self._each(loaded)


def _values(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def _part(whole, mesh, rank):
    """The rows of a process, as a DTensor."""
    from torch.distributed.tensor import DTensor, Shard

    rows = -(-len(whole) // mesh.size())
    bounds = [min(len(whole), rows * k) for k in range(mesh.size() + 1)]
    first, last = [*pairwise(bounds)][rank]
    given = {"shape": whole.shape, "stride": whole.stride(), "run_check": False}
    return DTensor.from_local(whole[first:last].clone(), mesh, [Shard(0)], **given)


def _whole(parts):
    if hasattr(parts[0], "_local_tensor"):
        return torch.cat([part._local_tensor for part in parts])
    assert all(torch.equal(part, parts[0]) for part in parts)
    return parts[0].clone()


@pytest.mark.parametrize(
    "make",
    [
        lambda params: ft.AdamW(params, **INT8),
        lambda params: CPUOffload(params, ft.AdamW, **INT8),
    ],
    ids=["plain", "offload"],
)
@pytest.mark.parametrize(("saving", "loading"), [(4, (1, 2, 3)), (1, (3,))], ids=["4", "1"])
def test_codes_survive_another_number_of_shards(make, saving, loading):
    before = Shards(saving, make)
    for seed in (1, 2):
        before.step(seed)
    saved, weights = before.saved(), before.weights()
    rows, others = (saved["state"][number] for number in range(2))
    assert {rows[name].dtype for name in MOMENTS} == {torch.int8}  # the blocks are the same
    assert {others[name].dtype for name in MOMENTS} == {torch.float32}  # are others
    before.step(3)
    for size in loading:
        some = Shards(size, make)
        some.load(saved, weights)
        again = some.saved()["state"]
        for name in (*MOMENTS, *(name + "_scale" for name in MOMENTS)):
            assert torch.equal(again[0][name], rows[name]), (size, name)
        some.step(3)
        assert torch.equal(some.weights()[0], before.weights()[0])
        # a code is within an eighth of its number, as four steps of at most lr show
        torch.testing.assert_close(some.weights()[1], before.weights()[1], rtol=0, atol=0.02)
        assert some.saved()["state"][0]["exp_avg"].dtype == torch.int8


@pytest.mark.parametrize(
    "make",
    [
        lambda params: ft.AdamW(params, ema_decay=0.5, **INT8),
        lambda params: ft.RowwiseAdagrad(params, lr=0.05),
        lambda params: CPUOffload(params, ft.AdamW, **INT8),
    ],
    ids=["int8", "rows", "offload"],
)
def test_state_of_shards_on_the_host_stays_there_if_the_mesh_is_one_of_gpus(monkeypatch, make):
    """As FSDP2's CPUOffloadPolicy has them; copies to a GPU raise here."""
    monkeypatch.setattr(ShardSums, "all_true", lambda self, value: value)  # a message of the mesh
    plain, some = Shards(2, make), Shards(2, make, "cuda")
    for seed in (1, 2):
        plain.step(seed)
        some.step(seed)
    for one, other in zip(plain.weights(), some.weights(), strict=True):
        assert torch.equal(one, other)
