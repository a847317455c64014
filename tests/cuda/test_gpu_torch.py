"""PyTorch and CuPy on a GPU: their arrays, their streams, and captured steps."""

import threading
from pathlib import Path

import numpy as np
import pytest
from cases import gradients, parameters
from gpu_pairs import SIMULATED, SIZE, STEPS, each_default, same
from processes import run

import fastadam as fa

numba = pytest.importorskip("numba")
cuda = pytest.importorskip("numba.cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # those of torch, CuPy and Numba are their affair
]


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    if SIMULATED or not torch.cuda.is_available():
        pytest.skip("this PyTorch has no GPU")
    return torch


@each_default
def test_tensors_of_torch_move_in_place(torch, case):
    if case.torch is None:
        pytest.skip("not in torch.optim")
    values, grads = parameters((13, 50), np.float32), gradients((13, 50), STEPS, np.float32)
    ours = torch.from_numpy(values).cuda()
    theirs = torch.nn.Parameter(ours.clone())
    reference = getattr(torch.optim, case.torch)([theirs])
    opt, where = case.optimizer(ours), ours.data_ptr()
    for grad in grads:
        theirs.grad = torch.from_numpy(grad).cuda()
        opt.step(theirs.grad)
        reference.step()
    assert ours.data_ptr() == where
    # both round every operation to float32, in another order; 1e-5 for ten steps, as on the CPU
    np.testing.assert_allclose(ours.cpu(), theirs.detach().cpu(), rtol=2e-5, atol=2e-5)


def test_state_is_shared_with_torch(torch):
    ours = torch.ones(50, device="cuda")
    opt = fa.AdamW(ours)
    opt.step(torch.ones_like(ours))
    shared = torch.as_tensor(opt.state["exp_avg"][0], device="cuda")
    np.testing.assert_array_equal(shared.cpu(), np.asarray(opt.state["exp_avg"][0]))
    shared.zero_()
    assert not np.asarray(opt.state["exp_avg"][0]).any()


def test_skipping_looks_at_tensors_of_torch(torch):
    ours = torch.ones(50, device="cuda")
    info = fa.AdamW(ours, skip_nonfinite=True, zero_grads=True).step(torch.full_like(ours, np.nan))
    assert info.skipped
    assert bool((ours == 1).all())


def test_masks_and_empty_tensors_of_torch(torch):
    ours, empty = torch.ones(50, device="cuda"), torch.ones(0, 3, device="cuda")
    mask = [torch.arange(50, device="cuda") < 25, torch.ones(0, 3, dtype=bool, device="cuda")]
    fa.SGD([ours, empty], lr=1.0).step([torch.ones_like(ours), torch.ones_like(empty)], mask=mask)
    assert ours.sum().item() == 25


def test_a_tensor_that_requires_grad_is_refused_with_a_way_out(torch):
    with pytest.raises((TypeError, ValueError, RuntimeError), match="detach"):
        fa.AdamW(torch.nn.Parameter(torch.ones(3, device="cuda")))


# Streams: a device that sleeps shows who does not wait

LONG = 1_000_000_000  # clock ticks, half a second


@pytest.mark.parametrize("options", [{}, {"clip_norm": np.inf}, {"skip_nonfinite": True}])
def test_a_step_goes_into_the_current_stream_of_torch(torch, options):
    ours, grad = torch.zeros(1 << 20, device="cuda"), torch.zeros(1 << 20, device="cuda")
    opt = fa.SGD(ours, lr=1.0, **options)
    for _ in range(2):
        opt.step(grad)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(LONG)
        grad.fill_(1.0)
        opt.step(grad)
        assert not torch.cuda.current_stream().query()  # the host did not wait
        ours.add_(1.0)  # goes on behind the step
    torch.cuda.synchronize()
    assert bool((ours == 0).all())


@pytest.mark.parametrize("kind", ["object", "handle", "numba", "protocol"])
def test_a_step_goes_into_the_stream_it_is_given(torch, kind):
    ours, grad = torch.zeros(1 << 20, device="cuda"), torch.zeros(1 << 20, device="cuda")
    opt, stream = fa.SGD(ours, lr=1.0), torch.cuda.Stream()

    class Protocol:
        def __cuda_stream__(self):
            return (0, stream.cuda_stream)

    given = {
        "object": stream,
        "handle": stream.cuda_stream,
        "numba": cuda.external_stream(stream.cuda_stream),
        "protocol": Protocol(),
    }[kind]
    opt.step(grad)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(LONG)
        grad.fill_(1.0)
    opt.step(grad, stream=given)
    assert not stream.query()
    assert bool((ours == -1).all())  # in the default stream, which waits for the step


