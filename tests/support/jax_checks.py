"""Optimizers inside jitted functions of JAX; run by tests/jax in a process of its own, since JAX
warns of every later fork."""

import functools
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fastadam as fa
import fastadam.jax as fj
from fastadam.bench import steps, validation

STEPS = 50


def problem(dtype=np.float32):
    rng = np.random.default_rng(0)
    params = {"w": rng.standard_normal((200, 7)), "b": rng.standard_normal(5)}
    return {name: each.astype(dtype) for name, each in params.items()}


def loss(params):
    return jnp.sum(params["w"] ** 2) + jnp.sum(jnp.abs(params["b"]) ** 1.5)


def on_device(tree):
    return jax.tree.map(jnp.array, tree)


def addresses(tree):
    return [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(tree)]


def trained(tx, params, fused=False, where=None):
    """The parameters after all steps, in a jitted loop with donated buffers."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        grads = jax.grad(loss)(params)
        if fused:
            return tx.step(grads, state, params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = on_device(params)
    state = tx.init(params)
    for _ in range(STEPS):
        params, state = step(params, state)
        if where is not None:
            where.append(addresses((params, state)))
    return params


@pytest.mark.parametrize("fused", [False, True])
def test_it_matches_optax(fused):
    """To 1e-6: 50 roundings of a parameter are half an ulp each, 6e-8 of it."""
    ours = trained(fj.adamw(1e-3, weight_decay=1e-2), problem(), fused)
    theirs = trained(optax.adamw(1e-3, weight_decay=1e-2), problem())
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6)


def test_it_matches_optax_in_float64():
    """To 1e-12, ten thousand times an ulp: bias corrections of optax are rounded to float32 only
    without `jax_enable_x64`."""
    with jax.enable_x64(True):
        ours = trained(fj.adamw(1e-3, weight_decay=1e-2), problem(float))
        theirs = trained(optax.adamw(1e-3, weight_decay=1e-2), problem(float))
        for name in ours:
            assert ours[name].dtype == np.float64
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12, atol=1e-12)


def test_buffers_stay_where_they_are():
    """Nothing is allocated for parameters and state: all are updated in place."""
    where = []
    trained(fj.adamw(1e-3), problem(), fused=True, where=where)
    assert all(each == where[0] for each in where)


def test_it_is_a_part_of_a_chain():
    chain = optax.chain(optax.clip_by_global_norm(1.0), fj.adamw(1e-3))
    theirs = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=1e-2))
    ours, others = trained(chain, problem()), trained(theirs, problem())
    for name in ours:
        np.testing.assert_allclose(ours[name], others[name], rtol=1e-6, atol=1e-6)


def schedule(step):
    return 0.5 / step


@pytest.mark.parametrize(
    ("cls", "hyper"),
    [
        (fa.AdamW, {}),
        (fa.NAdam, {}),  # carries a number from step to step
        (fa.SGD, {"lr": schedule, "momentum": 0.9}),
    ],
    ids=str,
)
def test_it_gives_the_bits_of_the_optimizer(cls, hyper):
    """In float32, with more elements than one thread takes; schedules give float32."""
    rng = np.random.default_rng(1)
    param, grads = (
        rng.standard_normal(150_001).astype(np.float32),
        rng.standard_normal((4, 150_001)),
    )
    tx = fj.transformation(cls, **hyper)
    step, mine = jax.jit(tx.step), jnp.array(param)
    state = tx.init(mine)
    if "lr" in hyper:
        hyper = hyper | {"lr": lambda step: float(np.float32(schedule(step)))}
    opt = cls(param, **hyper)
    for grad in grads.astype(np.float32):
        mine, state = step(jnp.array(grad), state, mine)
        opt.step(grad)
    np.testing.assert_array_equal(mine, param)
    assert state.count == len(grads)


def test_each_dtype_has_a_call_of_its_own():
    params = {"half": jnp.ones(3, jnp.bfloat16), "single": jnp.ones(3, jnp.float32)}
    tx = fj.lion(0.25)
    grads = {"half": jnp.ones(3, jnp.float32), "single": jnp.ones(3, jnp.float32)}
    params, state = jax.jit(tx.step)(grads, tx.init(params), params)
    assert [str(each.dtype) for each in params.values()] == ["bfloat16", "float32"]
    assert all((each == 0.75).all() for each in params.values())
    assert state.state["exp_avg"]["half"].dtype == jnp.float32
    assert state.count == 1


def test_state_starts_where_the_class_says():
    state = fj.adagrad(initial_accumulator_value=0.5).init(jnp.ones(2))
    assert state.state["sum"].tolist() == [0.5, 0.5]


def test_calls_at_the_same_time():
    """Each has a share of XLA's threads, and none the work of another."""
    from concurrent.futures import ThreadPoolExecutor

    tx = fj.adamw(1e-1)
    step = jax.jit(tx.step)
    starts = [jnp.full(300_000, float(k)) for k in range(6)]

    def run(param):
        state = tx.init(param)
        for _ in range(5):
            param, state = step(param, state, param)
        return np.asarray(param)

    alone = [run(start) for start in starts]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(run, starts))
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fj.adamw(-1.0), ValueError, "lr=-1.0"),
        (lambda: fj.adamw(1e-3, momentum=0.9), TypeError, "momentum"),
        (lambda: fj.adamw(1e-3, amsgrad=lambda t: t > 3), TypeError, "only numbers"),
        (lambda: fj.adamwz, AttributeError, "adamw"),
        (lambda: fj.transformation(fa.Optimizer), TypeError, "Optimizer defines none"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_bad_trees(monkeypatch):
    tx, params = fj.adamw(), {"a": jnp.ones(3)}
    state = tx.init(params)
    with pytest.raises(ValueError, match="give params"):
        tx.update(params, state)
    with pytest.raises(ValueError, match="grads has the structure"):
        tx.update([params["a"]], state, params)
    with pytest.raises(ValueError, match="of shape"):
        tx.update({"a": jnp.ones(4)}, state, params)
    with pytest.raises(TypeError, match="dtype int32"):
        tx.update({"a": jnp.ones(3, int)}, state, {"a": jnp.ones(3, int)})
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(RuntimeError, match="on the CPU"):
        tx.update(params, state, params)


def test_the_code_of_the_documentation_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "embedding.md"
    pattern = r"<!-- needs: jax -->\n```python\n(.*?)```\n\n```output\n(.*?)```"
    found = re.findall(pattern, page.read_text(), re.S)
    assert found
    for code, output in found:
        exec(code, {})
        assert capsys.readouterr().out == output


def test_the_validation_of_benchmarks_accepts_optax():
    for case in validation.small_cases(steps.ADAMW):
        steps.validate(case, "optax", False)
