"""Sharded optimizers: the bits of one process, for any number of processes and any bucket."""

from itertools import product

import numpy as np
import pytest
from ranks import results, run
from row_cases import ROW_CASES, assert_rows_of_one_process, given, of_one, tables
from sharded_cases import (
    CASES,
    OPTIONS,
    SHAPES,
    assert_bits_of_one_process,
    assert_same_state,
    flat_of,
    gradients,
    off_of,
    parameters,
)

import fastadam as fa
from fastadam.distributed import OtherProcessError, Sharded
from fastadam.distributed.buckets import Line, buckets_of
from fastadam.engine.partition import BLOCK

pytest.importorskip("ml_dtypes")


@pytest.mark.parametrize(("size", "cls", "kept", "tail"), CASES)
def test_the_bits_of_one_process(size, cls, kept, tail):
    results(size, lambda comm: assert_bits_of_one_process(comm, cls, kept, tail, flat=size == 2))


@pytest.mark.parametrize("name", ROW_CASES)
@pytest.mark.usefixtures("in_plain_python")
def test_rows_of_all_processes_are_those_of_one(name):
    results(3, lambda comm: assert_rows_of_one_process(comm, name))


@pytest.mark.parametrize(("name", "after"), [("rows", 1), ("rowwise", 2)])
@pytest.mark.usefixtures("in_plain_python")
def test_numbers_of_rows_go_on_with_another_number_of_processes(name, after):
    cls, _, options = ROW_CASES[name]

    def first(comm):
        opt, _ = assert_rows_of_one_process(comm, name, steps=2)
        return opt.state_dict(), opt.params

    saved, params = results(3, first)[0]

    def then(comm):
        flat = fa.flatten({key: array.copy() for key, array in params.items()})
        opt = Sharded(cls, flat, comm, lr=0.01, **options)
        opt.load_state_dict(saved)
        opt.step(given(2, comm.rank, comm.size, "float32"))
        return opt.state_dict(), opt.params

    alone = cls({key: array.copy() for key, array in params.items()}, lr=0.01, **options)
    alone.load_state_dict(saved)
    alone.step(of_one(2, after, "float32"))
    for state, arrays in results(after, then):
        assert_same_state(state, alone.state_dict())
        for key, array in alone.params.items():
            np.testing.assert_array_equal(arrays[key], array)


@pytest.mark.usefixtures("in_plain_python")
@pytest.mark.parametrize("call", ["step", "state_dict", "load_state_dict", "params"])
def test_an_interrupted_exchange_of_sums_is_completed_by_the_next_call(call):
    def interrupted(comm):
        opt = Sharded(fa.SGD, [np.ones(3, "f4")], comm, lr=0.5, accumulate_steps=2)
        grads = [[np.full(3, k, "f4")] for k in range(3)]
        opt.step(grads[1])
        collect = opt._exchange.collect

        def fails(*given):
            raise ArithmeticError("on purpose")

        opt._exchange.collect = fails
        with pytest.raises(ArithmeticError, match="on purpose"):
            opt.step(grads[2])
        opt._exchange.collect = collect
        member = getattr(opt, call)
        if call != "params":
            member(*{"step": [grads[1]], "load_state_dict": [opt.state_dict()]}.get(call, []))
        assert opt.steps == 1
        return opt.params[0]

    for found in results(2, interrupted):
        np.testing.assert_array_equal(found, np.full(3, 1 - 0.5 * 1.5, "f4"))


WRONG_ROWS = {  # what process 1 gives for a table of 300 rows
    "range": (lambda: fa.Rows([300], np.ones((1, 24), "f4")), IndexError, r"indices\[0\] is 300"),
    "twice": (lambda: fa.Rows([3, 3], np.ones((2, 24), "f4"), unique=True), ValueError, "row 3 is"),
    "array": (lambda: np.ones((300, 24), "f4"), ValueError, "Rows in process 0, but an array in"),
    "dtype": (
        lambda: fa.Rows([3], np.ones((1, 24), "f2")),
        ValueError,
        "float16 in process 1, but",
    ),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
@pytest.mark.usefixtures("in_plain_python")
def test_rows_that_one_process_refuses_change_nothing(name):
    make, kind, message = WRONG_ROWS[name]

    def step(comm):
        opt = Sharded(fa.SGD, {"t": tables("float32")["t"]}, comm, whole_rows=True)
        wrong = make() if comm.rank else fa.Rows([3], np.ones((1, 24), "f4"))
        with pytest.raises((kind, OtherProcessError), match=message) as raised:
            opt.step({"t": wrong})
        np.testing.assert_array_equal(opt.params["t"], tables("float32")["t"])
        assert opt.step({"t": None if comm.rank else wrong}).updated
        return raised.type

    assert results(2, step)[1] is kind


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"divided inside of rows, .*whole_rows=True"),
        ({"accumulate_steps": 1, "zero_grads": True}, "zero_grads=True does not clear"),
    ],
)
def test_rows_that_do_not_go_with_options(options, message):
    opt = Sharded(fa.SGD, {"t": np.ones((70, 90), np.float32)}, OneProcess(), **options)
    rows = fa.Rows([3], np.ones((1, 90), np.float32))
    with pytest.raises(ValueError, match=message):
        opt.step({"t": rows})
    with opt.no_sync(), pytest.raises(ValueError, match=r"divided inside|zero_grads|no_sync"):
        opt.step({"t": rows})


