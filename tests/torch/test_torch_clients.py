"""Trainers of others, unchanged: same weights as with torch.optim, runs resumed both ways."""

from functools import cache

import pytest

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402
from fastadam.torch.offload import CPUOffload  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

OURS, THEIRS = ft.AdamW, torch.optim.AdamW
HYPER = {"lr": 1e-2, "weight_decay": 0.1}
LOW = {
    "compensation": "split8",
    "state_dtype": "int8",
    "min_quantized_size": 0,
    "rounding": "stochastic",
}


def assert_same(one, other, tolerance=2e-5):
    """Within the roundings of a few float32 steps through a smooth network."""
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-4, atol=tolerance)


def offloaded(params, **hyper):
    return CPUOffload(params, OURS, **hyper)


# Hugging Face


def gpt2():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=31,
        n_positions=12,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return transformers.GPT2LMHeadModel(config)


def tokens():
    rows = torch.randint(0, 31, (48, 12), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in rows]


def hf_trainer(cls, folder, steps=8, by_class=False, make=gpt2, options=(), **more):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    args = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_grad_norm=0.5,
        lr_scheduler_type="linear",
        warmup_steps=2,
        learning_rate=HYPER["lr"],
        save_steps=4,
        save_strategy="steps",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
        logging_steps=4,
        **more,
    )
    model = make()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    if by_class:
        given = {"optimizer_cls_and_kwargs": (cls, dict(HYPER))}
    else:
        given = {"optimizers": (cls(groups, lr=HYPER["lr"], **dict(options)), None)}
    return transformers.Trainer(model=model, args=args, train_dataset=tokens(), **given)


@pytest.fixture(scope="module")
def hf_run(tmp_path_factory):
    """A function of an optimizer: the model after eight steps, and the checkpoint after four."""

    @cache
    def run(cls):
        folder = tmp_path_factory.mktemp("hugging_face")
        trainer = hf_trainer(cls, folder)
        trainer.train()
        return trainer.model, str(folder / "checkpoint-4")

    return run


def test_hugging_face_trainer(hf_run):
    assert_same(hf_run(OURS)[0], hf_run(THEIRS)[0], 5e-5)


@pytest.mark.parametrize("more", [{"by_class": True}, {"bf16": True}], ids=["by class", "bf16"])
def test_hugging_face_trainer_with_other_arguments(tmp_path, more):
    trained = []
    for cls in (OURS, THEIRS):
        trainer = hf_trainer(cls, tmp_path / cls.__module__, **more)
        trainer.train()
        trained.append(trainer.model)
    assert_same(*trained, tolerance=2e-2 if "bf16" in more else 5e-5)


@pytest.mark.parametrize(("saves", "loads"), [(OURS, OURS), (OURS, THEIRS), (THEIRS, OURS)])
def test_hugging_face_trainer_resumes(tmp_path, saves, loads, hf_run):
    resumed = hf_trainer(loads, tmp_path)
    resumed.train(resume_from_checkpoint=hf_run(saves)[1])
    assert_same(resumed.model, hf_run(THEIRS)[0], 5e-5)


def test_hugging_face_trainer_with_the_optimizer_on_the_host(tmp_path):
    """The same bits, and resumed to the same bits."""

    def trained(cls, folder, **resume):
        trainer = hf_trainer(cls, tmp_path / folder)
        trainer.train(**resume)
        return [*trainer.model.parameters()]

    straight = trained(offloaded, "host")
    again = trained(
        offloaded, "again", resume_from_checkpoint=str(tmp_path / "host" / "checkpoint-4")
    )
    plain = trained(OURS, "plain")
    assert all(map(torch.equal, straight, plain))
    assert all(map(torch.equal, again, plain))


