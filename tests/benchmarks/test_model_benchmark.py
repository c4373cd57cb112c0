"""The stages of two small detectors, side by side."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from perception.engine.benchmark.model import inference_calls
from perception.engine.benchmark.models import TimedModel, street_model
from perception.engine.benchmark.setting import Setting
from perception.engine.config import load_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SETTING = Setting(torch.float32, torch.device("cpu"), gbps=1.0, gflops=1.0)
STAGES = ("voxel encoder", "LiDAR backbone", "BEV backbone and neck", "head", "decode", "whole prediction")


@cache
def detector(config: str) -> TimedModel:
    return street_model(load_config(CONFIGS / config), SETTING.device, points=20_000)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "config", ["flatformer/flatformer_synthetic.py", "centerpoint_pillar/centerpoint_pillar_synthetic.py"]
)
def test_a_stage(config: str, stage: str, benchmark: Any):
    timed = detector(config)
    calls = inference_calls(timed, timed.model.stages(timed.batch), SETTING)
    assert tuple(calls) == STAGES
    benchmark.group = stage
    assert len(benchmark(calls[stage]))