@pytest.mark.parametrize(
    ("sizes", "length"), [*product([(5000, 3, 0, 2049), (7,)], [1, 1500, 99999])]
)
@pytest.mark.parametrize("processes", [1, 2, 7])
def test_parts_are_whole_blocks_and_cover_the_line(sizes, length, processes):
    line = Line(sizes)
    buckets = buckets_of(line, [(0, sum(sizes))], length, processes)
    covered = [span for bucket in buckets for span in bucket.parts]
    assert [start for start, _ in covered] == [0, *(stop for _, stop in covered[:-1])]
    assert covered[-1][1] == sum(sizes)
    for start, stop in covered:
        for number, first, end in line.pieces(start, stop):
            assert first % BLOCK == 0
            assert end % BLOCK == 0 or end == sizes[number]


def test_state_is_a_share_in_each_process():
    def kept(comm):
        opt = Sharded(fa.AdamW, fa.flatten({"w": np.ones(64 * BLOCK, np.float32)}), comm)
        opt.grads.buffer[:] = 1
        opt.step()
        nbytes = sum(array.nbytes for column in opt.state.values() for array in column)
        return nbytes, opt.memory()

    for nbytes, memory in results(4, kept):
        assert nbytes == 2 * 4 * 64 * BLOCK / 4
        assert memory.own.state == nbytes
        assert memory.whole.state == 4 * nbytes
        assert "in this process, of 4" in repr(memory)


def test_a_refused_gradient_is_raised_everywhere_and_nothing_changes():
    def step(comm):
        flat = parameters()
        opt = Sharded(fa.AdamW, flat, comm)
        grads = gradients(0)
        if comm.rank == 1:
            grads["w"] = grads["w"][:2]
        try:
            opt.step(grads)
        except (ValueError, OtherProcessError) as error:
            np.testing.assert_array_equal(flat.buffer, parameters().buffer)
            assert opt.steps == 0
            opt.step(gradients(0))  # and it goes on
            return type(error), str(error)
        return None

    (first, text), (second, _) = results(2, step)
    assert second is ValueError
    assert first is OtherProcessError
    assert "process 1 raised ValueError: grads['w']" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rank: {"lr": 0.1 + rank}, "the keyword arguments is .* in process 1"),
        (lambda rank: {"bucket_bytes": 1 << (20 + rank)}, "bucket_bytes"),
        (lambda rank: {"skip_nonfinite": bool(rank)}, "skip_nonfinite"),
    ],
)
def test_other_settings_in_a_process_are_refused(make, message):
    errors = run(2, lambda comm: Sharded(fa.AdamW, parameters(), comm, **make(comm.rank)))
    for error in errors:
        with pytest.raises(ValueError, match=message):
            raise error


def test_other_arguments_of_a_step_in_a_process_are_refused():
    def step(comm):
        opt = Sharded(fa.AdamW, parameters(), comm)
        opt.step(gradients(0), lr=0.1 + comm.rank)

    for error in run(2, step):
        with pytest.raises(ValueError, match="hyperparameters"):
            raise error


def test_an_error_in_one_constructor_is_raised_everywhere():
    first, second = run(
        2, lambda comm: Sharded(fa.AdamW, parameters(), comm, **({"lrr": 1} if comm.rank else {}))
    )
    assert type(first) is OtherProcessError
    assert type(second) is TypeError
    assert "did you mean 'lr'" in str(second)


