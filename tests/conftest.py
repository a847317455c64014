"""Options of the suite: under FASTADAM_NO_SKIPS=1 a skipped test is a failure (CI)."""

import os

import pytest


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FASTADAM_NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        reporter.write_line("FASTADAM_NO_SKIPS is set, and tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _threads_as_they_were():
    import fastadam as fa

    yield
    fa.set_threads(None)