def test_state_is_read_when_a_side_stream_has_written_it(torch):
    ours = torch.zeros(1 << 20, device="cuda")
    opt = fa.SGD(ours, lr=1.0, momentum=0.5)
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(LONG)
        opt.step(torch.ones_like(ours))
    assert (np.asarray(opt.state["momentum_buffer"][0]) == 1).all()


def test_bare_kernels_go_into_the_current_stream_of_torch(torch):
    ours, grad = torch.zeros(1 << 20, device="cuda"), torch.zeros(1 << 20, device="cuda")
    fa.functional.sgd(ours, grad, step=1, lr=1.0)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(LONG)
        grad.fill_(1.0)
        fa.functional.sgd(ours, grad, step=2, lr=1.0)
    torch.cuda.synchronize()
    assert bool((ours == -1).all())


@pytest.mark.parametrize("flagged", [False, True])
def test_skipping_does_not_wait(torch, flagged):
    """Steps are queued behind a sleep; which of them count is known long after."""
    values, grads = parameters(SIZE, np.float32), gradients(SIZE, 9, np.float32)
    grads[4][7] = np.nan
    ours, there = torch.from_numpy(values).cuda(), [torch.from_numpy(g).cuda() for g in grads]
    bad = [torch.full((1,), float(k == 4), device="cuda") for k in range(9)]
    options = {"clip_norm": 1.0, "skip_nonfinite": not flagged, "ema_decay": 0.9}
    options |= {"lr": fa.schedules.cosine(1e-2, steps=9)}
    opt, cpu = fa.AdamW(ours, **options), fa.AdamW(values, **options)

    def step(k):
        return opt.step(there[k], found_inf=bad[k]) if flagged else opt.step(there[k])

    infos = [step(0), step(1)]
    torch.cuda.synchronize()
    torch.cuda._sleep(LONG)
    infos += [step(k) for k in range(2, 9)]
    assert not torch.cuda.current_stream().query()
    for k, info in enumerate(infos):
        flag = {"found_inf": k == 4} if flagged else {}
        assert repr(info) == repr(cpu.step(grads[k], **flag))
    same(ours.cpu().numpy(), values)
    same(np.asarray(opt.ema.buffer), cpu.ema.buffer)
    assert opt.state_dict()["state"][0]["step"] == 8


def test_many_steps_behind_a_sleep_keep_their_constants(torch):
    """More than there are places for them on their way to the device."""
    values, grad = parameters(SIZE, np.float32), gradients(SIZE, 1, np.float32)[0]
    ours, there = torch.from_numpy(values).cuda(), torch.from_numpy(grad).cuda()
    opt, cpu = fa.AdamW(ours), fa.AdamW(values)
    torch.cuda._sleep(LONG)
    for _ in range(100):
        opt.step(there)
        cpu.step(grad)
    same(ours.cpu().numpy(), values)


def test_warm_steps_allocate_nothing(torch):
    ours, grad = torch.ones(SIZE, device="cuda"), torch.ones(SIZE, device="cuda")
    opt = fa.AdamW(ours, clip_norm=1.0, skip_nonfinite=True, zero_grads=True)
    for _ in range(3):
        opt.step(grad)
    torch.cuda.synchronize()
    free = cuda.current_context().get_memory_info()[0]
    for _ in range(50):
        opt.step(grad)
    torch.cuda.synchronize()
    assert cuda.current_context().get_memory_info()[0] == free


