"""Reports of every suite with times of a plausible shape, for tests of tables and charts."""

from fastadam.bench import machine
from fastadam.bench.measurement import LIMIT, OURS, Measurement, Report
from fastadam.bench.options import OPTION_SETS
from fastadam.bench.precision import CONFIGURATIONS, FLOAT32, IN_TORCH, INT8
from fastadam.bench.steps import OVERVIEW
from fastadam.bench.variants import variants
from fastadam.bench.workload import Case, many_arrays, one_array

MACHINE = {"cpu": "CPU 9", "cores": "2", "threads": "2", "os": "Linux", "date": "2026-11-20"}


def row(suite, case, config, contender, seconds, traffic=28.0, resident=0.0):
    return Measurement(
        suite=suite,
        case=case.label,
        config=config,
        contender=contender,
        arrays=len(case.sizes),
        elements=case.elements,
        bytes=traffic,
        resident=resident,
        rounds=41,
        p20_s=0.9 * seconds,
        p50_s=seconds,
        p80_s=1.25 * seconds,
    )


def of_steps(cases, names_for):
    """The first contender takes nine times as long as the ninth would."""
    rows = [
        row(
            "steps",
            case,
            case.variant.label,
            name,
            (9 - k) * (1e-6 + case.elements * 1e-9),
            float(case.variant.bytes),
        )
        for case in cases
        for k, name in enumerate(names_for(case))
    ]
    return Report(machine.describe(2), rows)


def steps():
    """AdamW, all contenders."""
    cases = [*(one_array(10**power) for power in range(3, 8)), many_arrays()]
    everyone = ("numpy", "numba unfused", "torch for-loop", *OVERVIEW)
    return of_steps(cases, lambda case: everyone)


def overview():
    """Four optimizers at two sizes; PyTorch has one of them, and another as foreach only. The last
    has matrices."""
    chosen = variants(["lion", "sgd:momentum=0.9,nesterov=True", "nadam", "adammini"])
    rivals = {"Lion": (), "AdamMini": (), "NAdam": ("torch foreach",)}
    return of_steps(
        [one_array(size, variant) for variant in chosen for size in (10**6, 10**7)],
        lambda case: (
            *rivals.get(case.variant.label, ("torch foreach", "torch fused")),
            OURS,
            LIMIT,
        ),
    )


def options(names=(OURS, "torch")):
    """Every option takes what its bytes take, and PyTorch twice as long."""
    cases = (one_array(10**6), one_array(2 * 10**7), many_arrays(40, 100_000))
    rows = [
        row(
            "options",
            case,
            chosen.label,
            name,
            1e-9 * case.elements * (28 + 2 * k) * (1 + (name == "torch")),
            28.0 + 2 * k,
        )
        for case in cases
        for k, chosen in enumerate(OPTION_SETS)
        for name in names
    ]
    return Report(machine.describe(2), rows)


def precision(keys=None):
    """Every configuration takes what its bytes take, and others twice as long."""
    cases = (one_array(10**7), one_array(10**8), Case("1e7, others", (10**7,)))
    keys = keys or [*((each.label, OURS) for each in CONFIGURATIONS), IN_TORCH]
    rows = [
        row(
            "precision",
            case,
            config,
            name,
            1e-9 * case.elements * (28 - k) * (1 + (name != OURS)),
            28.0 - k,
            16.0 - k,
        )
        for case in cases
        for k, (config, name) in enumerate(keys)
    ]
    return Report(machine.describe(2), rows)


def precision_with_peers():
    """Two configurations, and an optimizer of another library."""
    return precision([(FLOAT32.label, OURS), (INT8.label, OURS), ("8-bit", "bitsandbytes")])


def adapter():
    """Two models, PyTorch four and twenty times as slow."""
    times = {OURS: 1, "torch fused": 4, "torch default": 20}
    rows = [
        row("torch", Case(case, (1000,) * 1000), "AdamW", name, unit * time)
        for case, unit in (("1000 arrays of 1000", 1e-3), ("gpt2", 0.25))
        for name, time in times.items()
    ]
    return Report(MACHINE, rows)


REPORTS = {
    made.__name__: made
    for made in (steps, overview, options, precision, precision_with_peers, adapter)
}
