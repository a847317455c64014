"""Records what other packages compute in 50 steps, for tests/optimizers/test_official.py.

After `pip install torch pytorch_optimizer timm schedulefree adam-mini fbgemm-gpu-cpu`:

    python tests/support/official.py
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).parents[1] / "optimizers" / "official.json"
DECAY = {"weight_decay": 0.1}
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
}  # for each of our classes the module and the class there, our keywords and theirs


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
    if "foreach" in inspect.signature(cls).parameters:
        keywords = {**keywords, "foreach": False}
    rng = np.random.default_rng(0)
    param = torch.nn.Parameter(torch.from_numpy(rng.standard_normal(10)))
    opt = cls([param], **keywords)
    if module == "schedulefree":
        opt.train()
    for _ in range(50):
        param.grad = torch.from_numpy(rng.standard_normal(10))
        opt.step()
    return param.detach().tolist()


def main() -> None:
    """Write the file."""
    recorded = {}
    for ours, (module, name, hyper, keywords) in CASES.items():
        package = module.partition(".")[0]
        recorded[ours] = {
            "package": f"{package} {version(package.replace('_', '-'))}",
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
