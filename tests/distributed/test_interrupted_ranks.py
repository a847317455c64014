"""A step of a sharded optimizer that is interrupted in some processes is completed by their next
calls; processes are threads."""

import random

import numpy as np
import pytest
import ranks
from interruptions import Interrupt, interrupted_at

import fastadam as fa
from fastadam.distributed import Sharded

POINTS = 8  # of each case, at which one process is interrupted, and another one elsewhere
CASES = {
    "one after another": (2, {}),
    "norm": (3, {"clip_norm": 1.0, "comm_dtype": "float16"}),
    "rows": (2, {"whole_rows": True}),
    "micro-batches": (2, {"accumulate_steps": 2, "zero_grads": True}),
}
CALLS = {  # the next one
    "steps": lambda opt: opt.steps,
    "params": lambda opt: opt.params,
    "step": lambda opt: None,
}


def tree(seed, rank=0):
    rng = np.random.default_rng((seed, rank))
    shapes = {"a": 300, "b": (20, 3), "c": 5}
    return {name: rng.standard_normal(shape).astype("f4") for name, shape in shapes.items()}


def gradients(seed, rank, name):
    grads = tree(1 + seed, rank)
    if name == "rows":
        grads["b"] = fa.Rows(np.array([3, 7, 3, rank]), np.full((4, 3), 1.0 + seed, "f4"))
    elif rank:
        grads["c"] = None
    return grads


def outcome(name, points, call="step"):
    """Parameters and state of each process after two updates, and the lines of the second one.

    Args:
        points: for some processes the line before which that update is interrupted.
        call: that by which it is completed.
    """
    size, options = CASES[name]
    micro, lines = options.get("accumulate_steps", 1), []

    def of_one(comm):
        opt = Sharded(fa.AdamW, tree(0), comm, lr=0.1, bucket_bytes=256, **options)
        for seed in range(2 * micro - 1):
            opt.step(gradients(seed, comm.rank, name))
        grads = gradients(10, comm.rank, name)
        if comm.rank in points:
            begun = _interrupted(opt, grads, points[comm.rank], lines)
            if not begun:
                opt.step(grads)
            CALLS[call](opt)
        else:
            opt.step(grads)
        for seed in range(micro):
            opt.step(gradients(20 + seed, comm.rank, name))
        saved = opt.state_dict()["state"]
        assert opt.steps == 3
        arrays = [*opt.params.values(), *(a for entry in saved.values() for a in entry.values())]
        return [np.asarray(array).tobytes() for array in arrays]

    return ranks.results(size, of_one), lines


def _interrupted(opt, grads, point, lines):
    """Interrupt a step; returns whether it had begun, and will be completed."""

    def react():
        raise Interrupt

    try:
        lines.append(interrupted_at(point, lambda: opt.step(grads), react))
    except Interrupt:
        while opt._lock._is_owned():  # see `interrupted_at`
            opt._lock.release()
        if opt._step._running.locked():
            opt._step._running.release()
        return opt._step._begun is not None or opt.optimizer.steps == 2
    return True


@pytest.mark.parametrize("name", CASES)
def test_an_interrupted_step_is_completed_in_all_processes(name, monkeypatch):
    monkeypatch.setattr(ranks, "SECONDS", 20)
    whole, (lines,) = outcome(name, {0: 1 << 30})
    assert all(each == whole[0] for each in whole)
    generator = random.Random(1)
    for k in range(POINTS):
        points = {0: generator.randrange(1, lines)}
        if k % 2:
            points[CASES[name][0] - 1] = generator.randrange(1, lines)
        assert outcome(name, points, [*CALLS][k % 3])[0] == whole
