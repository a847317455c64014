"""The functions of each process of a distributed test; started by `torch.multiprocessing`."""

import copy
import gc
import os

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import fastadam.torch as ft

STEPS = 6
OURS, THEIRS = ft.AdamW, torch.optim.AdamW
HYPER = {"lr": 0.05, "weight_decay": 0.1}


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 15), torch.nn.Tanh(), torch.nn.Linear(15, 9), torch.nn.Linear(9, 2)
    )


def batches(rank, start=0, stop=STEPS):
    return [
        torch.randn(8, 6, generator=torch.Generator().manual_seed(100 * step + rank))
        for step in range(start, stop)
    ]


def train(model, opt, some):
    for batch in some:
        opt.zero_grad()
        (model(batch) - batch[:, :2]).square().mean().backward()
        opt.step()


def weights(model):
    full = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return [p.detach().clone() for p in full]


def assert_same(one, other):
    """Within the roundings of a few float32 steps; the network is smooth."""
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=2e-6)


def reference(rank, **more):
    """The weights under DistributedDataParallel and torch's optimizer."""
    model = DistributedDataParallel(net())
    train(model, THEIRS(model.parameters(), **HYPER), batches(rank, **more))
    return weights(model)


def ddp(rank, folder):
    want = reference(rank)
    for view in (False, True):
        model = DistributedDataParallel(net(), gradient_as_bucket_view=view)
        opt = OURS(model.parameters(), **HYPER)
        train(model, opt, batches(rank))
        assert_same(weights(model), want)
        if view:
            assert not opt._tensor_step.gradients.copies


def zero(rank, folder):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    want = reference(rank, stop=STEPS + 3)
    for view in (False, True):
        model = DistributedDataParallel(net())
        opt = ZeroRedundancyOptimizer(
            model.parameters(), optimizer_class=OURS, parameters_as_bucket_view=view, **HYPER
        )
        train(model, opt, batches(rank))
        opt.consolidate_state_dict(to=0)
        saved = [opt.state_dict()] if rank == 0 else [None]
        dist.broadcast_object_list(saved)
        for cls in (OURS, THEIRS):
            plain = net()
            for target, source in zip(plain.parameters(), weights(model), strict=True):
                target.data.copy_(source)
            resumed = cls(plain.parameters(), **HYPER)
            resumed.load_state_dict(saved[0])
            train(DistributedDataParallel(plain), resumed, batches(rank, STEPS, STEPS + 3))
            assert_same(weights(plain), want)


def fully_sharded(model, **how):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    return fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)), **how)


def fsdp(rank, folder):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))

    def sharded():
        model = net()
        for layer in model:
            if isinstance(layer, torch.nn.Linear):
                fully_shard(layer, mesh=mesh)
        return fully_shard(model, mesh=mesh)

    want = reference(rank, stop=STEPS + 3)
    for saves, loads in ((OURS, OURS), (OURS, THEIRS), (THEIRS, OURS)):
        model = sharded()
        opt = saves(model.parameters(), **HYPER)
        train(model, opt, batches(rank))
        path = os.path.join(folder, f"{saves.__module__}-{loads.__module__}")
        saved_model, saved_opt = get_state_dict(model, opt)
        dcp.save({"model": saved_model, "opt": saved_opt}, checkpoint_id=path)
        dist.barrier()

        model = sharded()
        opt = loads(model.parameters(), **HYPER)
        live_model, live_opt = get_state_dict(model, opt)
        state = {"model": live_model, "opt": live_opt}
        dcp.load(state, checkpoint_id=path)
        set_state_dict(model, opt, model_state_dict=state["model"], optim_state_dict=state["opt"])
        train(model, opt, batches(rank, STEPS, STEPS + 3))
        assert_same(weights(model), want)


def fsdp_clip(rank, folder):
    """The norm is that of all shards, which torch's own function takes, too."""
    for per in ("global", "tensor"):
        model, other = fully_sharded(net()), fully_sharded(net())
        opt = OURS(model.parameters(), **HYPER, clip_norm=0.1, clip_norm_per=per)
        theirs = THEIRS(other.parameters(), **HYPER)
        for batch in batches(rank):
            for each, optimizer in ((model, opt), (other, theirs)):
                optimizer.zero_grad()
                (each(batch) - batch[:, :2]).square().mean().backward()
            opt.step()
            params = [*other.parameters()]
            norms = [
                torch.nn.utils.clip_grad_norm_(some, 0.1).full_tensor()
                for some in ([params] if per == "global" else [[param] for param in params])
            ]
            whole = torch.stack(norms).square().sum().sqrt()
            torch.testing.assert_close(opt.info.grad_norm, whole.item(), rtol=1e-5, atol=0)
            theirs.step()
        assert_same(weights(model), weights(other))


