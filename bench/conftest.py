"""Options of the suite, and its cases: a contender and the sizes that it steps."""

import pytest

from fastadam.bench import machine, steps
from fastadam.bench.torch_contenders import load_torch
from fastadam.bench.workload import many_arrays, one_array

SIZES = tuple(10**power for power in range(3, 8))
SMOKE_SIZES = (100, 1000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--smoke", action="store_true", help="tiny sizes, one round")


def pytest_configure(config: pytest.Config) -> None:
    machine.keep_freed_memory()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" not in metafunc.fixturenames:
        return
    smoke = metafunc.config.getoption("--smoke")
    cases = [one_array(size) for size in (SMOKE_SIZES if smoke else SIZES)]
    cases.append(many_arrays(10, 10) if smoke else many_arrays())
    pairs = [
        pytest.param(case, name, id=f"{case.label}-{name}")
        for case in cases
        for name in steps.names_for(case, load_torch())
    ]
    metafunc.parametrize(("case", "name"), pairs)


@pytest.fixture(scope="session")
def validated() -> set[str]:
    """The contenders that were compared with the reference in this session."""
    return set()
