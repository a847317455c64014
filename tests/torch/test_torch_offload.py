"""Training with the optimizer on the host; tensors of the host stand for those of a device."""

import copy
import gc
import multiprocessing
import os
import sys
import weakref
from functools import partial
from itertools import cycle, product

import numba
import pytest

torch = pytest.importorskip("torch")

import fastadam.torch as ft  # noqa: E402
from fastadam import optimizers  # noqa: E402
from fastadam.torch.offload import CPUAdam, CPUOffload, host  # noqa: E402
from fastadam.torch.offload.memory import HostMemory  # noqa: E402
from fastadam.torch.offload.transfer import StreamTransfer  # noqa: E402

SHAPES = ((2, 2), (3,), (), (1, 2))
OTHERS = ("SparseAdam", "Muon", "list", "by_name")
DENSE = [name for name in optimizers.__all__ if name not in OTHERS]
LOW = {"state_dtype": "int8", "min_quantized_size": 1}
BUCKET = 8  # bytes: some parameters share one


@pytest.fixture
def plain_python(monkeypatch):
    """Steps of many kinds: nothing is to be compiled for them."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)


def parameters(dtype=torch.float32, shapes=SHAPES, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]


def loss_of(params, seed, order=None):
    """A loss whose gradients differ from element to element."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(p.shape, generator=generator).to(p.dtype) for p in params]
    terms = [(p * x).sum().float().square() for p, x in zip(params, inputs, strict=True)]
    total = torch.zeros(())
    for k in order or range(len(terms)):
        total = total * 1.0 + terms[k]
    return total


class Beside:
    """An offloaded optimizer, and `optimizer_class` on float32 weights of the same values."""

    def __init__(self, cls, dtype, shapes=SHAPES, lr=0.01, overlap=False, frees=False, **kwargs):
        self.params, self.others = parameters(dtype, shapes), parameters(dtype, shapes)
        settings = {"overlap": overlap, "offload_gradients": frees, "bucket_bytes": BUCKET}
        self.opt = CPUOffload(self.params, cls, lr=lr, **settings, **kwargs)
        self.weights = [torch.nn.Parameter(p.detach().float()) for p in self.others]
        self.plain = cls(self.weights, lr=lr, **kwargs)
        self.scalers = None

    def step(self, seed, micro_batches=1, order=None):
        for number in range(micro_batches):
            for k, params in enumerate((self.params, self.others)):
                loss = loss_of(params, 10 * seed + number, order)
                (self.scalers[k].scale(loss) if self.scalers else loss).backward()
        for weight, param in zip(self.weights, self.others, strict=True):
            weight.grad = None if param.grad is None else param.grad.float()
            param.grad = None
        for k, opt in enumerate((self.opt, self.plain)):
            if self.scalers:
                self.scalers[k].step(opt)
                self.scalers[k].update()
            else:
                opt.step()
        self.opt.zero_grad()
        with torch.no_grad():
            for weight, param in zip(self.weights, self.others, strict=True):
                param.copy_(weight)
        self.check()

    def check(self):
        for ours, theirs in zip(self.params, self.others, strict=True):
            assert torch.equal(ours, theirs)
        for ours, theirs in zip(self.opt.master(), self.weights, strict=True):
            assert torch.equal(ours, theirs)
        assert self.opt.info == self.plain.info


def scalers():
    return [torch.amp.GradScaler("cpu", init_scale=64.0) for _ in range(2)]


DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])


HOWS = [*product(["clip", "accumulate", "scaler", "overlap"], [torch.float32, torch.bfloat16])]
PAIRS = [*product(["AdamW", "Prodigy"], HOWS), *zip(DENSE, cycle(HOWS), strict=False)]


@pytest.mark.parametrize(
    ("name", "how", "dtype"),
    [(name, *how) for name, how in dict.fromkeys(PAIRS)],
    ids=str,
)
@pytest.mark.usefixtures("plain_python")
def test_bits_are_those_of_the_optimizer_on_float32_weights(name, how, dtype):
    cls, overlap, frees = getattr(ft, name), how == "overlap", how in ("clip", "overlap")
    kwargs = {"clip_norm": 0.5} if how == "clip" else {}
    if how == "scaler" and "fused" in cls._known:
        kwargs["fused"] = True
    beside = Beside(cls, dtype, overlap=overlap, frees=frees, **kwargs)
    if how == "scaler":
        beside.scalers = scalers()
    for seed in range(2):
        beside.step(seed, micro_batches=2 if how == "accumulate" else 1)


