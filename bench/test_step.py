"""`pytest bench`: the contenders under pytest-benchmark, one group for each size.

`fastadam bench` times them in turns and is less easily misled by a busy machine; this suite
compares runs (`--benchmark-autosave`, `--benchmark-compare`).
"""

from fastadam.bench import contenders, validation
from fastadam.bench.variants import ADAMW


def test_step(benchmark, request, validated, case, name):
    if name not in validated:
        for small in validation.cases(ADAMW):
            if name in contenders.names_for(small, torch=name in contenders.TORCH):
                validation.validate(small, name, torch=False)
        validated.add(name)
    (contender,) = contenders.contenders(case, [name])
    benchmark.group = case.label
    threads = contenders.most_threads()
    with contenders.using_threads(threads, torch=name in contenders.TORCH):
        if request.config.getoption("--smoke"):
            benchmark.pedantic(contender.step, warmup_rounds=1)
        else:
            benchmark(contender.step)
