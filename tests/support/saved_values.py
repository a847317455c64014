"""All that a checkpoint saves, as values that can be compared."""

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")


TWO = {"ema_decay": 0.5, "accumulate_steps": 2}


def moment(opt):
    """All that is saved, as values that can be compared."""
    return plain([opt.params, opt.state_dict(), opt.steps])


def plain(value):
    if isinstance(value, np.ndarray):
        return bits(value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return list(map(plain, value)) if isinstance(value, list | tuple) else value


def bits(array):
    return array.dtype, array.shape, array.tobytes()
