from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.engine.config import load_config
from perception.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MODEL_CONFIGS = sorted([*CONFIGS.glob("flatformer/*.py"), *CONFIGS.glob("centerpoint_pillar/*.py")])
PARTS = ("voxel_encoder", "lidar_backbone", "bev_backbone", "neck", "head")
WAYMO = (17_472, 1_059_840, 701_952, 74_240, 414_606)
PUBLISHED = {                                        # parameters of PARTS, as counted in the authors' models
    "flatformer_waymo_D1_2x_3class": WAYMO,
    "flatformer_waymo_D1_2x_3class_2f": WAYMO,
    "flatformer_waymo_D1_2x_3class_3f": WAYMO,
    "flatformer_waymo_D5_1x_3class": WAYMO,
    "flatformer_waymo_D5_1x_3class_3f": WAYMO,
    "flatformer_nuscenes": (17_472, 1_059_840, 701_952, 74_240, 1_519_686),
    "centerpoint_pillar02_nuscenes": (832, 0, 4_207_616, 180_992, 1_593_414),
    "centerpoint_pillar02_nuscenes_circle": (832, 0, 4_207_616, 180_992, 1_593_414),
}


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("path", MODEL_CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_a_model_whose_parts_fit(path):
    cfg = load_config(path)
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    grid, strides = cfg.grid, model.bev_backbone.strides
    assert [round((cfg.point_range[3 + a] - cfg.point_range[a]) / cfg.voxel_size[a]) for a in (0, 1)] == list(grid)
    assert model.voxel_encoder.in_channels == len(model.data_preprocessor.channels)
    assert all(size % max(strides) == 0 for size in grid)
    assert tuple(model.head.coder.voxel_size) == tuple(cfg.voxel_size[:2])
    canvas = torch.zeros(1, model.voxel_encoder.channels, grid[1], grid[0], device="meta")
    maps = model.head(model.neck(model.bev_backbone(canvas)))
    assert maps[0]["heatmap"].shape[2] * model.head.coder.out_size_factor == grid[1]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_parameters_are_as_many_as_published(name):
    path = next(path for path in MODEL_CONFIGS if path.stem == name)
    with torch.device("meta"):
        model = MODELS.build(load_config(path).model)
    assert tuple(parameters(getattr(model, part)) for part in PARTS) == PUBLISHED[name]
    assert parameters(model) == sum(PUBLISHED[name])


@pytest.mark.parametrize(("name", "total"), [
    ("flatformer_waymo_D1_2x_3class", 2_268_110), ("flatformer_nuscenes", 3_373_190),
    ("centerpoint_pillar02_nuscenes", 5_982_854),
])
def test_published_totals(name, total):
    assert sum(PUBLISHED[name]) == total


def test_the_waymo_variants_differ_in_frames_and_epochs_only():
    folder = CONFIGS / "flatformer"
    one, three = (load_config(folder / f"flatformer_waymo_D1_2x_3class{suffix}.py") for suffix in ("", "_3f"))
    fifth = load_config(folder / "flatformer_waymo_D5_1x_3class_3f.py")
    assert one.model.data_preprocessor.channels[4] == "elongation"
    assert three.model.data_preprocessor.scales == {"time": -10.0}
    assert fifth.model == three.model
    assert (one.train_cfg.max_epochs, fifth.train_cfg.max_epochs) == (24, 12)