def fsdp_skip(rank, folder):
    """A number that one process finds in its shard skips the step in all."""
    start = weights(net())
    big = torch.finfo(torch.float64).max / 2  # finite; its square is not
    for dtype, bad, skips in ((None, torch.inf, True), (torch.float64, big, False)):
        model = fully_sharded(net().to(dtype))
        opt = OURS(model.parameters(), **HYPER, skip_nonfinite=True)
        for step in range(2):
            give_gradients([*model.parameters()], step)
            if rank == 1 and step == 0:
                model[0].weight.grad.to_local()[0, 0] = bad
            opt.step()
            skipped = skips and step == 0
            assert (opt.info.skipped, opt.info.updated) == (skipped, not skipped)
            assert all(map(torch.equal, weights(model), start)) == skipped
    give_gradients([*model.parameters()], 2)
    opt.found_inf = torch.tensor(float(rank))  # as GradScaler does
    before = weights(model)
    opt.step()
    assert opt.info.skipped
    assert all(map(torch.equal, weights(model), before))


def fsdp_objects(rank, folder):
    """Steps leave no object behind."""
    model = fully_sharded(net())
    opt = OURS(model.parameters(), **HYPER)
    train(model, opt, batches(rank))
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(200):
        opt.step()
    gc.collect()
    assert len(gc.get_objects()) - before < 100  # some of PyTorch's own