def test_two_threads_in_streams_of_their_own(torch):
    grads = [gradients(SIZE, STEPS, np.float32, seed=k) for k in range(2)]
    results, errors = {}, []

    def train(number):
        try:
            with torch.cuda.stream(torch.cuda.Stream()):
                ours = torch.from_numpy(parameters(SIZE, np.float32, seed=number)).cuda()
                opt = fa.AdamW(ours, clip_norm=1.0, skip_nonfinite=True)
                for grad in grads[number]:
                    opt.step(torch.from_numpy(grad).cuda())
                results[number] = ours.cpu().numpy()
        except Exception as error:  # or the failure would be lost with the thread
            errors.append(error)

    threads = [threading.Thread(target=train, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for number in range(2):
        values = parameters(SIZE, np.float32, seed=number)
        opt = fa.AdamW(values, clip_norm=1.0, skip_nonfinite=True)
        for grad in grads[number]:
            opt.step(grad)
        same(results[number], values)


def test_tensors_that_take_other_memory(torch):
    ours, grad = torch.zeros(9, device="cuda"), torch.ones(9, device="cuda")
    opt = fa.SGD(ours, lr=1.0)
    opt.step(grad)
    grad.data = torch.full((9,), 2.0, device="cuda")
    opt.step(grad)
    assert bool((ours == -3).all())
    ours.data = torch.zeros(9, device="cuda")
    with pytest.raises(ValueError, match="other memory"):
        opt.step(grad)
    assert not bool(ours.any())


def test_arrays_of_cupy_move_in_place():
    cupy = pytest.importorskip("cupy")
    if SIMULATED:
        pytest.skip("the simulator has no CuPy")
    values, grads = parameters(SIZE, np.float32), gradients(SIZE, STEPS, np.float32)
    ours = cupy.asarray(values)
    opt, cpu = fa.AdamW(ours, clip_norm=1.0), fa.AdamW(values, clip_norm=1.0)
    for grad in grads:
        opt.step(cupy.asarray(grad))
        cpu.step(grad)
    same(cupy.asnumpy(ours), values)
    moment = cupy.asarray(opt.state["exp_avg"][0])
    np.testing.assert_array_equal(cupy.asnumpy(moment), np.asarray(opt.state["exp_avg"][0]))


def test_a_step_goes_into_the_current_stream_of_cupy(torch):
    cupy = pytest.importorskip("cupy")
    ours, grad = cupy.zeros(1 << 20, np.float32), cupy.zeros(1 << 20, np.float32)
    opt = fa.SGD(ours, lr=1.0)
    opt.step(grad)
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr)):
            torch.cuda._sleep(LONG)
        grad.fill(1.0)
        opt.step(grad)
        assert not stream.done
        ours += 1
    stream.synchronize()
    assert not ours.any()


CAPTURE = """
import sys
import numpy as np, torch, fastadam as fa

name, skips, library = sys.argv[1], sys.argv[2] == "True", sys.argv[3]
options = {"lr": 0.1, "clip_norm": 0.5, "skip_nonfinite": skips, "ema_decay": 0.9}
values, grad = np.linspace(-1, 1, 5003, dtype=np.float32), np.ones(5003, np.float32)
ours, there = torch.from_numpy(values).cuda(), torch.from_numpy(grad).cuda()
cpu, opt = (getattr(fa, name)(each, **options) for each in (values, ours))
stream = torch.cuda.Stream()


def both(times):
    for _ in range(times):
        cpu.step(grad)
        opt.step(there)


def replayed(times):
    for _ in range(times):
        cpu.step(grad)
        replay()


def check():
    torch.cuda.synchronize()
    np.testing.assert_array_equal(ours.cpu().numpy(), values)
    np.testing.assert_array_equal(np.asarray(opt.ema.buffer), cpu.ema.buffer)
    assert opt.state_dict()["state"][0]["step"] == cpu.state_dict()["state"][0]["step"]


with torch.cuda.stream(stream):
    both(3)
torch.cuda.synchronize()
if library == "torch":
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        info = opt.step(there)
    replay = graph.replay
else:
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    with stream, torch.cuda.stream(torch.cuda.ExternalStream(stream.ptr)):
        stream.begin_capture()
        info = opt.step(there, stream=stream)
        graph = stream.end_capture()
    replay = lambda: graph.launch(stream)
replayed(5)
check()
assert info.step == 8 and not info.skipped
both(2)
replayed(4)
check()
if skips:
    there[3] = np.nan
    torch.cuda.synchronize()
    replay()
    torch.cuda.synchronize()
    assert info.skipped
    check()
print("replayed")
"""


@pytest.mark.parametrize(
    ("name", "skips", "library"),
    [("AdamW", False, "torch"), ("AdamW", True, "cupy"), ("SGD", True, "torch")],
)
def test_a_captured_step_counts_when_it_is_replayed(torch, name, skips, library):
    """In a process of its own: a capture that fails may spoil what comes after it."""
    pytest.importorskip(library)
    root = str(Path(__file__).parents[2])
    done = run("-c", CAPTURE, name, str(skips), library, timeout=120, PYTHONPATH=root)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "replayed" in done.stdout
