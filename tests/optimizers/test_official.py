"""Parameters after 20 steps of other packages, recorded with their versions in official.json.

`python tests/support/official.py` records them.
"""

import json

import numpy as np
import pytest
from official import CASES, RECORDED, gradients, rates, start

import fastadam as fa

RECORDS = json.loads(RECORDED.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
@pytest.mark.usefixtures("in_plain_python")
def test_steps_equal_those_of_the_recorded_package(case):
    record, params = RECORDS[case.label], start(case)
    assert json.loads(json.dumps(case.keywords)) == record["keywords"], "record the package anew"
    groups = fa.by_name(params, case.named) if case.named else params
    opt = getattr(fa, case.ours)(groups, **case.hyper)
    each = rates(case, opt.param_groups[0]["lr"])
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 without eps
        for rate, grads in zip(each, gradients(case), strict=True):
            for group in opt.param_groups:
                group["lr"] = rate
            opt.step([*grads.values()] if case.named else grads)
    kept = opt.ema.tree if "ema_decay" in case.hyper else params
    for name, wanted in record["params"].items():
        np.testing.assert_allclose(kept[name], wanted, rtol=0, atol=case.apart)


def test_every_record_has_a_case():
    assert list(RECORDS) == [case.label for case in CASES]