def tensor_parallel(rank, folder):
    """Gradients are partial sums where parameters are replicas."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Partial, Shard
    from torch.distributed.tensor import parallel as tp

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    made = []
    for cls, more in ((OURS, {"zero_grads": True, "clip_norm": 0.1}), (THEIRS, {})):
        torch.manual_seed(0)
        layers = (
            torch.nn.LayerNorm(6),
            torch.nn.Linear(6, 8),
            torch.nn.Tanh(),
            torch.nn.Linear(8, 6),
        )
        model = torch.nn.Sequential(*layers)
        plan = {"0": tp.SequenceParallel(), "1": tp.ColwiseParallel(input_layouts=Shard(1))}
        plan["3"] = tp.RowwiseParallel(output_layouts=Shard(1))
        tp.parallelize_module(model, mesh, plan)
        opt = cls(model.parameters(), **HYPER, **more)
        for batch in batches(rank):
            model(batch.view(2, 4, 6)).square().mean().backward()
            assert isinstance(model[0].weight.grad.placements[0], Partial)
            if cls is THEIRS:
                grads = [param.grad.full_tensor() for param in model.parameters()]
                factor = 0.1 / (torch.cat([grad.flatten() for grad in grads]).norm() + 1e-6)
                for param in model.parameters():
                    param.grad.mul_(factor.clamp(max=1))
            opt.step()
            if cls is THEIRS:
                opt.zero_grad()
        made.append(weights(model))
    assert_same(*made)


def fsdp_ema(rank, folder):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = fully_shard(net(), mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    opt = OURS(model.parameters(), ema_decay=0.5, **HYPER)
    train(model, opt, batches(rank))
    before, averages = weights(model), [average.full_tensor() for average in opt.ema]
    with opt.swap_ema():
        assert_same(weights(model), averages)
    assert_same(weights(model), before)
    assert not torch.equal(before[0], averages[0])


def fsdp_rows(rank, folder):
    """Numbers of rows are sharded as the rows are; a block of more than a shard is refused."""
    import fastadam.torch as ft

    model, plain = fully_sharded(net()), net()
    made = [ft.RowwiseAdagrad(each.parameters(), lr=0.05) for each in (model, plain)]
    for each, opt in zip((model, plain), made, strict=True):
        steps(each, opt, range(3))
    assert_same(weights(model), [param.detach() for param in plain.parameters()])
    pairs = zip(*(opt.state.values() for opt in made), strict=True)
    assert_same(*zip(*((a["sum"].full_tensor(), b["sum"]) for a, b in pairs), strict=True))
    with pytest.raises(RuntimeError, match="have parts of them"):
        steps(model, ft.AdamMini(model.parameters()), [3])


def fsdp_offload(rank, folder):
    """Shards of each process, with state that plain optimizers load."""
    from torch.distributed.checkpoint.state_dict import get_state_dict

    from fastadam.torch.offload import CPUOffload

    clips = {"clip_norm": 0.1}
    for overlap, more in (
        (True, {}),
        (False, {**clips, "clip_norm_per": "tensor"}),
        (False, clips),
    ):
        model, other, hyper = fully_sharded(net()), fully_sharded(net()), HYPER | more
        opt = CPUOffload(model.parameters(), OURS, overlap=overlap, bucket_bytes=100, **hyper)
        plain = OURS(other.parameters(), **hyper)
        for each, optimizer in ((model, opt), (other, plain)):
            train(each, optimizer, batches(rank))
        assert all(map(torch.equal, weights(model), weights(other)))
    with pytest.raises(RuntimeError, match="lamb adds up numbers of whole parameters"):
        CPUOffload(model.parameters(), ft.LAMB)
    save(folder + "/offload", *get_state_dict(model, opt))
    for make in (OURS, lambda params, **kwargs: CPUOffload(params, OURS, **kwargs)):
        model = fully_sharded(net())
        model, opt = load(folder + "/offload", model, make(model.parameters(), **hyper))
        again = fully_sharded(net())
        again.load_state_dict(other.state_dict())
        same = OURS(again.parameters(), **hyper)
        same.load_state_dict(plain.state_dict())
        for each, optimizer in ((model, opt), (again, same)):
            train(each, optimizer, batches(rank, STEPS, STEPS + 3))
        assert all(map(torch.equal, weights(model), weights(again)))


def fsdp_host(rank, folder):
    """Shards on the host, and a bfloat16 copy of the whole parameters during a pass."""
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy

    policy = CPUOffloadPolicy(pin_memory=False)  # there is no accelerator
    mixed = {"mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16)}
    for more, how in (
        ({}, {}),
        ({"clip_norm": 0.1}, mixed),
        ({"state_dtype": "int8", "min_quantized_size": 1}, mixed),
    ):
        made = []
        for given in ({}, {"offload_policy": policy}):
            model = fully_sharded(net(), **how, **given)
            made.append((model, OURS(model.parameters(), **HYPER, **more)))
            train(*made[-1], batches(rank))
        (model, opt), (other, _) = reversed(made)
        assert all(map(torch.equal, weights(model), weights(other)))
        assert {param.to_local().device.type for param in model.parameters()} == {"cpu"}
    save(folder + "/host", *get_state_dict(model, opt))
    again = fully_sharded(net(), offload_policy=policy, **mixed)
    resumed = OURS(again.parameters(), **HYPER, **more)
    load(folder + "/host", again, resumed)
    for some, each in ((model, opt), (again, resumed)):
        train(some, each, batches(rank, STEPS, STEPS + 3))
    assert all(map(torch.equal, weights(model), weights(again)))
    give, plain = fully_sharded(net(), offload_policy=policy), net()
    for some in (give, plain):  # the same gradients
        steps(some, OURS(some.parameters(), **HYPER), range(3))
    assert all(map(torch.equal, weights(give), weights(plain)))


# Low precision

SMALLEST = {"compensation": "split8", "state_dtype": "int8", "rounding": "stochastic"}
SMALL = {"lr": 0.05, **SMALLEST, "min_quantized_size": 100}  # some parameters, not all


def give_gradients(params, step, rank=0):
    """The same in every process, of which each takes its shard; of another rank's seed, others."""
    for number, param in enumerate(params):
        generator = torch.Generator().manual_seed(1000 * step + 10 * number + rank)
        grad = torch.randn(param.shape, generator=generator).to(param.dtype)
        if hasattr(param, "device_mesh"):
            from torch.distributed.tensor import distribute_tensor

            grad = distribute_tensor(grad, param.device_mesh, param.placements)
        param.grad = grad


def steps(model, opt, some):
    for step in some:
        give_gradients([*model.parameters()], step)
        opt.step()


def low_net():
    torch.manual_seed(0)
    layers = torch.nn.Linear(41, 39), torch.nn.Tanh(), torch.nn.Linear(39, 2)
    return torch.nn.Sequential(*layers).bfloat16()


