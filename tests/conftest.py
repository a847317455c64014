"""Options of the suite: under FASTADAM_NO_SKIPS=1 a skipped test is a failure (CI).

Tests marked `gpu` are skipped where there is no GPU, which never counts; those marked `ptx` where
nothing compiles for CUDA. Numba's simulator is taken for a GPU: `NUMBA_ENABLE_CUDASIM=1 pytest -m
gpu`.
"""

import os

import gpus
import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("FASTADAM_NO_SKIPS") and not all(map(_for_a_gpu, skipped)):
        reporter.write_line("FASTADAM_NO_SKIPS is set, and tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _for_a_gpu(skipped: pytest.TestReport | pytest.CollectReport) -> bool:
    return "gpu" in getattr(skipped, "keywords", ())  # a whole file that is skipped has none


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, lacking in (("gpu", _no_gpu), ("ptx", _no_compiler)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and (reason := lacking()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu() -> str:
    return "" if gpus.usable() else "there is no GPU"


def _no_compiler() -> str:
    from fastadam.cuda import target as cuda

    return cuda.missing()


@pytest.fixture(autouse=True)
def _threads_as_they_were():
    import fastadam as fa

    yield
    fa.set_threads(None)
