"""Compiled segmentors are timed beside those that are not, and tell how long compiling took."""

from __future__ import annotations

from pathlib import Path

import torch

from perception.engine.benchmark.model import COLD_START, WHOLE
from perception.engine.benchmark.segmentation import (
    NETWORK,
    benchmark_segmentors,
    segmentor_of_config,
    segmentor_of_torchvision,
)
from perception.engine.benchmark.setting import Setting

CONFIG = Path(__file__).resolve().parents[3] / "configs/p2at/p2at_s_camvid.py"
CPU = torch.device("cpu")


def test_ours_and_torchvisions_are_compiled():
    setting, options = Setting(torch.float32, CPU, gbps=1.0, gflops=1.0), {"backend": "eager"}
    builds = {
        "ours": segmentor_of_config(CONFIG, CPU, size=(64, 64), compile=options),
        "theirs": segmentor_of_torchvision(
            "lraspp_mobilenet_v3_large", CPU, num_classes=3, size=(64, 64), compile=options
        ),
    }
    rows = list(benchmark_segmentors(builds, setting, reference="theirs", variants=("compile",), repeats=1))
    assert [(row.name, row.stage) for row in rows] == [
        (name, stage) for name in ("ours", "theirs")
        for stage in (COLD_START, NETWORK, WHOLE)
    ]
    assert all(row.variant == "compile" and row.ms > 0 for row in rows)
