"""A map model is timed by the stages that its parts tell of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.engine.benchmark.clouds import street_cameras
from perception.engine.benchmark.model import WHOLE, benchmark_model
from perception.engine.benchmark.models import street_model
from perception.engine.benchmark.setting import Setting
from perception.engine.config import load_config

CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.mark.parametrize(
    ("config", "stages", "points"),
    [
        ("maptr/maptr_lidar_synthetic.py", ("BEV encoder", "head", "decode", WHOLE), 2_000),
        ("vectormapnet/vectormapnet_camera_synthetic.py",
         ("BEV encoder", "BEV neck", "element detector", "polyline generator", "decode", WHOLE), 0),
    ],
)
def test_stages_of_a_map_model(config: str, stages: tuple[str, ...], points: int) -> None:
    setting = Setting(torch.float32, torch.device("cpu"), gbps=1.0, gflops=1.0)
    options = ["model.head.max_vertices=4"] if "vectormapnet" in config else []
    timed = street_model(load_config(CONFIGS / config, options), setting.device, points=2_000)
    rows = {row.stage: row for row in benchmark_model(timed, setting, repeats=1)}
    assert tuple(rows) == stages
    assert {row.size for row in rows.values()} == {points}
    parts = sum(row.parameters or 0 for name, row in rows.items() if name != WHOLE)
    assert rows[WHOLE].parameters == parts


def test_street_cameras_look_around() -> None:
    cameras = street_cameras(("front", "right", "rear", "left"))
    places = torch.tensor([[9.0, 0.0, 1.5], [0.0, -9.0, 1.5], [-9.0, 0.0, 1.5], [0.0, 9.0, 1.5]])
    seen = [[bool(camera.calibration.sees(place)) for place in places] for camera in cameras.values()]
    assert seen == torch.eye(4, dtype=torch.bool).tolist()
