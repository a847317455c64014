"""An interrupted operation leaves an optimizer as before or as after; `make faults` tries all."""

import pytest
from interruptions import CORE, failures, torch_scenarios

try:
    SCENARIOS = [*CORE, *torch_scenarios()]
except ImportError:  # PyTorch
    SCENARIOS = CORE

POINTS = 12  # of each scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_interrupt_leaves_nothing_half_done(scenario):
    assert not [*failures(scenario, samples=POINTS)]