@DTYPES
@pytest.mark.parametrize(
    "kwargs",
    [
        LOW | {"overlap": True, "frees": True},
        {"clip_norm": 0.1, "clip_norm_per": "tensor"},
        {"clip_norm": 0.1, "clip_norm_per": "tensor", "fused": True},  # scaled, in one step
        {"clip_norm": 0.1, "skip_nonfinite": True, "frees": True},
        {"ema_decay": 0.9},
        {"clip_value": 0.1, "overlap": True},
    ],
    ids=lambda kwargs: ",".join(kwargs),
)
@pytest.mark.usefixtures("plain_python")
def test_options_of_a_step(kwargs, dtype):
    beside = Beside(ft.AdamW, dtype, **kwargs)
    if "fused" in kwargs:
        beside.scalers = scalers()
    for seed in range(3):
        beside.step(seed)


@pytest.mark.usefixtures("plain_python")
def test_gradients_in_any_order_and_parameters_without_any():
    beside = Beside(ft.NAdam, torch.bfloat16, overlap=True)
    orders = ([0, 1, 2, 3], [3, 1, 0, 2], [2, 0], [1], [0, 1, 2, 3], [3, 2, 1])
    for seed, order in enumerate(orders):
        beside.step(seed, order=order)


@pytest.mark.usefixtures("plain_python")
def test_compiled_steps_have_the_same_bits_in_buckets_of_any_size():
    found = []
    for compiled, bucket in ((False, 1), (True, 1), (True, 1 << 20)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(numba.config, "DISABLE_JIT", not compiled)
            params = parameters(torch.bfloat16)
            opt = CPUOffload(params, ft.AdamW, clip_norm=0.5, bucket_bytes=bucket)
            for seed in range(3):
                loss_of(params, seed).backward()
                opt.step()
                opt.zero_grad()
            found.append(opt.master())
    for others in found[1:]:
        assert all(map(torch.equal, found[0], others))


class Interrupt(BaseException):
    """As the KeyboardInterrupt of a user."""


class Interrupted:
    """An offloaded optimizer whose copies to the device fail once, and one that is not disturbed.

    Its four buckets are copied in turn, each after its update: the failure of a copy leaves a step
    with the buckets before it updated, and the others not.
    """

    def __init__(self, monkeypatch, how):
        kwargs, self.micro_batches = {"clip_norm": 0.5}, 1
        if how == "accumulate":
            kwargs["offload_gradients"], self.micro_batches = True, 2
        if how == "scaler":
            kwargs["fused"] = True
        if how == "together":
            kwargs["clip_norm_per"] = "tensor"
        self.params, self.others = (parameters(torch.bfloat16) for _ in range(2))
        self.opt, self.plain = (
            CPUOffload(each, ft.AdamW, lr=0.1, bucket_bytes=1, **kwargs)
            for each in (self.params, self.others)
        )
        self.scaled, self.left = how == "scaler", None
        transfer = self.opt._host.transfer
        send = transfer.send

        def failing(pairs):
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    self.left = None
                    raise Interrupt
            return send(pairs)

        monkeypatch.setattr(transfer, "send", failing)

    def backward(self, which, seed):
        params = self.params if which is self.opt else self.others
        for k in range(self.micro_batches):  # gradients that do not depend on the parameters
            inputs = parameters(torch.bfloat16, seed=10 * seed + k)
            pairs = zip(params, inputs, strict=True)
            sum((p * x.detach()).sum() * (4 if self.scaled else 1) for p, x in pairs).backward()
        if self.scaled:
            which.grad_scale, which.found_inf = torch.tensor(4.0), torch.tensor(0.0)

    def whole_step(self, which, seed):
        self.backward(which, seed)
        which.step()
        which.zero_grad()

    def interrupt(self, bucket):
        """Two steps, the second of which fails between two buckets."""
        for which in (self.opt, self.plain):
            self.whole_step(which, 0)
        self.whole_step(self.plain, 1)
        self.backward(self.opt, 1)
        self.left = bucket
        with pytest.raises(Interrupt):
            self.opt.step()

    def check(self):
        assert all(map(torch.equal, self.params, self.others))
        assert all(map(torch.equal, self.opt.master(), self.plain.master()))
        assert self.opt.info == self.plain.info


@pytest.mark.parametrize("how", ["clip", "accumulate", "scaler", "together"])
@pytest.mark.parametrize("then", ["step", "zero_grad", "backward", "save", "assign"])
@pytest.mark.usefixtures("plain_python")
def test_an_interrupted_step_is_completed(monkeypatch, how, then):
    for bucket in range(len(SHAPES)):
        case = Interrupted(monkeypatch, how)
        case.interrupt(bucket)
        case.opt.param_groups[0]["lr"] = 0.7  # it is completed with the one that it began with
        if then == "step":
            case.opt.step()
        elif then == "save":
            saved, theirs = case.opt.state_dict(), case.plain.state_dict()
            assert all(e["step"] == 2 for e in saved["state"].values())
            assert torch.equal(saved["state"][3]["master"], theirs["state"][3]["master"])
        if then not in ("backward", "assign"):
            case.opt.zero_grad()
            case.check()
            case.plain.param_groups[0]["lr"] = 0.7
        for which, params in ((case.opt, case.params), (case.plain, case.others)):
            if then in ("backward", "assign"):
                for k, param in enumerate(params):  # not by zero_grad(), which would complete it
                    param.grad = torch.full_like(param, k) if then == "assign" else None
                which.param_groups[0]["lr"] = 0.7
            if then == "assign":
                which.step()
            else:
                case.whole_step(which, 2)
        case.check()


@pytest.mark.usefixtures("plain_python")
def test_values_written_after_an_interrupted_step_are_not_overwritten(monkeypatch):
    case = Interrupted(monkeypatch, "clip")
    case.interrupt(1)
    with torch.no_grad():
        case.params[0].fill_(5.0)
    for call in (case.opt.step, case.opt.zero_grad, case.opt.state_dict):
        with pytest.raises(RuntimeError, match=r"was changed after a step .* load a state_dict"):
            call()
    before = parameters(torch.bfloat16)
    with torch.no_grad():
        for param, value in zip(case.params, before, strict=True):
            param.copy_(value)
    fresh = CPUOffload(before, ft.AdamW, lr=0.1, clip_norm=0.5)
    case.opt.load_state_dict(fresh.state_dict())
    for param, other in zip(before, case.params, strict=True):
        param.grad = other.grad.clone()
    for opt in (fresh, case.opt):  # the gradients of the cancelled step are there
        opt.step()
    assert all(map(torch.equal, case.params, before))
    assert case.opt.info == fresh.info


@pytest.mark.usefixtures("plain_python")
def test_an_error_in_an_overlapped_step_is_raised_and_leaves_nothing_undone(monkeypatch):
    found = []
    for failing in (False, True):
        params = parameters(torch.bfloat16)
        opt = CPUOffload(params, ft.AdamW, lr=0.1, bucket_bytes=1, overlap=True)
        send, left = opt._host.transfer.send, [2 if failing else -1]

        def fails_once(pairs, send=send, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise ArithmeticError("on purpose")
            return send(pairs)

        for seed in range(3):
            loss_of(params, seed).backward()
            if seed == 0:
                opt.step()
                monkeypatch.setattr(opt._host.transfer, "send", fails_once)
            elif seed == 1 and failing:
                with pytest.raises(ArithmeticError, match="on purpose"):
                    opt.step()
                with pytest.raises(RuntimeError, match=r"before state_dict\(\)"):
                    opt.state_dict()
                opt.step()
            else:
                opt.step()
            opt.zero_grad()
        found.append([*params, *opt.master()])
    assert all(map(torch.equal, *found))


class Failing(torch.autograd.Function):
    """Raises an exception in backward."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise ArithmeticError("on purpose")


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.usefixtures("plain_python")
def test_an_exception_in_backward_leaves_a_usable_optimizer(overlap):
    params, others = parameters(), parameters()
    opt = CPUOffload(params, ft.SGD, lr=0.5, overlap=overlap, bucket_bytes=1)
    plain = ft.SGD(others, lr=0.5)
    for seed in range(4):
        if seed == 2:
            with pytest.raises(ArithmeticError, match="on purpose"):
                (Failing.apply(params[0]).sum() + loss_of(params[1:], seed)).backward()
            opt.zero_grad()
            if overlap:  # some were updated during backward
                for p, q in zip(params, others, strict=True):
                    q.data.copy_(p.data)
        for each, optimizer in ((params, opt), (others, plain)):
            loss_of(each, seed).backward()
            optimizer.step()
            optimizer.zero_grad()
        assert all(map(torch.equal, params, others))


@pytest.mark.usefixtures("plain_python")
def test_mistakes_with_overlap_are_refused():
    params = parameters()
    opt = CPUOffload(params, ft.SGD, lr=0.5, overlap=True)
    loss_of(params, 0).backward()
    with pytest.raises(RuntimeError, match="a second gradient"):
        loss_of(params, 0).backward()
    opt.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    fused = CPUOffload(parameters(), ft.SGD, lr=0.5, overlap=True, fused=True)
    fused_params = fused.param_groups[0]["params"]
    before = copy.deepcopy(fused_params)
    scaler.scale(loss_of(fused_params, 0)).backward()
    with pytest.raises(RuntimeError, match="GradScaler"):
        scaler.step(fused)
    assert all(map(torch.equal, before, fused_params))
    for seed in range(2):
        opt.zero_grad()
        loss_of(params, seed).backward()
        if seed:
            params[0].grad.mul_(0.5)
            with pytest.raises(RuntimeError, match="was changed after backward"):
                opt.step()
        else:
            opt.step()


@pytest.mark.usefixtures("plain_python")
def test_gradients_changed_after_backward_are_copied_again():
    beside = Beside(ft.AdamW, torch.bfloat16)
    for seed in range(3):
        loss_of(beside.params, seed).backward()
        loss_of(beside.others, seed).backward()
        for params in (beside.params, beside.others):
            torch.nn.utils.clip_grad_norm_(params, 0.1)
        for weight, param in zip(beside.weights, beside.others, strict=True):
            weight.grad, param.grad = param.grad.float(), None
        beside.opt.step()
        beside.plain.step()
        beside.opt.zero_grad()
        for weight, param in zip(beside.weights, beside.others, strict=True):
            param.data.copy_(weight.data)
        beside.check()


STREAMS = (
    {},
    {"overlap": True},
    {"frees": True, "clip_norm": 0.5},
    {"overlap": True, "frees": True},
)


@pytest.mark.parametrize("how", STREAMS, ids=lambda how: ",".join(how) or "step")
@pytest.mark.usefixtures("plain_python")
def test_copies_in_streams_are_waited_for(monkeypatch, how):
    from no_accelerator import Late

    late = Late(monkeypatch)
    monkeypatch.setattr(host, "transfer_for", lambda device, pinned: StreamTransfer(device))
    monkeypatch.setattr(host, "HostMemory", lambda pinned: HostMemory(True))
    beside = Beside(ft.AdamW, torch.bfloat16, **how)
    assert len(late.locked) == 2  # copies and gradients
    for seed in range(4):
        beside.step(seed, micro_batches=1 if "overlap" in how else 2)
    del beside
    gc.collect()
    assert not late.locked


# State


@DTYPES
@pytest.mark.parametrize("kwargs", [{}, LOW], ids=["float32", "int8"])
@pytest.mark.usefixtures("plain_python")
def test_a_run_goes_on_from_its_state_dict(dtype, kwargs):
    whole, first = (Beside(ft.AdamW, dtype, **kwargs) for _ in range(2))
    for seed in range(4):
        whole.step(seed)
    for seed in range(2):
        first.step(seed)
    saved = copy.deepcopy(first.opt.state_dict())
    second = Beside(ft.AdamW, dtype, **kwargs)
    for mine, theirs in zip(second.params, first.params, strict=True):
        mine.data = theirs.data.clone()  # as loading a checkpoint of the model does
    second.opt.load_state_dict(saved)
    for seed in (2, 3):
        loss_of(second.params, 10 * seed).backward()
        second.opt.step()
        second.opt.zero_grad()
    assert all(map(torch.equal, whole.params, second.params))
    assert all(map(torch.equal, whole.opt.master(), second.opt.master()))


@pytest.mark.usefixtures("plain_python")
def test_state_dicts_load_into_plain_optimizers_and_back():
    beside = Beside(ft.AdamW, torch.float32)
    beside.step(0)
    for cls in (torch.optim.AdamW, ft.AdamW):
        params = copy.deepcopy(beside.params)
        plain = cls(params, lr=0.5)
        plain.load_state_dict(beside.opt.state_dict())
        assert plain.param_groups[0]["lr"] == 0.01
        loss_of(params, 7).backward()
        plain.step()
        back = Beside(ft.AdamW, torch.float32)
        with torch.no_grad():
            for mine, theirs in zip(back.params, params, strict=True):
                mine.copy_(theirs)
        back.opt.load_state_dict(plain.state_dict())
        state = plain.state_dict()["state"]
        for number, entry in back.opt.state_dict()["state"].items():
            assert entry["step"] == 2
            assert torch.equal(entry["exp_avg"], state[number]["exp_avg"])
        assert all(map(torch.equal, back.opt.master(), params))


@pytest.mark.parametrize("frees", [False, True])
@pytest.mark.usefixtures("plain_python")
def test_state_may_be_loaded_between_backward_and_step(frees):
    beside = Beside(ft.AdamW, torch.bfloat16, frees=frees)
    beside.step(0)
    saved = copy.deepcopy(beside.opt.state_dict())
    loss_of(beside.params, 10).backward()
    beside.opt.load_state_dict(saved)
    beside.opt.step()
    stepped = [p.detach().clone() for p in beside.params]
    other = Beside(ft.AdamW, torch.bfloat16, frees=frees)
    for seed in range(2):
        other.step(seed)
    assert all(map(torch.equal, stepped, other.params))
    early = Beside(ft.AdamW, torch.bfloat16, overlap=True, frees=frees)
    early.step(0)
    loss_of(early.params, 1).backward()
    with pytest.raises(RuntimeError, match="has updated some parameters"):
        early.opt.load_state_dict(saved)
    early.opt.step()
    early.opt.load_state_dict(saved)


def plain_optimizer(params, optimizer_class, **kwargs):
    return optimizer_class(params, **kwargs)


@pytest.mark.usefixtures("plain_python")
def test_a_group_is_added_between_backward_and_step():
    found = []
    for make in (partial(CPUOffload, overlap=True, bucket_bytes=BUCKET), plain_optimizer):
        params = parameters()
        opt = make(params[:3], optimizer_class=ft.AdamW, lr=0.1)
        for seed in range(3):
            loss_of(params[: 3 + (seed > 1)], seed).backward()
            if seed == 1:
                opt.add_param_group({"params": params[3:], "lr": 0.5})
            opt.step()
            opt.zero_grad()
        found.append((params, opt.info))
    (params, info), (others, theirs) = found
    assert all(map(torch.equal, params, others))
    assert info == theirs


@pytest.mark.usefixtures("plain_python")
def test_an_optimizer_that_is_deleted_leaves_no_memory():
    params = parameters(torch.bfloat16)
    opt = CPUOffload(params, ft.AdamW, overlap=True)
    loss_of(params, 0).backward()
    opt.step()
    left = [weakref.ref(each) for each in opt._host.hosts]
    del opt
    gc.collect()
    assert not any(each() for each in left)
    loss_of(params, 1).backward()


def _overlapping(beside):
    for seed in (1, 2):
        beside.step(seed)
    os._exit(7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore")  # the threads of the parent are not in the child
@pytest.mark.usefixtures("plain_python")
def test_steps_go_on_in_a_forked_process():
    beside = Beside(ft.AdamW, torch.bfloat16, overlap=True)
    for seed in range(2):
        beside.step(seed)
    child = multiprocessing.get_context("fork").Process(target=_overlapping, args=(beside,))
    child.start()
    child.join(60)
    child.kill()
    assert child.exitcode == 7


@pytest.mark.usefixtures("plain_python")
def test_values_that_others_write_are_taken_over_where_they_differ():
    beside = Beside(ft.SGD, torch.bfloat16)
    beside.step(0)
    low_bits = beside.opt.master()[0][0, 0].item()
    with torch.no_grad():
        beside.params[0].copy_(beside.params[0])  # as loading the same checkpoint does
        beside.params[0][1, 1] = 5.0
    loss_of(beside.params, 1).backward()
    before = beside.params[0].grad.float().clone()
    beside.opt.step()
    after = beside.opt.master()[0]
    assert after[1, 1] == torch.tensor(5.0) - torch.tensor(0.01) * before[1, 1]
    assert after[0, 0] == torch.tensor(low_bits) - torch.tensor(0.01) * before[0, 0]


@pytest.mark.usefixtures("plain_python")
def test_frozen_shared_and_later_parameters():
    params = parameters()
    params[1].requires_grad_(False)
    opt = CPUOffload([*params[:3]], ft.AdamW, lr=0.5, bucket_bytes=1)
    opt.add_param_group({"params": params[3:], "lr": 0.25})
    frozen = params[1].detach().clone()
    scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: 1 / (1 + step))
    others = copy.deepcopy(params)
    plain = ft.AdamW([{"params": others[:3]}, {"params": others[3:], "lr": 0.25}], lr=0.5)
    for seed in range(3):
        for each, optimizer in ((params, opt), (others, plain)):
            (loss_of(each, seed) + each[0].sum() * each[0].mean()).backward()
            optimizer.step()
            optimizer.zero_grad()
        scheduler.step()
        for mine, theirs in zip(opt.param_groups, plain.param_groups, strict=True):
            theirs["lr"] = mine["lr"]
        assert all(map(torch.equal, params, others))
    assert torch.equal(params[1], frozen)
    assert {*opt.state_dict()["state"]} == {0, 2, 3}
    params[1].requires_grad_(True)
    loss_of(params, 0).backward()
    with pytest.raises(RuntimeError, match=r"needed none when the optimizer was made"):
        opt.step()


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"optimizer_class": torch.optim.AdamW}, TypeError, "not a class of fastadam.torch"),
        ({"optimizer_class": ft.SparseAdam}, TypeError, "takes sparse gradients"),
        ({"shadow_dtype": "bfloat16"}, ValueError, "parameter itself"),
        ({"zero_grads": True}, ValueError, r"zero_grad\(\)"),
        ({"bucket_bytes": 0}, ValueError, "bucket_bytes"),
        ({"overlap": "yes"}, TypeError, "overlap"),
        ({"lr": -1.0}, ValueError, "lr"),
        ({"beta": 0.9}, TypeError, "betas"),
    ],
)
def test_wrong_arguments_are_refused(kwargs, error, message):
    kwargs = {"optimizer_class": ft.AdamW} | kwargs
    with pytest.raises(error, match=message):
        CPUOffload(parameters(), **kwargs)


def test_complex_parameters_are_refused():
    with pytest.raises(RuntimeError, match="parameters of CPUOffload are real"):
        CPUOffload(parameters(torch.complex64), ft.AdamW)


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_parameters_that_share_memory_are_refused():
    memory, gaps = torch.ones(6), torch.ones(3, 4).t()[:2].requires_grad_()
    one, other = memory[:4].requires_grad_(), memory[2:].requires_grad_()
    for params in ([one, other], [one, one], [gaps, gaps]):
        with pytest.raises(ValueError, match="the same memory"):
            CPUOffload(params, ft.AdamW)
    opt = CPUOffload([one], ft.AdamW)
    with pytest.raises(ValueError, match="share the same memory"):
        opt.add_param_group({"params": [other]})
    assert len(opt.param_groups) == 1


WRONG_STATE = {
    "lr": (lambda saved: saved["param_groups"][0].update(lr=-1.0), ValueError, r"\[0\]: lr=-1.0"),
    "betas": (lambda saved: saved["param_groups"][0].update(betas=0.9), TypeError, "betas=0.9"),
    "entry": (lambda saved: saved["state"].update({1: None}), TypeError, r"state\[1\]=None"),
    "group": (lambda saved: saved.update(param_groups=[3]), ValueError, "the group 3 has no"),
    "state": (lambda saved: saved.update(state=[3]), TypeError, r"state=\[3\]"),
}
WRONG_OFFLOADED = WRONG_STATE | {
    "key": (lambda saved: saved["state"].update(w={}), ValueError, r"\['w'\], which are in no"),
    "shape": (lambda saved: saved["state"][0].update(exp_avg=torch.ones(2)), ValueError, "exp_avg"),
    "master": (
        lambda saved: saved["state"][0].update(master="x"),
        TypeError,
        "weights are float32",
    ),
}


@pytest.mark.parametrize("name", WRONG_OFFLOADED)
@pytest.mark.usefixtures("plain_python")
def test_a_wrong_state_dict_is_refused_and_nothing_changes(name):
    change, error, message = WRONG_OFFLOADED[name]
    offloaded = partial(CPUOffload, optimizer_class=ft.AdamW)
    for make in (offloaded, ft.AdamW) if name in WRONG_STATE else (offloaded,):
        params = parameters(torch.bfloat16)
        opt = make(params)
        loss_of(params, 0).backward()
        opt.step()
        before, saved = [p.detach().clone() for p in params], copy.deepcopy(opt.state_dict())
        wrong = copy.deepcopy(saved)
        change(wrong)
        with pytest.raises(error, match=message):
            opt.load_state_dict(wrong)
        assert str(opt.state_dict()) == str(saved)
        assert all(map(torch.equal, params, before))


@DTYPES
@pytest.mark.parametrize("cls", [torch.optim.AdamW, ft.AdamW])
@pytest.mark.usefixtures("plain_python")
def test_weights_saved_before_steps_of_a_plain_optimizer_are_not_loaded(dtype, cls):
    params = parameters(dtype)
    opt = CPUOffload(params, ft.AdamW, lr=0.1)
    plain = cls(params, lr=0.1)
    for seed in range(3):
        loss_of(params, seed).backward()
        opt.step()
        opt.zero_grad()
        plain.load_state_dict(opt.state_dict())
        loss_of(params, seed + 10).backward()
        plain.step()
        after = [p.detach().clone() for p in params]
        opt.load_state_dict(plain.state_dict())
        assert all(map(torch.equal, params, after))
        opt.zero_grad()


@pytest.mark.usefixtures("plain_python")
def test_groups_that_are_assigned_or_edited():
    params, others = parameters(), parameters()
    opt, plain = CPUOffload(params[:3], ft.AdamW), ft.AdamW(others[:3], lr=0.5)
    opt.param_groups = [{**opt.param_groups[0], "lr": 0.5}]
    for each, optimizer in ((params, opt), (others, plain)):
        loss_of(each, 0).backward()
        optimizer.step()
    assert all(map(torch.equal, params, others))
    own = opt.param_groups[0]["params"]
    for wrong in (own[:2], [*own, params[3]], [own[0], own[2], own[1]], [params[3], *own[1:]]):
        opt.param_groups[0]["params"] = wrong
        with pytest.raises(RuntimeError, match="that the optimizer was given; put these back"):
            opt.step()
    opt.param_groups[0]["params"] = own
    opt.step()
    plain.step()
    assert all(map(torch.equal, params, others))


@pytest.mark.usefixtures("plain_python")
def test_loaded_groups_are_completed():
    params = parameters()
    plain = torch.optim.Adam(params, lr=0.1)  # not decoupled, without the options of groups
    loss_of(params, 0).backward()
    plain.step()
    saved = plain.state_dict()
    del saved["param_groups"][0]["maximize"]
    opt = CPUOffload([{"params": params, **LOW}], ft.AdamW)
    opt.load_state_dict(saved)
    opt.step()
    (group,) = opt.param_groups
    names = ("decoupled_weight_decay", "maximize", "state_dtype", "lr")
    assert [group[name] for name in names] == [True, False, "int8", 0.1]
    assert opt.state[params[0]]["exp_avg"].dtype == torch.int8


def test_hyperparameters_are_not_attributes():
    opt = CPUOffload(parameters(), ft.AdamW)
    with pytest.raises(AttributeError, match=r"CPUOffload\.lr has no effect; set opt\.param"):
        opt.lr = 0.1
    with pytest.raises(AttributeError, match=r"CPUOffload\.overlap cannot be set; it is an arg"):
        opt.overlap = True


def test_memory_counts_the_bytes_of_the_host():
    shapes = [(256, 256)]
    opt = CPUOffload(parameters(torch.bfloat16, shapes), ft.AdamW)
    assert opt.memory().per_param == 16  # 4 weights, 8 state, 2 gradients, 2 copy
    low = {"state_dtype": "int8", "compensation": "split8"}
    opt = CPUOffload(parameters(torch.bfloat16, shapes), ft.AdamW, **low)
    assert opt.memory().per_param == pytest.approx(2 + 1 + 2 + 2 + 8 / 256)  # and two scales


@pytest.mark.usefixtures("plain_python")
def test_a_thousand_steps_take_no_more_memory():
    params = parameters(torch.bfloat16, [(2,), (1,)])
    opt = CPUOffload(params, ft.SGD, lr=1e-3, overlap=True, offload_gradients=True, bucket_bytes=1)
    blocks = []
    for step in range(1000):
        sum(p.sum() for p in params).backward()
        opt.step()
        if step in (299, 999):
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    assert blocks[1] - blocks[0] < 350  # a block in every other step


@pytest.mark.usefixtures("plain_python")
def test_an_optimizer_for_each_parameter_with_a_fixed_gradient_buffer():
    """As torchao's CPUOffloadOptimizer, Megatron-Core with overlap, and KTransformers have them."""
    params, others = parameters(), parameters()
    each = []
    for param in params:
        param.grad = torch.zeros_like(param)
        each.append(ft.AdamW([{"params": param}], lr=0.1))
    whole = ft.AdamW(others, lr=0.1)
    for seed in range(3):
        loss_of(others, seed).backward()
        for param, other in zip(params, others, strict=True):
            param.grad.copy_(other.grad)
        whole.step()
        whole.zero_grad()
        for opt in each:
            opt.step()
        assert all(map(torch.equal, params, others))


# Steps of subgroups, as DeepSpeed's SuperOffload takes them


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("decoupled", [True, False])
@pytest.mark.usefixtures("plain_python")
def test_steps_of_subgroups_are_those_of_torch_and_can_be_reversed(decoupled, decay):
    (param,), (other,) = parameters(shapes=[(9,)]), parameters(shapes=[(9,)])
    opt = CPUAdam(
        [torch.nn.Parameter(torch.ones(1))], lr=0.01, weight_decay=decay, adamw_mode=decoupled
    )
    theirs = torch.optim.AdamW if decoupled else torch.optim.Adam
    plain = theirs([other], lr=0.01, weight_decay=decay)
    opt.param_groups[0]["params"] = [param]  # as its worker does
    generator, trail = torch.Generator().manual_seed(1), []
    for _ in range(4):
        param.grad = torch.randn(9, generator=generator)
        other.grad = param.grad.clone()
        trail.append((param.detach().clone(), param.grad))
        opt.step_subgroup(5)
        plain.step()
        # a few roundings of numbers of about one, in each step
        torch.testing.assert_close(param, other, rtol=1e-6, atol=1e-6)
    for before, grad in reversed(trail[1:]):
        param.grad = grad
        opt.rollback_subgroup(5)
        torch.testing.assert_close(param.detach(), before, rtol=1e-6, atol=2e-6)
    assert opt.state[5]["step"] == 1
    with pytest.raises(RuntimeError, match="Cannot rollback optimizer state for sub_group_id 6"):
        opt.rollback_subgroup(6)
    param.grad = trail[0][1]
    opt.rollback_subgroup(5)
    with pytest.raises(RuntimeError, match="Cannot rollback sub_group_id 5: step count is 0"):
        opt.rollback_subgroup(5)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.usefixtures("plain_python")
def test_a_step_of_all_parameters_has_the_bits_of_adamw(full):
    def made():
        gaps = torch.arange(24.0).reshape(4, 6)[:, :3].requires_grad_()
        turned = torch.ones(3, 2).t().requires_grad_()
        narrow = torch.linspace(-2, 2, 9).to(torch.bfloat16).requires_grad_()
        return [*parameters(), torch.ones(0, requires_grad=True), gaps, turned, narrow]

    def groups(params, **formats):
        first, last = {"params": params[:-1], "lr": 0.02, "betas": (0.8, 0.9)}, params[-1:]
        return [first, {"params": last, **formats}]

    params, others = made(), made()
    opt = CPUAdam(groups(params), lr=0.01, weight_decay=0.1, fp32_optimizer_states=full)
    formats = {} if full else {"state_dtype": "bfloat16"}
    other = ft.AdamW(groups(others, **formats), lr=0.01, weight_decay=0.1)
    for step in range(4):
        for number, (param, beside) in enumerate(zip(params, others, strict=True)):
            grad = torch.randn(
                param.shape, generator=torch.Generator().manual_seed(9 * step + number)
            )
            both = None if (step, number) == (1, 0) else grad.to(param.dtype)
            param.grad, beside.grad = both, both
        opt.step()
        other.step()
        assert all(map(torch.equal, params, others))
        if step == 1:  # of which the state keeps its dtype, too
            opt = copy.deepcopy(opt)
            params = [p for group in opt.param_groups for p in group["params"]]
        if step == 2:
            opt.load_state_dict(copy.deepcopy(opt.state_dict()))
    assert [opt.state[p]["step"] for p in params] == [3, *[4] * (len(params) - 1)]


@pytest.mark.usefixtures("plain_python")
def test_subgroups_refuse_what_they_cannot_reverse():
    opt = CPUAdam(params := parameters())
    for param in params:
        param.grad = torch.ones_like(param)
    before = [p.detach().clone() for p in params]
    with pytest.raises(ValueError, match="a subgroup is one parameter"):
        opt.step_subgroup(0)
    params[-1].grad = params[-1].detach().to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        opt.step()
    params[-1].grad = params[-1].data
    with pytest.raises(ValueError, match="the same memory"):
        opt.step()
    assert all(map(torch.equal, params, before))
    for wrong, message in (({"amsgrad": True}, "cannot be reversed"), ({"lr": -1.0}, "lr")):
        with pytest.raises(ValueError, match=message):
            CPUAdam(parameters(), **wrong)
        with pytest.raises(ValueError, match=message):
            opt.add_param_group({"params": parameters(), **wrong})
    assert len(opt.param_groups) == 1
