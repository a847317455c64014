"""Records what other packages compute in 50 steps, for tests/optimizers/test_official.py.

After `pip install torch pytorch_optimizer timm schedulefree prodigyopt keras optax torch-optimi
adam-mini fbgemm-gpu-cpu`:

    python tests/support/official.py
"""

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).parents[1] / "optimizers" / "official.json"
DECAY = {"weight_decay": 0.1}
MOMENTUM, NESTEROV = {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}
KERAS = {"learning_rate": 0.05}  # halved after 25 steps, so that conventions show
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "AdEMAMix": (
        "pytorch_optimizer",
        "AdEMAMix",
        {"alpha_warmup": 30, "beta3_warmup": 30, **DECAY},
        {"alpha": 2.0, "t_alpha_beta3": 30, "weight_decouple": True, **DECAY},
    ),
    "Yogi": ("pytorch_optimizer", "Yogi", DECAY, DECAY),
    "AdaBelief": ("pytorch_optimizer", "AdaBelief", DECAY, DECAY),
    "FTRL": (
        "pytorch_optimizer",
        "FTRL",
        {"l1": 0.1},
        {"lr": 0.1, "beta": 1.0, "lambda_1": 0.1},
    ),
    "Signum": ("pytorch_optimizer", "SignSGD", DECAY, DECAY),
    "Grams": ("pytorch_optimizer", "Grams", DECAY, DECAY),
    "Adan": ("timm.optim", "Adan", DECAY, DECAY),
    "ADOPT": (
        "timm.optim",
        "Adopt",
        {"clip_exp": 0.333, **DECAY, "decoupled_weight_decay": True},
        {"decoupled": True, **DECAY},
    ),
    "LaProp": ("timm.optim", "LaProp", DECAY, DECAY),
    "StableAdamW": ("pytorch_optimizer", "StableAdamW", DECAY, DECAY),
    "Prodigy": (
        "prodigyopt",
        "Prodigy",
        {"bias_correction": True, "d0": 1e-3, **DECAY},
        {"use_bias_correction": True, "d0": 1e-3, **DECAY},
    ),
    "MARS": ("pytorch_optimizer", "MARS", DECAY, {"optimize_1d": True, **DECAY}),
    "LAMB": ("timm.optim", "Lamb", DECAY, {"max_grad_norm": None, "always_adapt": True, **DECAY}),
    "LARS": (
        "timm.optim",
        "Lars",
        {"lr": 0.5, "nesterov": True, **DECAY},
        {"lr": 0.5, "momentum": 0.9, "nesterov": True, "always_adapt": True, **DECAY},
    ),
    "ScheduleFreeAdamW": (
        "schedulefree",
        "AdamWScheduleFree",
        {"lr": 0.05, "warmup_steps": 10, "r": 0.5, **DECAY},
        {"lr": 0.05, "warmup_steps": 10, "r": 0.5, **DECAY},
    ),
    "ScheduleFreeSGD": ("schedulefree", "SGDScheduleFree", DECAY, DECAY),
    "Adam, Keras": (
        "keras.optimizers",
        "Adam",
        {"lr": 0.05, "eps": 1e-3, "eps_mode": "hat"},
        {**KERAS, "epsilon": 1e-3},
    ),
    "SGD, Keras": (
        "keras.optimizers",
        "SGD",
        {"lr": 0.05, **NESTEROV, "lr_in_momentum": True},
        {**KERAS, **NESTEROV},
    ),
    "SGD, Keras, decoupled": (
        "keras.optimizers",
        "SGD",
        {"lr": 0.05, **MOMENTUM, "lr_in_momentum": True, **DECAY, "decoupled_weight_decay": True},
        {**KERAS, **MOMENTUM, **DECAY},
    ),
    "RMSprop, Keras": (
        "keras.optimizers",
        "RMSprop",
        {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "eps_in_sqrt": True, "centered": True}
        | {**MOMENTUM, "lr_in_momentum": True, **DECAY, "decoupled_weight_decay": True},
        {**KERAS, "epsilon": 1e-3, "centered": True, **MOMENTUM, **DECAY},
    ),
    "Lion, Keras": ("keras.optimizers", "Lion", {"lr": 0.05, **DECAY}, {**KERAS, **DECAY}),
    "RMSprop, optax": (
        "optax",
        "rmsprop",
        {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "eps_in_sqrt": True},
        {**KERAS, "eps": 1e-3},
    ),
    "RMSprop, optax, momentum": (
        "optax",
        "rmsprop",
        {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "eps_in_sqrt": True, "lr_in_momentum": True}
        | {"centered": True, **MOMENTUM},
        {**KERAS, "eps": 1e-3, "centered": True, **MOMENTUM},
    ),
    "Adagrad, optax": (
        "optax",
        "adagrad",
        {"lr": 0.05, "eps": 1e-3, "initial_accumulator_value": 0.1, "eps_in_sqrt": True},
        {**KERAS, "eps": 1e-3},
    ),
    "Adagrad, Keras": (
        "keras.optimizers",
        "Adagrad",
        {"lr": 0.05, "eps": 1e-3, "initial_accumulator_value": 0.1, "eps_in_sqrt": True},
        {**KERAS, "epsilon": 1e-3},
    ),
    "SGD, optax": ("optax", "sgd", {"lr": 0.05, **NESTEROV}, {**KERAS, **NESTEROV}),
    "AdamW, optax": ("optax", "adamw", {"lr": 0.05, **DECAY}, {**KERAS, **DECAY}),
    "AdaBelief, optax": (
        "optax",
        "adabelief",
        {"lr": 0.05, "betas": (0.9, 0.999), "eps": 1e-16},
        KERAS,
    ),
    "SGD, optimi": (
        "optimi",
        "SGD",
        {"lr": 0.05, **MOMENTUM, **DECAY, "decoupled_weight_decay": True},
        {"lr": 0.05, **MOMENTUM, **DECAY, "decouple_wd": True},
    ),
    "AdamW, optimi": (
        "optimi",
        "AdamW",
        {"lr": 0.05, "betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": 1e-3}
        | {"weight_decay_mode": "independent"},
        {"lr": 0.05, "weight_decay": 1e-3, "decouple_lr": True},
    ),
}  # for each of our classes the module and the class there, our keywords and theirs
HALVED = 25  # steps after which the learning rate of some is halved


