"""Options of the suite: under FASTADAM_NO_SKIPS=1 a skipped test is a failure (CI).

Tests marked `gpu` are skipped where there is none, which never counts; those marked `ptx` where
nothing compiles for CUDA.
"""

import os

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("FASTADAM_NO_SKIPS") and any("gpu" not in one.keywords for one in skipped):
        reporter.write_line("FASTADAM_NO_SKIPS is set, and tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, lacking in (("gpu", _no_gpu), ("ptx", _no_compiler)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and (reason := lacking()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu() -> str:
    from numba import config, cuda

    return "" if cuda.is_available() and not config.ENABLE_CUDASIM else "no GPU"


def _no_compiler() -> str:
    from fastadam.kernels import cuda

    return cuda.missing()


@pytest.fixture(autouse=True)
def _threads_as_they_were():
    import fastadam as fa

    yield
    fa.set_threads(None)
