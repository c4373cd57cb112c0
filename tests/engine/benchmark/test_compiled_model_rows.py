"""A compiled model tells how long compiling took, and its operations are counted all the same."""

from __future__ import annotations

from pathlib import Path

import torch

from perception.engine.benchmark.model import COLD_START, WHOLE, benchmark_model
from perception.engine.benchmark.models import street_model
from perception.engine.benchmark.setting import Setting
from perception.engine.config import load_config

CONFIG = Path(__file__).resolve().parents[3] / "configs/flatformer/flatformer_tiny.py"


def test_a_compiled_model_has_a_row_for_its_first_run():
    options = {"model.compile": {"backend": "eager", "smallest": 2048}}
    setting = Setting(torch.float32, torch.device("cpu"), gbps=1.0, gflops=1.0)
    detector = street_model(load_config(CONFIG, options), setting.device, points=2_000, fuse=True)
    rows = {row.stage: row for row in benchmark_model(detector, setting, repeats=1)}
    assert rows[COLD_START].ms > 0
    assert rows[WHOLE].gflop > 0
    assert detector.model.compiled is not None
