"""Tests marked `simulated`: a process in which Numba simulates a GPU runs them, one at a time.

The simulator has to be chosen before Numba is imported. Each of these tests has an id of its own in
the session of the user, who may select it, and is reported as any other. `Simulator` is the side of
the session; `Remote` is a plugin of pytest in the other process.

By hand, in one process: NUMBA_ENABLE_CUDASIM=1 pytest tests/cuda/test_simulated_steps.py
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from threading import Timer
from typing import Any

import pytest

TIMEOUT = 240  # seconds, for one test


def enabled() -> bool:
    """True if Numba simulates a GPU in this process."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0"


class Simulator:
    """A process that runs tests of these files."""

    def __init__(self, files: Iterable[Path], root: Path) -> None:
        self.messages = TemporaryFile("w+")  # noqa: SIM115, open as long as the process runs
        variables = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "0", "PYTEST_ADDOPTS": ""}
        self.process = subprocess.Popen(
            [sys.executable, __file__, *files],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            text=True,
            env={**os.environ, **variables},
        )

    def run(self, item: pytest.Item, following: pytest.Item | None) -> Iterator[pytest.TestReport]:
        """Run a test; fixtures that the following one shares with it are kept."""
        names = [item.nodeid, following.nodeid if following else ""]
        limit = Timer(TIMEOUT, self.process.kill)
        limit.start()
        try:
            yield from self._reports(item, json.dumps(names))
        finally:
            limit.cancel()

    def _reports(self, item: pytest.Item, request: str) -> Iterator[pytest.TestReport]:
        sent, received = self.process.stdin, self.process.stdout
        assert sent
        assert received
        try:
            print(request, file=sent, flush=True)
        except OSError:  # the process has ended
            yield self._ended(item)
            return
        while line := received.readline():
            if (data := json.loads(line)) is None:
                return
            yield item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        yield self._ended(item)

    def _ended(self, item: pytest.Item) -> pytest.TestReport:
        """The report of a test during which the process has ended."""
        code = self.process.wait()
        self.messages.seek(0)
        text = f"the simulator ended with code {code}\n{self.messages.read()}"
        keywords = dict.fromkeys(item.keywords, 1)
        return pytest.TestReport(item.nodeid, item.location, keywords, "failed", text, "call")

    def close(self) -> None:
        """End the process."""
        for stream in (self.process.stdin, self.process.stdout, self.messages):
            if stream:
                stream.close()
        self.process.wait()


class Remote:
    """Runs the requests that arrive, and sends the reports of each, then null."""

    def __init__(self) -> None:
        # before pytest captures them; what else is printed becomes a message
        self.requests, self.reports = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.config: pytest.Config

    def send(self, data: dict[str, Any] | None) -> None:
        print(json.dumps(data), file=self.reports, flush=True)

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Failed("tests could not be collected")
        self.config, items = session.config, {item.nodeid: item for item in session.items}
        for request in self.requests:
            name, following = json.loads(request)
            item = items[name]
            item.ihook.pytest_runtest_protocol(item=item, nextitem=items.get(following))
            self.send(None)
        return True

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self.config.hook
        self.send(hook.pytest_report_to_serializable(config=self.config, report=report))


if __name__ == "__main__":
    sys.exit(pytest.main(["-p", "no:cacheprovider", *sys.argv[1:]], [Remote()]))
