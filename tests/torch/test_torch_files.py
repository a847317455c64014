"""Checkpoint files of PyTorch's tensors: of any strides, with a model, to and from NumPy."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastadam as fa  # noqa: E402
import fastadam.torch as ft  # noqa: E402

CODES = {"state_dtype": "int8", "min_quantized_size": 0}
CASES = {
    "adamw": {},
    "copies": {"ema_decay": 0.9, "shadow_dtype": "bfloat16"},
    "int8": CODES,
    "bfloat16": {"dtype": torch.bfloat16, "compensation": "split8", **CODES},
    "nadam": {"kind": ft.NAdam},
    "sgd": {"kind": ft.SGD},
    "momentum": {"kind": ft.SGD, "momentum": 0.9, "state_dtype": "bfloat16"},
}
each_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def made(case, seed=0, **more):
    """A model, whose convolution is not contiguous, and its optimizer."""
    options = {**CASES[case], **more}
    kind, dtype = options.pop("kind", ft.AdamW), options.pop("dtype", torch.float32)
    torch.manual_seed(seed)
    layers = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 30)
    model = torch.nn.Sequential(*layers).to(dtype).to(memory_format=torch.channels_last)
    model.register_buffer("tied", model[2].bias.data)
    return model, kind(model.parameters(), lr=0.1, **options)


def step(model, opt, seed, without=None):
    generator = torch.Generator().manual_seed(seed)
    for number, param in enumerate(opt.param_groups[0]["params"]):
        param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)
        if number == without:
            param.grad = None
    opt.step()


def moment(model, opt):
    return plain([model.state_dict() if model else [], opt.state_dict()])


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.dtype, value.shape, value.detach().contiguous().float().numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return list(map(plain, value)) if isinstance(value, list | tuple) else value


def trained(case, **more):
    model, opt = made(case, **more)
    step(model, opt, 0, without=1)
    step(model, opt, 1, without=1)
    return model, opt


@each_case
def test_a_loaded_optimizer_goes_on_with_the_same_bits(case, path):
    reader = pytest.importorskip("safetensors.torch")
    model, opt = trained(case)
    other, again = made(case, seed=5)
    step(other, again, 3)
    ft.save(path, opt, model, extra={"epoch": 3})
    saved = ft.load(path, again, other)
    assert saved.extra == {"epoch": 3}
    for each in ((model, opt), (other, again)):
        step(*each, 7)
    assert moment(model, opt) == moment(other, again)
    tensors = reader.load_file(path)
    assert torch.equal(tensors["param/0.weight"], ft.load(path, model=model) and model[0].weight)
    assert tensors["model/1.num_batches_tracked"].dtype == torch.int64
    assert "model/tied" not in tensors


@each_case
def test_files_go_to_numpy_and_back(case, path):
    model, opt = trained(case)
    ft.save(path, opt, model)
    saved = fa.load(path)
    options = {k: v for k, v in CASES[case].items() if k not in ("kind", "dtype")}
    params = {
        name.removeprefix("param/"): np.zeros_like(array)
        for name, array in saved.items()
        if name.startswith("param/")
    }
    core = getattr(fa, type(opt).__name__)(params, lr=0.1, **options)
    fa.load(path, core)
    for name, array in core.params.items():
        np.testing.assert_array_equal(array, saved[f"param/{name}"])
    fa.save(path, core)
    other, again = made(case, seed=5)
    fa.load(path, _With(again, other))
    opt.param_groups[0]["lr"] = again.param_groups[0]["lr"]
    for each in ((model, opt), (other, again)):
        step(*each, 7)
    assert plain(dict(other.named_parameters())) == plain(dict(model.named_parameters()))


class _With:
    """An optimizer whose parameters have the names of a model, which is not loaded."""

    def __init__(self, opt, model):
        names = [name for name, _ in model.named_parameters()]
        opt.param_groups[0]["param_names"] = names
        self._restore, self._contents = opt._restore, opt._contents


def test_without_a_model_parameters_have_numbers(path):
    model, opt = trained("adamw")
    fa.save(path, opt)
    assert fa.load(path).metadata["params"] == [*map(str, range(6))]
    other, again = made("adamw", seed=5)
    fa.load(path, again)
    assert plain(list(other.parameters())) == plain(list(model.parameters()))
    assert {*fa.flat_state(opt)} - {"metadata"} == {*fa.load(path)}


def test_a_learning_rate_in_a_tensor_stays_one(path):
    opts = [ft.AdamW([torch.ones(2)], lr=torch.tensor(rate)) for rate in (0.5, 0.25)]
    fa.save(path, opts[0])
    fa.load(path, opts[1])
    assert torch.equal(opts[1].param_groups[0]["lr"], torch.tensor(0.5))
    assert opts[1].param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, o: made("adamw"), None),
        (lambda m, o: made("copies"), None),
        (lambda m, o: made("sgd"), "it is of AdamW, whose hyperparameters"),
        (lambda m, o: made("bfloat16"), "float32 in the checkpoint, and bfloat16 in"),
        (lambda m, o: (None, ft.AdamW([torch.ones(2)])), "6 parameters"),
        (lambda m, o: (m, made("adamw")[1]), "model has no param_groups"),
        (lambda m, o: (m[0], o), "model has no param_groups"),
    ],
)
def test_a_file_of_other_parameters_changes_nothing(change, message, path):
    model, opt = trained("adamw")
    ft.save(path, opt, model)
    model, opt = change(model, opt)
    if message is None:
        ft.load(path, opt, model)
        return
    before = moment(model, opt)
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        ft.load(path, opt, model)
    assert str(path) in str(caught.value)
    assert moment(model, opt) == before


def test_damage_is_found_before_anything_changes(path):
    model, opt = trained("int8")
    ft.save(path, opt, model)
    text = path.read_bytes()
    path.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))
    before = moment(model, opt)
    for optimizer in (opt, None):
        with pytest.raises(ValueError, match="damaged"):
            ft.load(path, optimizer, model)
    assert moment(model, opt) == before


def test_wrong_arguments(path):
    model, opt = trained("adamw")
    with pytest.raises(TypeError, match=r"give an optimizer of fastadam\.torch"):
        ft.save(path, fa.AdamW(np.ones(3)))
    with pytest.raises(TypeError, match="optimizer=None"):
        ft.save(path, None, model)
    with pytest.raises(TypeError, match=r"give a torch\.nn\.Module"):
        ft.load(path, opt, model="model")
    opt.state[model[0].weight]["mine"] = object()
    with pytest.raises(TypeError, match="state 'mine' is <object"):
        ft.save(path, opt, model)
    del opt.state[model[0].weight]["mine"]
    model.register_buffer("odd", torch.ones(2).to(torch.float8_e4m3fn))
    with pytest.raises(TypeError, match=r"odd.* float8_e4m3fn, which a checkpoint cannot"):
        ft.save(path, opt, model)
    assert not path.exists()


def test_entries_of_the_user_are_saved(path):
    model, opt = trained("adamw")
    weight = model[0].weight
    opt.state[weight] |= {"mine": torch.ones_like(weight), "number": 3}
    fa.save(path, opt)
    other, again = made("adamw")
    fa.load(path, again)
    entry = again.state[other[0].weight]
    assert torch.equal(entry["mine"], torch.ones_like(weight))
    assert float(entry["number"]) == 3


def test_a_copy_of_a_loaded_optimizer(path):
    _, opt = trained("adamw")
    fa.save(path, opt)
    fa.load(path, opt)
    assert plain(copy.deepcopy(opt).state_dict()) == plain(opt.state_dict())
