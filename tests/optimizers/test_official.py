"""Parameters after 50 steps of other packages, recorded with their versions in official.json.

`python tests/support/official.py` records them.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import fastadam as fa

RECORDED = json.loads((Path(__file__).parent / "official.json").read_text())


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.usefixtures("in_plain_python")
def test_fifty_steps_equal_those_of_the_recorded_package(name):
    rng = np.random.default_rng(0)
    shape = np.shape(RECORDED[name]["param"])
    param = rng.standard_normal(shape)
    opt = getattr(fa, name)(param, **RECORDED[name]["hyper"])
    for _ in range(50):
        opt.step(rng.standard_normal(shape))
    # float64; fbgemm_gpu computes in float32, 1e-7 per step at random
    # LaProp of timm decays the new parameter: lr**2 * weight_decay per step, 8e-7 in all
    np.testing.assert_allclose(param, RECORDED[name]["param"], rtol=0, atol=1e-6)
