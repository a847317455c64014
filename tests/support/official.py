"""Records what other packages compute, for tests/optimizers/test_official.py.

After `pip install torch pytorch_optimizer timm schedulefree prodigyopt keras optax torch-optimi
adam-mini fbgemm-gpu-cpu adabelief-pytorch bitsandbytes`, with KERAS_BACKEND=jax:

    python tests/support/official.py [words that the names of cases contain]

A case whose package is not installed keeps its record.
"""

import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from official_cases import RATES, TABLES, Official
from official_edges import EDGES

RECORDED = Path(__file__).parents[1] / "optimizers" / "official.json"
STEPS = 20
CASES = [*TABLES, *EDGES]
DISTRIBUTIONS = {
    "optimi": "torch-optimi",
    "adam_mini": "adam-mini",
    "fbgemm_gpu": "fbgemm-gpu-cpu",
    "adabelief_pytorch": "adabelief-pytorch",
}


def start(case: Official) -> dict[str, Any]:
    """The parameters before the first step."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape) for name, shape in case.shapes.items()}


def gradients(case: Official) -> Iterator[dict[str, Any]]:
    """The gradients of each step; two elements are zero, one of them in the first step only."""
    rng = np.random.default_rng(1)
    for step in range(STEPS):
        grads = {name: rng.standard_normal(shape) for name, shape in case.shapes.items()}
        for grad in grads.values():
            grad.flat[0] = 0.0
            grad.flat[1] *= step > 0
            if step in case.nonfinite:
                grad.flat[2] = np.nan
        yield grads


def rates(case: Official, rate: float) -> Iterator[float]:
    """The learning rate of each step."""
    return (rate * RATES[case.rates](step) for step in range(STEPS))


def trained(case: Official) -> dict[str, Any]:
    """The parameters after the steps of another package."""
    package = case.theirs.partition(".")[0]
    runs: dict[str, Callable[[Official], dict[str, Any]]] = {
        "keras": trained_in_keras,
        "optax": trained_in_jax,
        "fbgemm_gpu": trained_table,
    }
    with np.errstate(all="ignore"):
        return runs.get(package, trained_in_torch)(case)


def class_of(case: Official) -> Any:
    """The class or function of another package."""
    module, _, name = case.theirs.rpartition(".")
    return getattr(import_module(module), name)


def trained_in_torch(case: Official) -> dict[str, Any]:
    """The same for a class that follows torch.optim."""
    import torch

    cls, keywords = class_of(case), dict(case.keywords)
    decay = keywords.pop("average", None)
    if "foreach" in inspect.signature(cls).parameters:
        keywords = {**keywords, "foreach": False}
    params = {n: torch.nn.Parameter(torch.from_numpy(p)) for n, p in start(case).items()}
    named = case.theirs.startswith("adam_mini")
    opt = cls(params.items() if named else params.values(), **keywords)
    if hasattr(opt, "train"):
        opt.train()
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(decay or 0.0)
    averages = [param.detach().clone() for param in params.values()]
    for rate, grads in zip(rates(case, opt.param_groups[0]["lr"]), gradients(case), strict=True):
        for group in opt.param_groups:
            group["lr"] = rate
        for name, param in params.items():
            grad = torch.from_numpy(grads[name])
            param.grad = grad.to_sparse(1) if cls is torch.optim.SparseAdam else grad
        opt.step()
        if decay:
            average(averages, list(params.values()), 0)
    kept = dict(zip(params, averages, strict=True)) if decay else params
    return {name: param.detach().numpy() for name, param in kept.items()}


def trained_in_jax(case: Official) -> dict[str, Any]:
    """The same for a function of optax, or a chain or wrapper of several."""
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)

    def made(make: Any, keywords: dict[str, Any]) -> Any:
        if "learning_rate" in keywords:
            rate, factors = keywords["learning_rate"], [RATES[case.rates](k) for k in range(STEPS)]
            keywords = keywords | {"learning_rate": lambda k: rate * jnp.asarray(factors)[k]}
        inner = {name: value for name, value in keywords.items() if hasattr(optax, name)}
        outer = {name: value for name, value in keywords.items() if name not in inner}
        return make(*(made(getattr(optax, name), inner[name]) for name in inner), **outer)

    keywords = dict(case.keywords)
    decay = keywords.pop("average", None)
    opt = made(class_of(case), keywords)
    params = averages = {name: jnp.asarray(param) for name, param in start(case).items()}
    state = opt.init(params)
    for grads in gradients(case):
        given = {name: jnp.asarray(grad) for name, grad in grads.items()}
        updates, state = opt.update(given, state, params)
        params = optax.apply_updates(params, updates)
        if decay:
            averages = optax.incremental_update(params, averages, 1 - decay)
    return averages if decay else params


def trained_in_keras(case: Official) -> dict[str, Any]:
    """The same for a class of Keras."""
    import jax
    import keras

    jax.config.update("jax_enable_x64", True)
    keras.backend.set_floatx("float64")
    opt = class_of(case)(**case.keywords)
    params = {n: keras.Variable(p, dtype="float64", name=n) for n, p in start(case).items()}
    if case.named:
        opt.exclude_from_weight_decay(var_names=["bias"])
    first = float(opt.learning_rate)
    for rate, grads in zip(rates(case, first), gradients(case), strict=True):
        opt.learning_rate = rate
        given = [keras.ops.convert_to_tensor(grads[name], "float64") for name in params]
        opt.apply(given, list(params.values()))
    opt.finalize_variable_values(list(params.values()))
    return {name: param.numpy() for name, param in params.items()}


def trained_table(case: Official) -> dict[str, Any]:
    """The same for a table of FBGEMM, in float32."""
    import torch
    from fbgemm_gpu import split_table_batched_embeddings_ops_training as ops
    from fbgemm_gpu.split_embedding_configs import EmbOptimType

    ((name, param),) = start(case).items()
    optimizer = getattr(EmbOptimType, case.theirs.rpartition(".")[2])
    kind = (*param.shape, ops.EmbeddingLocation.HOST, ops.ComputeDevice.CPU)
    tables = ops.SplitTableBatchedEmbeddingBagsCodegen(
        [kind], optimizer=optimizer, **case.keywords
    )  # weight decay is for GPUs: this build of the CPU ignores it
    (weights,) = tables.split_embedding_weights()
    weights.data.copy_(torch.from_numpy(param))
    rows = len(param)
    indices, offsets = torch.arange(rows), torch.arange(rows + 1)
    for grads in gradients(case):
        tables(indices, offsets).backward(torch.from_numpy(grads[name]).float())
    return {name: weights.numpy()}


def record(case: Official) -> dict[str, Any]:
    """The result of another package, with its version and keywords."""
    package = case.theirs.partition(".")[0]
    return {
        "package": f"{package} {version(DISTRIBUTIONS.get(package, package))}",
        "keywords": case.keywords,
        "params": {name: np.asarray(p).tolist() for name, p in trained(case).items()},
    }


def main(*words: str) -> None:
    """Write the file."""
    before = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    records = {}
    for case in CASES:
        installed = importlib.util.find_spec(case.theirs.partition(".")[0])
        if installed and all(word in case.label for word in words):
            records[case.label] = record(case)
        elif case.label in before:
            records[case.label] = before[case.label]
    lines = (f"{json.dumps(label)}: {json.dumps(each)}" for label, each in records.items())
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
