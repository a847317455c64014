"""The benchmark of fastadam.torch: its shapes and its contenders."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"bench/{name}.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_shapes_are_those_of_the_models():
    torch = pytest.importorskip("torch")
    bench = module("torch_adapter")
    sizes = {
        case: [torch.Size(shape).numel() for shape in shapes()]
        for case, shapes in bench.CASES.items()
    }
    assert {case: (len(each), sum(each)) for case, each in sizes.items()} == {
        "1000 arrays of 1000": (1000, 1_000_000),
        "148 arrays of 10k": (148, 1_480_000),
        "resnet50": (161, 25_557_032),
        "gpt2": (148, 124_439_808),
    }


def test_contenders_are_compared_with_the_loop():
    torch = pytest.importorskip("torch")
    bench = module("torch_adapter")
    bench.validate([(5,), (), (3, 4)], [*bench.CONTENDERS])
    bench.CONTENDERS["wrong"] = torch.optim.Adam
    with pytest.raises(AssertionError):
        bench.validate([(5,)], ["wrong"])
