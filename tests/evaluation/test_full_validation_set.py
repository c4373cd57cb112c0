"""The nuScenes metric at the size of the whole validation set, in 1.5 GiB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_MIB = 1536.0


@pytest.mark.parametrize(("samples", "predictions"), [(12, 60), pytest.param(6019, 500, marks=pytest.mark.slow)])
def test_a_validation_set_is_scored_in_bounded_memory(samples: int, predictions: int, tmp_path: Path):
    script = Path(__file__).with_name("full_size_nuscenes.py")
    run = [sys.executable, str(script), str(tmp_path), str(samples), str(predictions)]
    told = json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    assert told["car_AP"] > 0.97                           # true boxes are surer than all others
    assert told["peak_mib"] < LIMIT_MIB