@pytest.mark.parametrize("options", [{}, LOW], ids=["plain", "low precision"])
def test_hugging_face_trainer_of_a_model_in_bfloat16(tmp_path, options, hf_run):
    """Trained in bfloat16 throughout, and resumed to the same bits."""

    def trained(folder, **resume):
        trainer = hf_trainer(
            OURS, tmp_path / folder, make=lambda: gpt2().bfloat16(), options=options
        )
        trainer.train(**resume)
        return trainer.model

    straight = trained("run")
    again = trained("again", resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-4"))
    assert {p.dtype for p in straight.parameters()} == {torch.bfloat16}
    for one, other in zip(straight.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    # bfloat16 keeps eight bits, and each of eight steps of at most 0.01 may be rounded otherwise
    assert_same(straight.float(), hf_run(THEIRS)[0], 8e-2)


def test_accelerate_takes_a_model_in_bfloat16(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    made = []
    for resume in (False, True):
        model = lightning_module(OURS).net.bfloat16()
        model, opt = accelerator.prepare(model, OURS(model.parameters(), lr=1e-2, **LOW))
        for number, batch in enumerate(batches()):
            if resume and number < 4:
                continue
            if resume and number == 4:
                accelerator.load_state(str(tmp_path / "at4"))
            if not resume and number == 4:
                accelerator.save_state(str(tmp_path / "at4"))
            batch = batch.bfloat16()
            opt.zero_grad()
            accelerator.backward((model(batch) - batch[:, :2]).square().mean())
            accelerator.clip_grad_norm_(model.parameters(), 0.5)
            opt.step()
        made.append([p.detach().clone() for p in model.parameters()])
        accelerator.free_memory()
    for one, other in zip(*made, strict=True):
        assert torch.equal(one, other)


# Lightning


def lightning_module(cls):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(
                torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2)
            )

        def training_step(self, batch, _):
            return (self.net(batch) - batch[:, :2]).square().mean()

        def configure_optimizers(self):
            opt = cls(self.parameters(), **HYPER)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=20)
            return {
                "optimizer": opt,
                "lr_scheduler": {"scheduler": schedule, "interval": "step"},
            }

    return Module()


def batches():
    rows = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
    return torch.utils.data.DataLoader(rows, batch_size=8)


def lightning_run(cls, folder, epochs=2, checkpoint=None, **more):
    lightning = pytest.importorskip("lightning")
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        gradient_clip_val=0.5,
        accumulate_grad_batches=2,
        default_root_dir=str(folder),
        **more,
    )
    module = lightning_module(cls)
    trainer.fit(module, batches(), ckpt_path=checkpoint)
    return module, trainer


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true"])
def test_lightning_trainer(tmp_path, precision):
    ours, _ = lightning_run(OURS, tmp_path, precision=precision)
    theirs, _ = lightning_run(THEIRS, tmp_path, precision=precision)
    assert_same(ours, theirs, 1e-2 if precision == "bf16-mixed" else 2e-6)


@pytest.fixture(scope="module")
def lightning_straight(tmp_path_factory):
    module, _ = lightning_run(THEIRS, tmp_path_factory.mktemp("lightning"), 4)
    return module


@pytest.mark.parametrize(
    ("saves", "loads"),
    [(OURS, OURS), (OURS, THEIRS), (THEIRS, OURS), (offloaded, THEIRS), (OURS, offloaded)],
)
def test_lightning_trainer_resumes(tmp_path, saves, loads, lightning_straight):
    _, trainer = lightning_run(saves, tmp_path, 2)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed, _ = lightning_run(loads, tmp_path, 4, str(tmp_path / "run.ckpt"))
    assert_same(resumed, lightning_straight, 2e-6)


def test_fabric(tmp_path):
    fabric_module = pytest.importorskip("lightning.fabric")
    fabric = fabric_module.Fabric(accelerator="cpu", devices=1)
    trained = []
    pairs = [(THEIRS, THEIRS), (OURS, OURS), (OURS, THEIRS), (THEIRS, OURS)]
    pairs += [(offloaded, offloaded), (offloaded, THEIRS), (OURS, offloaded)]
    for saves, loads in pairs:
        state = None
        for cls in (saves, loads):
            module = lightning_module(cls).net
            model, opt = fabric.setup(module, cls(module.parameters(), **HYPER))
            if state is not None:
                fabric.load(tmp_path / "run.ckpt", {"model": model, "opt": opt})
            for batch in batches():
                opt.zero_grad()
                fabric.backward((model(batch) - batch[:, :2]).square().mean())
                fabric.clip_gradients(model, opt, max_norm=0.5)
                opt.step()
            state = {"model": model, "opt": opt}
            fabric.save(tmp_path / "run.ckpt", state)
        trained.append(module)
    for other in trained[1:]:
        assert_same(other, trained[0], 2e-6)
