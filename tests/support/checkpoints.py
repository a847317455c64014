"""Optimizers whose checkpoints are tested, and the files of this version, which must load for ever.

python tests/support/checkpoints.py    # write the files anew, for a new version of the format
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import fastadam as fa

FIXTURES = Path(__file__).parents[1] / "checkpoint" / "fixtures"
F, BF = np.float32, ml_dtypes.bfloat16
SHAPES = {"w": (3, 7), "b": (), "none": (0, 4), "blocks": (600,)}
INT8 = {"state_dtype": "int8", "min_quantized_size": 0}
TAIL = {"clip_norm": 1.0, "ema_decay": 0.5, "shadow_dtype": "float16", "accumulate_steps": 2}


def tree(seed: int, dtype: Any = F) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()}


def trained(kind: Any = fa.AdamW, dtype: Any = F, steps: int = 3, **options: Any) -> Any:
    """An optimizer after some steps, of which the last left out a parameter."""
    opt = kind(tree(0, dtype), lr=0.1, **options)
    for seed in range(steps):
        opt.step({**tree(seed + 1, dtype), **({"b": None} if seed == steps - 1 else {})})
    return opt


def grouped(steps: int = 3) -> Any:
    groups = [
        {"params": [np.ones(3, F)]},
        {"params": [np.ones((2, 2), F)], "lr": 0.01, "name": "n"},
    ]
    opt = fa.AdamW(groups, lr=0.1)
    for _ in range(steps):
        opt.step([np.ones(3, F), np.ones((2, 2), F)])
    return opt


CASES: dict[str, Callable[..., Any]] = {
    "adamw": trained,
    "tail": lambda **more: trained(**TAIL, **more),
    "int8": lambda **more: trained(**INT8, **more),
    "bfloat16": lambda **more: trained(dtype=BF, compensation="split8", **INT8, **more),
    "float64": lambda **more: trained(dtype=np.float64, state_dtype="bfloat16", **more),
    "nadam": lambda **more: trained(fa.NAdam, **more),
    "sgd": lambda **more: trained(fa.SGD, **more),
    "groups": grouped,
}

if __name__ == "__main__":
    for name, make in CASES.items():
        fa.save(FIXTURES / f"{name}.safetensors", make(), extra={"case": name})