def test_none_counts_as_zero_where_another_process_has_a_gradient():
    def step(comm):
        opt = Sharded(fa.SGD, parameters(), comm, lr=1.0)
        grads = gradients(0)
        grads["b"] = None
        if comm.rank:
            grads["w"] = None
        opt.step(grads)
        return opt.params, opt.optimizer.state

    start = parameters()
    for params, _ in results(2, step):
        np.testing.assert_array_equal(params["b"], start["b"])
        np.testing.assert_array_equal(params["w"], start["w"] - gradients(0)["w"] / 2)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.usefixtures("in_plain_python")
def test_a_process_whose_parameters_have_no_gradient_takes_part_in_the_step(size):
    start = {"a": np.ones(3), "b": np.full(2 * BLOCK, 2.0)}  # in small buckets, one each
    passes = [("a",), ("b",), ("a", "b"), ("a",)]
    grads = [{n: np.full_like(v, k + 1) if n in names else None for n, v in start.items()}
             for k, names in enumerate(passes)]  # fmt: skip
    options = {"lr": 0.1, "momentum_decay": 0.5, "clip_norm": 1.0, "ema_decay": 0.5}
    alone = fa.NAdam(fa.flatten(start), **options)
    infos = [alone.step(each) for each in grads]

    def steps(comm):
        opt = Sharded(fa.NAdam, fa.flatten(start), comm, bucket_bytes=8 * BLOCK, **options)
        found, saved = [opt.step(each) for each in grads], opt.state_dict()
        again = Sharded(fa.NAdam, fa.flatten(start), comm, bucket_bytes=8 * BLOCK, **options)
        again.load_state_dict(saved)
        return found, opt.params, saved, again.steps

    for found, params, saved, count in results(size, steps):
        assert found == infos
        assert count == alone.steps == int(saved["step"])
        for name in start:
            np.testing.assert_array_equal(params[name], alone.params[name])
        assert_same_state(saved, alone.state_dict())


def test_found_inf_in_one_process_skips_the_step_in_all():
    def step(comm):
        opt = Sharded(fa.AdamW, parameters(), comm)
        info = opt.step(gradients(0), found_inf=comm.rank == 1)
        return info, opt.params["w"]

    for info, array in results(2, step):
        assert info.skipped
        assert info.step == 0
        np.testing.assert_array_equal(array, parameters()["w"])


def test_found_inf_of_a_micro_batch_skips_the_update():
    def steps(comm):
        opt = Sharded(fa.SGD, parameters(), comm, lr=lambda step: 0.5, accumulate_steps=2)
        bad = {name: np.full_like(array, np.inf) for name, array in gradients(0).items()}
        infos = [opt.step(bad, found_inf=comm.rank == 1)]
        with pytest.raises(RuntimeError, match="found_inf=True, which a checkpoint does not hold"):
            opt.state_dict()
        infos += [opt.step(gradients(k)) for k in range(3)]
        return infos, opt.params["w"]

    for rank, (infos, array) in enumerate(results(2, steps)):
        assert [info.skipped for info in infos] == [rank == 1, True, False, False]
        assert [info.updated for info in infos] == [False, False, False, True]
        assert {info.lr for info in infos} == {0.5}
        mean = (gradients(1)["w"] + gradients(2)["w"]) / 2
        np.testing.assert_array_equal(array, parameters()["w"] - 0.5 * mean)


def test_no_sync_adds_without_messages():
    def step(comm):
        opt = Sharded(fa.SGD, parameters(), comm, lr=1.0)
        if comm.rank == 0:  # alone: it would wait for the other for ever
            with opt.no_sync():
                opt.step(gradients(0))
        else:
            with opt.no_sync():
                opt.step(gradients(0, off=2.0))
        opt.step(gradients(1))
        return opt.params["w"]

    mean = gradients(0, off=1.0)["w"] + gradients(1)["w"]
    for array in results(2, step):
        np.testing.assert_array_equal(array, parameters()["w"] - mean)


def test_gradients_sent_in_bfloat16():
    """Small integers are exact in bfloat16, so the result is that of float32."""

    def step(comm):
        opt = Sharded(fa.SGD, parameters(), comm, lr=1.0, comm_dtype="bfloat16")
        opt.step(gradients(0, off=off_of(comm)))
        return opt.params["w"]

    for array in results(2, step):
        np.testing.assert_array_equal(array, parameters()["w"] - gradients(0)["w"])