TABLE = (6, 4)  # the shape of the parameter of packages that know rows


def trained_table(package: str) -> list[list[float]]:
    """A table after 50 steps of FBGEMM's row-wise Adagrad, in float32, or of Adam-mini."""
    import torch

    rng = np.random.default_rng(0)
    param = torch.nn.Parameter(torch.from_numpy(rng.standard_normal(TABLE)))
    if package == "fbgemm_gpu":
        from fbgemm_gpu import split_table_batched_embeddings_ops_training as ops
        from fbgemm_gpu.split_embedding_configs import EmbOptimType

        tables = ops.SplitTableBatchedEmbeddingBagsCodegen(
            [(*TABLE, ops.EmbeddingLocation.HOST, ops.ComputeDevice.CPU)],
            optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD,
            learning_rate=0.05,
            eps=1e-8,
        )  # weight decay is for GPUs: this build of the CPU ignores it
        (weights,) = tables.split_embedding_weights()
        weights.data.copy_(param)
        indices, offsets = torch.arange(TABLE[0]), torch.arange(TABLE[0] + 1)
        for _ in range(50):
            grad = torch.from_numpy(rng.standard_normal(TABLE)).float()
            tables(indices, offsets).backward(grad)
        return weights.tolist()
    from adam_mini import Adam_mini

    named = [("mlp.weight", param)]
    opt = Adam_mini(named, lr=0.01, weight_decay=0.1, dim=4, n_heads=2, verbose=False)
    for _ in range(50):
        param.grad = torch.from_numpy(rng.standard_normal(TABLE))
        opt.step()
    return param.detach().tolist()


ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "RowwiseAdagrad": ("fbgemm_gpu", {"lr": 0.05}),
    "AdamMini": ("adam_mini", {"lr": 0.01, **DECAY}),
}


def trained(module: str, name: str, keywords: dict[str, Any]) -> list[float]:
    """The parameters after 50 steps of a class of another package."""
    import inspect
    from importlib import import_module

    import torch

    cls = getattr(import_module(module), name)
    if module == "optax":
        return trained_in_jax(cls, keywords)
    if module == "keras.optimizers":
        return trained_in_keras(cls, keywords)
    if "foreach" in inspect.signature(cls).parameters:
        keywords = {**keywords, "foreach": False}
    rng = np.random.default_rng(0)
    param = torch.nn.Parameter(torch.from_numpy(rng.standard_normal(10)))
    opt = cls([param], **keywords)
    if module == "schedulefree":
        opt.train()
    halved = module == "optimi"
    for step in range(50):
        if halved and step == HALVED:
            opt.param_groups[0]["lr"] /= 2
        param.grad = torch.from_numpy(rng.standard_normal(10))
        opt.step()
    return param.detach().tolist()


def trained_in_jax(make: Any, keywords: dict[str, Any]) -> list[float]:
    """The same for a function of optax."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    rng, rate = np.random.default_rng(0), keywords["learning_rate"]
    rates = optax.piecewise_constant_schedule(rate, {HALVED: 0.5})
    opt = make(**{**keywords, "learning_rate": rates})
    param = jnp.asarray(rng.standard_normal(10))
    state = opt.init(param)
    for _ in range(50):
        updates, state = opt.update(jnp.asarray(rng.standard_normal(10)), state, param)
        param = optax.apply_updates(param, updates)
    return np.asarray(param).tolist()


def trained_in_keras(cls: Any, keywords: dict[str, Any]) -> list[float]:
    """The same for a class of Keras."""
    import keras

    keras.backend.set_floatx("float64")
    rng, opt = np.random.default_rng(0), cls(**keywords)
    param = keras.Variable(rng.standard_normal(10), dtype="float64")
    for step in range(50):
        if step == HALVED:
            opt.learning_rate = keywords["learning_rate"] / 2
        opt.apply([keras.ops.convert_to_tensor(rng.standard_normal(10), "float64")], [param])
    return np.asarray(param.numpy()).tolist()


def main() -> None:
    """Write the file."""
    recorded = json.loads(RECORDED.read_text())
    for ours, (module, name, hyper, keywords) in CASES.items():
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            continue  # the record stays as it is
        package = {"optimi": "torch-optimi"}.get(module, module.partition(".")[0])
        halved = module in ("optimi", "optax", "keras.optimizers")
        recorded[ours] = {
            "package": f"{package} {version(package.replace('_', '-'))}",
            "halved": HALVED if halved else None,
            "hyper": hyper,
            "param": trained(module, name, keywords),
        }
    for ours, (package, hyper) in ROWS.items():
        name = {"fbgemm_gpu": "fbgemm-gpu-cpu", "adam_mini": "adam-mini"}[package]
        recorded[ours] = {
            "package": f"{package} {version(name)}",
            "hyper": hyper,
            "param": trained_table(package),
        }
    RECORDED.write_text(json.dumps(recorded, indent=1))


if __name__ == "__main__":
    main()
