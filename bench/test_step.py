"""`pytest bench`: the contenders under pytest-benchmark, one group for each size.

`fastadam bench` times them in turns and is less easily misled by a busy machine; this suite
compares runs (`--benchmark-autosave`, `--benchmark-compare`).
"""

from fastadam.bench import machine, steps, validation
from fastadam.bench.variants import ADAMW


def test_step(benchmark, request, validated, case, name):
    if name not in validated:
        for small in validation.small_cases(ADAMW):
            if name in steps.names_for(small, torch=name in steps.TORCH):
                steps.validate(small, name, torch=False)
        validated.add(name)
    (contender,) = steps.contenders(case, [name])
    benchmark.group = case.label
    threads = machine.most_threads()
    with machine.using_threads(threads, torch=name in steps.TORCH):
        if request.config.getoption("--smoke"):
            benchmark.pedantic(contender.step, warmup_rounds=1)
        else:
            benchmark(contender.step)
