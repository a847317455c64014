"""Records state_dicts of other packages, for tests/torch/test_torch_packages.py.

After `pip install torch pytorch_optimizer timm prodigyopt`:

    python tests/support/package_states.py
"""

import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).parents[1] / "torch" / "package_states.json"
DECAY = {"weight_decay": 0.1}
FREE = {"lr": 0.05, "warmup_steps": 10, **DECAY}
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("Prodigy", "prodigyopt", "Prodigy", {"d0": 1e-3, "use_bias_correction": True, **DECAY}),
    ("Prodigy", "prodigyopt", "Prodigy", {"d0": 1e-3, "decouple": False, **DECAY}),
    ("Prodigy", "pytorch_optimizer", "Prodigy", {"d0": 1e-3, **DECAY, "weight_decouple": True}),
    (
        "AdEMAMix",
        "pytorch_optimizer",
        "AdEMAMix",
        {"t_alpha_beta3": 60, "weight_decouple": True, **DECAY},
    ),
    ("Adan", "pytorch_optimizer", "Adan", DECAY),
    ("Adan", "timm.optim.adan", "Adan", DECAY),
    ("RMSprop", "timm.optim.rmsprop_tf", "RMSpropTF", {"momentum": 0.9}),
    ("ADOPT", "timm.optim.adopt", "Adopt", {"decoupled": True, **DECAY}),
    ("ScheduleFreeAdamW", "pytorch_optimizer", "ScheduleFreeAdamW", FREE),
    ("ScheduleFreeSGD", "pytorch_optimizer", "ScheduleFreeSGD", FREE),
]  # the class here; the module, the class and its keywords there
SHAPES = ((2, 3), (2,))  # the second parameter begins at 0
SAVED, LATER = 12, 8  # steps before and after the state_dict


def parameters() -> list[Any]:
    """The parameters at the start."""
    import torch

    rng = np.random.default_rng(0)
    first = rng.standard_normal(SHAPES[0])
    return [torch.nn.Parameter(torch.from_numpy(each)) for each in (first, np.zeros(SHAPES[1]))]


def train(opt: Any, params: list[Any], steps: int, seed: int) -> None:
    """Take steps with random gradients."""
    import torch

    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for param in params:
            param.grad = torch.from_numpy(rng.standard_normal(tuple(param.shape)))
        opt.step()


def _plain(value: Any) -> Any:
    if not hasattr(value, "tolist"):
        return value
    return value.item() if value.numel() == 1 else value.tolist()


def recorded(module: str, name: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """A state_dict of a class, the parameters then and later."""
    import inspect

    cls = getattr(import_module(module), name)
    if "foreach" in inspect.signature(cls).parameters:
        keywords = {**keywords, "foreach": False}
    params = parameters()
    opt = cls(params, **keywords)
    train(opt, params, SAVED, 1)
    saved = opt.state_dict()
    result: dict[str, Any] = {
        "param_groups": [{k: _plain(v) for k, v in g.items()} for g in saved["param_groups"]],
        "state": {n: {k: _plain(v) for k, v in e.items()} for n, e in saved["state"].items()},
        "params": [param.tolist() for param in params],
    }
    train(opt, params, LATER, 2)
    return {**result, "later": [param.tolist() for param in params]}


def main() -> None:
    """Write the file."""
    cases = []
    for ours, module, name, keywords in CASES:
        package = module.partition(".")[0]
        about = {"ours": ours, "package": f"{package} {version(package)}"}
        cases.append({**about, **recorded(module, name, keywords)})
    RECORDED.write_text(json.dumps(cases, indent=None).replace('{"ours"', '\n{"ours"') + "\n")


if __name__ == "__main__":
    main()
