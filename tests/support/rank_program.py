"""A process of a test of several: `rank_program.py TASK ENGINE FOLDER [RANK SIZE]`."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from row_cases import assert_rows_of_one_process, given, of_one
from sharded_cases import (
    CASES,
    OPTIONS,
    assert_bits_of_one_process,
    assert_same_state,
    flat_of,
    gradients,
    off_of,
    parameters,
)

import fastadam as fa
from fastadam.distributed import OtherProcessError, Sharded


def world(engine, folder, rank=None, size=None):
    """All processes, as a communicator of the engine; a function that returns that of so many of
    them, or None in the others; and what is to be called at the end."""
    if engine == "mpi":
        from mpi4py import MPI

        whole = MPI.COMM_WORLD
        return whole, lambda size: first_of_mpi(whole, size), lambda: None
    import torch.distributed as dist

    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=int(rank), world_size=int(size))
    return dist.group.WORLD, first_of_gloo, dist.destroy_process_group


def first_of_mpi(whole, size):
    from mpi4py import MPI

    return whole.Split(0 if whole.rank < size else MPI.UNDEFINED, whole.rank) or None


def first_of_gloo(size):
    import torch.distributed as dist

    group = dist.new_group(range(size))
    return group if dist.get_rank() < size else None


def made(comm):
    return Sharded(fa.AdamW, parameters(), comm, bucket_bytes=9000, **OPTIONS)


def stepped(opt, steps):
    for step in steps:
        opt.step(gradients(step, off=off_of(opt._comm) if isinstance(opt, Sharded) else 0.0))
    return opt


def bits(comm, folder, first):
    """The bits of one process, in groups of these; one compiles the kernels, three load them."""
    alone, all_of_them, two = first(1), first(3), first(2)
    compiled = folder / "compiled"
    try:
        if alone:
            bits_of(alone, folder)
    finally:
        if alone:
            compiled.touch()
    while not compiled.exists():  # rather than in MPI, which keeps a core busy
        time.sleep(0.02)
    for group in filter(None, (all_of_them, two)):
        bits_of(group, folder)


def bits_of(comm, folder):
    """The bits of one process; three save a file, which two load."""
    for _, cls, kept, tail in CASES[::3]:  # test_sharded.py has all
        assert_bits_of_one_process(comm, cls, kept, tail, shared=tail == "plain")
    opt, path = made(comm), folder / "run.safetensors"
    if opt._comm.size == 2:
        assert fa.load(path, opt).extra == 3
    else:
        stepped(opt, range(5))
    if opt._comm.size == 3:
        fa.save(path, opt, extra=3)
    alone = stepped(fa.AdamW(parameters(), **OPTIONS), range(8))
    stepped(opt, range(5, 8))
    assert np.array_equal(flat_of(opt), flat_of(alone))
    assert_same_state(opt.state_dict(), alone.state_dict())
    rows(comm, folder)
    print("same bits")


def rows(comm, folder):
    """Row-sparse gradients, likewise: counts of rows are saved by three and loaded by two."""
    opt, alone = assert_rows_of_one_process(comm, "rows", steps=2, shared=True)
    path = folder / "rows.safetensors"
    if opt._comm.size == 3:
        fa.save(path, opt)
    if opt._comm.size == 2:
        fa.load(path, opt)
        fa.load(path, alone)
    rank, size = opt._comm.rank, opt._comm.size
    opt.step(given(2, rank, size, "float32"))
    alone.step(of_one(2, size, "float32"))
    assert np.array_equal(flat_of(opt), flat_of(alone))
    assert_same_state(opt.state_dict(), alone.state_dict())


def errors(comm, folder, first):
    """An error of one process is raised in all; then one is killed while all save."""
    opt, path = stepped(made(comm), range(3)), folder / "run.safetensors"
    rank, before = opt._comm.rank, flat_of(opt)
    bad = gradients(3) | ({"w": np.ones(3, "f4")} if rank else {})
    for refused, error in (
        (lambda: opt.step(bad), ValueError if rank else OtherProcessError),
        (lambda: Sharded(fa.AdamW, {"w": np.ones(3 + rank)}, comm), ValueError),
        (lambda: Sharded(fa.AdamW, parameters(), comm, lr=0.1 + rank), ValueError),
    ):
        try:
            refused()
        except error:
            print(f"refused by {rank}", flush=True)
    assert np.array_equal(flat_of(opt), before)
    fa.save(path, stepped(opt, range(3, 4)))
    print("saved", flush=True)
    stepped(opt, range(4, 6))
    fa.save(path, opt, progress=lambda done, total: killed() if rank else None)


def death(comm, folder, first):
    """One process is killed between steps."""
    opt = stepped(made(comm), range(2))
    print("stepped", flush=True)
    if opt._comm.rank:
        killed()
    stepped(opt, range(2, 4))


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    task, engine, folder, *place = sys.argv[1:]
    comm, first, end = world(engine, folder, *place)
    globals()[task](comm, Path(folder), first)
    end()
