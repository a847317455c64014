"""Programs of others that offload, with optimizers of fastadam: the bits are those without them."""

import copy
import importlib.util
import queue

import pytest

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402
from fastadam.torch.offload import CPUAdam  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

F32, BF16 = torch.float32, torch.bfloat16
HYPER = {"betas": (0.9, 0.99), "eps": 1e-8}


def model_of(dtype, width=7, param=torch.nn.Parameter):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(width, width) for _ in range(2)]
    model = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1]).to(dtype)
    for layer in layers:
        for name, value in [*layer.named_parameters()]:
            setattr(layer, name, param(value.detach()))
    return model


def groups_of(model):
    params = [*model.parameters()]
    return [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in params if p.ndim == 1], "weight_decay": 0.0},
    ]


def train(model, opt, seeds):
    """As with a scheduler, which edits the groups."""
    for seed in seeds:
        for group in opt.param_groups:
            group["lr"] = 0.01 / (1 + seed)
        first = next(model.parameters())
        generator = torch.Generator().manual_seed(seed)
        batch = torch.randn(4, first.shape[1], generator=generator).to(first.dtype)
        (model(batch) - batch).float().square().mean().backward()
        opt.step()
        opt.zero_grad()


def same(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


# torchao: an optimizer for each large parameter, one more for small ones


def torchao_offload(monkeypatch):
    from no_accelerator import stand_in

    module = pytest.importorskip("torchao.optim.cpu_offload")
    stand_in(monkeypatch)
    monkeypatch.setattr(module, "get_available_devices", lambda: ["cpu", "cuda"])
    return module.CPUOffloadOptimizer


@pytest.mark.parametrize(
    ("dtype", "options"), [(F32, {}), (BF16, {}), (F32, {"state_dtype": "int8"})], ids=str
)
@pytest.mark.usefixtures("in_plain_python")
def test_torchao(monkeypatch, dtype, options):
    offload = torchao_offload(monkeypatch)
    plain, other = model_of(dtype), model_of(dtype)
    opt = ft.AdamW(groups_of(plain), **HYPER, **options)
    given = {**HYPER, **options, "minimal_size": 10, "offload_gradients": dtype is BF16}
    theirs = offload(groups_of(other), ft.AdamW, **given)
    for each, optimizer in ((plain, opt), (other, theirs)):
        train(each, optimizer, range(3))
    same(plain, other)
    again = model_of(dtype)
    again.load_state_dict(other.state_dict())
    resumed = offload(groups_of(again), ft.AdamW, **given)
    resumed.load_state_dict(copy.deepcopy(theirs.state_dict()))
    # from here its own groups of small parameters are no longer those of its optimizer
    for optimizer in (opt, resumed):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 / 3
    for each, optimizer in ((plain, opt), (again, resumed)):
        some = torch.ones(2, 7, dtype=dtype)
        (each(some) - some).float().square().mean().backward()
        optimizer.step()
    same(plain, again)


# Megatron-Core: an optimizer for each parameter, or one for all


def hybrid_optimizer():
    """The class, without Megatron-Core's other modules, which take seconds to import."""
    megatron = importlib.util.find_spec("megatron")
    if megatron is None:
        pytest.skip("needs megatron-core")
    path = megatron.submodule_search_locations[0] + "/core/optimizer/cpu_offloading"
    spec = importlib.util.spec_from_file_location("hybrid", path + "/hybrid_optimizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.HybridDeviceOptimizer


@pytest.mark.parametrize("masters", [True, False], ids=["float32 masters", "no masters"])
@pytest.mark.parametrize("overlap", [True, False], ids=["overlap", "alone"])
@pytest.mark.usefixtures("in_plain_python")
def test_megatron_core(monkeypatch, overlap, masters):
    from no_accelerator import OnDevice, stand_in

    stand_in(monkeypatch)
    settings = {
        "offload_fraction": 1.0,
        "overlap_cpu_optimizer_d2h_h2d": overlap,
        "param_update_in_fp32": masters,
        "cpu_optimizer_cls": ft.AdamW,
        "lr": 0.01,
        **HYPER,
    }
    dtype = BF16 if masters else F32
    made, hybrid = [], hybrid_optimizer()
    for _ in range(2):
        made.append(model_of(dtype, param=OnDevice))
        made.append(hybrid(groups_of(made[-1]), **settings))
    model, opt, again, resumed = made
    train(model, opt, range(3))
    saved = copy.deepcopy(opt.state_dict())
    resumed.dummy_step()
    with torch.no_grad():
        for mine, theirs in zip(again.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs)
    resumed.load_state_dict(saved)
    for each, optimizer in ((model, opt), (again, resumed)):
        train(each, optimizer, range(3, 5))
    same(model, again)
    # it copies gradients to the dtype of the weights, which are float32 if there are masters
    plain, grads = model_of(F32), model_of(dtype)
    with torch.no_grad():
        for weight, param in zip(plain.parameters(), grads.parameters(), strict=True):
            weight.copy_(param)
    beside = ft.AdamW(groups_of(plain), **HYPER)
    beside.zero_grad = grads.zero_grad
    step = beside.step

    def stepped():
        for weight, param in zip(plain.parameters(), grads.parameters(), strict=True):
            weight.grad = param.grad.float()
        step()
        with torch.no_grad():
            for weight, param in zip(plain.parameters(), grads.parameters(), strict=True):
                param.copy_(weight)

    beside.step = stepped
    train(grads, beside, range(5))
    same(model, grads)


# DeepSpeed


@pytest.fixture(scope="module")
def deepspeed(tmp_path_factory):
    """The package, with a process group of this process, and nothing that is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DS_ACCELERATOR", "cpu")
        for name in ("RANK", "LOCAL_RANK", "MASTER_PORT"):  # else it looks for MPI
            patch.setenv(name, "0")
        patch.setenv("WORLD_SIZE", "1")
        patch.setenv("MASTER_ADDR", "localhost")
        package = pytest.importorskip("deepspeed")
        patch.setitem(package.ops.__compatible_ops__, "deepspeed_shm_comm", False)
        path = tmp_path_factory.mktemp("deepspeed") / "store"
        package.init_distributed(init_method=f"file://{path}", rank=0, world_size=1)
        yield package
        package.comm.destroy_process_group()


def engine_of(deepspeed, cls, stage, dtype, **options):
    model = model_of(F32)
    opt = cls(groups_of(model), lr=0.01, **HYPER, **options)
    schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: 1 / (1 + step))
    zero = {"stage": stage, "offload_optimizer": {"device": "cpu"}}
    config = {
        "train_micro_batch_size_per_gpu": 4,
        "gradient_accumulation_steps": 2,
        "gradient_clipping": 0.5,
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
        **({"bf16": {"enabled": True}} if dtype is BF16 else {}),
    }
    return deepspeed.initialize(model=model, optimizer=opt, lr_scheduler=schedule, config=config)[0]


def losses(engine, dtype, seeds):
    found = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        batch = torch.randn(4, 7, generator=generator).to(dtype)
        loss = (engine(batch) - batch).float().square().mean()
        engine.backward(loss)
        engine.step()
        found.append(loss.item())
    return found


@pytest.mark.deepspeed
@pytest.mark.parametrize("dtype", [F32, BF16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.usefixtures("in_plain_python")
def test_deepspeed_zero_with_its_optimizer_on_the_host(deepspeed, tmp_path, stage, dtype):
    engine = engine_of(deepspeed, ft.AdamW, stage, dtype)
    beside = engine_of(deepspeed, torch.optim.AdamW, stage, dtype)
    whole = losses(engine, dtype, range(8))
    # both round a few float32 numbers in other orders, of losses of about one
    assert whole == pytest.approx(losses(beside, dtype, range(8)), abs=1e-5)
    engine = engine_of(deepspeed, ft.AdamW, stage, dtype)
    losses(engine, dtype, range(4))
    engine.save_checkpoint(str(tmp_path), tag="four")
    resumed = engine_of(deepspeed, ft.AdamW, stage, dtype)
    resumed.load_checkpoint(str(tmp_path), tag="four")
    assert losses(resumed, dtype, range(4, 8)) == whole[4:]
    small = engine_of(deepspeed, ft.AdamW, stage, dtype, state_dtype="int8", min_quantized_size=1)
    assert losses(small, dtype, range(8)) == pytest.approx(whole, abs=0.01)  # codes of an eighth


@pytest.mark.deepspeed
@pytest.mark.usefixtures("in_plain_python")
def test_the_worker_of_superoffload(deepspeed, monkeypatch):
    """Its loop, in this process: steps of two groups in turn, one of them reversed."""
    module = pytest.importorskip("deepspeed.runtime.superoffload.superoffload_utils")
    monkeypatch.setattr(module, "DeepSpeedCPUAdam", CPUAdam)
    config = {"lr": 0.01, "weight_decay": 0.1, "amsgrad": False, **HYPER}
    generator = torch.Generator().manual_seed(0)
    shards = [torch.randn(9, generator=generator) for _ in range(2)]
    others = [torch.nn.Parameter(shard.clone()) for shard in shards]
    plain = torch.optim.AdamW([*others], lr=0.01, weight_decay=0.1, **HYPER)
    tasks, results = queue.SimpleQueue(), queue.SimpleQueue()
    keys, before = module.TaskKeys, shards[1].clone()

    def put(number, grad, rollback=False):
        tasks.put(
            {
                keys.PARAM_DATA: shards[number],
                keys.PARAM_GRAD: grad,
                keys.PARAM_GROUP_ID: number,
                keys.SUB_GROUP_ID: number,
                keys.ROLLBACK: rollback,
            }
        )

    for step in range(3):
        for number, other in enumerate(others):
            grad = torch.randn(9, generator=generator)
            put(number, grad)
            if step == 2 and number == 1:
                put(number, grad, rollback=True)
                continue
            other.grad = grad.clone()
        if step < 2:
            plain.step()
    others[1].grad = None
    plain.step()
    tasks.put(None)
    module.superoffload_optimizer_worker(tasks, results, [config, config], 9, pin_memory=False)
    events = [results.get() for _ in range(7)]
    assert not any("error" in event for event in events)
    assert events[-1][module.ResultKeys.EVENT_TYPE] == module.EventTypes.ROLLBACK
    # a step and its reversal, of numbers of about one, are rounded
    for shard, other in zip(shards, others, strict=True):
        torch.testing.assert_close(shard, other.detach(), rtol=1e-6, atol=2e-6)
    assert not torch.equal(shards[1], before)
