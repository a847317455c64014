"""Options of the suite: under FASTADAM_NO_SKIPS=1 a skipped test is a failure (CI).

Most of the time of the suite is spent on compiling kernels, each once, into the disk cache that the
workers of xdist and their child processes share. Tests of many kinds of small steps ask for
`in_plain_python`, and nothing is compiled for them.

Tests marked `gpu` are skipped where there is no GPU, which never counts; those marked `ptx` where
nothing compiles for CUDA. Numba's simulator is taken for a GPU: `NUMBA_ENABLE_CUDASIM=1 pytest -m
gpu`. Those marked `simulated` are run by a process in which Numba simulates one.
"""

import gc
import os
import sys
from importlib.metadata import PackageNotFoundError, version

# Threads of two workers and of their children would wait for each other's cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gpus
import pytest
import simulator

PROCESS = pytest.StashKey[simulator.Simulator]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("FASTADAM_NO_SKIPS") and not all(map(_for_a_gpu, skipped)):
        reporter.write_line("FASTADAM_NO_SKIPS is set, and tests were skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if simulator.enabled() or not _simulated(item):
        return None
    stash = item.config.stash
    if PROCESS not in stash or stash[PROCESS].process.poll() is not None:
        files = {other.path: None for other in item.session.items if _simulated(other)}
        stash[PROCESS] = simulator.Simulator(files, item.config.rootpath)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in stash[PROCESS].run(item, nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    item.session._setupstate.teardown_exact(nextitem)  # what the test before left for this one
    return True


def pytest_collection_finish() -> None:
    """Collect garbage less often: it takes 8 % of a compilation beside everything imported."""
    gc.set_threshold(50_000)


@pytest.fixture(autouse=True, scope="module")
def _few_objects_in_collections() -> None:
    """Exempt what is alive from collections of garbage: packages, and kernels of files before.

    A collection would take half a second otherwise, and many tests and steps collect.
    """
    gc.collect()
    gc.freeze()


def _simulated(item: pytest.Item) -> bool:
    return item.get_closest_marker("simulated") is not None


def pytest_unconfigure(config: pytest.Config) -> None:
    if PROCESS in config.stash:
        config.stash[PROCESS].close()


def _for_a_gpu(skipped: pytest.TestReport | pytest.CollectReport) -> bool:
    return "gpu" in getattr(skipped, "keywords", ())  # a whole file that is skipped has none


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # tests that read machine code compile kernels anew; later ones load these from the cache
    items.sort(key=lambda item: item.path.name != "test_kernels.py")
    for marker, lacking in (("gpu", _no_gpu), ("ptx", _no_compiler)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and (reason := lacking()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu() -> str:
    return "" if gpus.usable() else "there is no GPU"


def _no_compiler() -> str:
    from fastadam.cuda import target as cuda

    for package in ("numba-cuda", "nvidia-nvvm"):  # an old toolkit on the machine does not count
        try:
            version(package)
        except PackageNotFoundError:
            return f"{package} is not installed"
    return cuda.missing()


@pytest.fixture
def in_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run steps in plain Python: `tests/kernels` holds that compiled code has the same bits."""
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)


@pytest.fixture(autouse=True)
def _numbers_do_not_depend_on_the_tests_before() -> None:
    """Seed PyTorch, whose generator all tests of a process share."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _threads_as_they_were():
    import fastadam as fa

    yield
    fa.set_threads(None)