@pytest.mark.parametrize("after", [1, 2])
def test_a_checkpoint_goes_on_with_another_number_of_processes(after):
    alone = fa.AdamW(parameters(), **OPTIONS)
    for step in range(5):
        alone.step(gradients(step))

    def first(comm):
        opt = Sharded(fa.AdamW, parameters(), comm, **OPTIONS)
        for step in range(3):  # within a window of micro-batches
            opt.step(gradients(step, off=off_of(comm)))
        return opt.params, opt.state_dict()

    params, saved = results(3, first)[0]

    def then(comm):
        flat = fa.flatten({name: array.copy() for name, array in params.items()})
        opt = Sharded(fa.AdamW, flat, comm, **OPTIONS)
        opt.load_state_dict(saved)
        for step in range(3, 5):
            opt.step(gradients(step, off=off_of(comm)))
        return flat.buffer, opt.state_dict()

    for buffer, state in results(after, then):
        np.testing.assert_array_equal(buffer, flat_of(alone))
        assert_same_state(state, alone.state_dict())


def test_a_state_that_does_not_match_in_one_process_changes_none():
    def load(comm):
        opt = Sharded(fa.AdamW, parameters(), comm, lr=0.1)
        opt.step(gradients(0))
        saved = opt.state_dict()
        wrong = {**saved, "state": {**saved["state"]}}
        wrong["state"][0] = {**saved["state"][0], "exp_avg": np.zeros(3, np.float32)}
        opt.step(gradients(1))
        before = opt.state_dict()
        try:
            opt.load_state_dict(wrong if comm.rank else saved)
        except (ValueError, OtherProcessError) as error:
            assert_same_state(opt.state_dict(), before)
            return type(error)

    assert results(2, load) == [OtherProcessError, ValueError]


def test_the_average_is_gathered_and_exchanged():
    def step(comm):
        opt = Sharded(fa.SGD, parameters(), comm, lr=1.0, ema_decay=0.5, bucket_bytes=9000)
        opt.step(gradients(0, off=off_of(comm)))
        average = opt.gather_ema()
        with opt.swap_ema():
            inside = opt.params["w"].copy()
        return average, inside, opt.params["w"]

    alone = fa.SGD(parameters(), lr=1.0, ema_decay=0.5)
    alone.step(gradients(0))
    for average, inside, after in results(2, step):
        np.testing.assert_array_equal(average.buffer, alone.ema.buffer)
        np.testing.assert_array_equal(inside, alone.ema["w"])
        np.testing.assert_array_equal(after, alone.params["w"])


def test_masks_and_scales():
    shapes = SHAPES.items()
    mask = {n: np.asarray(np.arange(np.prod(s, dtype=int)).reshape(s) % 3 > 0) for n, s in shapes}
    alone = fa.AdamW(parameters())
    alone.step({n: np.asarray(g * 8) for n, g in gradients(0).items()}, mask=mask, grad_scale=8.0)

    def step(comm):
        opt = Sharded(fa.AdamW, parameters(), comm, bucket_bytes=9000)
        grads = {n: np.asarray(g * 8) for n, g in gradients(0, off=off_of(comm)).items()}
        opt.step(grads, mask=mask, grad_scale=8.0)
        return opt.params["w"]

    for array in results(3, step):
        np.testing.assert_array_equal(array, alone.params["w"])


@pytest.mark.usefixtures("in_plain_python")
def test_more_processes_than_blocks():
    """Some processes own nothing; all take part."""

    def step(comm):
        nothing = Sharded(fa.AdamW, {"a": np.ones((0, 3))}, comm, lr=0.5, clip_norm=10.0)
        assert nothing.step({"a": np.ones((0, 3))}).grad_norm == 0
        opt = Sharded(fa.AdamW, {"a": np.ones(3)}, comm, lr=0.5, clip_norm=10.0)
        opt.step({"a": np.ones(3)})
        return opt.params["a"]

    found = results(4, step)
    for array in found:
        np.testing.assert_allclose(array, 0.495)


class OneProcess:
    """A communicator of one process."""

    rank, size = 0, 1

    def exchange(self, send, receive):
        return lambda: None


def test_hyperparameters_are_not_attributes():
    opt = Sharded(fa.AdamW, parameters(), OneProcess())
    with pytest.raises(AttributeError, match=r"Sharded\.lr has no effect; set opt\.param_groups"):
        opt.lr = 0.1


@pytest.mark.parametrize("comm", [None, 3, "world"])
def test_what_is_no_communicator(comm):
    with pytest.raises(TypeError, match="is not a communicator; give one of mpi4py"):
        Sharded(fa.AdamW, parameters(), comm)
