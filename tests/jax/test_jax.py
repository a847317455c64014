"""The adapter for JAX, in a process of its own."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).parents[1] / "support" / "jax_checks.py"


@pytest.mark.skipif(importlib.util.find_spec("optax") is None, reason="optax is not installed")
def test_the_checks_of_the_adapter_pass():
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-W", "default", CHECKS]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