def low_fsdp(rank, folder):
    from torch.distributed.checkpoint.state_dict import get_state_dict

    def sharded(**hyper):
        model = fully_sharded(low_net())
        return model, OURS(model.parameters(), **hyper)

    # shards are moved as parameters of their own are
    model, opt = sharded(**SMALL)
    steps(model, opt, range(3))
    weight = model[0].weight
    entry = opt.state[weight]
    assert entry["exp_avg"].to_local().shape == (20 - rank, 41)
    assert entry["exp_avg"].to_local().dtype == torch.int8
    assert entry["exp_avg_scale"].shape == (2, 4)  # of 820 elements each
    assert opt.state[model[2].bias]["exp_avg"].to_local().dtype == torch.float32
    floats = opt.dequantized_state()["state"][0]["exp_avg"]
    got = opt.master()[0]
    assert (floats.dtype, got.dtype) == (torch.float32, torch.float32)
    near = weight.detach().to_local().float()
    torch.testing.assert_close(got.to_local(), near, rtol=2.0**-8, atol=0)  # half a last bit

    save(folder + "/low", *get_state_dict(model, opt))
    again, resumed = load(folder + "/low", *sharded(**SMALL))
    for some, each in ((model, opt), (again, resumed)):
        steps(some, each, range(3, 5))
    for one, other in zip(opt.state.values(), resumed.state.values(), strict=True):
        for name, value in one.items():
            assert torch.equal(
                getattr(value, "_local_tensor", value),
                getattr(other[name], "_local_tensor", other[name]),
            ), name
    for one, other in zip(weights(model), weights(again), strict=True):
        assert torch.equal(one, other)

    # codes of whole parameters do not fit those of shards
    plain = low_net()
    whole = OURS(plain.parameters(), **SMALL)
    steps(plain, whole, [0])
    assert whole.state[plain[0].weight]["exp_avg_scale"].shape == (7,)
    broken, refused = sharded(**SMALL)
    saved = opt.state_dict()
    saved["state"] = {0: {**opt.state[weight], "exp_avg_scale": torch.zeros(7)}}
    refused.load_state_dict(saved)
    with pytest.raises(ValueError, match=r"expected \(2, 4\)"):
        steps(broken, refused, [0])


def save(path, model_state, opt_state):
    import torch.distributed.checkpoint as dcp

    dcp.save({"model": model_state, "opt": opt_state}, checkpoint_id=path)
    dist.barrier()


def load(path, model, opt):
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    live_model, live_opt = get_state_dict(model, opt)
    state = {"model": live_model, "opt": live_opt}
    dcp.load(state, checkpoint_id=path)
    set_state_dict(model, opt, model_state_dict=state["model"], optim_state_dict=state["opt"])
    return model, opt


def low_shards(rank, folder):
    """Codes load with another number of shards: unchanged if rows are whole blocks."""
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    two = init_device_mesh("cpu", (2,))
    one = init_device_mesh("cpu", (2, 1), mesh_dim_names=("replicas", "shards"))

    def sharded(mesh):
        torch.manual_seed(0)
        layers = torch.nn.Linear(256, 41), torch.nn.Tanh(), torch.nn.Linear(41, 39)
        model = fully_shard(torch.nn.Sequential(*layers), mesh=mesh)
        return model, OURS(model.parameters(), lr=0.05, state_dtype="int8", min_quantized_size=100)

    for number, (saves, loads) in enumerate(((two, one), (one, two))):
        path = f"{folder}/shards{number}"
        model, opt = sharded(saves)
        steps(model, opt, range(3))
        save(path, *get_state_dict(model, opt))
        again, resumed = load(path, *sharded(loads))
        for name in ("exp_avg", "exp_avg_sq", "exp_avg_scale", "exp_avg_sq_scale"):
            before, after = opt.state[model[0].weight][name], resumed.state[again[0].weight][name]
            assert torch.equal(before.full_tensor(), after.full_tensor())
        floats = opt.dequantized_state()["state"][2]
        for name in ("exp_avg", "exp_avg_sq"):  # whose rows are no whole blocks
            after = resumed.state[again[2].weight][name]
            assert torch.equal(floats[name].full_tensor(), after.full_tensor())
        for some, each in ((model, opt), (again, resumed)):
            steps(some, each, [3])
        assert resumed.state[again[2].weight]["exp_avg"].dtype == torch.int8
        for ours, theirs in zip(weights(model), weights(again), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0.01, atol=0.02)  # less than a step


def low_zero(rank, folder):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model, hyper = low_net(), {**SMALL, "seed": 1}
    opt = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=OURS, **hyper)
    steps(model, opt, range(3))
    opt.consolidate_state_dict(to=0)
    saved = [copy.deepcopy(opt.state_dict()) if rank == 0 else None]  # no tensor is shared
    dist.broadcast_object_list(saved)
    assert saved[0]["state"][0]["exp_avg"].dtype == torch.int8
    assert saved[0]["state"][0]["exp_avg_scale"].dtype == torch.float32
    again = low_net()
    for target, source in zip(again.parameters(), weights(model), strict=True):
        target.data.copy_(source)
    resumed = ZeroRedundancyOptimizer(again.parameters(), optimizer_class=OURS, **hyper)
    resumed.load_state_dict(saved[0])
    for some, each in ((model, opt), (again, resumed)):
        steps(some, each, range(3, 5))
    for one, other in zip(weights(model), weights(again), strict=True):
        assert torch.equal(one, other)


def run(rank, size, names, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size
    )
    for name in names:
        globals()[name](rank, folder)
        gc.collect()  # what holds the process group in a cycle, before the group goes
        dist.barrier()
    dist.destroy_process_group()
