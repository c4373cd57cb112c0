"""The emulated kernels' tests once more, with AddressSanitizer and UndefinedBehaviorSanitizer watching."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from build_emulated import UnavailableError, run_sanitized


@pytest.mark.skipif("PERCEPTION_EMULATED" in os.environ, reason="this is that run")
def test_no_kernel_leaves_its_arrays():
    tests = [str(path) for path in sorted(Path(__file__).parent.glob("test_emulated_*kernels.py"))]
    try:
        done = run_sanitized("-m", "pytest", "-x", "--capture=no", *tests)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
