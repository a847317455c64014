"""AdamW of fastadam.torch against that of torch.optim, on the shapes of real models.

Every contender is first compared with PyTorch's for-loop on the same gradients. Then all are
timed in turns, each on state of its own and on the same parameters and gradients; a sample is
preceded by a step that does not count. The table shows the median over the rounds.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence

import torch

import fastadam.torch
from fastadam.bench.console import progress
from fastadam.bench.machine import describe, load_average
from fastadam.bench.measurement import OURS, Measurement, Report
from fastadam.bench.script import Parser, add_csv, add_timing, at_least, run_script
from fastadam.bench.suites import ADAPTER, publish
from fastadam.bench.timing import measure
from fastadam.bench.variants import ADAMW

Shape = tuple[int, ...]
RIVALS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "torch fused": lambda params, **hyper: torch.optim.AdamW(params, fused=True, **hyper),
    "torch foreach": lambda params, **hyper: torch.optim.AdamW(params, foreach=True, **hyper),
    "torch for-loop": lambda params, **hyper: torch.optim.AdamW(params, foreach=False, **hyper),
    "torch default": torch.optim.AdamW,
}
CONTENDERS = {OURS: fastadam.torch.AdamW, **RIVALS}
TOLERANCE = 1e-6  # of parameters of size one after three steps of 1e-3, in float32: some ulp


def resnet50() -> Iterator[Shape]:
    """161 parameters, 25.6 million elements."""
    yield from [(64, 3, 7, 7), (64,), (64,)]
    width_in = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            sides = [(width, width_in, 1), (width, width, 3), (4 * width, width, 1)]
            sides += [(4 * width, width_in, 1)] * (block == 0)  # the shortcut
            for out, into, side in sides:
                yield from [(out, into, side, side), (out,), (out,)]
            width_in = 4 * width
    yield from [(1000, 2048), (1000,)]


def gpt2() -> Iterator[Shape]:
    """GPT-2 small: 148 parameters, 124 million elements."""
    width = 768
    yield from [(50257, width), (1024, width)]
    for _ in range(12):
        yield from [(width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,)]
        yield from [(width,), (width,), (width, 4 * width), (4 * width,), (4 * width, width)]
        yield (width,)
    yield from [(width,), (width,)]


CASES: dict[str, Callable[[], Iterator[Shape]]] = {
    "1000 arrays of 1000": lambda: iter([(1000,)] * 1000),
    "148 arrays of 10k": lambda: iter([(10_000,)] * 148),
    "resnet50": resnet50,
    "gpt2": gpt2,
}


def parameters(shapes: list[Shape]) -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    return params


def updated(shapes: list[Shape], name: str) -> list[torch.nn.Parameter]:
    """Parameters after three steps over the same gradients."""
    params = parameters(shapes)
    opt = CONTENDERS[name](params)
    for _ in range(3):
        opt.step()
    return params


def validate(shapes: list[Shape], names: Sequence[str]) -> None:
    """Compare all contenders with the for-loop."""
    want = updated(shapes, "torch for-loop")
    for name in names:
        for one, other in zip(updated(shapes, name), want, strict=True):
            torch.testing.assert_close(one, other, rtol=TOLERANCE, atol=TOLERANCE)


def arguments() -> argparse.Namespace:
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python bench/torch_adapter.py --cases resnet50 --seconds 5\n"
        "  python bench/torch_adapter.py --csv bench/results/torch-adapter.csv\n\n"
        "charts.py writes what is in bench/results into the documents.",
    )
    add = parser.add_argument
    add(
        "--cases",
        nargs="+",
        choices=CASES,
        default=[*CASES],
        metavar="CASE",
        help=f"which shapes: {', '.join(CASES)} (default: all; gpt2 takes 5 GB)",
    )
    add(
        "--rivals",
        nargs="+",
        choices=RIVALS,
        default=[*RIVALS],
        metavar="NAME",
        help=f"which optimizers of PyTorch: {', '.join(RIVALS)} (default: all)",
    )
    add(
        "--threads",
        type=at_least(1),
        default=torch.get_num_threads(),
        metavar="N",
        help="for all contenders (default: PyTorch's, %(default)s)",
    )
    add_timing(add)
    add_csv(add)
    return parser.parse_args()


def timed(case: str, names: Sequence[str], chosen: argparse.Namespace, bar) -> list[Measurement]:
    """Validate the contenders of a case, then time them in turns."""
    bar(f"checking {case}", 0.0)
    validate(list(CASES[case]()), names)
    params = parameters(list(CASES[case]()))
    timings = measure(
        [CONTENDERS[name](params, lr=1e-6).step for name in names],
        seconds=chosen.seconds,
        rounds=chosen.rounds,
        progress=lambda fraction: bar(case, fraction),
    )
    return [
        Measurement(
            suite=ADAPTER.name,
            case=case,
            config=ADAMW.label,
            contender=name,
            arrays=len(params),
            elements=sum(param.numel() for param in params),
            bytes=ADAMW.bytes,
            resident=0,
            **each.columns(),
        )
        for name, each in zip(names, timings, strict=True)
    ]


def main() -> None:
    chosen, load = arguments(), load_average()
    torch.set_num_threads(chosen.threads)
    names = [OURS, *chosen.rivals]
    with progress() as bar:
        rows = [row for case in chosen.cases for row in timed(case, names, chosen, bar)]
    report = Report(describe(chosen.threads, load=load), rows)
    publish(report, chosen.csv)


if __name__ == "__main__":
    run_script(main)
