"""An interrupted operation leaves an optimizer as before or as after; `make faults` tries all."""

import sys
import threading

import pytest
from interruptions import CORE, failures, offload_scenarios, torch_scenarios

from fastadam.kernels.imports import whole

try:
    SCENARIOS = [*CORE, *torch_scenarios(), *offload_scenarios()]
except ImportError:  # PyTorch
    SCENARIOS = CORE

POINTS = 12  # of each scenario


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of open files
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_interrupt_leaves_nothing_half_done(scenario):
    assert not [*failures(scenario, samples=POINTS)]


def test_an_import_is_whole_although_its_caller_was_interrupted(monkeypatch, tmp_path):
    name = "imported_while_interrupted"
    (tmp_path / f"{name}.py").write_text("ready = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    def interrupt(thread):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupt)
        with pytest.raises(KeyboardInterrupt):
            whole(name)
    assert whole(name).ready
    assert sys.modules.pop(name).ready
